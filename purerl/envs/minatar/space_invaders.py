"""MinAtar's Space Invaders."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import FIRE, LEFT, RIGHT, SIZE, RampingMinAtar

CANNON, ALIEN, ALIEN_LEFT, ALIEN_RIGHT, SHOT, BOMB = range(6)
ROWS, COLUMNS = 4, 6  # of a wave
WAVE, FIRST_COLUMN = jnp.uint32(2 ** (ROWS * COLUMNS) - 1), 2
COLUMN = jnp.uint32(0b000001_000001_000001_000001)
COOL_DOWN, BOMB_INTERVAL, SLOWEST, FASTEST = 5, 10, 12, 6
BOTTOM = SIZE - 1
ROW = 16  # a cell is the number ROW * row + column


class SpaceInvadersState(NamedTuple):
    """A :class:`Situation` in four numbers, uint32 ``[]``: XLA works a step out anew for each array of the state.

    Attributes:
        aliens: the same as there.
        clocks: from the lowest bit on ``cool_down``, ``move_timer``, ``bomb_timer`` and ``interval``, in four bits each.
        places: likewise ``cannon``, ``top``, ``left + 5`` and whether ``heading`` is 1.
        flying: likewise ``shot + 16``, ``older + 16`` and ``bomb``, in eight bits each.
    """

    aliens: jax.Array
    clocks: jax.Array
    places: jax.Array
    flying: jax.Array

    def unpacked(self) -> "Situation":
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
    """``aliens`` is uint32, the rest int32 ``[]``. A cell is one number, ``16 * row + column``.

    Aliens keep their places in a block of 4 by 6 that moves as a whole. Never are there more than two shots of the cannon and
    one bomb of the aliens on the board.

    Attributes:
        cannon: the column of the player's cannon, which stands in row 9.
        aliens: who is left of the block, bit ``6 * row + column`` of it.
        top: the row of the board in which the block has its row 0.
        left: the column of the board in which the block has its column 0, -5 to 9.
        heading: of the block, -1 to the left, 1 to the right.
        shot: the cell of the last shot; -16 to -1 if it is not on the board.
        older: the same of the shot before that.
        bomb: the cell of the bomb; 160 to 175 if it is not on the board.
        cool_down: steps until the cannon can fire.
        move_timer: steps until the block moves.
        bomb_timer: steps until an alien drops a bomb.
        interval: the most steps from one move of the block to the next, 12 down to 6.
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
        return SpaceInvadersState(
            aliens=self.aliens,
            clocks=_number(4, self.cool_down, self.move_timer, self.bomb_timer, self.interval),
            places=_number(4, self.cannon, self.top, self.left + 5, (self.heading + 1) >> 1),
            flying=_number(8, self.shot + ROW, self.older + ROW, self.bomb),
        )

    def alien_at(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """The bit in ``aliens`` of whoever is in a cell; 0 if there is nobody."""
        column = (x - self.left).astype(jnp.uint32)
        bit = jnp.uint32(1) << (COLUMNS * self.block_row(y)).astype(jnp.uint32) + column
        return jnp.where(column < COLUMNS, bit, 0) & self.aliens

    def block_row(self, y: jax.Array) -> jax.Array:
        """Which row of the block is in a row of the board. What goes below row 9 is in row 0 (and the game is over)."""
        return y - self.top + jnp.where(y < self.top, SIZE, 0)


class SpaceInvaders(RampingMinAtar):
    """Shoot down waves of aliens that come closer and drop bombs.

    A wave is a block of 4 rows by 6 columns. Every ``min(aliens left, interval)`` steps it moves by a column, or, where an
    alien is at the edge ahead, by a row downwards and turns round. Every 10 steps a bomb is dropped by the lowest alien in
    the column nearest to the cannon, of two the left one. Bombs fall and shots rise by a row each step; the cannon fires at
    most every 5 steps. A wave shot down is followed by the next; with ``ramping`` its ``interval``, 12 at first, is one less,
    but at least 6. Nothing is left to chance.

    - Observation: bool ``[10, 10, 6]``, planes of the cannon, the aliens, the aliens if they move to the left, the aliens if
      they move to the right, shots, bombs.
    - Actions: left and right move the cannon by a cell, fire shoots; up and down do nothing. ``MINIMAL``: all but these two.
    - Reward: 1 for each alien shot.
    - Start: the cannon in column 5, the wave in rows 0 to 3 and columns 2 to 7, moving to the left.
    - Termination: a bomb or an alien reaches the cannon, or the block would move down from the last row.

    Attributes:
        ramping: whether each wave is faster than the one before. bool.

    Raises:
        ValueError: ``actions`` or ``ramping`` is none of the allowed.
    """

    CHANNELS: ClassVar = ("cannon", "alien", "alien left", "alien right", "shot", "bomb")
    ColorS: ClassVar = (
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
        del key  # nothing is left to chance
        state, action = state.unpacked(), self.meaning(action)
        fires = (action == FIRE) & (state.cool_down == 0)
        shot = jnp.maximum(jnp.where(fires, ROW * BOTTOM + state.cannon, state.shot) - ROW, -ROW)
        older = jnp.maximum(jnp.where(fires, state.shot, state.older) - ROW, -ROW)
        cannon = jnp.clip(
            state.cannon + jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0),
            0,
            SIZE - 1,
        )
        bomb = jnp.minimum(state.bomb + ROW, ROW * SIZE)
        lost = (bomb == ROW * BOTTOM + cannon) | (state.alien_at(cannon, BOTTOM) != 0)

        # A shift by a negative number or by 32 and more gives 0: no alien.
        aliens, columns = state.aliens, _columns(state.aliens)
        moves = state.move_timer == 0
        ahead = jnp.where(state.heading < 0, -state.left, SIZE - 1 - state.left)
        turns = moves & (columns >> ahead.astype(jnp.uint32) & 1 == 1)
        lands = turns & (aliens >> (COLUMNS * (BOTTOM - state.top)).astype(jnp.uint32) != 0)
        heading = jnp.where(turns, -state.heading, state.heading)
        top = state.top + turns
        left = jnp.where(moves & ~turns, state.left + heading, state.left)
        block = state._replace(top=top, left=left)
        lost = lost | lands | (block.alien_at(cannon, BOTTOM) != 0)

        drops = state.bomb_timer == 0
        bomb = jnp.where(drops, _above(block, cannon, columns), bomb)

        hit = jnp.where(shot >= 0, block.alien_at(shot & 15, shot >> 4), 0)
        older_hit = jnp.where(older >= 0, block.alien_at(older & 15, older >> 4), 0)
        aliens = aliens ^ hit ^ older_hit
        cleared = aliens == 0

        reached = Situation(
            cannon=cannon,
            aliens=jnp.where(cleared, WAVE, aliens),
            top=jnp.where(cleared, 0, top),
            left=jnp.where(cleared, FIRST_COLUMN, left),
            heading=heading,
            shot=jnp.where(hit != 0, -ROW, shot),
            older=jnp.where(older_hit != 0, -ROW, older),
            bomb=bomb,
            cool_down=jnp.maximum(jnp.where(fires, COOL_DOWN, state.cool_down) - 1, 0),
            move_timer=jnp.where(
                moves, jnp.minimum(_count(state.aliens), state.interval), state.move_timer
            )
            - 1,
            bomb_timer=jnp.where(drops, BOMB_INTERVAL, state.bomb_timer) - 1,
            interval=state.interval - (cleared & self.ramping & (state.interval > FASTEST)),
        )
        reward = (hit != 0).astype(jnp.float32) + (older_hit != 0)
        return reached.packed(), Outcome(reward, lost, jnp.bool_(False))

    def observe(self, state):
        state = state.unpacked()
        # A word for each half of a row, in whose lowest 30 bits bit 6 * column + channel is set where something is. Shifts by
        # less than 0 or more than 31 leave nothing.
        half = jnp.arange(2 * SIZE)
        y, first = half >> 1, 5 * (half & 1)

        def bit(cell, channel):
            there = jnp.uint32(1) << (6 * ((cell & 15) - first) + channel).astype(jnp.uint32)
            return jnp.where(cell >> 4 == y, there, 0)

        aliens = state.aliens >> (COLUMNS * state.block_row(y)).astype(jnp.uint32) & 2**COLUMNS - 1
        aliens = (
            aliens << (state.left + 5).astype(jnp.uint32) >> (first + 5).astype(jnp.uint32) & 31
        )
        aliens = (
            aliens * 0b1_00001_00001_00001_00001 & 0b1_000001_000001_000001_000001
        )  # five bits, six apart
        planes = jnp.where(
            state.heading < 0, 1 << ALIEN | 1 << ALIEN_LEFT, 1 << ALIEN | 1 << ALIEN_RIGHT
        ).astype(jnp.uint32)
        seen = aliens * planes | bit(ROW * BOTTOM + state.cannon, CANNON) | bit(state.bomb, BOMB)
        seen = seen | bit(state.shot, SHOT) | bit(state.older, SHOT)
        cells = seen[:, None] >> jnp.arange(30, dtype=jnp.uint32) & 1 == 1
        return cells.reshape(SIZE, SIZE, 6)


def _digits(number, count, width):
    """Fields of ``width`` bits, the lowest first, int32."""
    return [(number >> width * i & 2**width - 1).astype(jnp.int32) for i in range(count)]


def _number(width, *digits):
    """The number with these digits of ``width`` bits, the lowest first, uint32."""
    return sum(digit.astype(jnp.uint32) << width * i for i, digit in enumerate(digits))


def _columns(aliens):
    """The columns of the block in which there are aliens, six bits."""
    aliens = aliens | aliens >> 2 * COLUMNS
    return (aliens | aliens >> COLUMNS) & 2**COLUMNS - 1


def _count(aliens):
    return lax.population_count(aliens).astype(jnp.int32)


def _above(block, cannon, columns):
    """The cell of the lowest alien in the column nearest to the cannon, of two the left one."""
    # The distances are numbers of zeros before the first one, on either side of the cannon's bit; 32 if there is no one.
    board = columns << (block.left + 8).astype(jnp.uint32)
    place = (cannon + 8).astype(jnp.uint32)
    leftwards = lax.clz(board << 31 - place).astype(jnp.int32)
    rightwards = board >> place
    rightwards = _count(~rightwards & rightwards - 1)
    x = jnp.where(leftwards <= rightwards, cannon - leftwards, cannon + rightwards)
    column = block.aliens >> (x - block.left).astype(jnp.uint32) & COLUMN
    # What went below row 9 is in row 0.
    on_board = column & (jnp.uint32(1) << (COLUMNS * (SIZE - block.top)).astype(jnp.uint32)) - 1
    column = jnp.where(on_board != 0, on_board, column)
    y = block.top + (column >= 1 << 6) + (column >= 1 << 12) + (column >= 1 << 18)
    return ROW * jnp.where(y < SIZE, y, y - SIZE) + x
