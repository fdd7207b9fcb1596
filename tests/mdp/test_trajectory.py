import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purerl.mdp import FiniteMDP, discounted_return, returns_to_go, trajectory_log_probability

REWARDS = st.lists(st.floats(-10, 10, width=32), min_size=5, max_size=5)
DISCOUNT = st.floats(0, 1, width=32)


def test_returns_by_hand():
    rewards = jnp.array([1.0, -2.0, 0.0, 8.0])
    assert float(discounted_return(rewards, 0.5)) == 1.0
    assert returns_to_go(rewards, 0.5).tolist() == [1.0, 0.0, 4.0, 8.0]
    assert returns_to_go(jnp.array([1, 2, 3]), 0.5).tolist() == [2.75, 3.5, 3.0]
    assert float(discounted_return(rewards, 0.0)) == 1.0
    assert float(discounted_return(jnp.zeros(0), 0.9)) == 0.0


@given(REWARDS, DISCOUNT)
def test_returns_are_the_sums_of_their_definition(rewards, discount):
    expected = [
        sum(discount**i * reward for i, reward in enumerate(rewards[start:]))
        for start in range(len(rewards))
    ]
    np.testing.assert_allclose(
        returns_to_go(jnp.array(rewards), discount), expected, rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(
        discounted_return(jnp.array(rewards), discount), expected[0], rtol=1e-5, atol=1e-4
    )


def test_returns_of_many_episodes_under_many_discounts():
    rewards, discounts = jnp.arange(12.0).reshape(3, 4), jnp.array([0.0, 0.5, 1.0])
    together = jax.jit(jax.vmap(returns_to_go))(rewards, discounts)
    np.testing.assert_array_equal(together, [[0, 1, 2, 3], [8.875, 9.75, 9.5, 7], [38, 30, 21, 11]])


@pytest.fixture(scope="module")
def mdp():
    """Three states; some outcomes terminate, some lead to the same state."""
    rng = np.random.default_rng(3)
    next_state, terminated = rng.integers(3, size=(3, 2, 3)), rng.random((3, 2, 3)) < 0.3
    next_state[0, 0], terminated[0, 0] = [1, 1, 2], [True, False, False]
    next_state[1, 0] = [2, 0, 2]
    return FiniteMDP(
        rng.dirichlet(np.ones(3), (3, 2)),
        next_state,
        np.zeros((3, 2, 3)),
        terminated,
        np.full(3, 1 / 3),
    )


def test_probability_by_hand(mdp):
    policy = jnp.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    p = np.asarray(mdp.probability, float)
    one = trajectory_log_probability(mdp, policy, jnp.array([0, 1]), jnp.array([0]))
    assert np.exp(one) == pytest.approx(1 / 3 * 0.25 * (p[0, 0, 0] + p[0, 0, 1]), rel=1e-5)
    # Going on, only the outcome that does not terminate counts for the first step.
    back = p[1, 0][np.asarray(mdp.next_state)[1, 0] == 2].sum()
    two = trajectory_log_probability(mdp, policy, jnp.array([0, 1, 2]), jnp.array([0, 0]))
    assert np.exp(two) == pytest.approx(1 / 3 * 0.25 * p[0, 0, 1] * 1.0 * back, rel=1e-5)
    assert trajectory_log_probability(mdp, policy, jnp.array([1, 1]), jnp.array([0])) == -jnp.inf
    assert trajectory_log_probability(mdp, policy, jnp.array([1, 2]), jnp.array([1])) == -jnp.inf
    assert np.exp(
        trajectory_log_probability(mdp, policy, jnp.array([2]), jnp.zeros(0, int))
    ) == pytest.approx(1 / 3)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_probabilities_of_all_trajectories_sum_to_that_of_lasting_so_long(mdp, length):
    policy = jnp.array([[0.25, 0.75], [0.5, 0.5], [0.125, 0.875]])
    states = jnp.array(list(itertools.product(range(3), repeat=length + 1)))
    actions = jnp.array(list(itertools.product(range(2), repeat=length)))
    each = jax.jit(
        jax.vmap(jax.vmap(trajectory_log_probability, (None, None, None, 0)), (None, None, 0, None))
    )
    total = float(jnp.exp(each(mdp, policy, states, actions)).sum())

    # By the forward recursion: the mass still going after length - 1 steps.
    live = np.full(3, 1 / 3)
    for _ in range(length - 1):
        moved = np.zeros(3)
        for s, a, k in np.ndindex(3, 2, 3):
            if not mdp.terminated[s, a, k]:
                moved[mdp.next_state[s, a, k]] += live[s] * policy[s, a] * mdp.probability[s, a, k]
        live = moved
    assert total == pytest.approx(live.sum(), rel=1e-5)
    assert length == 1 or total < 1


def test_refuses_states_that_do_not_fit_the_actions(mdp):
    with pytest.raises(ValueError, match=r"states has shape \(3,\); allowed: \(4,\)"):
        trajectory_log_probability(mdp, jnp.zeros(3, int), jnp.zeros(3, int), jnp.zeros(3, int))


def test_deterministic_policy_and_model():
    chain = FiniteMDP(
        [[[1.0]], [[1.0]]], [[[1]], [[0]]], [[[0.0]], [[0.0]]], [[[False]], [[False]]], [1.0, 0.0]
    )
    policy = jnp.zeros(2, int)
    assert (
        float(trajectory_log_probability(chain, policy, jnp.array([0, 1, 0]), jnp.array([0, 0])))
        == 0.0
    )
    assert (
        float(trajectory_log_probability(chain, policy, jnp.array([1, 0, 1]), jnp.array([0, 0])))
        == -jnp.inf
    )
