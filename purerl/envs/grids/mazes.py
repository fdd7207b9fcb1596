"""Mazes for planning: a constant one, and two whose walls change."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import check_numbers
from purerl.envs.grids.gridworld import DrawnGrid, GridWorld, gridworld
from purerl.mdp.model import FiniteMDP
from purerl.pytree import Node

DYNA = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)


def _with_wall(wall):
    return ("........G", ".........", ".........", wall, ".........", "...S.....")


OPEN_RIGHT, OPEN_LEFT, OPEN_BOTH = map(_with_wall, ("########.", ".########", ".#######."))

STEPS = ("a whole number in [0, 2**31)", lambda x: (x >= 0) & (x < 2**31) & (x == np.floor(x)))


def dyna_maze() -> GridWorld:
    """The maze of Sutton & Barto, Example 8.1 (Figure 8.2).

    *Reinforcement Learning: An Introduction*, 2nd edition. Six rows and nine columns;
    the shortest path takes 14 steps.

    - Observation: the cell, ``9 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left; at a wall or the border the agent stays in place.
    - Reward: 1 for reaching the goal, 0 elsewhere (the book discounts by 0.95).
    - Start: ``(2, 0)``, as (row, column).
    - Termination: on the goal, ``(0, 8)``.
    """
    return gridworld(DYNA)


class MazeState(NamedTuple):
    """The agent's cell, and the clock; int32 ``[]``.

    Attributes:
        cell: row by row.
        remaining: steps until the walls change, 0 from then on.
    """

    cell: jax.Array
    remaining: jax.Array


class ChangingMaze(Node):
    """A maze whose walls change once. Make one with :func:`changing_maze`.

    They change after a number of steps, counted over all episodes. The clock continues
    from one episode to the next (``restart``); only ``reset`` sets it back. An agent on
    a cell that becomes a wall can still move out of it.

    - Observation: the cell, ``row * width + column``, int32 ``[]``; the clock is not
      observed.
    - Actions: up, right, down, left.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: the map's.
    - Termination: on the goal.

    Attributes:
        before: the maze of the first ``change`` steps.
        after: the maze from then on.
        change: number of steps, whole, in ``[0, 2**31)``.
    """

    before: DrawnGrid
    after: DrawnGrid
    change: int | jax.Array

    def __post_init__(self):
        check_numbers(self, change=STEPS)

    @property
    def num_states(self) -> int:
        return self.before.num_states

    @property
    def num_actions(self) -> int:
        return self.before.num_actions

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return self.before.observation

    @property
    def mdp_before(self) -> FiniteMDP:
        """The exact model before the change."""
        return self.before.mdp

    @property
    def mdp_after(self) -> FiniteMDP:
        """The exact model from the change on."""
        return self.after.mdp

    @property
    def mdp(self) -> FiniteMDP:
        """``mdp_after``, the permanent model."""
        return self.mdp_after

    def states(self) -> MazeState:
        """Every state after the change, int32 ``[S]`` each."""
        return MazeState(self.after.states(), jnp.zeros(self.num_states, jnp.int32))

    def reset(self, key):
        return MazeState(self.before.reset(key), jnp.int32(self.change))

    def restart(self, key, reached):
        return MazeState(self.before.reset(key), reached.remaining)

    def step(self, key, state, action):
        changed = state.remaining == 0
        paths = (maze.step(key, state.cell, action) for maze in (self.before, self.after))
        cell, outcome = jax.tree.map(lambda old, new: jnp.where(changed, new, old), *paths)
        return MazeState(cell, jnp.maximum(state.remaining - 1, 0)), outcome

    def observe(self, state):
        return state.cell

    def _now(self, state):
        return self.before if state.remaining > 0 else self.after

    def ascii(self, state: MazeState) -> str:
        """The map as it is now, with ``@`` for the agent."""
        return self._now(state).ascii(state.cell)

    def render(self, state):
        return self._now(state).render(state.cell)


def changing_maze(before: Sequence[str], after: Sequence[str], change: int) -> ChangingMaze:
    """The :class:`ChangingMaze` of two maps.

    :mod:`purerl.envs.grids.gridworld` lists the letters.

    Args:
        before: strings of equal length.
        after: the same, except that floor ``.`` may become walls ``#`` and the other
            way round.
        change: number of steps, counted over all episodes, until the walls change.

    Raises:
        ValueError: a wrong map, maps that differ in more than walls, or ``change`` out
            of its range.
    """
    old, new = gridworld(before), gridworld(after)
    if [row.replace("#", ".") for row in old.rows] != [row.replace("#", ".") for row in new.rows]:
        raise ValueError(
            f"after is {new.rows}; allowed: the map before, {old.rows}, with other walls"
        )
    # In gridworld's model, walls end an episode. Here an agent may stand in a new wall,
    # so that cell gets the transitions of floor.
    mdp = new.mdp
    for cell, (was, is_now) in enumerate(zip("".join(old.rows), "".join(new.rows), strict=True)):
        if (was, is_now) == (".", "#"):
            row, column = divmod(cell, new.shape[1])
            opened = list(new.rows)
            opened[row] = opened[row][:column] + "." + opened[row][column + 1 :]
            free = gridworld(opened).mdp
            mdp = jax.tree.map(
                lambda table, rows, cell=cell: table.at[cell].set(rows[cell]), mdp, free
            )
    return ChangingMaze(old, DrawnGrid.of(mdp, rows=new.rows, directions=new.directions), change)


def blocking_maze(change: int = 1000) -> ChangingMaze:
    """The blocking maze of Sutton & Barto, Example 8.2 (Figure 8.4).

    *Reinforcement Learning: An Introduction*, 2nd edition. After ``change`` steps the
    short path from ``(5, 3)`` to ``(0, 8)``, of 10 steps around the right end of a
    wall, is closed, and a long one of 16 steps around its left end is opened.
    """
    return changing_maze(OPEN_RIGHT, OPEN_LEFT, change)


def shortcut_maze(change: int = 3000) -> ChangingMaze:
    """The shortcut maze of Sutton & Barto, Example 8.3 (Figure 8.5).

    *Reinforcement Learning: An Introduction*, 2nd edition. After ``change`` steps a
    path of 10 steps around the right end of a wall is opened; the path of 16 steps
    around its left end remains, so an agent that does not explore will not notice.
    """
    return changing_maze(OPEN_LEFT, OPEN_BOTH, change)
