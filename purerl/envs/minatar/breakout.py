"""MinAtar's Breakout."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import LEFT, RIGHT, SIZE, MinAtar, expand

WALL = jnp.uint32(2**30 - 1)  # three full rows
WORDS, CELLS = (
    4,
    25,
)  # a plane is four words; cell 10 * row + column is bit cell % 25 of word cell // 25


class BreakoutState(NamedTuple):
    """All int32 ``[]`` but the last two: ``bricks`` uint32, bit ``10 * (row - 1) + column`` of rows 1 to 3; ``strike`` bool.

    ``strike``: a brick was broken by the step before, so that a ball inside another brick passes through it.
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


class Breakout(MinAtar):
    """Keep a ball in play with a paddle, and break bricks with it.

    The ball moves diagonally, a cell a step, and is reflected by walls, bricks and the paddle: by its middle as by a mirror, by
    its edge back to where it came from.

    - Observation: bool ``[10, 10, 4]``, planes of the paddle, the ball, where the ball was, the bricks.
    - Actions: left and right move the paddle by a cell; the others do nothing. ``MINIMAL``: nothing, left, right.
    - Reward: 1 for a brick. When none is left and the ball comes down, there are three rows again.
    - Start: the ball in the lowest row of bricks, at the left or the right edge, as likely, moving down and inwards; the
      paddle in column 4.
    - Termination: the ball reaches the last row where the paddle is not.
    """

    CHANNELS: ClassVar = ("paddle", "ball", "trail", "brick")
    ColorS: ClassVar = (drawing.SKY, drawing.YELLOW, drawing.GRAY, drawing.RED)
    MINIMAL: ClassVar = (0, LEFT, RIGHT)

    def reset(self, key):
        right = jax.random.bits(key, (), jnp.uint32) >> 31 == 1
        x, y = jnp.where(right, SIZE - 1, 0), jnp.int32(3)
        return BreakoutState(
            ball_x=x,
            ball_y=y,
            ball_dx=jnp.where(right, -1, 1),
            ball_dy=jnp.int32(1),
            last_x=x,
            last_y=y,
            paddle=jnp.int32(4),
            bricks=WALL,
            strike=jnp.bool_(False),
        )

    def step(self, key, state, action):
        del key  # chance plays at the start only
        action = self.meaning(action)
        paddle = jnp.clip(
            state.paddle + jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0),
            0,
            SIZE - 1,
        )

        ahead = state.ball_x + state.ball_dx
        x = jnp.clip(ahead, 0, SIZE - 1)
        dx = jnp.where(x == ahead, state.ball_dx, -state.ball_dx)
        y = state.ball_y + state.ball_dy

        # A shift by a negative number or by 32 and more gives 0: there is no brick outside of rows 1 to 3.
        here = jnp.uint32(1) << (SIZE * (y - 1) + x).astype(jnp.uint32)
        on_brick = state.bricks & here != 0
        breaks = on_brick & ~state.strike
        bottom = y == SIZE - 1
        middle = bottom & (state.ball_x == paddle)
        edge = bottom & ~middle & (x == paddle)
        reflected = (y < 0) | breaks | middle | edge

        bricks = jnp.where(breaks, state.bricks ^ here, state.bricks)
        reached = BreakoutState(
            ball_x=x,
            ball_y=jnp.where(y < 0, 0, jnp.where(reflected, state.ball_y, y)),
            ball_dx=jnp.where(edge, -dx, dx),
            ball_dy=jnp.where(reflected, -state.ball_dy, state.ball_dy),
            last_x=state.ball_x,
            last_y=state.ball_y,
            paddle=paddle,
            bricks=jnp.where(bottom & (bricks == 0), WALL, bricks),
            strike=on_brick,
        )
        terminated = bottom & ~middle & ~edge
        return reached, Outcome(breaks.astype(jnp.float32), terminated, jnp.bool_(False))

    def observe(self, state):
        bricks = (
            state.bricks << SIZE & (1 << CELLS) - 1,
            state.bricks >> CELLS - SIZE,
        )  # they begin with the second row
        planes = (
            _cell(SIZE * (SIZE - 1) + state.paddle),
            _cell(SIZE * state.ball_y + state.ball_x),
            _cell(SIZE * state.last_y + state.last_x),
            _plane(*bricks),
        )
        return expand(jnp.stack(planes, axis=-1))


def _cell(index: jax.Array) -> jax.Array:
    """The plane with one cell set, ``index = 10 * row + column``, int32 ``[]``; none where that is outside of the board.

    Returns:
        uint32 ``[4]``.
    """
    word = index // CELLS
    return jnp.where(
        jnp.arange(WORDS) == word,
        jnp.uint32(1) << (index - CELLS * word).astype(jnp.uint32),
        jnp.uint32(0),
    )


def _plane(*words: jax.Array) -> jax.Array:
    """Up to four words, each ``[]``, as a plane, uint32 ``[4]``. Chosen, for XLA
    makes slow loops of what is concatenated."""
    chosen = jnp.zeros(WORDS, jnp.uint32)
    for i, word in enumerate(words):
        chosen = jnp.where(jnp.arange(WORDS) == i, word, chosen)
    return chosen
