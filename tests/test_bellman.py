import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl import bellman

A = 5
LENGTH = 12
FLOATS = st.floats(-10, 10, width=32)

n_step_return = jax.jit(bellman.n_step_return, static_argnames="n")
lambda_return = jax.jit(bellman.lambda_return)
one_step_returns = jax.jit(jax.vmap(bellman.sarsa, (0, 0, 0, None, None)))


def one_step_arguments(seed):
    """The arguments of every one-step target on the same random transition."""
    rng = np.random.default_rng(seed)
    reward, terminated = jnp.float32(rng.normal()), jnp.bool_(seed % 2)
    q, other = (jnp.asarray(rng.normal(size=A), jnp.float32) for _ in range(2))
    action, policy = jnp.int32(rng.integers(A)), jnp.asarray(rng.dirichlet(np.ones(A)), jnp.float32)
    return {
        "q_learning": (reward, terminated, q),
        "double_q": (reward, terminated, q, other),
        "sarsa": (reward, terminated, q, action),
        "expected_sarsa": (reward, terminated, q, policy),
    }


ONE_STEP = tuple(one_step_arguments(0))


@pytest.mark.parametrize("terminated", [False, True])
def test_one_step_targets_by_hand(terminated):
    reward, terminated, discount = jnp.float32(1.5), jnp.bool_(terminated), 0.9
    q = jnp.array([4.0, -2.0, 10.0])
    other = jnp.array([30.0, 20.0, -5.0])
    found = [
        bellman.q_learning(reward, terminated, q, discount),  # max q = 10
        bellman.double_q(
            reward, terminated, q, other, discount
        ),  # q is largest at 2, where other is -5
        bellman.sarsa(reward, terminated, q, jnp.int32(1), discount),  # q[1] = -2
        bellman.expected_sarsa(
            reward, terminated, q, jnp.array([0.5, 0.25, 0.25]), discount
        ),  # 2 - .5 + 2.5 = 4
    ]
    # 1.5 + .9 * 10 = 10.5;  1.5 - .9 * 5 = -3;  1.5 - .9 * 2 = -.3;  1.5 + .9 * 4 = 5.1
    expected = [1.5] * 4 if terminated else [10.5, -3.0, -0.3, 5.1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_one_step_targets_are_those_of_rlax(seed):
    arguments, discount = one_step_arguments(seed), 0.97
    reward, terminated, q, other = arguments["double_q"]
    action, policy = arguments["sarsa"][3], arguments["expected_sarsa"][3]
    before, gamma = (
        (jnp.zeros(A), 0),
        discount * (1 - terminated),
    )  # from a table of zeros the temporal difference is the target
    expected = {
        "q_learning": rlax.q_learning(*before, reward, gamma, q),
        "double_q": rlax.double_q_learning(*before, reward, gamma, q_t_value=other, q_t_selector=q),
        "sarsa": rlax.sarsa(*before, reward, gamma, q, action),
        "expected_sarsa": rlax.expected_sarsa(*before, reward, gamma, q, policy),
    }
    for name in ONE_STEP:
        np.testing.assert_allclose(
            getattr(bellman, name)(*arguments[name], discount), expected[name], rtol=1e-6
        )


@pytest.mark.parametrize("name", ONE_STEP)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_value_of_a_terminal_state_does_not_leak(name, bad):
    reward, _, *values = one_step_arguments(0)[name]
    values = [
        jnp.full(A, bad)
        if jnp.issubdtype(v.dtype, jnp.floating) and name != "expected_sarsa"
        else v
        for v in values
    ]
    values[0] = jnp.full(A, bad)

    def target(reward, discount):
        return getattr(bellman, name)(reward, jnp.bool_(True), *values, discount)

    assert target(reward, 0.9) == reward
    assert jax.grad(target, argnums=(0, 1))(reward, 0.9) == (1.0, 0.0)
    assert not np.isfinite(getattr(bellman, name)(reward, jnp.bool_(False), *values, 0.9))


@pytest.mark.parametrize("name", ONE_STEP)
def test_one_step_targets_under_vmap_and_jit(name):
    rows = [one_step_arguments(seed)[name] for seed in range(8)]
    discounts = jnp.linspace(0.0, 1.0, 8)
    batch = jax.tree.map(lambda *row: jnp.stack(row), *rows)
    together = jax.jit(jax.vmap(getattr(bellman, name)))(*batch, discounts)
    alone = [
        getattr(bellman, name)(*row, discount)
        for row, discount in zip(rows, discounts, strict=True)
    ]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)


def test_no_gradient_is_stopped():
    reward, q, going = jnp.float32(1.0), jnp.array([1.0, 3.0, 2.0]), jnp.bool_(False)
    policy = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        jax.grad(bellman.q_learning, 2)(reward, going, q, 0.5), [0.0, 0.5, 0.0]
    )
    np.testing.assert_allclose(
        jax.grad(bellman.double_q, 3)(reward, going, -q, q, 0.5), [0.5, 0.0, 0.0]
    )
    np.testing.assert_allclose(
        jax.grad(bellman.sarsa, 2)(reward, going, q, jnp.int32(2), 0.5), [0.0, 0.0, 0.5]
    )
    np.testing.assert_allclose(
        jax.grad(bellman.expected_sarsa, 2)(reward, going, q, policy, 0.5), 0.5 * policy, rtol=1e-6
    )
    np.testing.assert_allclose(
        jax.grad(bellman.q_learning, 2)(reward, jnp.bool_(True), q, 0.5), [0.0, 0.0, 0.0]
    )


def test_wrong_ranks_and_dtypes_are_refused():
    reward, terminated, q = one_step_arguments(0)["q_learning"]
    stream = (jnp.zeros(3), jnp.zeros(3, bool), jnp.zeros(3, bool), jnp.zeros(3))
    for call in (
        lambda: bellman.q_learning(reward[None], terminated, q, 0.9),
        lambda: bellman.q_learning(reward, jnp.float32(0), q, 0.9),
        lambda: bellman.q_learning(reward, terminated, q[None], 0.9),
        lambda: bellman.q_learning(reward, terminated, q, jnp.ones(A)),
        lambda: bellman.double_q(reward, terminated, q, q[1:], 0.9),
        lambda: bellman.sarsa(reward, terminated, q, jnp.float32(1), 0.9),
        lambda: bellman.expected_sarsa(reward, terminated, q, q[1:], 0.9),
        lambda: bellman.n_step_return(*stream[:3], jnp.zeros(4), 0.9, 2),
        lambda: bellman.lambda_return(stream[0], jnp.zeros(3), *stream[2:], 0.9, 0.5),
    ):
        with pytest.raises(AssertionError):
            call()
    with pytest.raises(ValueError, match="n is 0"):
        bellman.n_step_return(*stream, 0.9, 0)


# Two episodes and the beginning of a third: one terminates after two steps, one is
# truncated after two, one goes on.
REWARDS = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
TERMINATED = jnp.array([0, 1, 0, 0, 0, 0], bool)
TRUNCATED = jnp.array([0, 0, 0, 1, 0, 0], bool)
VALUES = jnp.array([10.0, np.nan, 30.0, 40.0, 50.0, 60.0])
STREAM = (REWARDS, TERMINATED, TRUNCATED, VALUES)


def test_n_step_return_by_hand():
    expected = {
        1: [
            1 + 0.5 * 10,
            2,  # terminated: nothing is added
            3 + 0.5 * 30,
            4 + 0.5 * 40,  # truncated: the value of the state where it was cut
            5 + 0.5 * 50,
            6 + 0.5 * 60,
        ],
        2: [
            1 + 0.5 * 2,
            2,
            3 + 0.5 * 4 + 0.25 * 40,  # two steps, hence the discount squared
            4 + 0.5 * 40,
            5 + 0.5 * 6 + 0.25 * 60,
            6 + 0.5 * 60,  # one step is all there is
        ],
    }
    for n in (1, 2, 3, 6, 100):
        np.testing.assert_allclose(n_step_return(*STREAM, 0.5, n), expected[min(n, 2)], rtol=1e-6)


def test_lambda_return_by_hand():
    last = 6 + 0.5 * 60  # 36
    expected = [
        1 + 0.5 * (0.75 * 10 + 0.25 * 2),  # 5
        2,
        3 + 0.5 * (0.75 * 30 + 0.25 * (4 + 0.5 * 40)),  # 17.25
        4 + 0.5 * 40,
        5 + 0.5 * (0.75 * 50 + 0.25 * last),  # 28.25
        last,
    ]
    np.testing.assert_allclose(lambda_return(*STREAM, 0.5, 0.25), expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, LENGTH])
@pytest.mark.parametrize("terminates", [False, True])
def test_returns_of_one_episode_are_those_of_rlax(n, terminates):
    rng = np.random.default_rng(n)
    rewards, values = (jnp.asarray(rng.normal(size=LENGTH), jnp.float32) for _ in range(2))
    terminated = jnp.zeros(LENGTH, bool).at[-1].set(terminates)
    stream, discounts = (
        (rewards, terminated, jnp.zeros(LENGTH, bool), values),
        0.9 * (1 - terminated),
    )
    np.testing.assert_allclose(
        n_step_return(*stream, 0.9, n),
        rlax.n_step_bootstrapped_returns(rewards, discounts, values, n),
        rtol=1e-5,
        atol=1e-6,
    )
    for lambda_ in (0.0, 0.7, 1.0):
        np.testing.assert_allclose(
            lambda_return(*stream, 0.9, lambda_),
            rlax.lambda_returns(rewards, discounts, values, lambda_),
            rtol=1e-5,
            atol=1e-6,
        )


def definition_n_step(rewards, terminated, truncated, values, discount, n):
    """Walk forward from each step, one at a time, in double precision."""
    returns = []
    for t in range(len(rewards)):
        total, factor = 0.0, 1.0
        for i in range(t, min(t + n, len(rewards))):
            total += factor * rewards[i]
            factor *= discount
            if terminated[i]:
                factor = 0.0
            if terminated[i] or truncated[i]:
                break
        returns.append(total + (0.0 if factor == 0.0 else factor * values[i]))
    return np.array(returns)


def definition_lambda(rewards, terminated, truncated, values, discount, lambda_):
    """The mixture of all n-step returns with weights (1 - lambda) lambda^(n-1).

    The longest has the remaining weight.
    """
    length = len(rewards)
    by_n = [
        definition_n_step(rewards, terminated, truncated, values, discount, n)
        for n in range(1, length + 1)
    ]
    returns = []
    for t in range(length):
        steps = (
            next((i for i in range(t, length) if terminated[i] or truncated[i]), length - 1) - t + 1
        )
        weights = [(1 - lambda_) * lambda_**k for k in range(steps - 1)] + [lambda_ ** (steps - 1)]
        returns.append(sum(weight * by_n[k][t] for k, weight in enumerate(weights)))
    return np.array(returns)


@st.composite
def streams(draw):
    """Rewards, flags and values of one of two lengths; a step may have both flags."""
    length = draw(st.sampled_from([1, LENGTH]))
    flags = st.lists(st.sampled_from([False, False, False, True]), min_size=length, max_size=length)
    numbers = st.lists(FLOATS, min_size=length, max_size=length)
    return (
        np.array(draw(numbers), np.float32),
        np.array(draw(flags)),
        np.array(draw(flags)),
        np.array(draw(numbers), np.float32),
    )


UNIT = st.floats(0, 1, width=32)


@settings(max_examples=150, deadline=None)
@given(streams(), UNIT, st.sampled_from([1, 2, 3, 7, LENGTH, 50]))
def test_n_step_return_is_its_definition(stream, discount, n):
    found = n_step_return(*stream, discount, n)
    np.testing.assert_allclose(found, definition_n_step(*stream, discount, n), rtol=1e-5, atol=1e-4)


@settings(max_examples=150, deadline=None)
@given(streams(), UNIT, UNIT)
def test_lambda_return_is_the_mixture_of_n_step_returns(stream, discount, lambda_):
    found = lambda_return(*stream, discount, lambda_)
    np.testing.assert_allclose(
        found, definition_lambda(*stream, discount, lambda_), rtol=1e-5, atol=1e-4
    )


@settings(max_examples=100, deadline=None)
@given(streams(), UNIT)
def test_extremes_agree(stream, discount):
    rewards, terminated, _, values = stream
    one_step = one_step_returns(rewards, terminated, values[:, None], 0, discount)
    np.testing.assert_allclose(n_step_return(*stream, discount, 1), one_step, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        lambda_return(*stream, discount, 0.0), one_step, rtol=1e-6, atol=1e-6
    )
    whole = n_step_return(*stream, discount, len(rewards))
    np.testing.assert_allclose(lambda_return(*stream, discount, 1.0), whole, rtol=1e-5, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(streams(), UNIT, UNIT, st.sampled_from([1, 3, LENGTH]))
def test_true_values_are_a_fixed_point(stream, discount, lambda_, n):
    """If the values are exact, every return is the value, for any n and any lambda."""
    rewards, terminated, truncated, values = stream
    values, returns = values.astype(float), np.zeros(len(rewards))
    for t in reversed(range(len(rewards))):
        if t < len(rewards) - 1 and not truncated[t]:
            values[t] = returns[t + 1]
        returns[t] = rewards[t] + (0.0 if terminated[t] else discount * values[t])
    stream = (rewards, terminated, truncated, values.astype(np.float32))
    np.testing.assert_allclose(n_step_return(*stream, discount, n), returns, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        lambda_return(*stream, discount, lambda_), returns, rtol=1e-4, atol=1e-3
    )


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(0, LENGTH - 1))
def test_nothing_crosses_the_end_of_an_episode(stream, cut):
    rewards, terminated, truncated, values = stream
    cut = min(cut, len(rewards) - 1)
    truncated = truncated.copy()
    truncated[cut] = True
    later = np.arange(len(rewards)) > cut
    other = (
        np.where(later, 1e6, rewards),
        terminated | later,
        truncated ^ later,
        np.where(later, -1e6, values),
    )
    for function, parameter in ((n_step_return, 4), (lambda_return, 0.9)):
        before = function(rewards, terminated, truncated, values, 0.9, parameter)[: cut + 1]
        after = function(
            *(x.astype(y.dtype) for x, y in zip(other, stream, strict=True)), 0.9, parameter
        )[: cut + 1]
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "function, parameter", [(bellman.n_step_return, 3), (bellman.lambda_return, 0.5)]
)
def test_returns_under_vmap_and_grad(function, parameter):
    finite = (*STREAM[:3], jnp.nan_to_num(VALUES))

    @jax.jit
    def with_discount(discount):
        return function(*finite, discount, parameter)

    discounts = jnp.array([0.0, 0.5, 1.0])
    together = jax.jit(jax.vmap(with_discount))(discounts)
    np.testing.assert_allclose(
        together, np.stack([with_discount(discount) for discount in discounts]), rtol=1e-6
    )

    width = 1e-2
    slope = (with_discount(0.5 + width) - with_discount(0.5 - width)) / (2 * width)
    found = jax.jit(jax.grad(lambda discount: with_discount(discount).sum()))(0.5)
    np.testing.assert_allclose(found, slope.sum(), rtol=1e-3)

    # The return is linear in the values: its gradient is the weight of each, and the
    # terminal state has none.
    weights = jax.jit(jax.grad(lambda values: function(*STREAM[:3], values, 0.5, parameter)[0]))(
        VALUES
    )
    expected = [0.0] * 6 if parameter == 3 else [0.5 * 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(weights, expected)
