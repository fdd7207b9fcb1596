"""Figure 8.4 and example 8.2: the blocking maze

After 1,000 steps the short way, of 10 steps, is closed and one of 16 opened. Reward collected by Dyna-Q and Dyna-Q+ with 10
planning steps, step size 0.5, epsilon 0.1, a discount of 0.95 and, for Dyna-Q+, kappa = 0.001; 200 runs.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import ColorS, band, canvas, over_runs, save, steps
from purerl.agents import DynaQ, DynaQPlus

RUNS, STEPS, CHANGE = 200, 3_000, 1_000


def figure():
    env = purerl.make("BlockingMaze-v0", change=CHANGE)
    settings = {
        "env": env,
        "planning_steps": 10,
        "learning_rate": 0.5,
        "discount": 0.95,
        "epsilon": 0.1,
    }
    methods = {"Dyna-Q+": DynaQPlus(curiosity=1e-3, **settings), "Dyna-Q": DynaQ(**settings)}
    picture, (axes,) = canvas(width=7.5)
    axes.axvline(CHANGE, color="0.7", linewidth=1)
    time = np.arange(0, STEPS + 1, 10)
    numbers, reward = {"time": time}, {}
    for (name, agent), color in zip(methods.items(), ColorS, strict=False):

        def run(key, agent=agent):
            collected = jnp.cumsum(steps(agent, key, STEPS)["episode_return"])
            return jnp.concatenate([jnp.zeros(1), collected])[::10]

        reward[name] = over_runs(run, RUNS, width=100)
        numbers[name] = band(axes, time, reward[name], name, color)
    axes.set(xlabel="time steps", ylabel="cumulative reward", xlim=(0, STEPS), ylim=(0, None))
    axes.annotate(
        " the way is closed", (CHANGE, 0.02), xycoords=("data", "axes fraction"), color="0.4"
    )
    axes.legend()
    at_change = CHANGE // 10
    after = {name: total - total[:, at_change : at_change + 1] for name, total in reward.items()}
    found = {name: (total[:, -1] > 0).mean() for name, total in after.items()}
    numbers["runs that find the new way"] = found
    mean = {name: total.mean(axis=0) for name, total in reward.items()}
    claims = {
        "both find the short way within the first 1,000 steps": all(
            np.mean(t[:, at_change] > 0) > 0.9 for t in reward.values()
        ),
        "after the change the graphs become flat, for no reward is earned behind the barrier": (
            all(m[at_change + 20] - m[at_change] < 1 for m in mean.values())
        ),
        "after a while Dyna-Q+ finds the new opening": found["Dyna-Q+"] > 0.95,
        f"so does Dyna-Q (here in {100 * found['Dyna-Q']:.0f}% of the runs)": found["Dyna-Q"]
        > 0.95,
        "Dyna-Q+ has collected more at the end": mean["Dyna-Q+"][-1] > mean["Dyna-Q"][-1],
    }
    return save("figure_8_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
