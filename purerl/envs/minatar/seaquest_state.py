"""Everything on Seaquest's board, as fields of a few words."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purerl.envs.minatar.base import SIZE

MAX_OXYGEN = 200
MAX_DIVERS = 6
SLOTS = 32  # for enemies


class Field(NamedTuple):
    """Bits of a word, uint32, that hold one number."""

    first: int
    bits: int


# Of everything on the board. THERE is 0 where there is nothing; HEADING is 1 to the
# right.
X = Field(0, 4)
Y = Field(4, 4)
THERE = Field(8, 1)
HEADING = Field(9, 1)

# Of the player.
SURFACED = Field(10, 1)
OXYGEN = Field(11, 8)
RAMP = Field(19, 5)

# Of an enemy.
FISH = Field(10, 1)
WAIT = Field(11, 3)
PHASE = Field(14, 4)
SHOT_X = Field(18, 4)
SHOT = Field(22, 1)

# Of ``timers``.
ENEMY_TIMER = Field(0, 5)
DIVER_TIMER = Field(5, 5)
SHOT_TIMER = Field(10, 3)
ENTRIES = Field(13, 5)

# Of a word with two things.
LOWER = Field(0, 16)
UPPER = Field(16, 16)


def get(word: jax.Array, field: Field) -> jax.Array:
    """The number in a field of a word, uint32."""
    return word >> field.first & (1 << field.bits) - 1


def get_int(word: jax.Array, field: Field) -> jax.Array:
    """The number in a field of a word, int32."""
    return get(word, field).astype(jnp.int32)


def word_of(*values: tuple[Field, ArrayLike]) -> jax.Array:
    """A word with these fields, and 0 in the others."""
    word = jnp.uint32(0)
    for field, value in values:
        word |= jnp.asarray(value).astype(jnp.uint32) << field.first
    return word


def mask_of(*fields: Field) -> jax.Array:
    """A word with all bits of these fields."""
    return jnp.uint32(sum((1 << field.bits) - 1 << field.first for field in fields))


CELL = mask_of(X, Y, THERE)


class SeaquestState(NamedTuple):
    """Everything on the board, in words of fields; uint32 unless stated otherwise.

    The enemy that entered as number ``i`` has place ``i`` modulo 32. No enemy loses its
    place to another: an enemy and those that enter after it, before it has left, are at
    most 30. At most one enters per step, and from ramp 6 on, where an enemy moves every
    3 steps, it enters with 2 steps to wait and leaves in the 30th step from there. At
    lower ramps enemies are slower, but the next one does not enter for 15 steps. For
    the same reason enemies never catch up with those ahead: no two enemies of a row
    move into one column in the same step. (The tests go through all cases of both.)

    Attributes:
        player: besides cell and heading, whether it has been at the surface since it
            came up, the steps for which oxygen remains, and the number of times the
            game has become harder (up to 19). ``[]``
        divers: number on board; below 0 after a rescue. int32 ``[]``
        timers: steps until an enemy enters, until a diver enters, and until the player
            may shoot; and the number of enemies that have entered, modulo 32. ``[]``
        bullets: the player's, the later one in the lower half. They are shot 5 steps
            apart and leave the board within 10, so there are at most two. ``[]``
        swimmers: the divers in the water, the later one in the lower half. They enter
            30 steps apart and leave within 60. All move in the same steps, which follow
            from the timer. ``[]``
        enemies: each with its kind, the steps until it moves and until it shoots, and
            its bullet, which remains when the enemy is shot. A submarine shoots every
            11 steps, and its bullet leaves the board within 10. ``[32]``
    """

    player: jax.Array
    divers: jax.Array
    timers: jax.Array
    bullets: jax.Array
    swimmers: jax.Array
    enemies: jax.Array


def ahead(word: jax.Array) -> jax.Array:
    """1 or -1 by heading, uint32."""
    return get(word, HEADING) * 2 - 1


def edge(word: jax.Array) -> jax.Array:
    """The last column ahead, uint32."""
    return jnp.where(get(word, HEADING) == 1, jnp.uint32(SIZE - 1), jnp.uint32(0))


def moved(word: jax.Array, moves: jax.Array) -> jax.Array:
    """A thing after moving by one column if it ``moves``; 0 if it leaves the board."""
    after = jnp.where(get(word, X) == edge(word), 0, word + ahead(word))
    return jnp.where(moves, after, word)


def halves(words: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lower and the upper half of a word with two things."""
    return get(words, LOWER), get(words, UPPER)
