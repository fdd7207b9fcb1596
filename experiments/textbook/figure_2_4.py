"""Figure 2.4: upper confidence bounds

UCB with c = 2 against epsilon = 0.1, both with sample averages; 2,000 bandits. The
dashed line is that of figure 2.2.
"""

from typing import Any

import numpy as np

from experiments.textbook.common import EXACT, band, canvas, save, step_totals
from experiments.textbook.figure_2_2 import best_reward, sample_average
from purerl.figures.plotting import COLORS
from purerl.policy import UCB

RUNS, STEPS = 2_000, 1_000


def figure():
    picture, (axes,) = canvas(width=7.5)
    x = np.arange(1, STEPS + 1)
    best = best_reward()
    numbers: dict[str, Any] = {"best": best}
    axes.axhline(best, label=f"the best action: {best:.2f}", **EXACT)
    methods = {
        "UCB, c = 2": sample_average(behavior=UCB(2.0)),
        "epsilon-greedy, epsilon = 0.1": sample_average(epsilon=0.1),
    }
    rewards = {}
    for (label, agent), color in zip(methods.items(), COLORS, strict=False):
        rewards[label] = step_totals(agent, ["reward"], RUNS, STEPS)["reward"]
        numbers[label] = band(axes, x, rewards[label], label, color)
    axes.set(xlabel="steps", ylabel="average reward", ylim=(0, 1.7))
    axes.legend(loc="lower right")
    ucb, greedy = (reward.mean(axis=0) for reward in rewards.values())
    claims = {
        "UCB does better, except in the first steps, in which it tries every action": (
            ucb[100:].mean() > greedy[100:].mean() and ucb[:10].mean() < greedy[:10].mean()
        ),
        "it has a spike on the eleventh step (exercise 2.8)": (
            ucb[10] > ucb[9] + 0.5 and ucb[10] > ucb[12] + 0.2
        ),
    }
    return save("figure_2_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
