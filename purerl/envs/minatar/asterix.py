"""MinAtar's Asterix."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import (
    CELL_COLUMN,
    CELL_ROW,
    DOWN,
    LEFT,
    NEVER,
    RIGHT,
    SIZE,
    UP,
    Bits,
    RampingMinAtar,
    Stencil,
    pack,
)

ONES = jnp.uint32(0x11111111)  # a bit in each of the eight digits
PLAYER, ENEMY, TRAIL, GOLD = range(4)
SPAWN_INTERVAL = 10
MOVE_INTERVAL = 5
RAMP_INTERVAL = 100
LAST_RAMP = 9


def _in_row(word):
    """The condition that a digit of each row from 1 to 8 is the column plus one."""
    return Bits(
        word,
        4 * (CELL_ROW - 1),
        4,
        np.where((CELL_ROW >= 1) & (CELL_ROW <= 8), CELL_COLUMN + 1, NEVER),
    )


STENCIL = Stencil.of(
    [Bits(0, 0, 8, 16 * CELL_ROW + CELL_COLUMN)],
    [_in_row(1)],
    [_in_row(2)],
    [_in_row(3)],
)


class AsterixState(NamedTuple):
    """A :class:`Situation` in three numbers, uint32 ``[]``.

    They are few because XLA computes a step anew for each array of the state.

    Attributes:
        left: as in :class:`Situation`.
        kind: as in :class:`Situation`.
        numbers: from the lowest bit on ``x``, ``y``, ``spawn_timer``, ``move_timer``
            and ``ramp`` in four bits each, and ``ramp_timer + 1`` in the remaining
            ones.
    """

    left: jax.Array
    kind: jax.Array
    numbers: jax.Array

    def unpacked(self) -> "Situation":
        """The fields as numbers of their own."""
        x, y, spawn_timer, move_timer, ramp = (
            (self.numbers >> 4 * i & 15).astype(jnp.int32) for i in range(5)
        )
        ramp_timer = (self.numbers >> 20).astype(jnp.int32) - 1
        return Situation(self.left, self.kind, x, y, spawn_timer, move_timer, ramp, ramp_timer)


class Situation(NamedTuple):
    """The board, on whose rows 1 to 8 there is at most one thing each, and the clocks.

    ``left`` and ``kind`` have a digit of four bits for each of these rows, that of row
    1 the lowest. They are uint32, the rest is int32 ``[]``.

    Attributes:
        left: number of moves until each thing will have left the board, 10 at the edge
            where it entered; 0 where there is none.
        kind: each thing's heading (1: to the right) plus 2 if it is gold. Meaningless
            where there is none.
        x: the player's column.
        y: the player's row, 1 to 8.
        spawn_timer: steps until something enters.
        move_timer: steps until everything moves.
        ramp: number of times the game has become harder, up to 9.
        ramp_timer: steps until it does so again, minus one: 100 down to -1.
    """

    left: jax.Array
    kind: jax.Array
    x: jax.Array
    y: jax.Array
    spawn_timer: jax.Array
    move_timer: jax.Array
    ramp: jax.Array
    ramp_timer: jax.Array

    def packed(self) -> AsterixState:
        """The fields in three numbers."""
        digits = self.x, self.y, self.spawn_timer, self.move_timer, self.ramp, self.ramp_timer + 1
        return AsterixState(self.left, self.kind, pack(4, *digits))


class Asterix(RampingMinAtar):
    """Gold to be picked up among enemies, all of which cross the board in rows.

    Every ``10 - ramp`` steps (at least 1) something enters, from the left or from the
    right, equally likely. It is gold with probability 1/3 (to a 16-bit number's
    precision), and takes one of the empty rows, equally likely; if there is none it
    does not enter. Every ``5 - ramp // 2`` steps all things move by one cell. ``ramp``
    grows by 1 every 102 steps, up to 9.

    - Observation: bool ``[10, 10, 4]``, planes of the player, enemies, previous
      positions of things, gold.
    - Actions: left, up, right, down move the player by one cell, in rows 1 to 8; fire
      has no effect. ``MINIMAL``: all except fire.
    - Reward: 1 for gold.
    - Start: the player in row 5, column 5, and nothing else.
    - Termination: the player and an enemy are in one cell, before or after things move.

    Attributes:
        ramping: whether the game becomes harder. bool.

    Raises:
        ValueError: a wrong value of ``actions`` or ``ramping``.
    """

    CHANNELS: ClassVar = ("player", "enemy", "trail", "gold")
    COLORS: ClassVar = (drawing.SKY, drawing.RED, drawing.GRAY, drawing.YELLOW)
    MINIMAL: ClassVar = (0, LEFT, UP, RIGHT, DOWN)

    def reset(self, key):
        del key  # there is one start
        start = Situation(
            left=jnp.uint32(0),
            kind=jnp.uint32(0),
            x=jnp.int32(5),
            y=jnp.int32(5),
            spawn_timer=jnp.int32(SPAWN_INTERVAL),
            move_timer=jnp.int32(MOVE_INTERVAL),
            ramp=jnp.int32(0),
            ramp_timer=jnp.int32(RAMP_INTERVAL),
        )
        return start.packed()

    def step(self, key, state, action):
        state = state.unpacked()
        action = self.meaning(action)
        spawns = state.spawn_timer == 0
        moves = state.move_timer == 0

        word = jax.random.bits(key, (), jnp.uint32)
        row = jnp.where(spawns, _empty_row(state.left, word & 0xFFFF), 0)
        drawn = (word >> 16) * 6 >> 16  # of 0 to 5, the last two are gold
        left = state.left | row * SIZE
        kind = state.kind & ~(row * 3) | row * jnp.where(drawn < 2, drawn, drawn - 2)

        right = jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0)
        down = jnp.where(action == DOWN, 1, 0) - jnp.where(action == UP, 1, 0)
        x = jnp.clip(state.x + right, 0, SIZE - 1)
        y = jnp.clip(state.y + down, 1, SIZE - 2)

        # Only a thing in the player's row can touch it: where it is, or a move later.
        digit = 4 * (y - 1).astype(jnp.uint32)
        there = (left >> digit & 15).astype(jnp.int32)
        touching = jnp.where(kind >> digit & 1 == 1, SIZE - x, x + 1)
        touched = (there == touching) | moves & (there == touching + 1)
        is_gold = kind >> digit & 2 == 2
        taken = touched & is_gold

        left = jnp.where(moves, left - _occupied(left), left)
        left = jnp.where(taken, left & ~(jnp.uint32(15) << digit), left)

        ramps = self.ramping & (state.ramp < LAST_RAMP)
        harder = ramps & (state.ramp_timer < 0)
        spawn_interval = jnp.maximum(SPAWN_INTERVAL - state.ramp, 1)
        move_interval = MOVE_INTERVAL - (state.ramp >> 1)
        reached = Situation(
            left=left,
            kind=kind,
            x=x,
            y=y,
            spawn_timer=jnp.where(spawns, spawn_interval, state.spawn_timer) - 1,
            move_timer=jnp.where(moves, move_interval, state.move_timer) - 1,
            ramp=state.ramp + harder,
            ramp_timer=jnp.where(harder, RAMP_INTERVAL, state.ramp_timer - ramps),
        )
        outcome = Outcome(taken.astype(jnp.float32), touched & ~is_gold, jnp.bool_(False))
        return reached.packed(), outcome

    def observe(self, state):
        # A digit for each row: a column plus one, or 0. The sums carry nothing from one
        # digit to the next.
        occupied = _occupied(state.left)
        right = state.kind & occupied
        to_right = state.left & 15 * right
        thing = 11 * right - to_right + (state.left ^ to_right)
        trail = thing + occupied - 2 * right
        gold = thing & 15 * (state.kind >> 1 & ONES)
        return STENCIL.board(state.numbers, thing ^ gold, trail, gold)


def _empty_row(left, word):
    """1 in the digit of an empty row chosen by a 16-bit number; 0 if there is none.

    Each digit of ``rank`` counts the empty rows up to its own. All digits before the
    row with number ``pick`` have ranks up to ``pick``, so they fill up with ones, and a
    carry runs through them to that row. If no row is empty, the carry runs out of the
    word.
    """
    rank = (ONES ^ _occupied(left)) * ONES
    pick = word * (rank >> 28) >> 16
    before = ((pick + 8) * ONES - rank) >> 3 & ONES
    return before * 15 + 1


def _occupied(digits):
    """1 in each digit that is not 0, else 0."""
    return (digits | digits >> 1 | digits >> 2 | digits >> 3) & ONES
