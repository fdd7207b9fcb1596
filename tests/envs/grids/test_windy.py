"""The windy gridworld: the book's figures, and a walker who is blown about."""

import numpy as np
import pytest

from purerl import mdp
from purerl.envs.grids import windy_grid

BLOWS = [0, 0, 0, 1, 1, 1, 2, 2, 1, 0]
KINGS = [(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (0, 0)]


def walk(row, column, move, gust=0):
    wind = BLOWS[column] + gust if BLOWS[column] else 0
    row, column = row + move[0] - wind, column + move[1]
    return min(max(row, 0), 6), min(max(column, 0), 9)


@pytest.mark.parametrize("moves", [4, 8, 9])
@pytest.mark.parametrize("stochastic", [False, True])
def test_every_move_is_that_of_a_walker(moves, stochastic):
    model = windy_grid(moves, stochastic=stochastic).mdp
    gusts = (-1, 0, 1) if stochastic else (0,)
    assert model.probability.shape == (70, moves, len(gusts))
    chance, reached, reward, terminated = map(
        np.asarray, (model.probability, model.next_state, model.reward, model.terminated)
    )
    clipped = 0
    for state in range(70):
        for action in range(moves):
            expected = np.zeros(70)
            for gust in gusts:
                row, column = walk(state // 10, state % 10, KINGS[action], gust)
                clipped += row == 0 and BLOWS[state % 10] > state // 10
                expected[10 * row + column] += 1 / len(gusts)
            found = np.bincount(reached[state, action], chance[state, action], 70)
            if state == 37:
                assert (
                    (reached[state] == 37).all()
                    and (reward[state] == 0).all()
                    and terminated[state].all()
                )
            else:
                np.testing.assert_allclose(found, expected, atol=1e-6)
                np.testing.assert_array_equal(
                    terminated[state, action], reached[state, action] == 37
                )
                assert (reward[state, action] == -1).all()
    assert clipped > 0
    np.testing.assert_array_equal(np.flatnonzero(model.initial), [30])


@pytest.mark.parametrize(("moves", "steps"), [(4, 15), (8, 7), (9, 7)])
def test_the_shortest_ways_are_the_books(moves, steps):
    """Example 6.5 and Exercise 6.9, and breadth-first search from everywhere."""
    values = np.asarray(mdp.value_iteration(windy_grid(moves).mdp, 1.0, max_iterations=200).values)
    assert values[30] == -steps
    distance, frontier = {(3, 7): 0}, {(3, 7)}
    for far in range(1, 70):
        frontier = {
            (i, j)
            for i in range(7)
            for j in range(10)
            if (i, j) not in distance
            and any(walk(i, j, move) in frontier for move in KINGS[:moves])
        }
        distance |= dict.fromkeys(frontier, far)
    assert distance[3, 0] == steps
    for (i, j), far in distance.items():
        assert values[10 * i + j] == -far


def test_a_step_left_beside_the_goal_ends_above_it():
    """The book's own example."""
    assert windy_grid().mdp.next_state[38, 3, 0] == 27


def test_stochastic_wind_has_the_values_of_another_solver():
    """Exercise 6.10."""
    ways = [
        [[walk(s // 10, s % 10, move, gust) for gust in (-1, 0, 1)] for move in KINGS]
        for s in range(70)
    ]
    reached = np.array(ways) @ [10, 1]
    values = np.zeros(70)
    for _ in range(2000):
        values = (-1 + values[reached].mean(axis=-1)).max(axis=-1)
        values[37] = 0
    ours = mdp.value_iteration(windy_grid(9, stochastic=True).mdp, 1.0).values
    np.testing.assert_allclose(ours, values, rtol=1e-5)
    assert -12 < values[30] < -7


@pytest.mark.parametrize("moves", [5, 0, "king"])
def test_other_numbers_of_moves_are_refused(moves):
    with pytest.raises(ValueError, match=f"moves is {moves!r}; allowed: 4, 8, 9"):
        windy_grid(moves)
