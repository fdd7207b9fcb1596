"""Pictures and text of the gridworlds: what is where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl.random
from purerl.envs import drawing, make
from purerl.envs.grids import ENVIRONMENTS, blocking_maze, key_door, windy_grid
from purerl.envs.grids.mazes import MazeState
from tests import quick


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_text_and_picture_agree(name):
    """A square of 32 pixels for each letter; a blue disc where ``@`` is; walls black,
    goals green, the rest light."""
    env = make(name)
    env = getattr(env, "env", env)
    state = quick.optimizing_jit(env.reset)(purerl.random.key(0))
    lines = env.ascii(state).split("\n")[: 7 if "Wind" in name else None]
    picture = env.render(state)
    assert (picture.shape, picture.dtype) == ((32 * len(lines), 32 * len(lines[0]), 3), np.uint8)
    assert "".join(lines).count("@") == "".join(lines).count("G") == 1
    colors = {
        "@": drawing.BLUE,
        "#": drawing.BLACK,
        "G": drawing.GREEN,
        "K": drawing.YELLOW,
        "D": drawing.BROWN,
    }
    for i, line in enumerate(lines):
        for j, letter in enumerate(line):
            middle = picture[32 * i + 16, 32 * j + 16]
            if letter in colors:
                assert tuple(middle) == colors[letter]
            else:
                assert middle.min() > 150
            if letter == "@":
                assert tuple(picture[32 * i + 2, 32 * j + 2]) != drawing.BLUE


def test_the_wind_is_seen():
    env = windy_grid()
    assert env.ascii(30) == "\n".join(
        [*[".........."] * 3, "@......G..", *[".........."] * 3, "0001112210"]
    )
    air = env.render(30)[5, 16::32].astype(int)
    brightness = air.sum(-1)
    assert (np.argsort(np.argsort(-np.unique(brightness))) == [2, 1, 0]).all()
    np.testing.assert_array_equal(
        brightness, np.unique(brightness)[::-1][[0, 0, 0, 1, 1, 1, 2, 2, 1, 0]]
    )


def test_the_walls_shown_are_those_of_the_day():
    env = blocking_maze()
    before, after = (MazeState(jnp.int32(48), jnp.int32(remaining)) for remaining in (1, 0))
    assert env.ascii(before).split("\n")[3:] == ["########.", ".........", "...@....."]
    assert env.ascii(after).split("\n")[3] == ".########"
    assert (
        tuple(env.render(before)[3 * 32 + 16, 16])
        == drawing.BLACK
        == tuple(env.render(after)[3 * 32 + 16, 8 * 32 + 16])
    )
    assert (
        tuple(env.render(after)[3 * 32 + 16, 16])
        == drawing.WHITE
        == tuple(env.render(before)[3 * 32 + 16, 8 * 32 + 16])
    )


def test_an_open_door_and_a_key_taken_are_floor():
    env = key_door(["SKDG"])
    picture = env.render(
        jax.device_get(env.mdp.next_state)[5, 5, 0]
    )  # on the key's place, having it, and opening
    assert [tuple(picture[16, 32 * j + 16]) for j in range(4)] == [
        drawing.PALE,
        drawing.BLUE,
        drawing.WHITE,
        drawing.GREEN,
    ]
