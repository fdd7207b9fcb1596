"""Policies: their laws, their indices by hand, and what they refuse."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

import purerl.random
from purerl import policy, schedule
from purerl.policy import PolicyInput

NUM_DRAWS = 20_000
VALUES = np.array([0.5, 2.0, 2.0, -1.0], np.float32)  # with a tie
VISITS = np.array([4, 1, 10, 2], np.int32)
TABLE = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.0, 0.3, 0.0]], np.float32)

many = jax.jit(jax.vmap(lambda policy, key, inputs: policy.sample(key, inputs), (None, 0, None)))
law = jax.jit(lambda policy, inputs: policy.probabilities(inputs))


def policy_input(values=VALUES, visits=None, observation=0, t=0):
    visits = None if visits is None else jnp.asarray(visits, jnp.int32)
    return PolicyInput(
        jnp.int32(observation), jnp.asarray(values, jnp.float32), visits, jnp.int32(t)
    )


@functools.cache
def keys(seed):
    return jax.random.split(purerl.random.key(seed, "pcg4d"), NUM_DRAWS)


def shares(chooser, what, seed=0):
    """How often each action is drawn."""
    actions = many(chooser, keys(seed), what)
    assert actions.dtype == jnp.int32
    return np.bincount(actions, minlength=len(what.values)) / NUM_DRAWS


POLICIES = {
    "greedy": (policy.Greedy(), [0, 0.5, 0.5, 0]),
    "epsilon-greedy": (policy.EpsilonGreedy(0.2), [0.05, 0.45, 0.45, 0.05]),
    "uniform": (policy.EpsilonGreedy(1.0), [0.25] * 4),
    "softmax": (policy.Softmax(1.5), np.exp(VALUES / 1.5) / np.exp(VALUES / 1.5).sum()),
    "fixed": (policy.Fixed(TABLE), TABLE[1]),
    "ucb": (policy.UCB(0.5), [0, 1, 0, 0]),
    "ucb, some untried": (policy.UCB(0.5), [0.5, 0, 0, 0.5]),
    "count bonus": (policy.CountBonus(0.5), [0, 1, 0, 0]),
}


@pytest.mark.parametrize("name", POLICIES)
def test_actions_are_drawn_from_the_probabilities(name):
    """Which are those of the formula; one of probability zero is never drawn."""
    chooser, expected = POLICIES[name]
    visits = np.array([0, 1, 10, 0]) if "untried" in name else VISITS
    what = given(visits=visits, observation=1)
    probabilities = law(chooser, what)
    assert probabilities.dtype == jnp.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    found = shares(chooser, what)
    support = np.asarray(expected) > 0
    assert not found[~support].any()
    if support.sum() > 1:
        counts = NUM_DRAWS * found[support], NUM_DRAWS * np.asarray(expected, float)[support]
        assert stats.chisquare(*counts, sum_check=False).pvalue > 1e-6


numbers = arrays(np.float32, 4, elements=st.floats(-50, 50, width=32, allow_subnormal=False))


@given(
    values=numbers,
    visits=arrays(np.int32, 4, elements=st.integers(0, 10**6)),
    epsilon=st.floats(0, 1, width=32),
    temperature=st.floats(2**-7, 100, width=32),
    factor=st.floats(0, 10, width=32),
)
def test_probabilities_sum_to_one(values, visits, epsilon, temperature, factor):
    what = given(values, visits)
    for chooser in (
        policy.Greedy(),
        policy.EpsilonGreedy(epsilon),
        policy.Softmax(temperature),
        policy.UCB(factor),
        policy.CountBonus(factor),
    ):
        probabilities = np.asarray(law(chooser, what))
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)


def test_a_cold_softmax_is_greedy_and_a_hot_one_uniform():
    np.testing.assert_allclose(law(policy.Softmax(1e-3), given()), [0, 0.5, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(law(policy.Softmax(1e6), given()), [0.25] * 4, atol=1e-5)


def test_ucb_tries_every_action_first():
    """Each once in the first four steps, whatever their values."""
    chooser = policy.UCB(0.0)
    for seed in range(10):
        visits = np.zeros(4, np.int32)
        for key in keys(seed)[:4]:
            visits[chooser.sample(key, given(visits=visits))] += 1
        assert visits.tolist() == [1, 1, 1, 1]


@given(
    values=numbers,
    visits=arrays(np.int32, 4, elements=st.integers(1, 10**6)),
    factor=st.floats(0, 10, width=32),
)
def test_indices_by_hand(values, visits, factor):
    """UCB's and the count bonus's, in float64."""
    what = given(values, visits)
    n = visits.astype(float)
    np.testing.assert_allclose(
        policy.UCB(factor).index(what),
        values + factor * np.sqrt(np.log(n.sum()) / n),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        policy.CountBonus(factor).index(what),
        values + factor / np.sqrt(n + 1),
        rtol=1e-5,
        atol=1e-5,
    )


def test_indices_of_one_state_by_hand():
    """Values 0.5, 2, 2, -1; taken 4, 1, 10 and 2 times, 17 in all, whose logarithm is 2.8332."""
    what = given(visits=VISITS)
    np.testing.assert_allclose(
        policy.UCB(2.0).index(what), [2.1832, 5.3664, 3.0646, 1.3804], atol=1e-4
    )
    np.testing.assert_allclose(
        policy.CountBonus(3.0).index(what), [1.8416, 4.1213, 2.9045, 0.7321], atol=1e-4
    )
    assert policy.CountBonus(3.0).index(given(visits=[0] * 4)).tolist() == [3.5, 5, 5, 2]


CASES = [(0, 0.0), (1, 2.0), (5, -1.5), (100, 0.7)]


@pytest.mark.parametrize(("visits", "average"), CASES)
def test_thompson_draws_from_the_posterior(visits, average):
    """How often a draw is above a bar, which is an action that is known to be worth that: of a normal law with the posterior's
    mean and deviation, within five sigma. With no visits it is the prior."""
    mean, scale, noise = 0.5, 2.0, 1.5
    chooser = policy.Thompson(mean, scale, noise)
    if visits:  # the conjugate normal law: precisions add, and means are weighted by them
        precision = 1 / scale**2 + visits / noise**2
        posterior = stats.norm(
            (mean / scale**2 + visits * average / noise**2) / precision, precision**-0.5
        )
    else:
        posterior = stats.norm(mean, scale)
    for seed, level in enumerate((-2, -1, 0, 1, 2)):
        bar = posterior.mean() + level * posterior.std()
        above = shares(chooser, given([average, bar], [visits, 10**9]), seed)[0]
        expected = posterior.sf(bar)
        assert abs(above - expected) < 5 * np.sqrt(expected * (1 - expected) / NUM_DRAWS)


def test_thompson_draws_actions_independently():
    """Of two, one is the larger as often as the difference of two normal variables is positive; of equals, each as often."""
    chooser = policy.Thompson(0.0, 1.0, 1.0)
    variance = 1 / (1 + 3) + 1 / (1 + 8)
    expected = stats.norm.cdf((0.4 * 3 / 4 - 0.1 * 8 / 9) / np.sqrt(variance))
    found = shares(chooser, given([0.4, 0.1], [3, 8]))[0]
    assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / NUM_DRAWS)
    fresh = shares(chooser, given(visits=[0] * 4), 1)  # values count for nothing then
    assert stats.chisquare(NUM_DRAWS * fresh).pvalue > 1e-6


@pytest.mark.parametrize("t", [0, 25, 1000])
def test_schedules_are_called_with_the_time(t):
    """A schedule at ``t`` is the number it has then."""
    falling = schedule.linear(1.0, 0.25, steps=100)
    number, what = float(falling(t)), given(visits=VISITS, t=t)
    for make in (policy.EpsilonGreedy, policy.Softmax):
        np.testing.assert_allclose(law(make(falling), what), law(make(number), what), rtol=1e-6)
        np.testing.assert_array_equal(
            many(make(falling), keys(t), what), many(make(number), keys(t), what)
        )
    for make in (policy.UCB, policy.CountBonus):
        np.testing.assert_allclose(make(falling).index(what), make(number).index(what), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: policy.EpsilonGreedy(epsilon=1.5),
            "EpsilonGreedy: epsilon is 1.5; allowed: a number in [0, 1]",
        ),
        (
            lambda: policy.EpsilonGreedy(-0.1),
            "EpsilonGreedy: epsilon is -0.1; allowed: a number in [0, 1]",
        ),
        (
            lambda: policy.EpsilonGreedy(np.nan),
            "EpsilonGreedy: epsilon is nan; allowed: a number in [0, 1]",
        ),
        (
            lambda: policy.Softmax(0.0),
            "Softmax: temperature is 0.0; allowed: a finite number above 0",
        ),
        (
            lambda: policy.Softmax(np.inf),
            "Softmax: temperature is inf; allowed: a finite number above 0",
        ),
        (
            lambda: policy.UCB(-1.0),
            "UCB: confidence is -1.0; allowed: a finite number of at least 0",
        ),
        (
            lambda: policy.CountBonus(-0.5),
            "CountBonus: bonus is -0.5; allowed: a finite number of at least 0",
        ),
        (lambda: policy.Thompson(mean=np.inf), "Thompson: mean is inf; allowed: a finite number"),
        (
            lambda: policy.Thompson(scale=0.0),
            "Thompson: scale is 0.0; allowed: a finite number above 0",
        ),
        (
            lambda: policy.Thompson(noise=-1.0),
            "Thompson: noise is -1.0; allowed: a finite number above 0",
        ),
        (
            lambda: policy.Thompson(noise=0),
            "Thompson: noise is 0; allowed: a finite number above 0",
        ),
    ],
)
def test_bad_numbers_are_refused(make, says):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == says


def test_thompson_has_no_probabilities():
    with pytest.raises(
        NotImplementedError,
        match="Thompson has no probabilities in closed form; allowed: another policy",
    ):
        policy.Thompson().probabilities(given(visits=VISITS))


def test_who_looks_at_visits():
    """Those, and no others, have them counted."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(policy, inspect.isclass)
        if issubclass(kind, policy.Policy)
    ]
    assert {kind.__name__ for kind in kinds if kind.counts} == {"UCB", "CountBonus", "Thompson"}


def test_policies_side_by_side():
    """Numbers of a policy are leaves, over which one may map."""
    epsilons = jnp.array([0.0, 0.2, 1.0])
    together = jax.vmap(law, (0, None))(policy.EpsilonGreedy(epsilons), given())
    for epsilon, probabilities in zip(epsilons, together, strict=True):
        np.testing.assert_allclose(
            probabilities, law(policy.EpsilonGreedy(epsilon), given()), rtol=1e-6
        )
