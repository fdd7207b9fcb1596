"""Behavior policies, against the probabilities they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.extend.random import define_prng_impl
from scipy import stats

import purerl.random
from purerl.policy import _running_count, epsilon_greedy

SIZES = (1, 2, 5, 32, 33, 40)  # on both sides of the word that _running_count counts in
NUM_DRAWS = 20_000

many = jax.jit(jax.vmap(epsilon_greedy, (0, None, None)))
one = jax.jit(epsilon_greedy)


@pytest.mark.parametrize("impl", purerl.random.IMPLEMENTATIONS)
@pytest.mark.parametrize("num_actions", SIZES)
def test_epsilon_greedy_has_the_probabilities_of_its_formula(num_actions, impl):
    rng = np.random.default_rng(num_actions)
    for case, num_best in enumerate(sorted({1, (num_actions + 1) // 2, num_actions})):
        best = rng.permutation(num_actions) < num_best
        values = np.where(best, 1.5, rng.uniform(-2, 1, num_actions)).astype(np.float32)
        for i, epsilon in enumerate((0.0, 0.3, 1.0)):
            keys = jax.random.split(purerl.random.key(10 * case + i, impl), NUM_DRAWS)
            observed = np.bincount(many(keys, values, epsilon), minlength=num_actions)
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
        action = one(purerl.random.key(seed, impl), values, epsilon)
        assert action.dtype == jnp.int32 and action.shape == ()
        assert 0 <= action < len(values)
        greedy = one(purerl.random.key(seed, impl), values, 0.0)
        # JAX takes what is too small for a normal number as zero.
        normal = np.where(np.abs(values) < np.finfo(np.float32).tiny, 0, values)
        assert normal[greedy] == normal.max()


def constant_bits(word):
    """A key whose every bit draw is ``word``."""

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
    """The least draw takes the first candidate and the greatest the last, with nothing beyond the ends."""
    lowest, highest = constant_bits(0), constant_bits(2**32 - 1)
    tied = jnp.zeros(num_actions)
    for epsilon in (0.0, 0.5, 1.0):
        assert epsilon_greedy(lowest, tied, epsilon) == 0
        assert epsilon_greedy(highest, tied, epsilon) == num_actions - 1
    middle = tied.at[num_actions // 2].set(1.0)
    for key in (lowest, highest):
        assert (
            epsilon_greedy(key, middle, 0.0) == num_actions // 2
        )  # epsilon of zero never explores
    assert epsilon_greedy(highest, middle, 1 - 2**-20) == num_actions // 2
    assert epsilon_greedy(lowest, middle, 2**-20) == 0
    assert epsilon_greedy(highest, middle, 1.0) == num_actions - 1  # and epsilon of one always does


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_values_that_diverged_still_give_an_action_in_range(epsilon):
    actions = many(
        jax.random.split(purerl.random.key(0), 100), jnp.array([0.0, jnp.nan, 1.0]), epsilon
    )
    assert actions.min() >= 0 and actions.max() < 3


@pytest.mark.parametrize("size", (*SIZES, 31))
def test_running_count_is_a_cumulative_sum(size):
    flags = np.random.default_rng(0).random((200, size)) < np.linspace(0, 1, 200)[:, None]
    flags[0], flags[-1] = False, True
    counts = jax.jit(jax.vmap(_running_count))(flags)
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, np.cumsum(flags, axis=1))


def test_ranks_are_checked():
    with pytest.raises(AssertionError, match="rank"):
        epsilon_greedy(purerl.random.key(0), jnp.zeros((2, 3)), 0.1)
    with pytest.raises(AssertionError, match="rank"):
        epsilon_greedy(purerl.random.key(0), jnp.zeros(3), jnp.full(3, 0.1))
