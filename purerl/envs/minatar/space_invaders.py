"""MinAtar's Space Invaders."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import (
    CELL_COLUMN,
    CELL_ROW,
    FIRE,
    LEFT,
    NEVER,
    RIGHT,
    SIZE,
    Bits,
    RampingMinAtar,
    Stencil,
    pack,
)

CANNON, ALIEN, ALIEN_LEFT, ALIEN_RIGHT, SHOT, BOMB = range(6)
ROWS, COLUMNS = 4, 6  # of a wave
WAVE = jnp.uint32(2 ** (ROWS * COLUMNS) - 1)
FIRST_COLUMN = 2
COLUMN = jnp.uint32(0b000001_000001_000001_000001)
COOL_DOWN = 5
BOMB_INTERVAL = 10
SLOWEST = 12
FASTEST = 6
BOTTOM = SIZE - 1
ROW = 16  # a cell is the number ROW * row + column

# The first word has the cannon's column, a shot and the bomb, each of eight bits and
# larger than 0, and whether the block heads to the right. Each of the others has aliens
# of three rows, ten bits a row.
PLACE = ROW * (CELL_ROW + 1) + CELL_COLUMN
HEADING = 30
IS_ALIEN = Bits(1 + CELL_ROW // 3, SIZE * (CELL_ROW % 3) + CELL_COLUMN, 1, 1)
STENCIL = Stencil.of(
    [Bits(0, 0, 8, np.where(CELL_ROW == BOTTOM, CELL_COLUMN + 1, NEVER))],
    [IS_ALIEN],
    [IS_ALIEN, Bits(0, HEADING, 1, 0)],
    [IS_ALIEN, Bits(0, HEADING, 1, 1)],
    [Bits(0, 8, 8, PLACE)],
    [Bits(0, 16, 8, PLACE)],
)


class SpaceInvadersState(NamedTuple):
    """A :class:`Situation` in four numbers, uint32 ``[]``.

    They are few because XLA computes a step anew for each array of the state.

    Attributes:
        aliens: as in :class:`Situation`.
        clocks: from the lowest bit on ``cool_down``, ``move_timer``, ``bomb_timer`` and
            ``interval``, in four bits each.
        places: likewise ``cannon``, ``top``, ``left + 5`` and whether ``heading`` is 1.
        flying: likewise ``shot + 16``, ``older + 16`` and ``bomb``, in eight bits each.
    """

    aliens: jax.Array
    clocks: jax.Array
    places: jax.Array
    flying: jax.Array

    def unpacked(self) -> "Situation":
        """The fields as numbers of their own."""
        cool_down, move_timer, bomb_timer, interval = _digits(self.clocks, 4, 4)
        cannon, top, left, right = _digits(self.places, 4, 4)
        shot, older, bomb = _digits(self.flying, 3, 8)
        return Situation(
            cannon=cannon,
            aliens=self.aliens,
            top=top,
            left=left - 5,
            heading=2 * right - 1,
            shot=shot - ROW,
            older=older - ROW,
            bomb=bomb,
            cool_down=cool_down,
            move_timer=move_timer,
            bomb_timer=bomb_timer,
            interval=interval,
        )


class Situation(NamedTuple):
    """The board and the clocks. A cell is one number, ``16 * row + column``.

    ``aliens`` is uint32, the rest int32 ``[]``. Aliens keep their places in a block of
    4 by 6 that moves as a whole. There are never more than two shots of the cannon and
    one bomb of the aliens on the board.

    Attributes:
        cannon: the column of the player's cannon, which stands in row 9.
        aliens: the remaining aliens, bit ``6 * row + column`` of the block.
        top: the row of the board with row 0 of the block.
        left: the column of the board with column 0 of the block, -5 to 9.
        heading: of the block, -1 to the left, 1 to the right.
        shot: the cell of the last shot; -16 to -1 if it is not on the board.
        older: the same for the shot before that.
        bomb: the cell of the bomb; 160 to 175 if it is not on the board.
        cool_down: steps until the cannon can fire.
        move_timer: steps until the block moves.
        bomb_timer: steps until an alien drops a bomb.
        interval: largest number of steps between two moves of the block, 12 down to 6.
    """

    cannon: jax.Array
    aliens: jax.Array
    top: jax.Array
    left: jax.Array
    heading: jax.Array
    shot: jax.Array
    older: jax.Array
    bomb: jax.Array
    cool_down: jax.Array
    move_timer: jax.Array
    bomb_timer: jax.Array
    interval: jax.Array

    def packed(self) -> SpaceInvadersState:
        """The fields in four numbers."""
        return SpaceInvadersState(
            aliens=self.aliens,
            clocks=pack(4, self.cool_down, self.move_timer, self.bomb_timer, self.interval),
            places=pack(4, self.cannon, self.top, self.left + 5, (self.heading + 1) >> 1),
            flying=pack(8, self.shot + ROW, self.older + ROW, self.bomb),
        )

    def alien_at(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """The bit in ``aliens`` of the alien in a cell; 0 if there is none."""
        column = (x - self.left).astype(jnp.uint32)
        bit = jnp.uint32(1) << (COLUMNS * self.block_row(y)).astype(jnp.uint32) + column
        return jnp.where(column < COLUMNS, bit, 0) & self.aliens

    def block_row(self, y: jax.Array) -> jax.Array:
        """The row of the block in a row of the board.

        The part that would move below row 9 wraps to row 0 (and the game is over).
        """
        return y - self.top + jnp.where(y < self.top, SIZE, 0)


class SpaceInvaders(RampingMinAtar):
    """Waves of aliens to be shot down, which come closer and drop bombs.

    A wave is a block of 4 rows by 6 columns. Every ``min(aliens left, interval)`` steps
    it moves by one column or, if an alien is at the edge ahead, by one row downwards
    and turns around. Every 10 steps, the lowest alien in the column nearest to the
    cannon drops a bomb (in the left one of two). Bombs fall and shots rise by one row
    per step; the cannon fires at most every 5 steps. When a wave is shot down, the next
    one follows; with ``ramping`` its ``interval``, 12 at first, is one less, but at
    least 6. The game is deterministic.

    - Observation: bool ``[10, 10, 6]``, planes of the cannon, the aliens, the aliens if
      they move to the left, the aliens if they move to the right, shots, bombs.
    - Actions: left and right move the cannon by one cell, fire shoots; up and down have
      no effect. ``MINIMAL``: all except these two.
    - Reward: 1 for each alien shot.
    - Start: the cannon in column 5, the wave in rows 0 to 3 and columns 2 to 7, moving
      to the left.
    - Termination: a bomb or an alien reaches the cannon, or the block would move down
      from the last row.

    Attributes:
        ramping: whether each wave is faster than the one before. bool.

    Raises:
        ValueError: a wrong value of ``actions`` or ``ramping``.
    """

    CHANNELS: ClassVar = ("cannon", "alien", "alien left", "alien right", "shot", "bomb")
    COLORS: ClassVar = (
        drawing.SKY,
        drawing.GREEN,
        drawing.GREEN,
        drawing.PINK,
        drawing.WHITE,
        drawing.ORANGE,
    )
    MINIMAL: ClassVar = (0, LEFT, RIGHT, FIRE)

    def reset(self, key):
        del key  # there is one start
        start = Situation(
            cannon=jnp.int32(5),
            aliens=WAVE,
            top=jnp.int32(0),
            left=jnp.int32(FIRST_COLUMN),
            heading=jnp.int32(-1),
            shot=jnp.int32(-ROW),
            older=jnp.int32(-ROW),
            bomb=jnp.int32(SIZE * ROW),
            cool_down=jnp.int32(0),
            move_timer=jnp.int32(SLOWEST),
            bomb_timer=jnp.int32(BOMB_INTERVAL),
            interval=jnp.int32(SLOWEST),
        )
        return start.packed()

    def step(self, key, state, action):
        del key  # the game is deterministic
        state = state.unpacked()
        action = self.meaning(action)
        fires = (action == FIRE) & (state.cool_down == 0)
        shot = jnp.where(fires, ROW * BOTTOM + state.cannon, state.shot)
        shot = jnp.maximum(shot - ROW, -ROW)
        older = jnp.where(fires, state.shot, state.older)
        older = jnp.maximum(older - ROW, -ROW)
        right = jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0)
        cannon = jnp.clip(state.cannon + right, 0, SIZE - 1)
        bomb = jnp.minimum(state.bomb + ROW, ROW * SIZE)
        lost = (bomb == ROW * BOTTOM + cannon) | (state.alien_at(cannon, BOTTOM) != 0)

        moves = state.move_timer == 0
        block, lands = _march(state, moves)
        lost = lost | lands | (block.alien_at(cannon, BOTTOM) != 0)

        drops = state.bomb_timer == 0
        bomb = jnp.where(drops, _above(block, cannon), bomb)

        hit = jnp.where(shot >= 0, block.alien_at(shot & 15, shot >> 4), 0)
        older_hit = jnp.where(older >= 0, block.alien_at(older & 15, older >> 4), 0)
        aliens = state.aliens ^ hit ^ older_hit
        cleared = aliens == 0
        faster = cleared & self.ramping & (state.interval > FASTEST)
        interval = jnp.minimum(_count(state.aliens), state.interval)

        reached = Situation(
            cannon=cannon,
            aliens=jnp.where(cleared, WAVE, aliens),
            top=jnp.where(cleared, 0, block.top),
            left=jnp.where(cleared, FIRST_COLUMN, block.left),
            heading=block.heading,
            shot=jnp.where(hit != 0, -ROW, shot),
            older=jnp.where(older_hit != 0, -ROW, older),
            bomb=bomb,
            cool_down=jnp.maximum(jnp.where(fires, COOL_DOWN, state.cool_down) - 1, 0),
            move_timer=jnp.where(moves, interval, state.move_timer) - 1,
            bomb_timer=jnp.where(drops, BOMB_INTERVAL, state.bomb_timer) - 1,
            interval=state.interval - faster,
        )
        reward = (hit != 0).astype(jnp.float32) + (older_hit != 0)
        return reached.packed(), Outcome(reward, lost, jnp.bool_(False))

    def observe(self, state):
        state = state.unpacked()
        things = pack(8, state.cannon + 1, state.shot + ROW, state.bomb + ROW)
        heading = (state.heading > 0).astype(jnp.uint32) << HEADING
        older = (state.older + ROW).astype(jnp.uint32) << 8
        nothing = jnp.uint32(0)
        board = STENCIL.board(things | heading, *_three_rows(state))
        return board | STENCIL.board(older, *[nothing] * 4)


def _three_rows(block):
    """The aliens on the board: rows 0 to 2, 3 to 5, 6 to 8 and 9, uint32 each.

    Only columns without aliens are outside the board.
    """
    words = []
    for first in range(0, SIZE, 3):
        # A shift by less than 0 or more than 31 gives 0.
        down = (COLUMNS * (block.top - first)).astype(jnp.uint32)
        up = (COLUMNS * (first - block.top)).astype(jnp.uint32)
        rows = block.aliens << down | block.aliens >> up
        if first == 0:  # and those that moved below row 9
            rows = rows | block.aliens >> (COLUMNS * (SIZE - block.top)).astype(jnp.uint32)
        # Ten bits a row instead of six
        rows = rows & 0o77 | (rows & 0o7700) << 4 | (rows & 0o770000) << 8
        left = block.left.astype(jnp.uint32)
        words.append(rows << left | rows >> (-block.left).astype(jnp.uint32))
    return words


def _digits(number, count, width):
    """Digits of ``width`` bits, lowest first, int32."""
    return [(number >> width * i & 2**width - 1).astype(jnp.int32) for i in range(count)]


def _march(state, moves):
    """The situation after the block's turn to move, and whether the block lands."""
    # A shift by less than 0 or more than 31 gives 0: no alien.
    ahead = jnp.where(state.heading < 0, -state.left, SIZE - 1 - state.left)
    at_edge = _columns(state.aliens) >> ahead.astype(jnp.uint32) & 1 == 1
    turns = moves & at_edge
    below = state.aliens >> (COLUMNS * (BOTTOM - state.top)).astype(jnp.uint32)
    lands = turns & (below != 0)
    heading = jnp.where(turns, -state.heading, state.heading)
    left = jnp.where(moves & ~turns, state.left + heading, state.left)
    return state._replace(top=state.top + turns, left=left, heading=heading), lands


def _columns(aliens):
    """The columns of the block with aliens, six bits."""
    aliens = aliens | aliens >> 2 * COLUMNS
    return (aliens | aliens >> COLUMNS) & 2**COLUMNS - 1


def _count(aliens):
    return lax.population_count(aliens).astype(jnp.int32)


def _above(block, cannon):
    """The cell of the lowest alien in the column nearest to the cannon.

    Of two columns at the same distance it is the left one.
    """
    # The distances are the numbers of zeros up to the first one, on either side of the
    # cannon's bit; 32 if there is none.
    board = _columns(block.aliens) << (block.left + 8).astype(jnp.uint32)
    place = (cannon + 8).astype(jnp.uint32)
    leftwards = lax.clz(board << 31 - place).astype(jnp.int32)
    rightwards = board >> place
    rightwards = _count(~rightwards & rightwards - 1)
    x = jnp.where(leftwards <= rightwards, cannon - leftwards, cannon + rightwards)
    column = block.aliens >> (x - block.left).astype(jnp.uint32) & COLUMN
    # The part that moved below row 9 is in row 0.
    on_board = column & (jnp.uint32(1) << (COLUMNS * (SIZE - block.top)).astype(jnp.uint32)) - 1
    column = jnp.where(on_board != 0, on_board, column)
    y = block.top + (column >= 1 << 6) + (column >= 1 << 12) + (column >= 1 << 18)
    return ROW * jnp.where(y < SIZE, y, y - SIZE) + x
