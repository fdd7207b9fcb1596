"""Catch: a paddle to be moved under a falling ball."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import check_size
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import below
from purerl.pytree import Node, static


class CatchState(NamedTuple):
    """Positions of the ball and of the paddle, int32 ``[]``.

    Attributes:
        ball_row: 0 at the top.
        ball_column: 0 on the left.
        paddle: the paddle's column.
    """

    ball_row: jax.Array
    ball_column: jax.Array
    paddle: jax.Array


class Catch(Node):
    """A ball that falls one row per step, and a paddle on the bottom row.

    Mnih, Heess, Graves & Kavukcuoglu, "Recurrent models of visual attention" (NeurIPS
    2014); Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020),
    ``catch``, as in bsuite 0.3.6.

    - Observation: 1 where the ball or the paddle is, 0 elsewhere, float32
      ``[rows, columns]``.
    - Actions: 0 moves the paddle left, 1 leaves it, 2 moves it right; it stays within
      the board.
    - Reward: when the ball reaches the bottom row, 1 if the paddle is there and -1 if
      not; 0 before.
    - Start: the ball in the top row, in a uniformly random column; the paddle in column
      ``columns // 2``.
    - Termination: the ball is in the bottom row, after ``rows - 1`` steps.

    Attributes:
        rows: at least 2. Static.
        columns: at least 1. Static.

    Raises:
        ValueError: a size that is not a positive whole number, or a single row.
    """

    rows: int = static(default=10)
    columns: int = static(default=5)

    num_actions = 3

    def __post_init__(self):
        check_size(self, "rows", "columns")
        if self.rows < 2:
            raise ValueError(f"Catch: rows is {self.rows}; allowed: a whole number of at least 2")

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.rows, self.columns), jnp.float32)

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        return 0.0, 1.0

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return self.rows - 1

    def reset(self, key):
        column = below(jax.random.bits(key, (1,), jnp.uint32)[0], self.columns)
        return CatchState(jnp.int32(0), column, jnp.int32(self.columns // 2))

    def step(self, key, state, action):
        paddle = jnp.clip(state.paddle + jnp.int32(action) - 1, 0, self.columns - 1)
        state = CatchState(state.ball_row + 1, state.ball_column, paddle)
        landed = state.ball_row == self.rows - 1
        caught = jnp.where(paddle == state.ball_column, 1.0, -1.0)
        reward = jnp.where(landed, caught, 0.0)
        return state, Outcome(reward.astype(jnp.float32), landed, jnp.bool_(False))

    def observe(self, state):
        cell = jnp.arange(self.rows * self.columns, dtype=jnp.int32).reshape(
            self.rows, self.columns
        )
        ball = cell == state.ball_row * self.columns + state.ball_column
        paddle = cell == (self.rows - 1) * self.columns + state.paddle
        return (ball | paddle).astype(jnp.float32)

    def render(self, state):
        colors = np.full((self.rows, self.columns, 3), drawing.BLACK, np.uint8)
        colors[self.rows - 1, int(state.paddle)] = drawing.SKY
        colors[int(state.ball_row), int(state.ball_column)] = drawing.ORANGE
        return drawing.cells(colors, size=24)
