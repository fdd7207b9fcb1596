"""Figure 2.5: gradient bandits with and without a baseline

On bandits with mean rewards around 4, where only a baseline lets the method adapt to
that level; 2,000 bandits.
"""

import numpy as np

from experiments.textbook.common import band, canvas, save, step_totals
from purerl.agents import GradientBandit
from purerl.envs.diagnostic import Testbed
from purerl.figures.plotting import COLORS

RUNS, STEPS = 2_000, 1_000
SETTINGS = ((0.1, True), (0.4, True), (0.1, False), (0.4, False))  # step size, baseline


def figure():
    picture, (axes,) = canvas(width=7.5, height=4.8)
    x = np.arange(1, STEPS + 1)
    numbers = {}
    optimal = {}
    for (alpha, baseline), color in zip(SETTINGS, COLORS, strict=False):
        agent = GradientBandit(env=Testbed(mean=4.0), learning_rate=alpha, baseline=baseline)
        label = f"step size {alpha:g}, {'with' if baseline else 'without'} baseline"
        found = step_totals(agent, ["optimal_action"], RUNS, STEPS)["optimal_action"]
        optimal[alpha, baseline] = 100 * found.mean(axis=0)
        style = "-" if baseline else ":"
        numbers[label] = band(axes, x, 100 * found, label, color, linestyle=style)
    axes.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    picture.legend(loc="outside lower center", ncols=2)
    late = {setting: curve[-100:].mean() for setting, curve in optimal.items()}
    claims = {
        "without a baseline either step size does much worse": (
            min(late[0.1, True], late[0.4, True]) > max(late[0.1, False], late[0.4, False]) + 10
        ),
        "with one, the smaller step size is better in the end and the larger one at first": (
            late[0.1, True] > late[0.4, True]
            and optimal[0.1, True][20:60].mean() < optimal[0.4, True][20:60].mean()
        ),
    }
    return save("figure_2_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
