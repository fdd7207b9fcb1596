"""MinAtar's Asterix."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import DOWN, LEFT, RIGHT, SIZE, UP, RampingMinAtar

ONES = jnp.uint32(0x11111111)  # a bit in each of the eight digits
PLAYER, ENEMY, TRAIL, GOLD = range(4)
SPAWN_INTERVAL, MOVE_INTERVAL, RAMP_INTERVAL, LAST_RAMP = 10, 5, 100, 9


class AsterixState(NamedTuple):
    """A :class:`Situation` in three numbers, uint32 ``[]``: XLA works a step out anew for each array of the state.

    Attributes:
        left: the same as there.
        kind: the same as there.
        numbers: from the lowest bit on ``x``, ``y``, ``spawn_timer``, ``move_timer`` and ``ramp`` in four bits each, and
            ``ramp_timer + 1`` in those above.
    """

    left: jax.Array
    kind: jax.Array
    numbers: jax.Array

    def unpacked(self) -> "Situation":
        x, y, spawn_timer, move_timer, ramp = (
            (self.numbers >> 4 * i & 15).astype(jnp.int32) for i in range(5)
        )
        ramp_timer = (self.numbers >> 20).astype(jnp.int32) - 1
        return Situation(self.left, self.kind, x, y, spawn_timer, move_timer, ramp, ramp_timer)


class Situation(NamedTuple):
    """Rows 1 to 8 hold one thing each. ``left`` and ``kind`` have a digit of four bits for each, row 1's the lowest; they are
    uint32, the rest is int32 ``[]``.

    Attributes:
        left: in how many moves each thing will have left the board, 10 at the edge where it came in; 0 where there is none.
        kind: each thing's heading (1: to the right) plus 2 if it is gold. Means nothing where there is none.
        x: the player's column.
        y: the player's row, 1 to 8.
        spawn_timer: steps until something comes in.
        move_timer: steps until everything moves.
        ramp: how often the game has become harder, up to 9.
        ramp_timer: steps until it does again, less one: 100 down to -1.
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
        digits = self.x, self.y, self.spawn_timer, self.move_timer, self.ramp, self.ramp_timer + 1
        return AsterixState(
            self.left,
            self.kind,
            sum(digit.astype(jnp.uint32) << 4 * i for i, digit in enumerate(digits)),
        )


class Asterix(RampingMinAtar):
    """Pick up gold and keep away from enemies, which cross the board row by row.

    Every ``10 - ramp`` steps (at least 1) something comes in, from the left or from the right, as likely. It is gold with
    probability 1/3 (to a 16-bit number's precision), and takes one of the empty rows, as likely; if there is none it stays out.
    Every ``5 - ramp // 2`` steps all things move by a cell. ``ramp`` grows by 1 every 102 steps, up to 9.

    - Observation: bool ``[10, 10, 4]``, planes of the player, enemies, where things were before, gold.
    - Actions: left, up, right, down move the player by a cell, in rows 1 to 8; fire does nothing. ``MINIMAL``: all but fire.
    - Reward: 1 for gold.
    - Start: the player in row 5, column 5, and nothing else.
    - Termination: the player and an enemy are in one cell, before or after things move.

    Attributes:
        ramping: whether the game becomes harder. bool.

    Raises:
        ValueError: ``actions`` or ``ramping`` is none of the allowed.
    """

    CHANNELS: ClassVar = ("player", "enemy", "trail", "gold")
    ColorS: ClassVar = (drawing.SKY, drawing.RED, drawing.GRAY, drawing.YELLOW)
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
        state, action = state.unpacked(), self.meaning(action)
        spawns, moves = state.spawn_timer == 0, state.move_timer == 0

        # Something comes in. Each digit of ``rank`` counts the empty rows up to its own, so that all before the one with
        # number ``pick`` have ranks up to ``pick``: they fill up with ones, and a carry runs through them to it. Where no
        # row is empty the carry runs out of the word and leaves 0.
        word = jax.random.bits(key, (), jnp.uint32)
        rank = (ONES ^ _occupied(state.left)) * ONES
        pick = (word & 0xFFFF) * (rank >> 28) >> 16
        before = ((pick + 8) * ONES - rank) >> 3 & ONES
        row = jnp.where(spawns, before * 15 + 1, 0)
        drawn = (word >> 16) * 6 >> 16  # of 0 to 5, the last two are gold
        left = state.left | row * SIZE
        kind = state.kind & ~(row * 3) | row * jnp.where(drawn < 2, drawn, drawn - 2)

        x = jnp.clip(
            state.x + jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0),
            0,
            SIZE - 1,
        )
        y = jnp.clip(
            state.y + jnp.where(action == DOWN, 1, 0) - jnp.where(action == UP, 1, 0), 1, SIZE - 2
        )

        # Only what is in the player's row can touch it: where it is now, or a move later.
        digit = 4 * (y - 1).astype(jnp.uint32)
        there = (left >> digit & 15).astype(jnp.int32)
        touching = jnp.where(kind >> digit & 1 == 1, SIZE - x, x + 1)
        touched = (there == touching) | moves & (there == touching + 1)
        is_gold = kind >> digit & 2 == 2
        taken = touched & is_gold

        left = jnp.where(moves, left - _occupied(left), left)
        left = jnp.where(taken, left & ~(jnp.uint32(15) << digit), left)

        changes = self.ramping & (state.ramp < LAST_RAMP)
        harder = changes & (state.ramp_timer < 0)
        reached = Situation(
            left=left,
            kind=kind,
            x=x,
            y=y,
            spawn_timer=jnp.where(
                spawns, jnp.maximum(SPAWN_INTERVAL - state.ramp, 1), state.spawn_timer
            )
            - 1,
            move_timer=jnp.where(moves, MOVE_INTERVAL - (state.ramp >> 1), state.move_timer) - 1,
            ramp=state.ramp + harder,
            ramp_timer=jnp.where(harder, RAMP_INTERVAL, state.ramp_timer - changes),
        )
        return reached.packed(), Outcome(
            taken.astype(jnp.float32), touched & ~is_gold, jnp.bool_(False)
        )

    def observe(self, state):
        state = state.unpacked()
        # A word for each half of a row, in whose lowest 20 bits bit 4 * column + channel is set where something is. Shifts by
        # less than 0 or more than 31 leave nothing: no row but 1 to 8 has a digit, and no column but 0 to 9 is seen.
        half = jnp.arange(2 * SIZE)
        y, start = half >> 1, 20 * (half & 1)

        def bit(x, channel):
            return jnp.uint32(1) << (4 * x + channel - start).astype(jnp.uint32)

        digit = (4 * (y - 1)).astype(jnp.uint32)
        left = (state.left >> digit & 15).astype(jnp.int32)
        kind = (state.kind >> digit & 3).astype(jnp.int32)
        right = kind & 1 == 1
        x = jnp.where(right, SIZE - left, left - 1)
        thing = bit(x, ENEMY + (kind & 2)) | bit(jnp.where(right, x - 1, x + 1), TRAIL)
        seen = jnp.where(left > 0, thing, 0) | jnp.where(y == state.y, bit(state.x, PLAYER), 0)
        cells = seen[:, None] >> jnp.arange(20, dtype=jnp.uint32) & 1 == 1
        return cells.reshape(SIZE, SIZE, 4)


def _occupied(digits):
    """1 in each digit that is not 0."""
    return (digits | digits >> 1 | digits >> 2 | digits >> 3) & ONES
