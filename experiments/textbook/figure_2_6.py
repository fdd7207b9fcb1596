"""Figure 2.6: a parameter study of bandit algorithms

The reward of the first 1,000 steps, averaged over 2,000 bandits, of four methods each over a range of its parameter.
"""

import jax.numpy as jnp
import numpy as np

from experiments.textbook.common import ColorS, canvas, interval, over_runs, save, steps
from experiments.textbook.figure_2_2 import sample_average
from purerl import QLearning
from purerl.agents import GradientBandit
from purerl.envs.diagnostic import Testbed
from purerl.policy import UCB

RUNS, STEPS = 2_000, 1_000
METHODS = {
    "epsilon-greedy: epsilon": (lambda x: sample_average(epsilon=x), (-7, -2)),
    "gradient bandit: step size": (
        lambda x: GradientBandit(env=Testbed(), learning_rate=x),
        (-5, 1),
    ),
    "UCB: c": (lambda x: sample_average(behavior=UCB(x)), (-4, 2)),
    "optimistic greedy, step size 0.1: first value": (
        lambda x: QLearning(
            env=Testbed(), discount=0.0, learning_rate=0.1, epsilon=0.0, initial_value=x
        ),
        (-2, 2),
    ),
}


def figure():
    picture, (axes,) = canvas(width=7.5)
    numbers, best = {}, {}
    for (label, (make, (low, high))), color in zip(METHODS.items(), ColorS, strict=False):
        values = 2.0 ** np.arange(low, high + 1)

        def run(key, make=make, values=values):
            return jnp.stack(
                [steps(make(jnp.float32(x)), key, STEPS)["reward"].mean() for x in values]
            )

        estimate = interval(over_runs(run, RUNS))
        axes.plot(values, estimate.mean, color=color, label=label)
        axes.fill_between(values, estimate.low, estimate.high, color=color, alpha=0.2, linewidth=0)
        numbers[label] = {"parameter": values, "reward": estimate}
        best[label.split(":")[0]] = estimate.mean.max(), int(estimate.mean.argmax()), len(values)
    axes.set_xscale("log", base=2)
    axes.set(
        xlabel="parameter", ylabel="average reward over the first 1,000 steps", ylim=(0.9, 1.55)
    )
    axes.legend(loc="lower left", fontsize="small")
    ranked = sorted(best, key=lambda name: -best[name][0])
    claims = {
        "UCB does best of all": ranked[0] == "UCB",
        "each method is best at an intermediate value of its parameter": all(
            0 < i < n - 1 for _, i, n in best.values()
        ),
        "epsilon-greedy does worst at its best": ranked[-1] == "epsilon-greedy",
    }
    return save("figure_2_6", picture, numbers, claims)


if __name__ == "__main__":
    figure()
