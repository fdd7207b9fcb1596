"""Random mazes: always trees, drawn as told, and walked like a map."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purerl.random
from purerl.envs import interact
from purerl.envs.grids import RandomMaze
from purerl.envs.grids.random_maze import draw_maze
from tests import quick

MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]


def draw(number, size, seed=0):
    """Walls as bool [number, size, size]."""
    words = jax.random.bits(purerl.random.key(seed), (number, size // 2), jnp.uint32)
    rows = np.asarray(quick.optimizing_jit(jax.vmap(draw_maze))(words))
    assert not np.any(rows >> size if size < 32 else 0)
    return (rows[:, :, None] >> np.arange(size)) & 1 == 1


def distances(walls, start):
    found, border = {start: 0}, [start]
    for i, j in border:
        for di, dj in MOVES:
            there = i + di, j + dj
            if not walls[there] and there not in found:
                found[there] = found[i, j] + 1
                border.append(there)
    return found


@pytest.mark.parametrize("size", [5, 11, 31])
def test_every_maze_is_a_tree(size):
    """Of 1,000 each: walls around, cells open and pillars not, all cells joined, by one
    passage fewer than there are cells."""
    n = size // 2
    mazes = draw(1000, size)
    assert mazes[:, [0, -1]].all() and mazes[:, :, [0, -1]].all()
    assert not mazes[:, 1::2, 1::2].any() and mazes[:, 0::2, 0::2].all()
    passages = (~mazes[:, 1::2, 2:-1:2]).sum((1, 2)) + (~mazes[:, 2:-1:2, 1::2]).sum((1, 2))
    np.testing.assert_array_equal(passages, n * n - 1)
    assert not mazes[:, 1, 1:-1].any()  # the corridor
    for maze in mazes[:: 1 if size < 31 else 10]:
        assert len(distances(maze, (1, 1))) == 2 * n * n - 1
    assert len(np.unique(mazes, axis=0)) >= {5: 3, 11: 990, 31: 1000}[size]


def law(n):
    """The probability of every maze, by tossing the coins one at a time."""

    def rows():
        for joins in itertools.product([False, True], repeat=n - 1):
            runs = [[0]]
            for cell, joined in enumerate(joins, 1):
                runs[-1].append(cell) if joined else runs.append([cell])
            for ups in itertools.product(*runs):
                chance = Fraction(1, 2 ** (n - 1))
                for run, up in zip(runs, ups, strict=True):
                    at = run.index(up)
                    chance *= Fraction(1, 2 ** min(at + 1, len(run) - 1))
                yield joins, tuple(cell in ups for cell in range(n)), chance

    law = {}
    for lower in itertools.product(rows(), repeat=n - 1):
        walls = np.ones((2 * n + 1, 2 * n + 1), bool)
        walls[1::2, 1::2] = walls[1, 1:-1] = False
        chance = Fraction(1)
        for i, (joins, ups, p) in enumerate(lower, 1):
            walls[2 * i + 1, 2:-1:2] = ~np.array(joins)
            walls[2 * i, 1::2] = ~np.array(ups)
            chance *= p
        law[walls.tobytes()] = law.get(walls.tobytes(), 0) + chance
    assert sum(law.values()) == 1
    return law


@pytest.mark.parametrize("n", [2, 3])
def test_mazes_follow_the_law_told(n):
    expected = law(n)
    assert len(expected) == {2: 3, 3: 64}[n]
    found = dict.fromkeys(expected, 0)
    for maze in draw(20_000, 2 * n + 1, seed=1):
        found[maze.tobytes()] += 1  # no maze outside of the law
    assert (
        stats.chisquare(list(found.values()), [float(20_000 * p) for p in expected.values()]).pvalue
        > 1e-4
    )


def test_starts_are_corners_and_goals_the_opposite_ones():
    env = RandomMaze(size=7)
    states = quick.optimizing_jit(jax.vmap(env.reset))(jax.random.split(purerl.random.key(2), 4000))
    starts, goals = (
        np.stack([states.row, states.column], -1),
        np.stack([states.goal_row, states.goal_column], -1),
    )
    np.testing.assert_array_equal(starts + goals, 6)
    corners, counts = np.unique(starts, axis=0, return_counts=True)
    np.testing.assert_array_equal(corners, [[1, 1], [1, 5], [5, 1], [5, 5]])
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.fixture(scope="module")
def rollout():
    """256 walkers for 400 steps, seeing all and seeing a window; they try six times to
    find a way that is open."""
    env = RandomMaze(size=7)

    def run(key):
        def step(state, t):
            action_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            window = env.replace(view=5).observe(state)
            wall_ahead = jnp.stack([window[2 + i, 2 + j, 0] for i, j in MOVES])
            tries = jax.random.randint(action_key, (6,), 0, 4)
            action = tries[jnp.argmin(wall_ahead[tries])]
            reached, transition = interact(env, env_key, state, action)
            return reached, (state, transition, window)

        return jax.lax.scan(step, env.reset(key), jnp.arange(400))[1]

    keys = jax.random.split(purerl.random.key(3), 256)
    return jax.tree.map(np.asarray, quick.optimizing_jit(jax.vmap(run))(keys))


def ahead_of(state, transition):
    """For each step where it leads, (row, column), and whether there is a wall."""
    at = np.stack([state.row, state.column]) + np.array(MOVES)[transition.action].transpose(2, 0, 1)
    lane, t = np.indices(transition.action.shape)
    return at, transition.observation[lane, t, *at, 0]


def test_102400_steps_are_those_of_a_walker_on_the_map(rollout):
    state, transition, _ = rollout
    walls, agent, goal = np.moveaxis(transition.observation, -1, 0)
    assert (
        transition.observation.dtype == bool
        and (agent.sum((2, 3)) == 1).all()
        and (goal.sum((2, 3)) == 1).all()
    )
    np.testing.assert_array_equal(walls, (state.walls[..., None] >> np.arange(7)) & 1 == 1)
    lane, t = np.indices(transition.action.shape)
    assert (
        agent[lane, t, state.row, state.column].all()
        and goal[lane, t, state.goal_row, state.goal_column].all()
    )

    ahead, wall = ahead_of(state, transition)
    there = np.where(wall, [state.row, state.column], ahead)
    arrives = goal[lane, t, *there]
    after = transition.next_observation  # before any reset
    assert (after[..., 1].sum((2, 3)) == 1).all() and after[lane, t, *there, 1].all()
    np.testing.assert_array_equal(after[..., [0, 2]], transition.observation[..., [0, 2]])
    np.testing.assert_array_equal(transition.reward, arrives)
    np.testing.assert_array_equal(transition.terminated, arrives)
    assert not transition.truncated.any()
    assert arrives.sum() > 500 and wall.sum() > 1000
    # The maze stays within an episode and is another in the next.
    same = (state.walls[:, 1:] == state.walls[:, :-1]).all(-1)
    ended = transition.terminated[:, :-1]
    assert same[~ended].all() and 0 < same[ended].mean() < 0.2


def test_holes_are_walls_to_fall_into(rollout):
    """The same steps once more."""
    state, transition, _ = rollout
    env = RandomMaze(size=7, holes=True)
    step = quick.optimizing_jit(
        jax.vmap(jax.vmap(lambda state, action: env.step(None, state, action)))
    )
    reached, outcome = jax.tree.map(np.asarray, step(state, transition.action))
    ahead, wall = ahead_of(state, transition)
    np.testing.assert_array_equal([reached.row, reached.column], ahead)
    np.testing.assert_array_equal(reached.walls, state.walls)
    np.testing.assert_array_equal(outcome.terminated, transition.terminated | wall)
    np.testing.assert_array_equal(outcome.reward, transition.reward)


def test_the_window_is_cut_out_of_the_whole(rollout):
    state, transition, window = rollout
    for lane in range(0, 256, 16):
        for t in range(0, 400, 10):
            padded = np.zeros((11, 11, 3), bool)
            padded[..., 0] = True
            padded[2:-2, 2:-2] = transition.observation[lane, t]
            i, j = state.row[lane, t], state.column[lane, t]
            np.testing.assert_array_equal(window[lane, t], padded[i : i + 5, j : j + 5])


def test_the_way_found_by_search_leads_to_the_goal():
    env = RandomMaze()
    reset, step = quick.optimizing_jit(env.reset), quick.optimizing_jit(env.step)
    for seed in range(5):
        state = reset(purerl.random.key(seed))
        lines = env.ascii(state).split("\n")
        walls = np.array([[letter == "#" for letter in line] for line in lines])
        goal = int(state.goal_row), int(state.goal_column)
        assert lines[goal[0]][goal[1]] == "G" and lines[int(state.row)][int(state.column)] == "@"
        away = distances(walls, goal)
        left = away[int(state.row), int(state.column)]
        while left:
            i, j = int(state.row), int(state.column)
            action = next(
                a for a, (di, dj) in enumerate(MOVES) if away.get((i + di, j + dj), left) < left
            )
            state, outcome = step(None, state, action)
            left -= 1
            assert float(outcome.reward) == bool(outcome.terminated) == (left == 0)


@pytest.mark.parametrize("view", [None, 1, 3, 15])
@pytest.mark.parametrize("size", [5, 31])
def test_observations_are_as_declared(size, view):
    env = RandomMaze(size=size, view=view)
    state = jax.eval_shape(env.reset, purerl.random.key(0))
    assert jax.eval_shape(env.observe, state) == env.observation
    assert env.observation == jax.ShapeDtypeStruct((view or size, view or size, 3), bool)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"size": 4}, "size is 4; allowed: an odd whole number in \\[5, 31\\]"),
        ({"size": 3}, "size is 3"),
        ({"size": 33}, "size is 33"),
        ({"size": 7.0}, "size is 7.0"),
        ({"view": 4}, "view is 4; allowed: None or an odd whole number above 0"),
        ({"view": -1}, "view is -1"),
        ({"view": True}, "view is True"),
    ],
)
def test_wrong_sizes_are_refused(parameters, says):
    with pytest.raises(ValueError, match=f"RandomMaze: {says}"):
        RandomMaze(**parameters)
