"""A maze that is drawn anew in every episode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.checks import check_choice, check_size, refusal, shown, whole
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.grids.gridworld import colors
from purerl.pytree import Node, static


def draw_maze(words: jax.Array) -> jax.Array:
    """Draw a perfect maze, in which there is one path between any two cells.

    This is the sidewinder method on whole rows of bits. Coin tosses between neighboring
    cells cut a row of ``n`` cells into runs. The cells of a run are joined, and one of
    them is joined to the row above: the leftmost, the next, ... with probability 1/2,
    1/4, ..., and the last with the remaining probability. The uppermost row is a single
    run. So mazes are not equally likely: each has a corridor along its whole upper
    side, and from every cell there is a path to it that never goes down.

    Args:
        words: random words, uint32 ``[n]``, ``2 <= n <= 15``; the first is not used.

    Returns:
        uint32 ``[2 n + 1]``. Bit ``j`` of word ``i`` tells whether there is a wall in
        row ``i`` and column ``j``. Cells lie at odd rows and columns; the bits beyond
        the maze are zero.
    """
    n = words.shape[0]
    every = jnp.uint32(2**n - 1)
    last = jnp.uint32(2 ** (n - 1))
    below = jnp.arange(n, dtype=jnp.int32) > 0
    ends = jnp.where(below, words & every, 0) | last
    starts = (ends << 1 | 1) & every
    # Each run is a number with at least one bit set. Subtracting one from all runs at
    # once clears each run's lowest such bit and sets those below it, without a borrow
    # from the next run.
    candidates = words >> 16 & every | ends
    up = jnp.where(below, candidates & ~(candidates - starts), 0)

    rows_between = _spread(up) << 1
    rows_of_cells = (_spread(jnp.full(n, every, jnp.uint32)) | _spread(~ends & every) << 1) << 1
    ways = jnp.append(jnp.stack([rows_between, rows_of_cells], axis=1).reshape(-1), jnp.uint32(0))
    return ~ways & jnp.uint32(2 ** (2 * n + 1) - 1)


def _spread(word):
    """Move bit ``j`` to bit ``2 j``, for sixteen bits."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        word = (word | word << shift) & jnp.uint32(mask)
    return word


class RandomMazeState(NamedTuple):
    """The walls, and the positions of agent and goal.

    Attributes:
        walls: uint32 ``[size]``, as returned by :func:`draw_maze`.
        row: the agent's, int32 ``[]``.
        column: the agent's, int32 ``[]``.
        goal_row: int32 ``[]``.
        goal_column: int32 ``[]``.
    """

    walls: jax.Array
    row: jax.Array
    column: jax.Array
    goal_row: jax.Array
    goal_column: jax.Array


class RandomMaze(Node):
    """A maze drawn by :func:`draw_maze` at every reset, with one path to the goal.

    - Observation: the planes wall, agent, goal, bool ``[size, size, 3]``. With
      ``view``, only the square of that side around the agent, bool ``[view, view, 3]``,
      in which everything beyond the border is wall.
    - Actions: up, right, down, left; at a wall the agent stays in place.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: in one of the four corners, equally likely; the goal is in the opposite
      one.
    - Termination: on the goal. With ``holes`` also on a wall, which then is a hole in
      the ice, as in FrozenLake.

    Attributes:
        size: side of the maze with its border, odd, in ``[5, 31]``. Static.
        view: side of the observed square, odd; None for the whole maze. Static.
        holes: whether walls are holes. Static.

    Raises:
        ValueError: ``size`` or ``view`` is not as above.

    Example:
        >>> env = RandomMaze(size=7)
        >>> print(env.ascii(env.reset(jax.random.key(0))))
        #######
        #G....#
        ###.#.#
        #...#.#
        #.#####
        #....@#
        #######
    """

    size: int = static(default=11)
    view: int | None = static(default=None)
    holes: bool = static(default=False)

    def __post_init__(self):
        if whole(self.size) not in range(5, 32, 2):
            allowed = "an odd whole number in [5, 31]"
            raise refusal("RandomMaze", "size", shown(self.size), allowed)
        check_size(self, "size")
        if self.view is not None:
            if (whole(self.view) or 0) < 1 or self.view % 2 == 0:
                allowed = "None or an odd whole number above 0"
                raise refusal("RandomMaze", "view", shown(self.view), allowed)
            check_size(self, "view")
        check_choice(self, holes=(False, True))

    @property
    def num_actions(self) -> int:
        return 4

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        side = self.view or self.size
        return jax.ShapeDtypeStruct((side, side, 3), jnp.bool_)

    def reset(self, key):
        words = jax.random.bits(key, (self.size // 2,), jnp.uint32)
        far = self.size - 3
        row = 1 + far * (words[0] & 1).astype(jnp.int32)
        column = 1 + far * (words[0] >> 1 & 1).astype(jnp.int32)
        return RandomMazeState(
            walls=draw_maze(words),
            row=row,
            column=column,
            goal_row=self.size - 1 - row,
            goal_column=self.size - 1 - column,
        )

    def step(self, key, state, action):
        del key  # the motion is deterministic
        row = state.row + (action == 2) - (action == 0)
        column = state.column + (action == 1) - (action == 3)
        wall = (state.walls[row] >> column.astype(jnp.uint32) & 1) == 1
        if not self.holes:
            row = jnp.where(wall, state.row, row)
            column = jnp.where(wall, state.column, column)
        arrived = (row == state.goal_row) & (column == state.goal_column)
        terminated = arrived | wall if self.holes else arrived
        outcome = Outcome(arrived.astype(jnp.float32), terminated, jnp.bool_(False))
        return state._replace(row=row, column=column), outcome

    def observe(self, state):
        # The observed rows and columns, some of which may lie beyond the map
        if self.view is None:
            rows = columns = jnp.arange(self.size, dtype=jnp.int32)
            words = state.walls
        else:
            margin = self.view // 2
            offsets = jnp.arange(-margin, margin + 1, dtype=jnp.int32)
            rows = state.row + offsets
            columns = state.column + offsets
            padded = jnp.pad(state.walls, margin, constant_values=np.uint32(2**32 - 1))
            words = lax.dynamic_slice(padded, (state.row,), (self.view,))
        wall = words[:, None] >> columns.astype(jnp.uint32) & 1 == 1
        wall = wall | (columns < 0) | (columns >= self.size)
        agent = (rows[:, None] == state.row) & (columns == state.column)
        goal = (rows[:, None] == state.goal_row) & (columns == state.goal_column)
        return jnp.stack([wall, agent, goal], axis=-1)

    def _picture(self, state):
        """The map, and the agent's (row, column)."""
        letters = np.where(np.asarray(state.walls)[:, None] >> np.arange(self.size) & 1, "#", ".")
        letters[int(state.goal_row), int(state.goal_column)] = "G"
        return ["".join(row) for row in letters], (int(state.row), int(state.column))

    def ascii(self, state: RandomMazeState) -> str:
        """The map, with ``@`` for the agent."""
        return drawing.text(*self._picture(state))

    def render(self, state):
        rows, agent = self._picture(state)
        return drawing.paint(colors(rows), agent)
