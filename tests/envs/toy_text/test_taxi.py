"""Taxi with a fickle passenger: Gymnasium's, driven by our draws, and Markov where
Gymnasium's numbers are not."""

import collections

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purerl.random
from purerl import mdp
from purerl.envs import interact
from purerl.envs.toy_text import taxi
from tests import quick

STANDS = [(0, 0), (0, 4), (4, 0), (4, 3)]
FICKLE = {"fickle_passenger": True, "fickle_probability": 0.3}
LANES, STEPS = 50, 2000


class Script:
    """A random generator that answers what it was told to, and knows whether it was
    asked."""

    def __init__(self):
        self.numbers, self.choices = [], []

    def random(self):
        return self.numbers.pop(0)

    def choice(self, options):
        choice = self.choices.pop(0)
        assert choice in options
        return choice


def number_for(probabilities, outcome):
    """What a generator has to say for ``outcome`` to be drawn."""
    total = np.cumsum(probabilities)
    return total[outcome] - probabilities[outcome] / 2


@quick.optimizing_jit
def drive(env, policy, key):
    """Lanes of steps of which half are the policy's and the others anything:
    transitions and states [LANES, STEPS]."""

    def step(state, key):
        act_key, any_key, env_key = jax.random.split(key, 3)
        anything = jax.random.randint(any_key, (), 0, env.num_actions)
        action = jnp.where(jax.random.bernoulli(act_key), policy[state], anything)
        return interact(env, env_key, state, action)

    start_key, key = jax.random.split(key)
    start = jax.vmap(env.reset)(jax.random.split(start_key, LANES))
    return jax.vmap(lambda s, k: jax.lax.scan(step, s, jax.random.split(k, STEPS))[1])(
        start, jax.random.split(key, LANES)
    )


@pytest.fixture(scope="module")
def solved():
    """A rainy and fickle city, and its optimal values."""
    env = taxi(is_rainy=True, **FICKLE)
    return env, mdp.value_iteration(env.mdp, 0.99)


@pytest.fixture(scope="module")
def rainy(solved):
    env, solution = solved
    transitions = drive(env, solution.policy, purerl.random.key(0, "pcg4d"))
    before, after = (
        env.decode(states) for states in (transitions.observation, transitions.next_observation)
    )
    return jax.tree.map(np.asarray, (transitions, before, after))


def test_equals_gymnasium_over_a_hundred_thousand_steps(rainy):
    transitions, before, after = rainy
    env = gymnasium.make("Taxi-v4", is_rainy=True, **FICKLE).unwrapped
    script = Script()
    env.np_random = script
    env.action_mask = lambda state: None  # is not compared, and takes half the time
    covered = collections.Counter()
    changes = (before.destination != after.destination) & ~transitions.terminated
    ends = np.flatnonzero(
        transitions.terminated.ravel() | (np.arange(LANES * STEPS) % STEPS == STEPS - 1)
    )
    rows, columns, passengers, destinations, settled = (
        np.stack([b, a], -1).reshape(-1, 2).tolist() for b, a in zip(before, after, strict=True)
    )
    actions, rewards, terminated = (
        x.ravel().tolist() for x in (transitions.action, transitions.reward, transitions.terminated)
    )
    changes = changes.ravel()

    def number(i, when):
        return env.encode(
            rows[i][when], columns[i][when], passengers[i][when], destinations[i][when]
        )

    first = 0
    for last in ends:
        fickle = changes[first : last + 1].any()
        start = number(first, 0)
        script.numbers = [number_for(env.initial_state_distrib, start), 0.29 if fickle else 0.31]
        assert env.reset()[0] == start and not script.numbers
        for i in range(first, last + 1):
            assert env.s == number(i, 0)
            outcomes = env.P[env.s][actions[i]]
            shown = env.encode(rows[i][1], columns[i][1], passengers[i][1], destinations[i][0])
            outcome = [reached for _, reached, _, _ in outcomes].index(shown)
            script.numbers = [number_for([p for p, *_ in outcomes], outcome)]
            script.choices = [destinations[i][1]] if changes[i] else []
            found, reward, ends_here, _, _ = env.step(actions[i])
            assert (found, reward, ends_here) == (number(i, 1), rewards[i], terminated[i])
            assert not script.numbers and not script.choices
            moved = rows[i][0] != rows[i][1] or columns[i][0] != columns[i][1]
            assert not fickle or settled[i][1] != env.fickle_step
            aboard = passengers[i][0] == 4
            covered["changed"] += bool(changes[i])
            covered["might have changed"] += (
                aboard and moved and not settled[i][0] and not changes[i]
            )
            covered["bumped before the first move"] += (
                aboard and not moved and actions[i] < 4 and not settled[i][0]
            )
            covered["put down before the first move"] += (
                aboard and passengers[i][1] < 4 and not settled[i][1]
            )
            covered["put down elsewhere, settled"] += (
                aboard and passengers[i][1] < 4 and settled[i][1] and not terminated[i]
            )
            covered["fetched again, settled"] += (
                not aboard and passengers[i][1] == 4 and settled[i][0]
            )
            covered["drifted at the first move"] += (
                not settled[i][0] and settled[i][1] and outcome > 0
            )
            covered["ended"] += terminated[i]
        first = last + 1
    assert min(covered.values()) >= 50, covered


def test_changes_of_mind_follow_their_law(rainy):
    """Of first moves three in ten change the destination, each other one as often:
    chi-square; later moves never."""
    _, before, after = rainy
    first = ~before.settled & after.settled
    moved = (before.row != after.row) | (before.column != after.column)
    assert np.array_equal(first, ~before.settled & (before.passenger == 4) & moved)
    step = (after.destination - before.destination)[first] % 4
    counts = np.bincount(step, minlength=4)
    assert counts.sum() > 1000
    assert stats.chisquare(counts, counts.sum() * np.array([0.7, 0.1, 0.1, 0.1])).pvalue > 1e-4
    assert np.array_equal(before.destination[~first], after.destination[~first])


@pytest.mark.parametrize("parameters", [{}, {"is_rainy": True, "rainy_probability": 0.7}])
def test_the_law_is_gymnasiums_with_the_coin_tossed_in_time(parameters):
    """From each of 812 states and each action: Gymnasium's row, and what its code does
    to it, as laws of where one comes to."""
    plain, fickle = (
        taxi(**parameters),
        taxi(**parameters, fickle_passenger=True, fickle_probability=0.4),
    )
    assert (plain.num_states, fickle.num_states) == (500, 812)
    tables = {}
    for name, env in (("plain", plain), ("fickle", fickle)):
        model = env.mdp
        tables[name] = [
            np.asarray(x)
            for x in (model.probability, model.next_state, model.reward, model.terminated)
        ]
    parts = np.stack([np.asarray(x) for x in fickle.decode(jnp.arange(812))], axis=1).tolist()
    for state, (row, column, passenger, destination, settled) in enumerate(parts):
        number = ((row * 5 + column) * 5 + passenger) * 4 + destination
        assert settled == (state < 500)
        for action in range(6):
            expected, found = collections.Counter(), collections.Counter()
            for p, reached, reward, ends in zip(
                *(table[number, action] for table in tables["plain"]), strict=True
            ):
                to_row, to_column, to_passenger, _, _ = parts[reached]
                at = to_row, to_column, to_passenger
                if not settled and passenger == 4 and (to_row, to_column) != (row, column):
                    expected[*at, destination, 1, reward, ends] += 0.6 * p
                    for other in {0, 1, 2, 3} - {destination}:
                        expected[*at, other, 1, reward, ends] += 0.4 / 3 * p
                else:
                    expected[*at, destination, settled, reward, ends] += p
            for p, reached, reward, ends in zip(
                *(table[state, action] for table in tables["fickle"]), strict=True
            ):
                found[*parts[reached], reward, ends] += p
            found = {key: p for key, p in found.items() if p > 0}
            assert found.keys() == expected.keys()
            assert all(abs(found[key] - p) < 1e-6 for key, p in expected.items())


def test_the_extra_states_are_those_that_are_reached_and_needed(solved):
    """All 312 are reached, and none has the optimal values of the state below 500 that
    Gymnasium shows in its place."""
    env, solution = solved
    assert np.asarray(mdp.reachable(env.mdp))[500:].all()
    q = np.asarray(solution.q)
    row, column, passenger, destination, _ = env.decode(jnp.arange(500, 812))
    assert (
        np.abs(q[500:] - q[np.asarray(env.encode(row, column, passenger, destination))])
        .max(axis=1)
        .min()
        > 1e-3
    )
    starts = env.decode(env.start_states)
    assert len(env.start_states) == 300 and not starts.settled.any()
    np.testing.assert_allclose(env.mdp.initial[env.start_states], 1 / 300, rtol=1e-6)
    assert np.all(starts.passenger < 4) and np.all(starts.passenger != starts.destination)


def test_states_are_numbered_as_by_gymnasium_and_back():
    env, reference = taxi(**FICKLE), gymnasium.make("Taxi-v4").unwrapped
    parts = np.stack(env.decode(jnp.arange(500))[:4], axis=1)
    np.testing.assert_array_equal(parts, [reference.decode(i) for i in range(500)])
    states = jnp.arange(812)
    np.testing.assert_array_equal(jax.vmap(lambda s: env.encode(*env.decode(s)))(states), states)
    assert int(env.encode(2, 2, 4, 0, settled=False)) == -1  # in the taxi and away from the stands


def test_pictures_show_everything():
    """No two of the states that can be told apart by sight look alike; the settled and
    the unsettled do."""
    env = taxi(**FICKLE)
    states = [328, 329, 332, 348]  # another destination, another passenger, another column
    pictures = [env.render(state) for state in states]
    assert all(
        picture.dtype == np.uint8 and picture.shape == pictures[0].shape for picture in pictures
    )
    assert len({picture.tobytes() for picture in pictures}) == len(states)
    assert np.array_equal(env.render(328), env.render(int(env.encode(3, 1, 2, 0, settled=False))))
