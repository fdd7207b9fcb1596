"""Targets against the formulas of their papers, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from purerl import targets
from purerl.targets import ActionValues, DoubleQ, Munchausen, QLearning


def unread():
    raise AssertionError("a pass through a network that is not needed")


def backup(target, next_target, action=0, next_online=unread, target_values=unread):
    """The backup in float64, as NumPy arrays."""
    with jax.enable_x64(True):
        values = ActionValues(jnp.asarray(next_target), next_online, target_values)
        return targets.Backup(*map(np.asarray, target.backup(values, action)))


def test_greedy_targets_take_the_first_of_the_best():
    """Each reads no network but the one it needs."""
    values = np.array([1.0, 3.0, 3.0, 2.0])
    found = backup(QLearning(), values)
    np.testing.assert_array_equal(found.weights, [0, 1, 0, 0])
    assert found.bonus == found.entropy == 0
    others = jnp.array([0.0, 1.0, 2.0, 2.0])
    found = backup(DoubleQ(), values, next_online=lambda: others)
    np.testing.assert_array_equal(found.weights, [0, 0, 1, 0])
    assert found.bonus == found.entropy == 0


@pytest.mark.parametrize("seed", range(4))
def test_munchausen_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    now, later = rng.normal(size=(2, 5))
    temperature, scale = rng.uniform(0.1, 1, 2)
    clip = -temperature * rng.uniform(0.5, 2)
    target = Munchausen(temperature, scale, clip)
    log_pi = temperature * log_softmax(now / temperature)
    assert seed or (log_pi.min() < clip < log_pi.max())
    for action in range(5):
        found = backup(target, later, action, target_values=lambda: jnp.asarray(now))
        np.testing.assert_allclose(found.weights, softmax(later / temperature), rtol=1e-12)
        bonus = scale * max(log_pi[action], clip)
        np.testing.assert_allclose(found.bonus, bonus, rtol=1e-12)
        # The expectation and the entropy are together the soft maximum.
        soft = temperature * logsumexp(later / temperature)
        np.testing.assert_allclose(found.weights @ later + found.entropy, soft, rtol=1e-12)


def test_munchausen_at_a_low_temperature_is_q_learning_where_one_action_is_best():
    later = np.array([0.3, -1.0, 0.7])
    found = backup(Munchausen(1e-3), later, 2, target_values=lambda: jnp.asarray(later))
    np.testing.assert_allclose(found.weights, [0, 0, 1], atol=1e-12)
    assert abs(found.entropy) < 1e-12 and abs(found.bonus) < 1e-12
    worse = backup(Munchausen(1e-3), later, 1, target_values=lambda: jnp.asarray(later))
    np.testing.assert_allclose(worse.bonus, -0.9)  # scale times clip


def test_large_values_do_not_overflow():
    """In float32 and at the paper's temperature."""
    values = jnp.array([1e6, -1e6, 1e6], jnp.float32)
    found = Munchausen().backup(ActionValues(values, unread, lambda: values), 1)
    np.testing.assert_allclose(found.weights, [0.5, 0, 0.5])
    np.testing.assert_allclose(found.entropy, 0.03 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(found.bonus, -0.9, rtol=1e-6)


def test_an_action_that_is_not_available_is_as_if_it_were_not():
    """No step on the way is NaN."""
    now, later = np.array([[0.5, -np.inf, 1.0], [-np.inf, 0.2, 0.4]])
    with jax.debug_nans(True):
        for target in (QLearning(), DoubleQ(), Munchausen(0.3)):
            found, fewer = (
                backup(
                    target, b, 2 if len(b) == 3 else 1, lambda b=b: b, lambda a=a: jnp.asarray(a)
                )
                for a, b in ((now, later), (now[[0, 2]], later[1:]))
            )
            assert found.weights[0] == 0
            np.testing.assert_allclose(found.weights[1:], fewer.weights, rtol=1e-12)
            np.testing.assert_allclose(found.bonus, fewer.bonus, rtol=1e-12)
            np.testing.assert_allclose(found.entropy, fewer.entropy, rtol=1e-12)


def test_numbers_are_leaves():
    """A lane for each temperature."""
    values = jnp.array([0.1, 0.5])
    temperatures = jnp.array([0.1, 0.4])

    def one(temperature):
        given = ActionValues(values, unread, lambda: values)
        return Munchausen(temperature, scale=temperature).backup(given, 0)

    for i, temperature in enumerate(temperatures):
        lane = jax.tree.map(lambda x, i=i: x[i], jax.vmap(one)(temperatures))
        alone = one(float(temperature))
        for a, b in zip(lane, alone, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; allowed: a"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "low"}, "temperature is 'low'"),
        ({"scale": 1.1}, r"scale is 1.1; allowed: a number in \[0, 1\]"),
        ({"scale": -0.1}, "scale is -0.1"),
        ({"clip": 0.5}, "clip is 0.5; allowed: a finite number of at most 0"),
        ({"clip": float("-inf")}, "clip is -inf"),
    ],
)
def test_wrong_numbers_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"Munchausen: {message}"):
        Munchausen(**fields)


def test_a_target_without_a_backup_says_so():
    class Half(targets.Target):
        pass

    with pytest.raises(NotImplementedError, match="Half does not define backup"):
        Half().backup(ActionValues(jnp.zeros(2), unread, unread), 0)
