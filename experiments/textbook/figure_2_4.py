"""Figure 2.4: upper confidence bounds

UCB with c = 2 against epsilon = 0.1, both with sample averages; 2,000 bandits.
"""

import numpy as np

from experiments.textbook.common import EXACT, ColorS, band, canvas, over_runs, save, steps
from experiments.textbook.figure_2_2 import best_reward, sample_average
from purerl.policy import UCB

RUNS, STEPS = 2_000, 1_000


def figure():
    picture, (axes,) = canvas(width=7.5)
    x, numbers = np.arange(1, STEPS + 1), {"best": best_reward()}
    axes.axhline(numbers["best"], **EXACT)
    methods = {
        "UCB, c = 2": sample_average(behavior=UCB(2.0)),
        "epsilon-greedy, epsilon = 0.1": sample_average(epsilon=0.1),
    }
    rewards = {}
    for (label, agent), color in zip(methods.items(), ColorS, strict=False):
        rewards[label] = over_runs(lambda key, agent=agent: steps(agent, key, STEPS), RUNS)[
            "reward"
        ]
        numbers[label] = band(axes, x, rewards[label], label, color)
    axes.set(xlabel="steps", ylabel="average reward", ylim=(0, 1.7))
    axes.legend(loc="lower right")
    ucb, greedy = (reward.mean(axis=0) for reward in rewards.values())
    claims = {
        "UCB does better, but for the first steps, in which it tries every action": (
            ucb[100:].mean() > greedy[100:].mean() and ucb[:10].mean() < greedy[:10].mean()
        ),
        "it has a spike on the eleventh step (exercise 2.8)": ucb[10] > ucb[9] + 0.5
        and ucb[10] > ucb[12] + 0.2,
    }
    return save("figure_2_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
