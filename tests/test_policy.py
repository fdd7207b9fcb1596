"""Policies: their probabilities, their indices by hand, and their errors."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.extend.random import define_prng_impl
from scipy import stats

import purerl.random
from purerl import policy, schedule
from purerl.policy import PolicyInput, _running_count, epsilon_greedy
from tests import quick

NUM_DRAWS = 20_000
VALUES = np.array([0.5, 2.0, 2.0, -1.0], np.float32)  # with a tie
VISITS = np.array([4, 1, 10, 2], np.int32)
TABLE = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.0, 0.3, 0.0]], np.float32)

sample_many = quick.optimizing_jit(
    jax.vmap(lambda policy, key, inputs: policy.sample(key, inputs), (None, 0, None))
)
sample = quick.jit(lambda policy, key, inputs: policy.sample(key, inputs))
probabilities_of = quick.jit(lambda policy, inputs: policy.probabilities(inputs))


def policy_input(values=VALUES, visits=None, observation=0, t=0):
    visits = None if visits is None else jnp.asarray(visits, jnp.int32)
    return PolicyInput(
        jnp.int32(observation), jnp.asarray(values, jnp.float32), visits, jnp.int32(t)
    )


@functools.cache
def keys(seed):
    return jax.random.split(purerl.random.key(seed, "pcg4d"), NUM_DRAWS)


def shares(chooser, what, seed=0):
    """The fraction of draws of each action."""
    actions = sample_many(chooser, keys(seed), what)
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
    """Probabilities are those of the formula; none of probability zero is drawn."""
    chooser, expected = POLICIES[name]
    visits = np.array([0, 1, 10, 0]) if "untried" in name else VISITS
    what = policy_input(visits=visits, observation=1)
    probabilities = probabilities_of(chooser, what)
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
    what = policy_input(values, visits)
    for chooser in (
        policy.Greedy(),
        policy.EpsilonGreedy(epsilon),
        policy.Softmax(temperature),
        policy.UCB(factor),
        policy.CountBonus(factor),
    ):
        probabilities = np.asarray(probabilities_of(chooser, what))
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)


def test_a_cold_softmax_is_greedy_and_a_hot_one_uniform():
    np.testing.assert_allclose(
        probabilities_of(policy.Softmax(1e-3), policy_input()), [0, 0.5, 0.5, 0], atol=1e-6
    )
    np.testing.assert_allclose(
        probabilities_of(policy.Softmax(1e6), policy_input()), [0.25] * 4, atol=1e-5
    )


def test_ucb_tries_every_action_first():
    """Each once in the first four steps, whatever their values."""
    chooser = policy.UCB(0.0)
    for seed in range(10):
        visits = np.zeros(4, np.int32)
        for key in jax.random.split(purerl.random.key(seed, "pcg4d"), 4):
            visits[sample(chooser, key, policy_input(visits=visits))] += 1
        assert visits.tolist() == [1, 1, 1, 1]


@given(
    values=numbers,
    visits=arrays(np.int32, 4, elements=st.integers(1, 10**6)),
    factor=st.floats(0, 10, width=32),
)
def test_indices_by_hand(values, visits, factor):
    """The indices of UCB and of the count bonus, in float64."""
    what = policy_input(values, visits)
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
    """Values 0.5, 2, 2, -1; visits 4, 1, 10 and 2, in all 17, of logarithm 2.8332."""
    what = policy_input(visits=VISITS)
    np.testing.assert_allclose(
        policy.UCB(2.0).index(what), [2.1832, 5.3664, 3.0646, 1.3804], atol=1e-4
    )
    np.testing.assert_allclose(
        policy.CountBonus(3.0).index(what), [1.8416, 4.1213, 2.9045, 0.7321], atol=1e-4
    )
    assert policy.CountBonus(3.0).index(policy_input(visits=[0] * 4)).tolist() == [3.5, 5, 5, 2]


CASES = [(0, 0.0), (1, 2.0), (5, -1.5), (100, 0.7)]


@pytest.mark.parametrize(("visits", "average"), CASES)
def test_thompson_draws_from_the_posterior(visits, average):
    """Draws are above a bar as often as expected, within five deviations.

    The bar is an action whose value is known. The posterior is normal; without visits
    it is the prior.
    """
    mean, scale, noise = 0.5, 2.0, 1.5
    chooser = policy.Thompson(mean, scale, noise)
    if visits:  # precisions add, and means are weighted by them
        precision = 1 / scale**2 + visits / noise**2
        posterior = stats.norm(
            (mean / scale**2 + visits * average / noise**2) / precision, precision**-0.5
        )
    else:
        posterior = stats.norm(mean, scale)
    for seed, level in enumerate((-2, -1, 0, 1, 2)):
        bar = posterior.mean() + level * posterior.std()
        above = shares(chooser, policy_input([average, bar], [visits, 10**9]), seed)[0]
        expected = posterior.sf(bar)
        assert abs(above - expected) < 5 * np.sqrt(expected * (1 - expected) / NUM_DRAWS)


def test_thompson_draws_actions_independently():
    """The difference of two draws is normal; equal actions are equally likely."""
    chooser = policy.Thompson(0.0, 1.0, 1.0)
    variance = 1 / (1 + 3) + 1 / (1 + 8)
    expected = stats.norm.cdf((0.4 * 3 / 4 - 0.1 * 8 / 9) / np.sqrt(variance))
    found = shares(chooser, policy_input([0.4, 0.1], [3, 8]))[0]
    assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / NUM_DRAWS)
    fresh = shares(chooser, policy_input(visits=[0] * 4), 1)  # values count for nothing then
    assert stats.chisquare(NUM_DRAWS * fresh).pvalue > 1e-6


@pytest.mark.parametrize("t", [0, 25, 1000])
def test_schedules_are_called_with_the_time(t):
    """A schedule gives the same as its value at ``t``."""
    falling = schedule.linear(1.0, 0.25, steps=100)
    number, what = float(falling(t)), policy_input(visits=VISITS, t=t)
    for make in (policy.EpsilonGreedy, policy.Softmax):
        np.testing.assert_allclose(
            probabilities_of(make(falling), what), probabilities_of(make(number), what), rtol=1e-6
        )
        np.testing.assert_array_equal(
            sample_many(make(falling), keys(t), what), sample_many(make(number), keys(t), what)
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


def test_a_policy_that_needs_visits_says_so():
    for chooser in (policy.UCB(), policy.CountBonus(), policy.Thompson()):
        name = type(chooser).__name__
        with pytest.raises(ValueError, match=f"{name}: inputs.visits is None; allowed: visit"):
            chooser.sample(purerl.random.key(0), policy_input())


def test_thompson_has_no_probabilities():
    with pytest.raises(
        NotImplementedError,
        match="Thompson has no probabilities in closed form; allowed: another policy",
    ):
        policy.Thompson().probabilities(policy_input(visits=VISITS))


def test_who_looks_at_visits():
    """Only policies that read visits have them counted."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(policy, inspect.isclass)
        if issubclass(kind, policy.Policy)
    ]
    assert {kind.__name__ for kind in kinds if kind.needs_visits} == {
        "UCB",
        "CountBonus",
        "Thompson",
    }


def test_policies_side_by_side():
    """The numbers of a policy are leaves, so they can be mapped over."""
    epsilons = jnp.array([0.0, 0.2, 1.0])
    together = jax.vmap(probabilities_of, (0, None))(policy.EpsilonGreedy(epsilons), policy_input())
    for epsilon, probabilities in zip(epsilons, together, strict=True):
        np.testing.assert_allclose(
            probabilities,
            probabilities_of(policy.EpsilonGreedy(epsilon), policy_input()),
            rtol=1e-6,
        )


# Actions drawn from arrays.

SIZES = (1, 2, 5, 32, 33, 40)  # on both sides of the word that _running_count counts in

draw_many = quick.optimizing_jit(jax.vmap(epsilon_greedy, (0, None, None)))
draw_one = quick.jit(epsilon_greedy)


@pytest.mark.parametrize("impl", purerl.random.IMPLEMENTATIONS)
@pytest.mark.parametrize("num_actions", SIZES)
def test_epsilon_greedy_has_the_probabilities_of_its_formula(num_actions, impl):
    rng = np.random.default_rng(num_actions)
    for case, num_best in enumerate(sorted({1, (num_actions + 1) // 2, num_actions})):
        best = rng.permutation(num_actions) < num_best
        values = np.where(best, 1.5, rng.uniform(-2, 1, num_actions)).astype(np.float32)
        for i, epsilon in enumerate((0.0, 0.3, 1.0)):
            keys = jax.random.split(purerl.random.key(10 * case + i, impl), NUM_DRAWS)
            observed = np.bincount(draw_many(keys, values, epsilon), minlength=num_actions)
            expected = epsilon / num_actions + (1 - epsilon) * best / num_best
            assert observed.shape == (num_actions,)  # none out of range
            assert not observed[expected == 0].any()
            support = expected > 0
            if support.sum() > 1:
                assert (
                    stats.chisquare(observed[support], NUM_DRAWS * expected[support]).pvalue > 1e-6
                )


@given(
    values=st.sampled_from(SIZES).flatmap(
        lambda n: st.lists(
            st.sampled_from([-np.inf, -1e38, -1.0, -1e-45, 0.0, 1e-45, 1.0, 1e38, np.inf]),
            min_size=n,
            max_size=n,
        )
    ),
    epsilon=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**31),
)
def test_an_action_is_in_range_and_without_exploration_a_best_one(values, epsilon, seed):
    values = np.array(values, np.float32)
    for impl in purerl.random.IMPLEMENTATIONS:
        action = draw_one(purerl.random.key(seed, impl), values, epsilon)
        assert action.dtype == jnp.int32 and action.shape == ()
        assert 0 <= action < len(values)
        greedy = draw_one(purerl.random.key(seed, impl), values, 0.0)
        # JAX takes what is too small for a normal number as zero.
        normal = np.where(np.abs(values) < np.finfo(np.float32).tiny, 0, values)
        assert normal[greedy] == normal.max()


def constant_bits(word):
    """A key from which every draw of bits is ``word``."""

    def bits(key, width, shape):
        return jnp.full(shape, word, {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[width])

    impl = define_prng_impl(
        key_shape=(1,),
        seed=lambda seed: jnp.zeros(1, jnp.uint32),
        split=lambda key, shape: jnp.zeros((*shape, 1), jnp.uint32),
        random_bits=bits,
        fold_in=lambda key, data: key,
        name=f"constant-{word}",
        tag=f"c{word % 97}",
    )
    return jax.random.key(0, impl=impl)


@pytest.mark.parametrize("num_actions", SIZES)
def test_extreme_draws_stay_in_range(num_actions):
    """The least draw takes the first candidate, the greatest the last, none beyond."""
    lowest, highest = constant_bits(0), constant_bits(2**32 - 1)
    tied = np.zeros(num_actions, np.float32)
    for epsilon in (0.0, 0.5, 1.0):
        assert draw_one(lowest, tied, epsilon) == 0
        assert draw_one(highest, tied, epsilon) == num_actions - 1
    middle = np.eye(num_actions, dtype=np.float32)[num_actions // 2]
    for key in (lowest, highest):
        assert draw_one(key, middle, 0.0) == num_actions // 2  # epsilon of zero never explores
    assert draw_one(highest, middle, 1 - 2**-20) == num_actions // 2
    assert draw_one(lowest, middle, 2**-20) == 0
    assert draw_one(highest, middle, 1.0) == num_actions - 1  # and epsilon of one always does


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_values_that_diverged_still_give_an_action_in_range(epsilon):
    actions = draw_many(
        jax.random.split(purerl.random.key(0), 100), jnp.array([0.0, jnp.nan, 1.0]), epsilon
    )
    assert actions.min() >= 0 and actions.max() < 3


@pytest.mark.parametrize("size", (*SIZES, 31))
def test_running_count_is_a_cumulative_sum(size):
    flags = np.random.default_rng(0).random((200, size)) < np.linspace(0, 1, 200)[:, None]
    flags[0], flags[-1] = False, True
    counts = quick.jit(jax.vmap(_running_count))(flags)
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, np.cumsum(flags, axis=1))


def test_ranks_are_checked():
    with pytest.raises(AssertionError, match="rank"):
        epsilon_greedy(purerl.random.key(0), jnp.zeros((2, 3)), 0.1)
    with pytest.raises(AssertionError, match="rank"):
        epsilon_greedy(purerl.random.key(0), jnp.zeros(3), jnp.full(3, 0.1))


@pytest.mark.parametrize("size", SIZES)
def test_uniform_among_is_epsilon_greedy_among_equals(size):
    """The same bits as a greedy action of the flags; only allowed actions are drawn."""
    flags = np.random.default_rng(size).random((50, size)) < 0.5
    keys_of_rows = keys(size)[:50]
    drawn = quick.jit(jax.vmap(policy.uniform_among))(keys_of_rows, flags)
    greedily = quick.jit(jax.vmap(epsilon_greedy, (0, 0, None)))
    greedy = greedily(keys_of_rows, flags.astype(np.float32), 0.0)
    np.testing.assert_array_equal(drawn, greedy)
    assert drawn.dtype == jnp.int32
    some = flags.any(axis=1)
    assert flags[some, drawn[some]].all()
    with pytest.raises(AssertionError, match="bool"):
        policy.uniform_among(purerl.random.key(0), jnp.ones(size))
