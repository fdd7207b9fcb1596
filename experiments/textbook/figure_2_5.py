"""Figure 2.5: gradient bandits with and without a baseline

On bandits whose means are around 4, where only a baseline lets the method adapt to the level; 2,000 bandits.
"""

import numpy as np

from experiments.textbook.common import ColorS, band, canvas, over_runs, save, steps
from purerl.agents import GradientBandit
from purerl.envs.diagnostic import Testbed

RUNS, STEPS = 2_000, 1_000


def figure():
    picture, (axes,) = canvas(width=7.5)
    x, numbers, optimal = np.arange(1, STEPS + 1), {}, {}
    settings = [(0.1, True), (0.4, True), (0.1, False), (0.4, False)]
    for (alpha, baseline), color in zip(settings, ColorS, strict=False):
        agent = GradientBandit(env=Testbed(mean=4.0), learning_rate=alpha, baseline=baseline)
        label = f"step size {alpha:g}, {'with' if baseline else 'without'} baseline"
        found = over_runs(lambda key, agent=agent: steps(agent, key, STEPS), RUNS)["optimal_action"]
        optimal[alpha, baseline] = 100 * found.mean(axis=0)
        numbers[label] = band(
            axes, x, 100 * found, label, color, linestyle="-" if baseline else ":"
        )
    axes.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    axes.legend(loc="lower right")
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
