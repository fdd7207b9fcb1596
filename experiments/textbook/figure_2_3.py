"""Figure 2.3: optimistic initial values

Initial values of 5 with greedy choices, against values of 0 and epsilon = 0.1, both
with a constant step size of 0.1; 2,000 bandits.
"""

import numpy as np

from experiments.textbook.common import band, canvas, save, step_totals
from purerl import QLearning
from purerl.envs.diagnostic import Testbed
from purerl.figures.plotting import COLORS

RUNS, STEPS = 2_000, 1_000
METHODS = {  # initial value and epsilon
    "optimistic, greedy: first values 5, epsilon = 0": (5.0, 0.0),
    "realistic, epsilon-greedy: first values 0, epsilon = 0.1": (0.0, 0.1),
}


def figure():
    picture, (axes,) = canvas(width=7.5)
    x = np.arange(1, STEPS + 1)
    numbers = {}
    optimal = {}
    for (label, (initial_value, epsilon)), color in zip(METHODS.items(), COLORS, strict=False):
        agent = QLearning(
            env=Testbed(),
            discount=0.0,
            learning_rate=0.1,
            initial_value=initial_value,
            epsilon=epsilon,
        )
        runs = step_totals(agent, ["optimal_action"], RUNS, STEPS)
        optimal[label] = 100 * runs["optimal_action"]
        numbers[label] = band(axes, x, optimal[label], label, color)
    axes.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    axes.legend(loc="lower right")
    optimistic, realistic = (optimal[label].mean(axis=0) for label in METHODS)
    claims = {
        "at first the optimistic method does worse, because it explores more": (
            optimistic[10:60].mean() < realistic[10:60].mean()
        ),
        "in the end it does better, because its exploration fades": (
            optimistic[-100:].mean() > realistic[-100:].mean() + 5
        ),
        "it has a spike on the eleventh step, after it has tried every action once (exercise "
        "2.6)": optimistic[10] > 1.5 * optimistic[9] and optimistic[10] > 1.5 * optimistic[12],
    }
    return save("figure_2_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
