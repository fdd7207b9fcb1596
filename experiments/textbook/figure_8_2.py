"""Figure 8.2 and example 8.1: planning in a maze

Dyna-Q with 0, 5 and 50 planning steps per real one (0 is Q-learning): step size and
epsilon 0.1, a discount of 0.95, 300 runs (the book has 30). No value changes before the
goal is first found, so that all three spend the first episode in the same way. The
dashed line is exact, the mean length of an episode of the best epsilon-greedy policy;
the shortest way takes 14 steps. The vertical axis is logarithmic, unlike the book's.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, episode_length, save
from purerl import QLearning, mdp
from purerl.agents import DynaQ
from purerl.figures.plotting import COLORS

RUNS, EPISODES = 300, 50
DISCOUNT, EPSILON = 0.95, 0.1
PLANNING = (0, 5, 50)


def make_agent(env, planning_steps, alpha):
    """Q-learning, or Dyna-Q if there are planning steps."""
    settings = {"env": env, "learning_rate": alpha, "discount": DISCOUNT, "epsilon": EPSILON}
    if planning_steps == 0:
        return QLearning(**settings)
    return DynaQ(planning_steps=planning_steps, **settings)


def figure():
    env = purerl.make("DynaMaze-v0")
    soft = mdp.epsilon_soft_optimal(env.mdp, DISCOUNT, EPSILON).policy
    steps_of_best = episode_length(env.mdp, soft)
    shortest = episode_length(env.mdp, mdp.greedy(mdp.optimal_q(env.mdp, DISCOUNT)))
    uniform = jnp.full((env.num_states, env.num_actions), 1 / env.num_actions)
    random_walk = episode_length(env.mdp, uniform)
    picture, (axes,) = canvas(width=7.5)
    number = np.arange(1, EPISODES + 1)
    numbers: dict[str, Any] = {
        "episode": number,
        "steps, exact": steps_of_best,
        "shortest": shortest,
    }
    lengths = {}
    needed = {}
    axes.axhline(
        steps_of_best, label=f"the best epsilon-greedy policy: {steps_of_best:.1f} steps", **EXACT
    )
    for n, color in zip(PLANNING, COLORS, strict=False):
        runs = purerl.over_episodes(
            lambda alpha, n=n: make_agent(env, n, alpha), np.array([0.1]), RUNS, EPISODES, lanes=150
        )
        lengths[n] = runs["length"][0]
        label = f"{n} planning steps" if n else "0 planning steps: Q-learning"
        numbers[label] = band(axes, number, lengths[n], label, color)
        # The first episode whose mean length over runs is within a fifth of the exact
        # one.
        needed[n] = int(number[np.argmax(lengths[n].mean(axis=0) < 1.2 * steps_of_best)])
    numbers["episodes needed"] = needed
    axes.set(xlabel="episodes", ylabel="steps per episode", xlim=(2, EPISODES), yscale="log")
    ticks = [15, 20, 50, 100, 200, 500]
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.legend()
    first = lengths[0][:, 0]
    claims = {
        "the first episode takes about 1,700 steps for any number of planning steps": (
            1500 < first.mean() < 1900
        ),
        f"it is a random walk: {random_walk:.0f} steps on average by the exact model": (
            abs(first.mean() / random_walk - 1) < 0.15
            and all((lengths[n][:, 0] == first).all() for n in PLANNING)
        ),
        "performance improves for all of them": all(
            lengths[n][:, -1].mean() < 0.1 * first.mean() for n in PLANNING
        ),
        "without planning it takes about 25 episodes to epsilon-optimal performance "
        f"(here {needed[0]})": 15 <= needed[0] <= 35,
        f"with 5 planning steps about five (here {needed[5]})": 3 <= needed[5] <= 8,
        f"with 50 about three (here {needed[50]})": 2 <= needed[50] <= 4,
    }
    return save("figure_8_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
