"""Figure 8.4 and example 8.2: the blocking maze

After 1,000 steps the short way, of 10 steps, is closed and one of 16 opened. Reward collected by Dyna-Q and Dyna-Q+ with 10
planning steps, a step size of 1 (the maze is deterministic), epsilon 0.1, a discount of 0.95 and, for Dyna-Q+, kappa = 0.001;
200 runs. The slope of the dashed line is the exact one of the best epsilon-greedy policy after the change.
"""

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import COLOURS, EXACT, band, canvas, over_runs, save, steps
from purerl import mdp
from purerl.agents import DynaQ, DynaQPlus

RUNS, STEPS, CHANGE, EVERY = 200, 3_000, 1_000, 10
DISCOUNT, EPSILON = 0.95, 0.1


def figure():
    env = purerl.make("BlockingMaze-v0", change=CHANGE)
    settings = {"env": env, "planning_steps": 10, "learning_rate": 1.0, "discount": DISCOUNT, "epsilon": EPSILON}
    methods = {"Dyna-Q+": DynaQPlus(curiosity=1e-3, **settings), "Dyna-Q": DynaQ(**settings)}
    after = env.mdp_after
    steps_of_best = float(mdp.visits(after, mdp.epsilon_soft_optimal(after, DISCOUNT, EPSILON).policy).sum())
    picture, (axes,) = canvas(width=7.5)
    axes.axvline(CHANGE, color="0.7", linewidth=1)
    axes.annotate(" the way is closed", (CHANGE, 0.02), xycoords=("data", "axes fraction"), color="0.4")
    time = np.arange(0, STEPS + 1, EVERY)
    numbers, reward = {"time": time, "steps, exact": steps_of_best}, {}
    for (name, agent), colour in zip(methods.items(), COLOURS, strict=False):

        def run(key, agent=agent):
            collected = jnp.cumsum(steps(agent, key, STEPS)["episode_return"])
            return jnp.concatenate([jnp.zeros(1), collected])[::EVERY]

        reward[name] = over_runs(run, RUNS, width=100)
        numbers[name] = band(axes, time, reward[name], name, colour)
    line = reward["Dyna-Q+"][:, -1].mean() + (time - STEPS) / steps_of_best
    label = f"the best epsilon-greedy policy: {steps_of_best:.1f} steps an episode"
    axes.plot(time[time >= CHANGE], line[time >= CHANGE], label=label, **EXACT)
    axes.set(xlabel="time steps", ylabel="cumulative reward", xlim=(0, STEPS), ylim=(0, None))
    axes.legend(loc="upper left")
    change = CHANGE // EVERY
    gained = {name: total - total[:, change, None] for name, total in reward.items()}
    found = {name: (total[:, -1] > 0).mean() for name, total in gained.items()}
    # When half of the runs have earned something since the change.
    half = {name: EVERY * int(np.argmax((total > 0).mean(axis=0) >= 0.5)) - CHANGE for name, total in gained.items()}
    numbers |= {"share of runs that find the new way": found, "steps until half of them have": half}
    curious, plain = reward["Dyna-Q+"].mean(axis=0), reward["Dyna-Q"].mean(axis=0)
    claims = {
        "both find the short way within the first 1,000 steps": min((r[:, change] > 3).mean() for r in reward.values()) > 0.98,
        "after the change the graphs become flat": max(g[:, change + 10].mean() for g in gained.values()) < 2,
        f"after a while both find the new way (here {found['Dyna-Q+']:.0%} of the runs and, without curiosity, "
        f"{found['Dyna-Q']:.0%})": min(found.values()) > 0.5,
        "Dyna-Q+ finds it sooner": found["Dyna-Q+"] > found["Dyna-Q"] and half["Dyna-Q+"] < half["Dyna-Q"],
        "Dyna-Q+ is ahead on both mazes": curious[change] > plain[change]
        and gained["Dyna-Q+"][:, -1].mean() > gained["Dyna-Q"][:, -1].mean(),
    }
    return save("figure_8_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
