"""Gridworlds: equal to what one reads off the map, by eye or by walking; wrong maps are
refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import purerl.random
from purerl.envs import drawing
from purerl.envs.base import TimeLimit
from purerl.envs.grids.gridworld import GridWorld, grid_2x3, grid_of, gridworld
from purerl.envs.toy_text import cliff_walking, frozen_lake
from tests import quick


def test_grid_2x3():
    """Map S.H / ..G; states 0 1 2 / 3 4 5; up, right, down, left. All twenty-four moves
    by hand."""
    mdp = grid_2x3().mdp
    next_state = [
        [0, 1, 3, 0],
        [1, 2, 4, 0],
        [2, 2, 2, 2],
        [0, 4, 3, 3],
        [1, 5, 4, 3],
        [5, 5, 5, 5],
    ]
    cost = -0.1
    reward = [
        [cost] * 4,
        [cost, -1, cost, cost],
        [0] * 4,
        [cost] * 4,
        [cost, 1, cost, cost],
        [0] * 4,
    ]
    ends = [
        [False] * 4,
        [False, True, False, False],
        [True] * 4,
        [False] * 4,
        [False, True, False, False],
        [True] * 4,
    ]
    assert mdp.probability.shape == (6, 4, 1)
    np.testing.assert_array_equal(mdp.next_state[..., 0], next_state)
    np.testing.assert_array_equal(np.float32(mdp.reward[..., 0]), np.float32(reward))
    np.testing.assert_array_equal(mdp.terminated[..., 0], ends)
    np.testing.assert_array_equal(mdp.initial, [1, 0, 0, 0, 0, 0])


def test_walls_block_and_cannot_be_in():
    mdp = gridworld(["S#G", "..F"]).mdp
    assert mdp.next_state[0, 1, 0] == 0  # right, into the wall
    assert mdp.next_state[4, 0, 0] == 4  # up, into the wall
    np.testing.assert_array_equal(mdp.next_state[1], [[1]] * 4)
    np.testing.assert_array_equal(mdp.reward[1], [[0]] * 4)
    assert mdp.terminated[1].all()
    others = np.delete(np.arange(6), 1)
    assert 1 not in np.asarray(mdp.next_state)[others]


def test_several_starts_are_equally_likely():
    np.testing.assert_array_equal(
        np.float32(gridworld(["S.S", "GS."]).mdp.initial),
        np.float32([1 / 3, 0, 1 / 3, 0, 1 / 3, 0]),
    )


@given(
    letters=st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.text(".FGHC#", min_size=width, max_size=width), min_size=1, max_size=5
        )
    ),
    slip=st.sampled_from([0.0, 0.3, 1.0]),
    first=st.integers(0, 3),
    clockwise=st.booleans(),
    data=st.data(),
)
def test_any_map_agrees_with_a_walker_on_it(letters, slip, first, clockwise, data):
    """Move by move, a walker who only looks at letters and turns its own head finds
    what the tables say."""
    height, width = len(letters), len(letters[0])
    start = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    grid = {(i, j): letters[i][j] for i in range(height) for j in range(width)} | {start: "S"}
    rows = ["".join(grid[i, j] for j in range(width)) for i in range(height)]
    compass = ["up", "right", "down", "left"]
    directions = [compass[(first + (i if clockwise else -i)) % 4] for i in range(4)]
    rewards = {"G": 5.0, "H": -7.0, "C": -11.0}
    mdp = gridworld(
        rows,
        directions=directions,
        slip=slip,
        step_reward=-1,
        goal_reward=5,
        hazard_reward=-7,
        cliff_reward=-11,
    ).mdp

    chance, next_state, reward, terminated = map(
        np.asarray, (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
    )
    heading = {"up": 1j, "right": 1, "down": -1j, "left": -1}
    for (i, j), a in itertools.product(grid, range(4)):
        state = i * width + j
        expected = {}
        ahead = heading[directions[a]]
        for towards, p in ((ahead, 1 - slip), (ahead * 1j, slip / 2), (ahead * -1j, slip / 2)):
            there = i - int(towards.imag), j + int(towards.real)
            there = there if grid.get(there, "#") != "#" else (i, j)
            lands = start if grid[there] == "C" else there
            entry = lands[0] * width + lands[1], rewards.get(grid[there], -1.0), grid[there] in "GH"
            if grid[i, j] in "GH#":
                entry = state, 0.0, True
            expected[entry] = expected.get(entry, 0) + p
        found = {}
        for k in range(mdp.num_outcomes):
            at = state, a, k
            entry = int(next_state[at]), float(reward[at]), bool(terminated[at])
            found[entry] = found.get(entry, 0) + float(chance[at])
        expected, found = (
            {entry: p for entry, p in law.items() if p > 0} for law in (expected, found)
        )
        assert found.keys() == expected.keys()
        for entry, p in expected.items():
            assert found[entry] == pytest.approx(p, abs=1e-6)


def test_absorbing_decides_only_about_the_rows_of_terminal_cells():
    kept, left = (gridworld(["S.H", "..G"], absorbing=absorbing).mdp for absorbing in (True, False))
    np.testing.assert_array_equal(left.next_state[5, :, 0], [2, 5, 5, 4])
    np.testing.assert_array_equal(left.reward[5, :, 0], [-1, 1, 1, 0])
    for name in ("next_state", "reward", "terminated"):
        np.testing.assert_array_equal(
            getattr(kept, name)[jnp.array([0, 1, 3, 4])],
            getattr(left, name)[jnp.array([0, 1, 3, 4])],
        )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "at least one cell"),
        ([""], "at least one cell"),
        ("S.G", "sequence of strings"),
        (["S..", ".G"], "row 1 .* has 2 cells, row 0 has 3"),
        (["S..", ".XG"], "unknown letter 'X' at row 1, column 1"),
        (["...", "..G"], "no start"),
        (["S.S", "CCG"], "row 0, column 2 is another 'S'"),
    ],
)
def test_wrong_maps_are_refused(rows, says):
    with pytest.raises(ValueError, match=says):
        gridworld(rows)


@pytest.mark.parametrize(
    "parameters",
    [
        {"slip": -0.1},
        {"slip": 1.5},
        {"slip": float("nan")},
        {"step_reward": float("inf")},
        {"cliff_reward": float("nan")},
        {"directions": ("up", "down", "left", "right")},
        {"directions": ("up", "right", "down")},
        {"directions": ("north", "east", "south", "west")},
    ],
)
def test_wrong_parameters_are_refused(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name} (is|must)"):
        gridworld(["SG"], **parameters)


def test_ascii_marks_the_agent():
    env = gridworld(["S.G", "#.H"])
    assert env.ascii(0) == "@.G\n#.H"
    assert env.ascii(np.int32(4)) == "S.G\n#@H"
    assert env.ascii(jnp.int32(5)) == "S.G\n#.@"
    assert env.rows == ("S.G", "#.H")


def test_pictures_show_the_map_and_the_agent():
    """Every cell in its letter's color at its corner, and the agent's disc in the
    middle of one."""
    env = gridworld(["S.GF", "#CH."])
    colors = [drawing.PALE, drawing.WHITE, drawing.GREEN, drawing.WHITE]
    colors += [drawing.BLACK, drawing.BROWN, drawing.RED, drawing.WHITE]
    for state in range(8):
        picture = env.render(jnp.int32(state))
        assert (picture.shape, picture.dtype) == ((64, 128, 3), np.uint8)
        for cell, color in enumerate(colors):
            y, x = cell // 4 * 32, cell % 4 * 32
            assert tuple(map(int, picture[y + 1, x + 1])) == color
            assert tuple(map(int, picture[y + 15, x + 15])) == (
                drawing.BLUE if cell == state else color
            )


def test_the_map_is_kept_under_wrappers_and_transformations():
    env = TimeLimit(TimeLimit(cliff_walking(), 7), 5)
    grid = grid_of(env)
    assert isinstance(grid, GridWorld)
    assert grid.rows[3] == "SCCCCCCCCCCG"
    assert grid.shape == (4, 12)
    assert grid.directions == ("up", "right", "down", "left")
    assert grid_of(jax.tree.map(lambda leaf: leaf + 0, env)).rows == grid.rows
    assert grid_of(object()) is None


def test_a_map_is_static():
    """Two lakes of one map share a compiled program; their numbers are leaves."""
    traces = []

    @quick.optimizing_jit
    def step(env, state):
        traces.append(env.rows)
        return env.step(purerl.random.key(0), state, jnp.int32(2))[0]

    for slip in (0.2, 0.4):
        step(frozen_lake(slip=slip), jnp.int32(3))
    assert len(traces) == 1
