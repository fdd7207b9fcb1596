"""Every game's board, against one drawn thing by thing, for random states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.envs.minatar import (
    Asterix,
    Breakout,
    Freeway,
    Seaquest,
    SpaceInvaders,
    asterix,
    breakout,
    freeway,
    seaquest_state,
    space_invaders,
)
from purerl.envs.minatar.base import CELL_COLUMN, CELL_ROW, NEVER, Bits, Stencil

STATES = 300


class Board:
    """A board of cells [row, column, channel]; what is outside is not drawn."""

    def __init__(self, channels):
        self.cells = np.zeros((10, 10, channels), bool)

    def draw(self, channel, row, column):
        if 0 <= row < 10 and 0 <= column < 10:
            self.cells[row, column, channel] = True


def digits(word):
    return [int(word) >> 4 * i & 15 for i in range(8)]


def packed(rng, highs):
    """A word of eight digits, below these numbers."""
    return sum(int(rng.integers(high)) << 4 * i for i, high in enumerate(highs))


def random_breakout(rng):
    ball_x, ball_y, last_x, last_y, paddle = rng.integers(0, 10, 5)
    bricks = rng.integers(0, 2**30)
    sign, other = rng.choice([-1, 1], 2)
    state = breakout.Situation(
        *np.int32([ball_x, ball_y, sign, other, last_x, last_y, paddle]),
        np.uint32(bricks),
        np.bool_(rng.random() < 0.5),
    )
    board = Board(4)
    board.draw(0, 9, paddle)
    board.draw(1, ball_y, ball_x)
    board.draw(2, last_y, last_x)
    for i in range(30):
        if bricks >> i & 1:
            board.draw(3, 1 + i // 10, i % 10)
    return state.packed(), board


def random_asterix(rng):
    left, kind = packed(rng, [11] * 8), packed(rng, [4] * 8)
    x, y = rng.integers(0, 10), rng.integers(1, 9)
    clocks = np.int32([x, y, rng.integers(10), rng.integers(5), rng.integers(10), rng.integers(99)])
    state = asterix.Situation(np.uint32(left), np.uint32(kind), *clocks)
    board = Board(4)
    board.draw(0, y, x)
    for row, moves, what in zip(range(1, 9), digits(left), digits(kind), strict=True):
        if moves:
            right = what & 1
            column = 10 - moves if right else moves - 1
            board.draw(3 if what & 2 else 1, row, column)
            board.draw(2, row, column - 1 if right else column + 1)
    return state.packed(), board


def random_freeway(rng):
    column, right = packed(rng, [10] * 8), packed(rng, [2] * 8)
    speed = sum(int(rng.integers(1, 6)) << 4 * i for i in range(8))
    row = rng.integers(0, 10)
    state = freeway.FreewayState(
        *map(np.uint32, (column, speed, speed, right)), *np.int32([row, 0, 100])
    )
    board = Board(7)
    board.draw(0, row, 4)
    cars = zip(digits(column), digits(speed), digits(right), strict=True)
    for car, (x, each, heading) in enumerate(cars):
        board.draw(1, car + 1, x)
        board.draw(1 + each, car + 1, (x - 1 if heading else x + 1) % 10)
    return state, board


def random_space_invaders(rng):
    aliens, top = rng.integers(0, 2**24), rng.integers(0, 10)
    left, heading = rng.integers(-5, 10), rng.choice([-1, 1])
    board = Board(6)
    for i in range(24):
        row, column = (top + i // 6) % 10, left + i % 6
        if not 0 <= column < 10:
            aliens &= ~(1 << i)  # none is outside
        elif aliens >> i & 1:
            board.draw(1, row, column)
            board.draw(2 if heading < 0 else 3, row, column)
    cannon, shot, older, bomb = rng.integers(0, 10), *(rng.integers(-1, 10, 3) * 16)
    shot, older, bomb = (cell + rng.integers(0, 10) for cell in (shot, older, bomb))
    bomb = bomb if bomb >= 0 else 160 + bomb % 16
    board.draw(0, 9, cannon)
    for channel, cell in ((4, shot), (4, older), (5, bomb)):
        board.draw(channel, cell // 16, cell % 16)
    before, after = np.int32([cannon]), np.int32([top, left, heading, shot, older, bomb])
    clocks = np.int32([rng.integers(6), rng.integers(12), rng.integers(10), 12])
    state = space_invaders.Situation(*before, np.uint32(aliens), *after, *clocks)
    return state.packed(), board


def thing(rng, row, *more):
    """A word with a thing in a row, and its column and heading (1: to the right)."""
    column, heading = int(rng.integers(10)), int(rng.integers(2))
    fields = (
        (seaquest_state.X, column),
        (seaquest_state.Y, row),
        (seaquest_state.THERE, 1),
        (seaquest_state.HEADING, heading),
        *more,
    )
    return sum(int(value) << field.first for field, value in fields), column, heading


def random_seaquest(rng):
    board = Board(10)

    def behind(row, column, heading):
        board.draw(3, row, column - 1 if heading else column + 1)

    row, oxygen = int(rng.integers(0, 9)), int(rng.integers(0, 201))
    player, column, heading = thing(
        rng, row, (seaquest_state.OXYGEN, oxygen), (seaquest_state.RAMP, 3)
    )
    board.draw(0, row, column)
    board.draw(1, row, column - 1 if heading else column + 1)
    words = {"bullets": 0, "swimmers": 0}
    for name, first_row, channel in (("bullets", 0, 2), ("swimmers", 1, 9)):
        for half in range(2):
            if rng.random() < 0.7:
                row = int(rng.integers(first_row, 9))
                word, column, heading = thing(rng, row)
                words[name] |= word << 16 * half
                board.draw(channel, row, column)
                if name == "swimmers":
                    behind(row, column, heading)
    enemies = []
    for _ in range(32):
        row, fish, shot_x, shot = (int(rng.integers(n)) for n in (8, 2, 10, 2))
        row += 1
        word, column, heading = thing(rng, row, (seaquest_state.FISH, fish))
        if rng.random() < 0.6:
            board.draw(5 if fish else 6, row, column)
            behind(row, column, heading)
        else:
            word &= ~(1 << seaquest_state.THERE.first)
        if shot:
            board.draw(4, row, shot_x)
        enemies.append(
            word | shot_x << seaquest_state.SHOT_X.first | shot << seaquest_state.SHOT.first
        )
    divers = int(rng.integers(-1, 7))
    for i in range(oxygen // 20):
        board.draw(7, 9, i)
    for i in range(divers):
        board.draw(8, 9, 8 - i)
    state = seaquest_state.SeaquestState(
        player=np.uint32(player),
        divers=np.int32(divers),
        timers=np.uint32(0),
        bullets=np.uint32(words["bullets"]),
        swimmers=np.uint32(words["swimmers"]),
        enemies=np.uint32(enemies),
    )
    return state, board


GAMES = {
    Asterix: random_asterix,
    Breakout: random_breakout,
    Freeway: random_freeway,
    Seaquest: random_seaquest,
    SpaceInvaders: random_space_invaders,
}


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.__name__)
def test_a_board_has_what_is_drawn_thing_by_thing(game):
    rng = np.random.default_rng(0)
    states, boards = zip(*(GAMES[game](rng) for _ in range(STATES)), strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    seen = np.asarray(jax.jit(jax.vmap(game().observe))(stacked))
    expected = np.stack([board.cells for board in boards])
    assert seen.dtype == bool
    assert np.array_equal(seen, expected)
    assert expected.any(axis=0).any(axis=(0, 1)).all()  # every channel has been seen


def test_a_stencil_compares_bits_of_words():
    corner = np.where((CELL_ROW == 2) & (CELL_COLUMN == 3), 5, NEVER)
    stencil = Stencil.of(
        [Bits(0, 4, 3, corner), Bits(1, 0, 1, 0)],
        [],
        [Bits(CELL_ROW % 2, CELL_COLUMN, 1, 1)],
    )
    board = np.asarray(stencil.board(jnp.uint32(5 << 4), jnp.uint32(0b1010)))
    expected = np.zeros((10, 10, 3), bool)
    expected[2, 3, 0] = True
    expected[::2, [4, 6], 2] = True
    expected[1::2, [1, 3], 2] = True
    assert np.array_equal(board, expected)
    assert not np.asarray(stencil.board(jnp.uint32(5 << 4), jnp.uint32(1)))[..., 0].any()
    assert not np.asarray(stencil.board(jnp.uint32(7 << 4), jnp.uint32(0)))[..., 0].any()
