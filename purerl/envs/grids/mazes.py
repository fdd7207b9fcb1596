"""Mazes to plan in: one that stays as it is, and two whose walls change."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import check_numbers
from purerl.envs.grids.gridworld import GridWorld, gridworld
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
    """The maze of Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 8.1 (Figure 8.2).

    Six rows and nine columns; the shortest way takes 14 steps.

    - Observation: the cell, ``9 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left; a wall or the border leaves one where one is.
    - Reward: 1 for reaching the goal, 0 elsewhere (the book discounts by 0.95).
    - Start: ``(2, 0)``, as (row, column).
    - Termination: on the goal, ``(0, 8)``.
    """
    return gridworld(DYNA)


class MazeState(NamedTuple):
    """The cell, and how many steps are left until the walls change (0 from then on); int32 ``[]`` each."""

    cell: jax.Array
    remaining: jax.Array


class ChangingMaze(Node):
    """A maze whose walls change once, after a number of steps counted over all episodes. :func:`changing_maze` makes one.

    The clock goes on from one episode to the next (``restart``); only a fresh ``reset`` turns it back. Who stands where a wall
    is put can still walk out of it.

    - Observation: the cell, ``row * width + column``, int32 ``[]``; the clock is not seen.
    - Actions: up, right, down, left.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: the map's.
    - Termination: on the goal.

    Attributes:
        before: the maze of the first ``change`` steps.
        after: the maze from then on.
        change: a number of steps, whole, in ``[0, 2**31)``.
    """

    before: GridWorld
    after: GridWorld
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
        """The exact model up to the change."""
        return self.before.mdp

    @property
    def mdp_after(self) -> FiniteMDP:
        """The exact model from the change on."""
        return self.after.mdp

    @property
    def mdp(self) -> FiniteMDP:
        """``mdp_after``: what holds for good."""
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
        """The map as it is now, with the agent on it."""
        return self._now(state).ascii(state.cell)

    def render(self, state):
        return self._now(state).render(state.cell)


def changing_maze(before: Sequence[str], after: Sequence[str], change: int) -> ChangingMaze:
    """The :class:`ChangingMaze` of two maps (see :mod:`purerl.envs.grids.gridworld` for their letters).

    Args:
        before: strings of equal length.
        after: the same but for walls ``#`` where there was floor ``.``, and the other way round.
        change: after how many steps the walls change, counted over all episodes.

    Raises:
        ValueError: a wrong map, maps that differ in more than walls, or ``change`` out of its range.
    """
    old, new = gridworld(before), gridworld(after)
    if [row.replace("#", ".") for row in old.rows] != [row.replace("#", ".") for row in new.rows]:
        raise ValueError(
            f"after is {new.rows}; allowed: the map before, {old.rows}, with other walls"
        )
    # Walls end an episode in gridworld's model. Here somebody may be caught in one, and leaves it as a cell of floor.
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
    return ChangingMaze(old, GridWorld.of(mdp, rows=new.rows, directions=new.directions), change)


def blocking_maze(change: int = 1000) -> ChangingMaze:
    """The blocking maze of Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 8.2 (Figure 8.4).

    After ``change`` steps the short way from ``(5, 3)`` to ``(0, 8)``, of 10 steps round the right end of a wall, is closed,
    and a long one, of 16 round the left end, opened.
    """
    return changing_maze(OPEN_RIGHT, OPEN_LEFT, change)


def shortcut_maze(change: int = 3000) -> ChangingMaze:
    """The shortcut maze of Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 8.3 (Figure 8.5).

    After ``change`` steps a way of 10 steps is opened, round the right end of a wall, and the one of 16 round its left end
    is left as it was: who does not explore will not notice.
    """
    return changing_maze(OPEN_LEFT, OPEN_BOTH, change)
