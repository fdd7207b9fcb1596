"""Example 8.4: prioritized sweeping on mazes

The Dyna maze, and larger ones in which every cell of it is 2, 4, 8 or 16: how many updates it takes until the greedy policy
comes to the goal, if not by the shortest way, then by one at most a fifth longer, as the book is usually read. (The last of the
improvements wait for exploration, not for planning.) Prioritized sweeping and Dyna-Q make at most five updates for each step of
the environment; step size 1, for nothing is random, epsilon 0.1, a discount of 0.95, threshold 1e-5. Medians of 50 runs, with
the interval that order statistics give, because a run may take very long; the policy is looked at every quarter of the shortest
way. The dashed line is what nothing can beat, one update for each step of that way.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.textbook.common import (
    EXACT,
    ColorS,
    Interval,
    canvas,
    length_of_episodes,
    over_runs,
    save,
)
from purerl import mdp, timescan
from purerl.agents import DynaQ, PrioritizedSweeping
from purerl.envs.grids.gridworld import gridworld
from purerl.envs.grids.mazes import DYNA

RUNS, UPDATES, LONGER = (
    50,
    5,
    1.2,
)  # updates of each step at most, and how much longer than the shortest way will do
FACTORS = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4))  # rows and columns of a cell
SETTINGS = {"learning_rate": 1.0, "discount": 0.95, "epsilon": 0.1}


class Method(NamedTuple):
    """An agent of an environment, the updates that it has made, and after how many steps for each cell it is given up, several
    times what the median run needs."""

    make: Callable
    updates: Callable
    patience: int


METHODS = {
    "Dyna-Q": Method(
        lambda env: DynaQ(env=env, planning_steps=UPDATES - 1, **SETTINGS),
        lambda state, t: UPDATES * t,
        patience=80,
    ),
    "prioritized sweeping": Method(  # whose visits are to pairs taken from the queue
        lambda env: PrioritizedSweeping(
            env=env, planning_steps=UPDATES, threshold=1e-5, count_visits=True, **SETTINGS
        ),
        lambda state, t: jnp.sum(state.visits),
        patience=60,
    ),
}


def magnified(rows: int, columns: int) -> list[str]:
    """The Dyna maze with so many cells for one. The start is the first of them, the goal all."""
    tall = ["".join(cell * columns for cell in row) for row in DYNA for _ in range(rows)]
    start = next(place for place, row in enumerate(tall) if "S" in row)
    tall[start] = tall[start].replace("S", "s", 1)
    return [row.replace("S", ".").replace("s", "S") for row in tall]


def updates_needed(method: Method, env, way: int, cells: int, key: jax.Array) -> jax.Array:
    """Until the greedy policy is good enough; infinity if that takes longer than anybody waits."""
    agent = method.make(env)
    start, between = jnp.argmax(env.mdp.initial), math.ceil(way / 4)

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

    def goes_on(carry):
        return ~carry[2] & (carry[1] < method.patience * cells)

    state, t, found = jax.lax.while_loop(goes_on, advance, (agent.init(key), jnp.int32(0), False))
    return jnp.where(found, method.updates(state, t), jnp.inf)


def median(samples: np.ndarray) -> Interval:
    """Of the first axis, between the order statistics that hold it with 95%."""
    middle, half = len(samples) / 2, 0.98 * math.sqrt(len(samples))
    ordered = np.sort(samples, axis=0)
    return Interval(
        np.median(samples, axis=0),
        ordered[math.floor(middle - half) - 1],
        ordered[math.ceil(middle + half)],
    )


def figure():
    envs = [gridworld(magnified(*factors)) for factors in FACTORS]
    cells = np.array([sum(len(row) - row.count("#") for row in env.rows) for env in envs])
    optima = (mdp.greedy(mdp.optimal_q(env.mdp, SETTINGS["discount"])) for env in envs)
    ways = np.array(
        [
            round(length_of_episodes(env.mdp, optimum))
            for env, optimum in zip(envs, optima, strict=True)
        ]
    )
    picture, (axes,) = canvas(width=7.5)
    numbers, found = {"cells": cells, "shortest way": ways}, {}
    for (name, method), color in zip(METHODS.items(), ColorS, strict=False):
        runs = [
            over_runs(
                lambda key, of=of, method=method: updates_needed(method, *of, key),
                RUNS,
                width=RUNS // 2,
            )
            for of in zip(envs, map(int, ways), map(int, cells), strict=True)
        ]
        found[name] = numbers[name] = median(np.stack(runs, axis=1))
        numbers[f"{name}: runs longer than {method.patience} steps for each cell"] = [
            np.isinf(run).sum() for run in runs
        ]
        axes.plot(cells, found[name].mean, color=color, label=name, marker="o")
        axes.fill_between(
            cells, found[name].low, found[name].high, color=color, alpha=0.2, linewidth=0
        )
    axes.plot(cells, ways, label="the shortest way", **EXACT)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="cells of the maze",
        ylabel="updates until the policy is good",
    )
    axes.set_xticks(cells, map(str, cells))
    axes.minorticks_off()
    axes.legend()
    dyna, sweeping = found["Dyna-Q"], found["prioritized sweeping"]
    ratio = dyna.mean / sweeping.mean
    claims = {
        "prioritized sweeping needs fewer updates on every maze": (sweeping.high < dyna.low).all(),
        f"by a factor of five to ten or more (here {ratio.min():.0f} to {ratio.max():.0f})": ratio.min()
        > 5,
        "both need more, the larger the maze": (np.diff(sweeping.mean) > 0).all()
        and (np.diff(dyna.mean) > 0).all(),
        "nothing needs less than the shortest way": (sweeping.low >= ways).all(),
    }
    return save("example_8_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
