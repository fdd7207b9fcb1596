"""MinAtar's Breakout."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import (
    CELL_COLUMN,
    CELL_ROW,
    LEFT,
    NEVER,
    RIGHT,
    SIZE,
    Bits,
    MinAtar,
    Stencil,
    pack,
)

WALL = jnp.uint32(2**30 - 1)  # three full rows

# The words are those of the state.
STENCIL = Stencil.of(
    [Bits(1, 16, 4, np.where(CELL_ROW == SIZE - 1, CELL_COLUMN, NEVER))],
    [Bits(1, 0, 4, CELL_COLUMN), Bits(1, 4, 4, CELL_ROW)],
    [Bits(1, 8, 4, CELL_COLUMN), Bits(1, 12, 4, CELL_ROW)],
    [
        Bits(
            0,
            SIZE * (CELL_ROW - 1) + CELL_COLUMN,
            1,
            np.where((CELL_ROW >= 1) & (CELL_ROW <= 3), 1, NEVER),
        )
    ],
)


class BreakoutState(NamedTuple):
    """A :class:`Situation` in two numbers, uint32 ``[]``.

    They are few because XLA computes a step anew for each array of the state.

    Attributes:
        bricks: as in :class:`Situation`.
        numbers: from the lowest bit on ``ball_x``, ``ball_y``, ``last_x``, ``last_y``
            and ``paddle`` in four bits each, and in one bit each whether ``ball_dx`` is
            1, whether ``ball_dy`` is 1, and ``strike``.
    """

    bricks: jax.Array
    numbers: jax.Array

    def unpacked(self) -> "Situation":
        """The fields as numbers of their own."""
        ball_x, ball_y, last_x, last_y, paddle = (
            (self.numbers >> 4 * i & 15).astype(jnp.int32) for i in range(5)
        )
        right, down, strike = ((self.numbers >> i & 1).astype(jnp.int32) for i in (20, 21, 22))
        return Situation(
            ball_x=ball_x,
            ball_y=ball_y,
            ball_dx=2 * right - 1,
            ball_dy=2 * down - 1,
            last_x=last_x,
            last_y=last_y,
            paddle=paddle,
            bricks=self.bricks,
            strike=strike == 1,
        )


class Situation(NamedTuple):
    """Ball, paddle and bricks; int32 ``[]`` unless stated otherwise.

    Attributes:
        ball_x: column.
        ball_y: row.
        ball_dx: -1 or 1.
        ball_dy: -1 or 1.
        last_x: the ball's previous column.
        last_y: the ball's previous row.
        paddle: column.
        bricks: uint32, bit ``10 * (row - 1) + column`` for rows 1 to 3.
        strike: whether the previous step broke a brick, so that a ball inside another
            brick passes through it. bool.
    """

    ball_x: jax.Array
    ball_y: jax.Array
    ball_dx: jax.Array
    ball_dy: jax.Array
    last_x: jax.Array
    last_y: jax.Array
    paddle: jax.Array
    bricks: jax.Array
    strike: jax.Array

    def packed(self) -> BreakoutState:
        """The fields in two numbers."""
        places = self.ball_x, self.ball_y, self.last_x, self.last_y, self.paddle
        flags = pack(1, self.ball_dx > 0, self.ball_dy > 0, self.strike)
        return BreakoutState(self.bricks, pack(4, *places, flags))


class Breakout(MinAtar):
    """A ball to be kept in play with a paddle, which breaks bricks.

    The ball moves diagonally, one cell per step, and is reflected by walls, bricks and
    the paddle: by the paddle's middle as by a mirror, by its edge back to where it came
    from.

    - Observation: bool ``[10, 10, 4]``, planes of the paddle, the ball, the ball's
      previous position, the bricks.
    - Actions: left and right move the paddle by one cell; the others have no effect.
      ``MINIMAL``: nothing, left, right.
    - Reward: 1 for a brick. When none is left and the ball comes down, there are three
      rows again.
    - Start: the ball in the lowest row of bricks, at the left or the right edge,
      equally likely, moving down and inwards; the paddle in column 4.
    - Termination: the ball reaches the last row where the paddle is not.
    """

    CHANNELS: ClassVar = ("paddle", "ball", "trail", "brick")
    COLORS: ClassVar = (drawing.SKY, drawing.YELLOW, drawing.GRAY, drawing.RED)
    MINIMAL: ClassVar = (0, LEFT, RIGHT)

    def reset(self, key):
        right = jax.random.bits(key, (), jnp.uint32) >> 31 == 1
        x = jnp.where(right, jnp.int32(SIZE - 1), 0)
        y = jnp.int32(3)
        start = Situation(
            ball_x=x,
            ball_y=y,
            ball_dx=jnp.where(right, jnp.int32(-1), 1),
            ball_dy=jnp.int32(1),
            last_x=x,
            last_y=y,
            paddle=jnp.int32(4),
            bricks=WALL,
            strike=jnp.bool_(False),
        )
        return start.packed()

    def step(self, key, state, action):
        del key  # only the start is random
        state = state.unpacked()
        action = self.meaning(action)
        right = jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0)
        paddle = jnp.clip(state.paddle + right, 0, SIZE - 1)

        ahead = state.ball_x + state.ball_dx
        x = jnp.clip(ahead, 0, SIZE - 1)
        dx = jnp.where(x == ahead, state.ball_dx, -state.ball_dx)
        y = state.ball_y + state.ball_dy

        # A shift by less than 0 or more than 31 gives 0: only rows 1 to 3 have bricks.
        here = jnp.uint32(1) << (SIZE * (y - 1) + x).astype(jnp.uint32)
        on_brick = state.bricks & here != 0
        breaks = on_brick & ~state.strike
        bottom = y == SIZE - 1
        middle = bottom & (state.ball_x == paddle)
        edge = bottom & ~middle & (x == paddle)
        reflected = (y < 0) | breaks | middle | edge

        bricks = jnp.where(breaks, state.bricks ^ here, state.bricks)
        inside = jnp.where(reflected, state.ball_y, y)
        reached = Situation(
            ball_x=x,
            ball_y=jnp.where(y < 0, 0, inside),
            ball_dx=jnp.where(edge, -dx, dx),
            ball_dy=jnp.where(reflected, -state.ball_dy, state.ball_dy),
            last_x=state.ball_x,
            last_y=state.ball_y,
            paddle=paddle,
            bricks=jnp.where(bottom & (bricks == 0), WALL, bricks),
            strike=on_brick,
        )
        terminated = bottom & ~middle & ~edge
        return reached.packed(), Outcome(breaks.astype(jnp.float32), terminated, jnp.bool_(False))

    def observe(self, state):
        return STENCIL.board(*state)
