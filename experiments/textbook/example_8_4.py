"""Example 8.4: prioritized sweeping on mazes

The Dyna maze, and larger ones in which each of its cells is 2, 4, 8 or 16: the number
of updates until the greedy policy reaches the goal, by a path at most a fifth longer
than the shortest, as the book is usually read. (The last improvements depend on
exploration, not on planning.) Prioritized sweeping and Dyna-Q make at most five updates
per step of the environment; step size 1, since nothing is random, epsilon 0.1, a
discount of 0.95, threshold 1e-5. Medians of 50 runs, with the interval given by order
statistics, because a run may take very long; the policy is evaluated every quarter of
the shortest way. The dashed line is a lower bound, one update for each step of the
shortest way.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, canvas, episode_length, save
from purerl import mdp, timescan
from purerl.agents import DynaQ, PrioritizedSweeping
from purerl.envs.grids.gridworld import gridworld
from purerl.envs.grids.mazes import DYNA
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import Band

RUNS = 50
UPDATES = 5  # per step of the environment, at most
LONGER = 1.2  # length of a good path, in shortest paths
DISCOUNT = 0.95
FACTORS = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4))  # rows and columns of a cell


class Method(NamedTuple):
    """A planning method.

    Attributes:
        make: the agent for an environment.
        updates: the number of updates so far, of its state and the number of steps.
        patience: steps for each cell after which a run is stopped, several times as
            many as the median run needs.
    """

    make: Callable
    updates: Callable
    patience: int


def dyna(env):
    return DynaQ(
        env=env, planning_steps=UPDATES - 1, learning_rate=1.0, discount=DISCOUNT, epsilon=0.1
    )


def sweeping(env):
    return PrioritizedSweeping(
        env=env,
        planning_steps=UPDATES,
        threshold=1e-5,
        learning_rate=1.0,
        discount=DISCOUNT,
        epsilon=0.1,
        count_visits=True,  # counts the pairs taken from the queue
    )


METHODS = {
    "Dyna-Q": Method(dyna, lambda state, t: UPDATES * t, patience=80),
    "prioritized sweeping": Method(sweeping, lambda state, t: jnp.sum(state.visits), patience=60),
}


def magnified(rows: int, columns: int) -> list[str]:
    """The Dyna maze with each cell repeated.

    The start is the first copy of its cell; all copies of the goal are goals.
    """
    tall = ["".join(cell * columns for cell in row) for row in DYNA for _ in range(rows)]
    start = next(place for place, row in enumerate(tall) if "S" in row)
    tall[start] = tall[start].replace("S", "s", 1)
    return [row.replace("S", ".").replace("s", "S") for row in tall]


def updates_needed(method: Method, env, way: int, cells: int, key: jax.Array) -> jax.Array:
    """Updates until the greedy policy is good; infinity if the run is stopped."""
    agent = method.make(env)
    start = jnp.argmax(env.mdp.initial)
    between = math.ceil(way / 4)

    def good(q):
        def follow(_, carry):
            cell, ended = carry
            pair = cell, jnp.argmax(q[cell])
            return env.mdp.next_state[pair][0], ended | env.mdp.terminated[pair][0]

        return jax.lax.fori_loop(0, math.floor(LONGER * way), follow, (start, False))[1]

    def advance(carry):
        state, t, _ = carry
        state, _ = timescan.time_scan(agent.step, state, t + jnp.arange(between, dtype=jnp.int32))
        return state, t + between, good(state.q)

    def unfinished(carry):
        return ~carry[2] & (carry[1] < method.patience * cells)

    carry = agent.init(key), jnp.int32(0), False
    state, t, found = jax.lax.while_loop(unfinished, advance, carry)
    return jnp.where(found, method.updates(state, t), jnp.inf)


def median_band(samples: np.ndarray) -> Band:
    """Medians over the first axis, with 95% intervals between order statistics."""
    middle = len(samples) / 2
    half = 0.98 * math.sqrt(len(samples))
    ordered = np.sort(samples, axis=0)
    return Band(
        np.median(samples, axis=0),
        ordered[math.floor(middle - half) - 1],
        ordered[math.ceil(middle + half)],
    )


def figure():
    envs = [gridworld(magnified(*factors)) for factors in FACTORS]
    cells = np.array([sum(len(row) - row.count("#") for row in env.rows) for env in envs])
    optima = [mdp.greedy(mdp.optimal_q(env.mdp, DISCOUNT)) for env in envs]
    lengths = [episode_length(env.mdp, pi) for env, pi in zip(envs, optima, strict=True)]
    ways = np.array([round(length) for length in lengths])
    picture, (axes,) = canvas(width=7.5)
    numbers: dict[str, Any] = {"cells": cells, "shortest way": ways}
    found = {}
    for (name, method), color in zip(METHODS.items(), COLORS, strict=False):
        runs = [
            purerl.over_seeds(
                functools.partial(updates_needed, method, env, int(way), int(size)),
                RUNS,
                lanes=RUNS // 2,
            )
            for env, way, size in zip(envs, ways, cells, strict=True)
        ]
        found[name] = numbers[name] = median_band(np.stack(runs, axis=1))
        stopped = [np.isinf(run).sum() for run in runs]
        numbers[f"{name}: runs longer than {method.patience} steps for each cell"] = stopped
        draw_band(axes, cells, found[name], color=color, label=name, marker="o")
    axes.plot(cells, ways, label="steps of the shortest way", **EXACT)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="cells of the maze", ylabel="updates until the policy is good")
    axes.set_xticks(cells, map(str, cells))
    axes.minorticks_off()
    axes.legend()
    dyna_q, swept = found["Dyna-Q"], found["prioritized sweeping"]
    ratio = dyna_q.point / swept.point
    claims = {
        "prioritized sweeping needs fewer updates on every maze": (swept.high < dyna_q.low).all(),
        f"by a factor of five to ten or more (here {ratio.min():.0f} to {ratio.max():.0f})": (
            ratio.min() > 5
        ),
        "both need more updates on larger mazes": (
            (np.diff(swept.point) > 0).all() and (np.diff(dyna_q.point) > 0).all()
        ),
        "none needs fewer updates than the shortest way has steps": (swept.low >= ways).all(),
    }
    return save("example_8_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
