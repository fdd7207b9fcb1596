"""Figure 8.5 and example 8.3: the shortcut maze

After 3,000 steps a shorter way, of 10 steps, is opened beside the old one of 16, which stays open. Reward collected by Dyna-Q
and Dyna-Q+ with 50 planning steps, step size 0.5, epsilon 0.1, a discount of 0.95 and, for Dyna-Q+, kappa = 0.001; 100 runs.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import ColorS, band, canvas, over_runs, save, steps
from purerl.agents import DynaQ, DynaQPlus

RUNS, STEPS, CHANGE = 100, 6_000, 3_000


def figure():
    env = purerl.make("ShortcutMaze-v0", change=CHANGE)
    settings = {
        "env": env,
        "planning_steps": 50,
        "learning_rate": 0.5,
        "discount": 0.95,
        "epsilon": 0.1,
    }
    methods = {"Dyna-Q+": DynaQPlus(curiosity=1e-3, **settings), "Dyna-Q": DynaQ(**settings)}
    picture, (axes,) = canvas(width=7.5)
    axes.axvline(CHANGE, color="0.7", linewidth=1)
    time = np.arange(0, STEPS + 1, 20)
    numbers, rate = {"time": time}, {}
    for (name, agent), color in zip(methods.items(), ColorS, strict=False):

        def run(key, agent=agent):
            collected = jnp.cumsum(steps(agent, key, STEPS)["episode_return"])
            return jnp.concatenate([jnp.zeros(1), collected])[::20]

        reward = over_runs(run, RUNS, width=50)
        numbers[name] = band(axes, time, reward, name, color)
        mean, at_change = reward.mean(axis=0), CHANGE // 20
        rate[name] = (
            mean[at_change] - mean[at_change - 50],
            mean[-1] - mean[-51],
        )  # of the last 1,000 steps, before and after
    axes.set(xlabel="time steps", ylabel="cumulative reward", xlim=(0, STEPS), ylim=(0, None))
    axes.annotate(
        " a shorter way opens", (CHANGE, 0.02), xycoords=("data", "axes fraction"), color="0.4"
    )
    axes.legend()
    numbers["goals in 1,000 steps, before and after"] = rate
    claims = {
        "Dyna-Q does not switch to the shortcut": rate["Dyna-Q"][1] < 1.15 * rate["Dyna-Q"][0],
        "Dyna-Q+ finds it": rate["Dyna-Q+"][1] > 1.2 * rate["Dyna-Q+"][0],
        "Dyna-Q+ earns more than Dyna-Q at the end": rate["Dyna-Q+"][1] > rate["Dyna-Q"][1],
    }
    return save("figure_8_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
