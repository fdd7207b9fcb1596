"""Figure 2.3: optimistic initial values

First values of 5 with greedy choices, against values of 0 and epsilon = 0.1, both with a constant step size of 0.1; 2,000
bandits.
"""

import numpy as np

from experiments.textbook.common import ColorS, band, canvas, over_runs, save, steps
from purerl import QLearning
from purerl.envs.diagnostic import Testbed

RUNS, STEPS = 2_000, 1_000
METHODS = {
    "optimistic, greedy: first values 5, epsilon = 0": {"initial_value": 5.0, "epsilon": 0.0},
    "realistic, epsilon-greedy: first values 0, epsilon = 0.1": {
        "initial_value": 0.0,
        "epsilon": 0.1,
    },
}


def figure():
    picture, (axes,) = canvas(width=7.5)
    x, numbers, optimal = np.arange(1, STEPS + 1), {}, {}
    for (label, fields), color in zip(METHODS.items(), ColorS, strict=False):
        agent = QLearning(env=Testbed(), discount=0.0, learning_rate=0.1, **fields)
        optimal[label] = (
            100
            * over_runs(lambda key, agent=agent: steps(agent, key, STEPS), RUNS)["optimal_action"]
        )
        numbers[label] = band(axes, x, optimal[label], label, color)
    axes.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    axes.legend(loc="lower right")
    hopeful, plain = (optimal[label].mean(axis=0) for label in METHODS)
    claims = {
        "at first the optimistic method does worse, because it explores more": hopeful[10:60].mean()
        < plain[10:60].mean(),
        "in the end it does better, because its exploration fades": hopeful[-100:].mean()
        > plain[-100:].mean() + 5,
        "it has a spike on the eleventh step, after it has tried every action once (exercise 2.6)": (
            hopeful[10] > 1.5 * hopeful[9] and hopeful[10] > 1.5 * hopeful[12]
        ),
    }
    return save("figure_2_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
