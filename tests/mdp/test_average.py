"""Gain, bias, stationary distributions and mixing: closed forms and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp


def chain(matrix, reward=None, initial=None, terminal=None):
    """A single action."""
    matrix = np.asarray(matrix, float)
    size = len(matrix)
    return mdp.from_dense(
        matrix[:, None],
        np.zeros((size, 1)) if reward is None else np.asarray(reward, float)[:, None],
        np.eye(size)[0] if initial is None else initial,
        terminal,
    )


ONLY = {size: np.zeros(size, int) for size in range(1, 12)}
GARNETS = [mdp.garnet(purerl.random.key(i, "pcg4d"), 5, 2, 3) for i in range(4)]


def stationary_by_powers(matrix, times=20_000):
    return np.linalg.matrix_power((np.eye(len(matrix)) + matrix) / 2, times)[0]


def test_a_birth_and_death_chain_by_detailed_balance():
    up, down, size = 0.3, 0.2, 6
    matrix = np.diag(np.full(size - 1, up), 1) + np.diag(np.full(size - 1, down), -1)
    matrix += np.diag(1 - matrix.sum(axis=1))
    mu = (up / down) ** np.arange(size)
    np.testing.assert_allclose(mdp.stationary(chain(matrix), ONLY[size]), mu / mu.sum(), rtol=1e-5)


def test_two_states_by_hand():
    """A chain that leaves its states with probability 1/4 and 1/2.

    It spends two thirds of the time in the first, and each step leaves a quarter of the
    distance to the stationary distribution.
    """
    model = chain([[0.75, 0.25], [0.5, 0.5]], reward=[3, 0])
    found = mdp.average_reward(model, ONLY[2])
    np.testing.assert_allclose(mdp.stationary(model, ONLY[2]), [2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.gain, 2, rtol=1e-6)
    # h0 - h1 = 3 / (1 - 1/4) and 2 h0 + h1 = 0
    np.testing.assert_allclose(found.bias, [4 / 3, -8 / 3], rtol=1e-5)
    distances = [2 / 3 * 0.25**t for t in range(1, 12)]
    for distance in (0.5, 0.25, 0.1, 1e-3):
        expected = next(t for t, d in enumerate(distances, 1) if d <= distance)
        assert mdp.mixing_time(model, ONLY[2], distance) == expected
    assert mdp.mixing_time(model, ONLY[2], 0.7) == 0


@pytest.mark.parametrize("size", [4, 5])
def test_a_lazy_cycle_mixes_when_its_powers_say(size):
    step = np.roll(np.eye(size), 1, axis=1)
    lazy = (np.eye(size) + step) / 2
    power, expected = np.eye(size), 0
    while np.abs(power - 1 / size).sum(axis=1).max() / 2 > 0.01:
        power, expected = power @ lazy, expected + 1
    assert mdp.mixing_time(chain(lazy), ONLY[size], 0.01) == expected
    # The chain that is not lazy is periodic, but has a stationary distribution.
    assert mdp.mixing_time(chain(step), ONLY[size], 0.01) == np.inf
    np.testing.assert_allclose(mdp.stationary(chain(step), ONLY[size]), 1 / size, rtol=1e-5)


def test_two_classes_never_mix():
    assert mdp.mixing_time(chain(np.eye(2)), ONLY[2]) == np.inf


def test_an_episode_that_ends_begins_anew():
    """Two steps to the end, then the next episode.

    So half of the time is spent in each state, with one reward in two steps.
    """
    model = chain(
        [[0, 1, 0], [0, 0, 1], [0, 0, 1]],
        reward=[0, 1, 50],
        terminal=np.array([False, False, True]),
    )
    np.testing.assert_allclose(mdp.transition_matrix(model, ONLY[3])[:2], [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(mdp.stationary(model, ONLY[3])[:2], [0.5, 0.5], rtol=1e-5)
    assert mdp.average_reward(model, ONLY[3]).gain == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("model", GARNETS)
def test_the_best_gain_is_the_best_policys(model):
    best = -np.inf
    for policy in itertools.product(range(2), repeat=5):
        matrix = np.asarray(mdp.transition_matrix(model, np.array(policy)), float)
        reward = np.asarray((model.probability * model.reward).sum(-1))[np.arange(5), policy]
        gain = stationary_by_powers(matrix) @ reward
        found = mdp.average_reward(model, np.array(policy))
        np.testing.assert_allclose(found.gain, gain, atol=2e-5)
        np.testing.assert_allclose(found.bias, reward - found.gain + matrix @ found.bias, atol=2e-5)
        np.testing.assert_allclose(np.sum(stationary_by_powers(matrix) * found.bias), 0, atol=2e-5)
        best = max(best, gain)
    found = mdp.optimal_average_reward(model)
    assert found.gain == pytest.approx(best, abs=2e-5) and found.error_bound < 2e-5
    # The optimality equation.
    np.testing.assert_allclose(found.q.max(axis=1), found.bias, atol=2e-5)
    assert mdp.average_reward(model, found.policy).gain == pytest.approx(best, abs=2e-5)


def test_river_swim():
    """The gain that its docstring derives."""
    found = mdp.optimal_average_reward(purerl.make("RiverSwim-v0").mdp)
    assert found.gain == pytest.approx(0.3 * 10_000 * 243 / 1090, rel=1e-5)
    assert found.policy.tolist() == [1] * 6


def test_a_periodic_model_converges_too():
    model = chain([[0, 1], [1, 0]], reward=[1, 0])
    assert mdp.optimal_average_reward(model).gain == pytest.approx(0.5, abs=1e-6)


def test_the_discounted_optimum_nears_the_gain():
    """``(1 - discount) v*`` tends to the gain (Puterman, corollary 8.2.5)."""
    model = GARNETS[0]
    scaled = (1 - 0.999) * np.asarray(mdp.value_iteration(model, 0.999).values)
    np.testing.assert_allclose(scaled, mdp.optimal_average_reward(model).gain, atol=0.01)


def test_models_side_by_side():
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *GARNETS)
    together = jax.vmap(mdp.optimal_average_reward)(stacked)
    for i, model in enumerate(GARNETS):
        np.testing.assert_allclose(
            together.gain[i], mdp.optimal_average_reward(model).gain, atol=1e-5
        )


@pytest.mark.parametrize("name", ["as it is", "backwards", "most servers first"])
def test_the_bias_does_not_depend_on_the_order_of_states(name):
    """The queue is almost never empty: were the bias summed until such a state, the
    gain's rounding error would be summed over millions of steps."""
    env = purerl.make("AccessControl-v0")
    size = env.num_states
    order = {
        "as it is": np.arange(size),
        "backwards": np.arange(size)[::-1],
        "most servers first": np.arange(size).reshape(-1, 4)[::-1].ravel(),
    }[name]
    where = np.argsort(order)
    model = jax.tree.map(lambda x: np.asarray(x)[order], env.mdp)
    model = model.replace(next_state=where[model.next_state])
    found = mdp.optimal_average_reward(model)
    assert found.gain.dtype == jnp.float32
    chain = np.asarray(mdp.transition_matrix(model, found.policy), float)
    rows = np.arange(size), np.asarray(found.policy)
    reward = np.sum(np.asarray(model.probability, float) * model.reward, axis=2)[rows]
    # Of the equations of gain and bias one is free: it is the bias of a state.
    matrix = np.eye(size) - chain
    matrix[:, 0] = 1
    gain, *bias = np.linalg.solve(matrix, reward)
    bias = np.array([0, *bias])
    np.testing.assert_allclose(found.gain, gain, rtol=1e-6)
    np.testing.assert_allclose(found.bias - found.bias[0], bias, atol=1e-3)
