"""Seaquest's board as it is observed."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs.minatar.base import CELL_COLUMN, CELL_ROW, NEVER, SIZE, Bits, Stencil, pack
from purerl.envs.minatar.seaquest_state import (
    FISH,
    HEADING,
    MAX_OXYGEN,
    OXYGEN,
    SHOT,
    SHOT_X,
    THERE,
    Field,
    SeaquestState,
    X,
    Y,
    ahead,
    get,
    halves,
    mask_of,
    word_of,
)

LANES = 8  # rows in which things swim, from row 1 on
CHANNELS = (
    "front",
    "back",
    "bullet",
    "trail",
    "enemy_bullet",
    "fish",
    "submarine",
    "oxygen",
    "divers",
    "diver",
)

# Of the words that are seen: BODY is the lower half of a word without its HEADING.
BODY = Field(0, 9)
BACK = Field(0, 8)  # its column counts from 1
OXYGEN_CELLS = Field(8, 10)
DIVER_CELLS = Field(18, 10)


def _stencil() -> Stencil:
    """The board.

    The words are the bodies of the player, a bullet and a diver; the player's back and
    the numbers of the last row; the cells behind enemies and divers, fish, and
    submarines in the cell's own row; and the enemies' bullets of three rows each.
    """
    place = 16 * CELL_ROW + CELL_COLUMN
    there = 1 << THERE.first | place
    lane = CELL_ROW - 1
    in_lane = np.where((lane >= 0) & (lane < LANES), 1, NEVER)
    in_last_row = np.where(CELL_ROW == SIZE - 1, 1, NEVER)
    front, bullet, diver = ([Bits(0, i * BODY.bits, BODY.bits, there)] for i in range(3))
    behind, fish, submarine = ([Bits(2, SIZE * i + CELL_COLUMN, 1, in_lane)] for i in range(3))
    return Stencil.of(
        front,
        [Bits(1, BACK.first, BACK.bits, place + 1)],
        bullet,
        behind,
        [Bits(3 + lane // 3, SIZE * (lane % 3) + CELL_COLUMN, 1, in_lane)],
        fish,
        submarine,
        [Bits(1, OXYGEN_CELLS.first + CELL_COLUMN, 1, in_last_row)],
        [Bits(1, DIVER_CELLS.first + CELL_COLUMN, 1, in_last_row)],
        diver,
    )


STENCIL = _stencil()


def observe(state: SeaquestState) -> jax.Array:
    """The board, bool ``[10, 10, 10]``."""
    rows = jnp.arange(1, LANES + 1, dtype=jnp.uint32)
    lanes, shots = _enemy_rows(state.enemies, rows)
    for diver in halves(state.swimmers):
        in_row = (rows == get(diver, Y)) & (get(diver, THERE) == 1)
        lanes |= jnp.where(in_row, _behind(diver), 0)
    shots = [*shots, jnp.uint32(0)]
    one = jnp.uint32(1)
    on_board = jnp.maximum(state.divers, 0).astype(jnp.uint32)
    last_row = word_of(
        (BACK, get(state.player, BACK) + 1 - ahead(state.player)),
        (OXYGEN_CELLS, (one << get(state.player, OXYGEN) // (MAX_OXYGEN // 10)) - 1),
        (DIVER_CELLS, (one << 9) - (one << 9 - on_board)),
    )
    later, earlier = (
        pack(BODY.bits, *(get(body, BODY) for body in bodies))
        for bodies in zip(
            (state.player, jnp.uint32(0)),
            halves(state.bullets),
            halves(state.swimmers),
            strict=True,
        )
    )
    board = STENCIL.board(
        later,
        last_row,
        _of_lane(list(lanes)),
        *(shots[i] | shots[i + 1] << SIZE | shots[i + 2] << 2 * SIZE for i in (0, 3, 6)),
    )
    nothing = jnp.uint32(0)
    return board | STENCIL.board(earlier, *[nothing] * 5)


def _of_lane(words):
    """For each cell of the board the word of its lane, uint32 ``[cells]``.

    Halving the words costs a third of what reading each of them would.
    """
    cells = np.broadcast_to(CELL_ROW[..., None] - 1, (SIZE, SIZE, len(CHANNELS))).reshape(-1)
    for bit in range(3):
        odd = cells >> bit & 1 == 1
        words = [jnp.where(odd, b, a) for a, b in zip(words[::2], words[1::2], strict=True)]
    return words[0]


def _bit(word):
    """The column of a thing, as a bit."""
    return jnp.uint32(1) << get(word, X)


def _behind(word):
    """The column behind a thing, as a bit; 0 outside the board."""
    bit = jnp.where(get(word, HEADING) == 1, _bit(word) >> 1, _bit(word) << 1)
    return bit & mask_of(Field(0, SIZE))


def _enemy_rows(enemies, rows):
    """Enemies by row, in the shape of ``rows``: words of ten columns per channel.

    The first has the cells behind enemies in its lowest ten bits, then fish, then
    submarines; the second has their bullets.
    """
    kind = jnp.where(get(enemies, FISH) == 1, jnp.uint32(10), jnp.uint32(20))
    body = _bit(enemies) << kind | _behind(enemies)
    body = jnp.where(get(enemies, THERE) == 1, body, 0)
    shot = get(enemies, SHOT) << get(enemies, SHOT_X)
    in_row = get(enemies, Y) == rows[:, None]
    return jax.lax.reduce(
        (jnp.where(in_row, body, 0), jnp.where(in_row, shot, 0)),
        (jnp.uint32(0), jnp.uint32(0)),
        lambda a, b: (a[0] | b[0], a[1] | b[1]),
        (1,),
    )
