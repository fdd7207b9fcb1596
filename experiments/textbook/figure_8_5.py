"""Figure 8.5 and example 8.3: the shortcut maze

After 3,000 steps a way of 10 steps is opened beside the one of 16. Reward collected by Dyna-Q and Dyna-Q+ with 50 planning
steps, a step size of 1 (the maze is deterministic), epsilon 0.1, a discount of 0.95 and, for Dyna-Q+, kappa = 0.001; 200 runs.
The slopes of the dashed lines are the exact ones of the best epsilon-greedy policies before and after the change.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import COLOURS, EXACT, band, canvas, over_runs, save, steps
from purerl import mdp
from purerl.agents import DynaQ, DynaQPlus

RUNS, STEPS, CHANGE, EVERY = 200, 6_000, 3_000, 20
DISCOUNT, EPSILON = 0.95, 0.1
LATE = 500  # steps at the end, by which it is judged which way a run goes


def figure():
    env = purerl.make("ShortcutMaze-v0", change=CHANGE)
    settings = {"env": env, "planning_steps": 50, "learning_rate": 1.0, "discount": DISCOUNT, "epsilon": EPSILON}
    methods = {"Dyna-Q+": DynaQPlus(curiosity=1e-3, **settings), "Dyna-Q": DynaQ(**settings)}
    long, short = (
        float(mdp.visits(model, mdp.epsilon_soft_optimal(model, DISCOUNT, EPSILON).policy).sum())
        for model in (env.mdp_before, env.mdp_after)
    )
    picture, (axes,) = canvas(width=7.5)
    axes.axvline(CHANGE, color="0.7", linewidth=1)
    axes.annotate(" the shortcut is opened", (CHANGE, 0.02), xycoords=("data", "axes fraction"), color="0.4")
    time = np.arange(0, STEPS + 1, EVERY)
    numbers, reward = {"time": time, "steps by the long way, exact": long, "steps by the shortcut, exact": short}, {}
    for (name, agent), colour in zip(methods.items(), COLOURS, strict=False):

        def run(key, agent=agent):
            collected = jnp.cumsum(steps(agent, key, STEPS)["episode_return"])
            return jnp.concatenate([jnp.zeros(1), collected])[::EVERY]

        reward[name] = over_runs(run, RUNS, width=100)
        numbers[name] = band(axes, time, reward[name], name, colour)
    since, change = time[time >= CHANGE], CHANGE // EVERY
    for pace, way, style in ((short, "by the shortcut", "--"), (long, "by the long way", ":")):
        line = reward["Dyna-Q"][:, change].mean() + (since - CHANGE) / pace
        axes.plot(since, line, label=f"the best epsilon-greedy policy {way}: {pace:.1f} steps", **EXACT | {"linestyle": style})
    axes.set(xlabel="time steps", ylabel="cumulative reward", xlim=(0, STEPS), ylim=(0, None))
    axes.legend(loc="upper left")
    # A run has switched if its last episodes are nearer to the shortcut's length than to the long way's.
    goals = {name: total[:, -1] - total[:, -1 - LATE // EVERY] for name, total in reward.items()}
    switched = {name: (LATE / np.maximum(count, 1) < (long + short) / 2).mean() for name, count in goals.items()}
    numbers["share of runs that switch to the shortcut"] = switched
    ahead = reward["Dyna-Q+"].mean(axis=0) - reward["Dyna-Q"].mean(axis=0)
    claims = {
        f"Dyna-Q hardly ever switches to the shortcut (here {switched['Dyna-Q']:.1%} of the runs)": switched["Dyna-Q"] < 0.05,
        f"Dyna-Q+ does (here {switched['Dyna-Q+']:.0%})": switched["Dyna-Q+"] > 0.9,
        "Dyna-Q+ has collected more at the end": ahead[-1] > 10,
        "before the change its lead narrows, for curiosity costs (exercise 8.3)": 0 < ahead[change] < ahead[: change + 1].max(),
    }
    return save("figure_8_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
