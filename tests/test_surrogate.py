"""Objectives of policy gradients against rlax, distributions against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
import scipy.integrate
import scipy.special
import scipy.stats

from purerl import surrogate
from purerl.distributions import Discrete, Normal

RNG = np.random.default_rng(0)


def test_the_clipped_objective_is_rlaxs():
    old, new, advantage = jnp.asarray(RNG.normal(size=(3, 50)), jnp.float32)
    ours = jax.vmap(surrogate.clipped, (0, 0, 0, None))

    def theirs(new):
        return -rlax.clipped_surrogate_pg_loss(jnp.exp(new - old), advantage, 0.2)

    value, gradient = jax.value_and_grad(lambda x: jnp.mean(ours(x, old, advantage, 0.2)))(new)
    expected, expected_gradient = jax.value_and_grad(theirs)(new)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)
    plain = jnp.mean(jnp.exp(new - old) * advantage)  # without clipping
    assert abs(plain - expected) > 1e-2


def test_the_score_function_objective_is_rlaxs():
    logits, advantage = (
        jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((20, 4), (20,))
    )
    actions = jnp.asarray(RNG.integers(4, size=20))

    def ours(logits):
        log_pi = jax.vmap(lambda row, a: Discrete(row).log_probability(a))(logits, actions)
        return -jnp.mean(jax.vmap(surrogate.policy_gradient)(log_pi, advantage))

    def theirs(logits):
        return rlax.policy_gradient_loss(logits, actions, advantage, jnp.ones(20))

    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(theirs)(logits), atol=1e-7)


def test_a_forbidden_action_has_no_probability_and_finite_gradients():
    logits = jnp.array([0.5, -jnp.inf, 1.0])

    def total(x):
        policy = Discrete(jnp.where(jnp.isfinite(logits), x, -jnp.inf))
        return policy.entropy() + policy.log_probability(jnp.int32(2))

    policy = Discrete(logits)
    assert policy.probabilities[1] == 0 and policy.mode() == 2
    np.testing.assert_allclose(policy.entropy(), scipy.stats.entropy(np.exp([0.5, 1.0])), rtol=1e-6)
    gradient = jax.grad(total)(jnp.zeros(3))
    assert np.isfinite(gradient).all() and gradient[1] == 0
    keys = jax.random.split(jax.random.key(0), 4_000)
    counts = np.bincount(jax.vmap(policy.sample)(keys), minlength=3)
    assert counts[1] == 0
    expected = 4_000 * scipy.special.softmax([0.5, 1.0])
    assert scipy.stats.chisquare(counts[[0, 2]], expected).pvalue > 1e-3


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.1), (0.5, 1.0), (-2.0, 0.5), (1.0, 2.0)])
def test_normal_numbers_are_scipys(mean, std):
    ours = Normal(jnp.full(2, mean, jnp.float32), jnp.full(2, np.log(std), jnp.float32))
    theirs = scipy.stats.norm(mean, std)
    x = jnp.array([0.3, -1.2])
    np.testing.assert_allclose(ours.log_probability(x), theirs.logpdf(x).sum(), rtol=1e-5)
    np.testing.assert_allclose(ours.entropy(), 2 * theirs.entropy(), rtol=1e-5, atol=1e-6)

    def integrand(u):
        return theirs.pdf(u) * 2 * (np.log(2) - np.logaddexp(u, -u))

    slope = scipy.integrate.quad(integrand, mean - 12 * std, mean + 12 * std, limit=200)[0]
    expected = 2 * (theirs.entropy() + slope)
    np.testing.assert_allclose(ours.entropy_of_tanh(), expected, rtol=2e-3, atol=2e-3)
