"""Four rooms: the paper's figure and its law of motion, stated once more and apart from
the map."""

import jax
import numpy as np
import pytest
from scipy import stats

import purerl.random
from purerl import mdp
from purerl.envs import grid_of, make
from purerl.envs.grids import four_rooms
from tests import quick

HALLWAYS = {"north": (3, 6), "west": (6, 2), "east": (7, 9), "south": (10, 6)}


def rectangle(top, bottom, left, right):
    return {(i, j) for i in range(top, bottom + 1) for j in range(left, right + 1)}


# The western rooms are 5 by 5 both; the eastern ones are 6 and 4 rows high, for their
# wall lies one row lower.
FLOOR = (
    rectangle(1, 5, 1, 5)
    | rectangle(7, 11, 1, 5)
    | rectangle(1, 6, 7, 11)
    | rectangle(8, 11, 7, 11)
)
FLOOR |= set(HALLWAYS.values())


def dense(model):
    """P(s' | s, a), float64 [S, A, S]."""
    chance = np.zeros((model.num_states, model.num_actions, model.num_states))
    s, a = np.indices(model.probability.shape[:2])
    for k in range(model.num_outcomes):
        np.add.at(
            chance,
            (s, a, np.asarray(model.next_state[..., k])),
            np.asarray(model.probability[..., k], float),
        )
    return chance


def walked(slip=1 / 3):
    """The same by walking: 2/3 ahead, 1/9 in each of the three other directions, and
    nowhere against a wall."""
    chance = np.zeros((169, 4, 169))
    headings = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for i, j in FLOOR:
        for meant in range(4):
            for taken, (di, dj) in enumerate(headings):
                there = (i + di, j + dj) if (i + di, j + dj) in FLOOR else (i, j)
                chance[13 * i + j, meant, 13 * there[0] + there[1]] += (
                    1 - slip if taken == meant else slip / 3
                )
    return chance


def test_the_layout_is_the_papers_not_transposed():
    assert len(FLOOR) == 104
    rows = grid_of(make("FourRooms-v0")).rows
    assert {(i, j) for i in range(13) for j in range(13) if rows[i][j] != "#"} == FLOOR
    assert {(j, i) for i, j in FLOOR} != FLOOR
    reachable = np.asarray(mdp.reachable(four_rooms().mdp)).reshape(13, 13)
    assert set(map(tuple, np.argwhere(reachable).tolist())) == FLOOR - {HALLWAYS["east"]}


@pytest.mark.parametrize("slip", [1 / 3, 0.0, 1.0])
def test_every_move_is_that_of_a_walker(slip):
    """Not gridworld's sideways slip: backwards too."""
    model = four_rooms(slip=slip).mdp
    cells = np.array([13 * i + j for i, j in sorted(FLOOR - {HALLWAYS["east"]})])
    np.testing.assert_allclose(dense(model)[cells], walked(slip)[cells], atol=1e-6)
    into_goal = np.asarray(model.next_state)[cells] == 13 * 7 + 9
    np.testing.assert_array_equal(np.asarray(model.terminated)[cells], into_goal)
    np.testing.assert_array_equal(np.asarray(model.reward)[cells], into_goal)


def test_moves_by_hand():
    chance = dense(four_rooms().mdp)
    corner = 13 * 1 + 1
    assert chance[corner, 0, corner] == pytest.approx(
        2 / 3 + 1 / 9
    )  # up: the wall above, and the wall to the left
    assert chance[corner, 0, corner + 1] == chance[corner, 0, corner + 13] == pytest.approx(1 / 9)
    west = 13 * 6 + 2  # in a hallway through a horizontal wall, right
    assert chance[west, 1, west] == pytest.approx(2 / 3 + 1 / 9)
    assert chance[west, 1, west - 13] == chance[west, 1, west + 13] == pytest.approx(1 / 9)


def test_exact_values_are_those_of_another_solver():
    """Float64, dense, by a thousand plain sweeps; and without slips a discount for each
    step of the shortest way."""
    goal, discount = 13 * 7 + 9, 0.9
    chance, values = walked(), np.zeros(169)
    for _ in range(1000):
        values = (
            chance @ (np.eye(169)[goal] + discount * np.where(np.arange(169) == goal, 0, values))
        ).max(axis=1)
    cells = [13 * i + j for i, j in FLOOR - {HALLWAYS["east"]}]
    ours = np.asarray(mdp.value_iteration(four_rooms().mdp, discount).values)
    np.testing.assert_allclose(ours[cells], values[cells], atol=1e-6)

    ours = np.asarray(mdp.value_iteration(four_rooms(slip=0.0).mdp, discount).values)
    distance, border = {HALLWAYS["east"]: 0}, [HALLWAYS["east"]]
    for i, j in border:
        for there in ((i - 1, j), (i, j + 1), (i + 1, j), (i, j - 1)):
            if there in FLOOR and there not in distance:
                distance[there] = distance[i, j] + 1
                border.append(there)
    assert len(distance) == 104
    for (i, j), steps in distance.items():
        assert ours[13 * i + j] == pytest.approx(discount ** (steps - 1) if steps else 0, abs=1e-6)


def test_starts_are_uniform_over_the_other_cells():
    env = four_rooms()
    starts = np.asarray(
        quick.optimizing_jit(jax.vmap(env.reset))(jax.random.split(purerl.random.key(0), 20_600))
    )
    counts = np.bincount(starts, minlength=169).reshape(13, 13)
    allowed = sorted(FLOOR - {HALLWAYS["east"]})
    assert stats.chisquare([counts[cell] for cell in allowed]).pvalue > 1e-4
    assert sum(counts[cell] for cell in allowed) == 20_600


def test_steps_follow_the_law():
    env, state = four_rooms(), 13 * 3 + 5
    step = quick.optimizing_jit(jax.vmap(lambda key: env.step(key, state, 1)[0]))
    reached = np.asarray(step(jax.random.split(purerl.random.key(1), 18_000)))
    counts = np.bincount(reached, minlength=169)[[state + 1, state - 13, state + 13, state - 1]]
    assert stats.chisquare(counts, [12_000, 2_000, 2_000, 2_000]).pvalue > 1e-4


def test_goal_and_start_may_be_any_cell():
    env = four_rooms(goal=(1, 11), start=(11, 1))
    np.testing.assert_array_equal(np.flatnonzero(env.mdp.initial), [13 * 11 + 1])
    terminated = np.asarray(env.mdp.terminated) & (
        np.asarray(env.mdp.next_state) != np.arange(169)[:, None, None]
    )
    assert set(np.asarray(env.mdp.next_state)[terminated].tolist()) == {13 * 1 + 11}
    assert (env.rows[1], env.rows[11]) == ("#.....#....G#", "#S....#.....#")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (
            {"goal": (6, 6)},
            r"goal is \(6, 6\); allowed: the \(row, column\) of a floor cell",
        ),
        ({"goal": (13, 1)}, r"goal is \(13, 1\)"),
        ({"goal": (-1, 1)}, r"goal is \(-1, 1\)"),
        ({"start": (1, 1, 1)}, r"start is \(1, 1, 1\)"),
        ({"start": (7, 9)}, r"start is \(7, 9\); allowed: a cell other than the goal"),
        ({"slip": 1.5}, r"slip is 1.5; allowed: a number in \[0, 1\]"),
        ({"slip": float("nan")}, "slip is nan"),
    ],
)
def test_wrong_parameters_are_refused(parameters, says):
    with pytest.raises(ValueError, match=says):
        four_rooms(**parameters)
