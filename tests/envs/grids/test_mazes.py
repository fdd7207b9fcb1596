"""Mazes of the book: their walls by coordinates, shortest ways by breadth-first search,
and a clock that outlives episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl.random
from purerl import mdp
from purerl.envs import StickyActions, TimeLimit, interact, restart
from purerl.envs.grids import blocking_maze, changing_maze, dyna_maze, shortcut_maze
from purerl.envs.grids.mazes import MazeState
from tests import quick

MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]
DYNA = {(1, 2), (2, 2), (3, 2), (4, 5), (0, 7), (1, 7), (2, 7)}
RIGHT_OPEN, LEFT_OPEN, BOTH_OPEN = (
    {(3, j) for j in columns} for columns in (range(8), range(1, 9), range(1, 8))
)
GOAL = (0, 8)


def walk(walls, cell, action):
    there = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
    return cell if there in walls or not (0 <= there[0] < 6 and 0 <= there[1] < 9) else there


def distances(walls):
    """Steps to the goal, of all that can get there."""
    found, border = {GOAL: 0}, [GOAL]
    for cell in border:
        for action in range(4):
            there = walk(walls, cell, action)
            if there not in found:
                found[there] = found[cell] + 1
                border.append(there)
    return found


def assert_model(model, walls, start):
    for i in range(6):
        for j in range(9):
            if (i, j) in walls | {GOAL}:
                continue
            for action in range(4):
                there = walk(walls, (i, j), action)
                at = 9 * i + j, action, 0
                assert divmod(int(model["next_state"][at]), 9) == there
                assert model["reward"][at] == model["terminated"][at] == (there == GOAL)
    np.testing.assert_array_equal(np.flatnonzero(model["initial"]), [9 * start[0] + start[1]])


CASES = [
    ("dyna", dyna_maze().mdp, DYNA, (2, 0), 14),
    ("blocking, before", blocking_maze().mdp_before, RIGHT_OPEN, (5, 3), 10),
    ("blocking, after", blocking_maze().mdp_after, LEFT_OPEN, (5, 3), 16),
    ("shortcut, before", shortcut_maze().mdp_before, LEFT_OPEN, (5, 3), 16),
    ("shortcut, after", shortcut_maze().mdp_after, BOTH_OPEN, (5, 3), 10),
]


@pytest.mark.parametrize(
    ("model", "walls", "start", "steps"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_book(model, walls, start, steps):
    assert_model({name: np.asarray(leaf) for name, leaf in vars(model).items()}, walls, start)
    ways = distances(walls)
    assert ways[start] == steps
    values = np.asarray(mdp.value_iteration(model, 0.95).values)
    for (i, j), far in ways.items():
        assert values[9 * i + j] == pytest.approx(0.95 ** (far - 1) if far else 0, abs=1e-6)


def test_the_change_comes_after_the_books_number_of_steps():
    assert int(blocking_maze().reset(None).remaining) == 1000
    assert int(shortcut_maze().reset(None).remaining) == 3000


@pytest.fixture(scope="module")
def rollout():
    """64 walkers of the blocking maze for 1,600 steps, with changes after 0, 25, ...,
    1575, in one program.

    Of two steps, one goes towards the goal and the other anywhere.
    """
    towards = np.zeros((2, 54), np.int32)
    for after, walls in enumerate((RIGHT_OPEN, LEFT_OPEN)):
        ways = distances(walls)
        for i, j in ways:
            towards[after, 9 * i + j] = min(
                range(4), key=lambda action, i=i, j=j: ways[walk(walls, (i, j), action)]
            )

    def run(key, change):
        env = blocking_maze(change)

        def step(state, t):
            word, env_key = jax.random.split(jax.random.fold_in(key, t))
            word = jax.random.bits(word, (), jnp.uint32)
            action = jnp.where(
                word >> 31 == 1, jnp.array(towards)[(t >= change).astype(int), state.cell], word & 3
            )
            reached, transition = interact(env, env_key, state, action)
            return reached, (state, reached, transition)

        return jax.lax.scan(step, env.reset(key), jnp.arange(1600))[1]

    changes = jnp.arange(64) * 25
    keys = jax.random.split(purerl.random.key(0), 64)
    return np.asarray(changes), jax.tree.map(
        np.asarray, quick.optimizing_jit(jax.vmap(run))(keys, changes)
    )


def test_the_clock_runs_over_episodes(rollout):
    """Each of 102,400 steps is that of a walker who counts all steps himself; every
    change comes in the middle of things."""
    changes, (before, after, transition) = rollout
    ends_before = ends_after = caught = 0
    np.testing.assert_array_equal(
        before.remaining, np.maximum(changes[:, None] - np.arange(1600), 0)
    )
    assert not transition.truncated.any()
    for lane, change in enumerate(changes):
        cell = 5, 3
        seen = (
            before.cell,
            transition.action,
            transition.next_observation,
            transition.terminated,
            transition.reward,
        )
        for t, (at, action, next_at, terminated, reward) in enumerate(
            zip(*(x[lane].tolist() for x in seen), strict=True)
        ):
            walls = RIGHT_OPEN if t < change else LEFT_OPEN
            caught += cell in walls
            there = walk(walls, cell, action)
            assert (divmod(at, 9), divmod(next_at, 9)) == (cell, there)
            assert terminated == reward == (there == GOAL)
            if there == GOAL:
                ends_before += t < change
                ends_after += t >= change
            cell = (5, 3) if there == GOAL else there
        assert divmod(int(after.cell[lane, -1]), 9) == cell
    assert ends_before > 1000 and ends_after > 1000 and caught > 0


def test_who_is_caught_in_a_new_wall_walks_out_of_it():
    env = blocking_maze(change=1)
    step = quick.optimizing_jit(env.step)
    state, _ = step(
        None, MazeState(jnp.int32(9 * 3 + 8), jnp.int32(1)), 1
    )  # against the border: the wall comes
    assert (int(state.cell), int(state.remaining)) == (35, 0)
    assert env.ascii(state).split("\n")[3] == ".#######@"
    reached = [step(None, state, action) for action in range(4)]
    assert [int(there.cell) for there, _ in reached] == [26, 35, 44, 35]
    assert not any(bool(outcome.terminated) for _, outcome in reached)
    for neighbor, towards in ((26, 2), (44, 0)):  # and nobody walks in
        assert (
            int(step(None, MazeState(jnp.int32(neighbor), jnp.int32(0)), towards)[0].cell)
            == neighbor
        )


def test_several_new_walls_beside_each_other():
    """Caught in one, one does not walk into the next."""
    after = changing_maze(["S...G", "....."], ["S.#.G", "..##."], 3).mdp_after
    np.testing.assert_array_equal(after.next_state[2, :, 0], [2, 3, 2, 1])
    np.testing.assert_array_equal(after.next_state[7, :, 0], [7, 7, 7, 6])
    np.testing.assert_array_equal(after.next_state[8, :, 0], [3, 9, 8, 8])


@pytest.mark.parametrize(
    "wrap", [lambda env: TimeLimit(env, 7), lambda env: StickyActions(TimeLimit(env, 7))]
)
def test_the_clock_survives_wrappers(wrap):
    env, key = wrap(blocking_maze()), purerl.random.key(0)
    state = env.reset(key)
    step = quick.optimizing_jit(lambda state: interact(env, key, state, jnp.int32(0)))
    for _ in range(20):
        state, _ = step(state)
    for inner in (state, quick.optimizing_jit(lambda state: restart(env, key, state))(state)):
        while not isinstance(inner, MazeState):
            inner = inner.inner
        assert int(inner.remaining) == 980


def test_a_reset_turns_the_clock_back_and_the_clock_stops_at_zero():
    env = shortcut_maze(change=2)
    state, step = env.reset(None), quick.optimizing_jit(env.step)
    for remaining in (1, 0, 0, 0):
        state, _ = step(None, state, 0)
        assert int(state.remaining) == remaining
    assert int(env.restart(None, state).remaining) == 0
    assert int(env.reset(None).remaining) == 2


def test_the_model_shown_is_exact_after_the_change():
    """What holds for good is ``mdp``, over ``states()``: this is what exact evaluation
    reads."""
    env = blocking_maze()
    assert env.mdp is env.mdp_after
    step = quick.optimizing_jit(jax.vmap(lambda s, a: env.step(None, s, a), (0, None)))
    for action in range(4):
        reached, outcome = step(env.states(), action)
        np.testing.assert_array_equal(env.observe(reached), env.mdp.next_state[:, action, 0])
        np.testing.assert_array_equal(outcome.reward, env.mdp.reward[:, action, 0])
        np.testing.assert_array_equal(outcome.terminated, env.mdp.terminated[:, action, 0])


@pytest.mark.parametrize("change", [-1, 2.5, 2**31, float("nan"), float("inf")])
def test_wrong_changes_are_refused(change):
    with pytest.raises(
        ValueError,
        match=rf"ChangingMaze: change is {change}; allowed: a whole number in \[0, 2\*\*31\)",
    ):
        blocking_maze(change)


@pytest.mark.parametrize("after", [["S....", "..G.."], ["S.H..", "....G"], ["..S..", "....G"]])
def test_maps_that_differ_in_more_than_walls_are_refused(after):
    with pytest.raises(ValueError, match=r"allowed: the map before, .*, with other walls"):
        changing_maze(["S.#..", "....G"], after, 5)
