"""Figure 8.4 and example 8.2: the blocking maze

After 1,000 steps the short way, of 10 steps, is closed and one of 16 opened. Reward
collected by Dyna-Q and Dyna-Q+ with 10 planning steps, step size 0.5, epsilon 0.1, a
discount of 0.95 and, for Dyna-Q+, kappa = 0.001; 200 runs.
"""

import functools
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import band, canvas, save, steps
from purerl.agents import DynaQ, DynaQPlus
from purerl.envs.base import IndexedEnvironment
from purerl.figures.plotting import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS, STEPS, CHANGE, EVERY = 200, 3_000, 1_000, 10


def cumulative_reward(
    env: IndexedEnvironment,
    planning_steps: int,
    runs: int,
    num_steps: int,
    every: int,
    lanes: int,
) -> dict[str, np.ndarray]:
    """Reward of Dyna-Q+ and Dyna-Q so far, ``[runs, num_steps / every + 1]`` each."""

    def collected(agent, key):
        total = jnp.cumsum(steps(agent, key, num_steps)["episode_return"].total)
        return jnp.concatenate([jnp.zeros(1), total])[::every]

    plus = DynaQPlus(
        env=env,
        planning_steps=planning_steps,
        learning_rate=0.5,
        discount=0.95,
        epsilon=0.1,
        curiosity=1e-3,
    )
    plain = DynaQ(
        env=env, planning_steps=planning_steps, learning_rate=0.5, discount=0.95, epsilon=0.1
    )
    return {
        name: purerl.over_seeds(functools.partial(collected, agent), runs, lanes=lanes)
        for name, agent in {"Dyna-Q+": plus, "Dyna-Q": plain}.items()
    }


def draw(
    reward: dict[str, np.ndarray], num_steps: int, every: int, change: int, note: str
) -> tuple["Figure", dict[str, Any]]:
    """Draw cumulative rewards and the time of the change; returns the numbers too."""
    picture, (axes,) = canvas(width=7.5)
    axes.axvline(change, color="0.7", linewidth=1)
    time = np.arange(0, num_steps + 1, every)
    numbers: dict[str, Any] = {"time": time}
    for (name, samples), color in zip(reward.items(), COLORS, strict=False):
        numbers[name] = band(axes, time, samples, name, color)
    axes.set(xlabel="time steps", ylabel="cumulative reward", xlim=(0, num_steps), ylim=(0, None))
    axes.annotate(note, (change, 0.02), xycoords=("data", "axes fraction"), color="0.4")
    axes.legend()
    return picture, numbers


def figure():
    env = purerl.make("BlockingMaze-v0", change=CHANGE)
    reward = cumulative_reward(env, 10, RUNS, STEPS, EVERY, lanes=100)
    picture, numbers = draw(reward, STEPS, EVERY, CHANGE, " the way is closed")
    at_change = CHANGE // EVERY
    after = {name: total - total[:, at_change : at_change + 1] for name, total in reward.items()}
    found = {name: (total[:, -1] > 0).mean() for name, total in after.items()}
    numbers["runs that find the new way"] = found
    mean = {name: total.mean(axis=0) for name, total in reward.items()}
    claims = {
        "both find the short way within the first 1,000 steps": all(
            np.mean(t[:, at_change] > 0) > 0.9 for t in reward.values()
        ),
        "after the change the curves are flat, since no reward is earned behind the barrier": all(
            m[at_change + 20] - m[at_change] < 1 for m in mean.values()
        ),
        "after a while Dyna-Q+ finds the new opening": found["Dyna-Q+"] > 0.95,
        f"so does Dyna-Q (here in {100 * found['Dyna-Q']:.0f}% of the runs)": (
            found["Dyna-Q"] > 0.95
        ),
        "Dyna-Q+ has collected more at the end": mean["Dyna-Q+"][-1] > mean["Dyna-Q"][-1],
    }
    return save("figure_8_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
