"""Figure 2.6: a parameter study of bandit algorithms

The reward of the first 1,000 steps, averaged over 2,000 bandits, of four methods, each
over a range of its parameter.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import canvas, save, steps
from experiments.textbook.figure_2_2 import sample_average
from purerl import QLearning
from purerl.agents import GradientBandit
from purerl.envs.diagnostic import Testbed
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import normal_band
from purerl.policy import UCB

RUNS, STEPS = 2_000, 1_000


def optimistic(initial_value):
    return QLearning(
        env=Testbed(), discount=0.0, learning_rate=0.1, epsilon=0.0, initial_value=initial_value
    )


METHODS = {  # the agent of a parameter, and the parameter's range in powers of 2
    "epsilon-greedy: epsilon": (lambda x: sample_average(epsilon=x), (-7, -2)),
    "gradient bandit: step size": (
        lambda x: GradientBandit(env=Testbed(), learning_rate=x),
        (-5, 1),
    ),
    "UCB: c": (lambda x: sample_average(behavior=UCB(x)), (-4, 2)),
    "optimistic greedy, step size 0.1: first value": (optimistic, (-2, 2)),
}


def figure():
    picture, (axes,) = canvas(width=7.5)
    numbers = {}
    best = {}
    place = {}
    for (label, (make, (low, high))), color in zip(METHODS.items(), COLORS, strict=False):
        values = 2.0 ** np.arange(low, high + 1)

        def run(key, make=make, values=values):
            agents = [make(jnp.float32(x)) for x in values]
            return jnp.stack([steps(agent, key, STEPS)["reward"].total.mean() for agent in agents])

        estimate = normal_band(purerl.over_seeds(run, RUNS))
        draw_band(axes, values, estimate, color=color, label=label, marker="o", markersize=4)
        numbers[label] = {"parameter": values, "reward": estimate}
        method = label.split(":")[0]
        best[method] = estimate.point.max()
        place[method] = int(estimate.point.argmax()), len(values)
    axes.set_xscale("log", base=2)
    powers = np.arange(-7, 3)
    axes.set_xticks(2.0**powers, [f"1/{2**-p}" if p < 0 else f"{2**p}" for p in powers.tolist()])
    axes.set(
        xlabel="value of the parameter",
        ylabel="average reward over the first 1,000 steps",
        ylim=(0.9, 1.55),
    )
    axes.legend(loc="lower left", fontsize="small")
    ranked = sorted(best, key=lambda name: -best[name])
    claims = {
        "UCB does best of all": ranked[0] == "UCB",
        "each method is best at an intermediate value of its parameter": all(
            0 < i < n - 1 for i, n in place.values()
        ),
        "at their best parameters, epsilon-greedy does worst": ranked[-1] == "epsilon-greedy",
    }
    return save("figure_2_6", picture, numbers, claims)


if __name__ == "__main__":
    figure()
