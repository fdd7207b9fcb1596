"""Gridworlds: equal to Gymnasium's tables, equal to what one reads off the map, and wrong maps are refused."""

import itertools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from hypothesis import given
from hypothesis import strategies as st

import purerl.random
from purerl.envs.base import TimeLimit
from purerl.envs.gridworld import GridWorld, cliff_walking, frozen_lake, grid_2x3, grid_of, gridworld

LAKES = ["4x4", "8x8", *(generate_random_map(size, p, seed) for seed, (size, p) in enumerate([(3, 0.9), (5, 0.7), (11, 0.8)]))]


def assert_equal_to_gymnasium(mdp, name, **parameters):
    """The same outcomes in the same order with the same float32 numbers; what is left over has probability zero."""
    reference = gymnasium.make(name, **parameters).unwrapped
    probability, next_state, reward, terminated = map(np.asarray, (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated))
    assert probability.dtype == np.float32
    assert probability.shape[:2] == (len(reference.P), len(reference.P[0]))
    assert probability.shape[2] == max(len(outcomes) for actions in reference.P.values() for outcomes in actions.values())
    for s, actions in reference.P.items():
        for a, outcomes in actions.items():
            for k, (p, reached, r, ends) in enumerate(outcomes):
                ours = probability[s, a, k], next_state[s, a, k], reward[s, a, k], terminated[s, a, k]
                assert ours == (np.float32(p), reached, r, ends), (s, a, k)
            assert not probability[s, a, len(outcomes) :].any()
    np.testing.assert_array_equal(mdp.initial, np.float32(reference.initial_state_distrib))


@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake if isinstance(lake, str) else f"random{len(lake)}")
def test_frozen_lake_is_gymnasiums(lake, slippery):
    of_map = {"map_name": lake} if isinstance(lake, str) else {"desc": lake}
    env = frozen_lake(lake, slip=2 / 3 if slippery else 0.0)
    assert_equal_to_gymnasium(env.mdp, "FrozenLake-v1", is_slippery=slippery, **of_map)


def test_frozen_lake_has_gymnasiums_success_rate():
    env = frozen_lake(slip=0.25)
    assert_equal_to_gymnasium(env.mdp, "FrozenLake-v1", is_slippery=True, success_rate=0.75)


@pytest.mark.parametrize("slippery", [False, True])
def test_cliff_walking_is_gymnasiums(slippery):
    env = cliff_walking(slip=2 / 3 if slippery else 0.0)
    assert_equal_to_gymnasium(env.mdp, "CliffWalking-v1", is_slippery=slippery)


def test_grid_2x3():
    """Map S.H / ..G; states 0 1 2 / 3 4 5; up, right, down, left. All twenty-four moves by hand."""
    mdp = grid_2x3().mdp
    next_state = [[0, 1, 3, 0], [1, 2, 4, 0], [2, 2, 2, 2], [0, 4, 3, 3], [1, 5, 4, 3], [5, 5, 5, 5]]
    cost = -0.1
    reward = [[cost] * 4, [cost, -1, cost, cost], [0] * 4, [cost] * 4, [cost, 1, cost, cost], [0] * 4]
    ends = [[False] * 4, [False, True, False, False], [True] * 4, [False] * 4, [False, True, False, False], [True] * 4]
    assert mdp.probability.shape == (6, 4, 1)
    np.testing.assert_array_equal(mdp.next_state[..., 0], next_state)
    np.testing.assert_array_equal(mdp.reward[..., 0], np.float32(reward))
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
    np.testing.assert_array_equal(gridworld(["S.S", "GS."]).mdp.initial, np.float32([1 / 3, 0, 1 / 3, 0, 1 / 3, 0]))


@given(
    letters=st.integers(1, 5).flatmap(
        lambda width: st.lists(st.text(".FGHC#", min_size=width, max_size=width), min_size=1, max_size=5)
    ),
    slip=st.sampled_from([0.0, 0.3, 1.0]),
    first=st.integers(0, 3),
    clockwise=st.booleans(),
    data=st.data(),
)
def test_any_map_agrees_with_a_walker_on_it(letters, slip, first, clockwise, data):
    """Move by move, a walker who only looks at letters and turns its own head finds what the tables say."""
    height, width = len(letters), len(letters[0])
    start = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    grid = {(i, j): letters[i][j] for i in range(height) for j in range(width)} | {start: "S"}
    rows = ["".join(grid[i, j] for j in range(width)) for i in range(height)]
    compass = ["up", "right", "down", "left"]
    directions = [compass[(first + (i if clockwise else -i)) % 4] for i in range(4)]
    rewards = {"G": 5.0, "H": -7.0, "C": -11.0}
    mdp = gridworld(
        rows, directions=directions, slip=slip, step_reward=-1, goal_reward=5, hazard_reward=-7, cliff_reward=-11
    ).mdp

    chance, next_state, reward, terminated = map(np.asarray, (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated))
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
        expected, found = ({entry: p for entry, p in law.items() if p > 0} for law in (expected, found))
        assert found.keys() == expected.keys()
        for entry, p in expected.items():
            assert found[entry] == pytest.approx(p, abs=1e-6)


def test_absorbing_decides_only_about_the_rows_of_terminal_cells():
    kept, left = (gridworld(["S.H", "..G"], absorbing=absorbing).mdp for absorbing in (True, False))
    np.testing.assert_array_equal(left.next_state[5, :, 0], [2, 5, 5, 4])
    np.testing.assert_array_equal(left.reward[5, :, 0], [-1, 1, 1, 0])
    for name in ("next_state", "reward", "terminated"):
        np.testing.assert_array_equal(
            getattr(kept, name)[jnp.array([0, 1, 3, 4])], getattr(left, name)[jnp.array([0, 1, 3, 4])]
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


def test_unknown_lake_is_refused():
    with pytest.raises(ValueError, match="rows is '5x5'; allowed: '4x4', '8x8'"):
        frozen_lake("5x5")


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

    @jax.jit
    def step(env, state):
        traces.append(env.rows)
        return env.step(purerl.random.key(0), state, jnp.int32(2))[0]

    for slip in (0.2, 0.4):
        step(frozen_lake(slip=slip), jnp.int32(3))
    assert len(traces) == 1
