import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl import schedule
from tests import quick

EXAMPLES = {
    "constant": schedule.constant(0.3),
    "linear": schedule.linear(1.0, 0.1, steps=90, begin=10),
    "exponential": schedule.exponential(0.8, half_life=20, floor=0.05),
    "power": schedule.power(0.5, exponent=0.75, timescale=30.0),
}
TIMES = jnp.arange(0, 300, 7, dtype=jnp.int32)
LATEST = 2**31 - 1


def test_closed_forms():
    line = EXAMPLES["linear"]
    times = [0, 10, 55, 100, 101, LATEST]  # halfway is (1 + .1) / 2
    np.testing.assert_allclose([line(t) for t in times], [1.0, 1.0, 0.55, 0.1, 0.1, 0.1], rtol=1e-6)
    halves = EXAMPLES["exponential"]
    times = [0, 20, 40, 80, 81, LATEST]  # .8 / 2, .8 / 4, then .8 / 16 is the floor itself
    np.testing.assert_allclose(
        [halves(t) for t in times], [0.8, 0.4, 0.2, 0.05, 0.05, 0.05], rtol=1e-6
    )
    np.testing.assert_allclose(schedule.exponential(1.0, 10)(35), 2**-3.5, rtol=1e-6)
    decay = schedule.power(2.0, exponent=1.5, timescale=10)
    np.testing.assert_allclose([decay(t) for t in (0, 30, 990)], [2.0, 2 / 8, 2 / 1000], rtol=1e-6)
    np.testing.assert_allclose([schedule.constant(7.0)(t) for t in (0, LATEST)], 7.0)


def test_linear_meets_its_ends_exactly():
    for start, end in ((1.0, 0.05), (0.1, 0.3), (1e-3, 0.0), (-7.0, 1e6)):
        line = schedule.linear(start, end, steps=7)
        assert line(0) == np.float32(start)
        assert line(7) == np.float32(end)


def test_agrees_with_optax():
    theirs = optax.linear_schedule(1.0, 0.1, transition_steps=90, transition_begin=10)
    np.testing.assert_allclose(EXAMPLES["linear"](TIMES), theirs(TIMES), rtol=1e-5)
    theirs = optax.exponential_decay(0.8, transition_steps=20, decay_rate=0.5, end_value=0.05)
    np.testing.assert_allclose(EXAMPLES["exponential"](TIMES), theirs(TIMES), rtol=1e-5)


def test_sample_average_is_power_with_exponent_one():
    """Averaging with step 1 / (1 + t) gives the arithmetic mean."""
    samples = np.random.default_rng(0).normal(size=50)
    step_size, estimate = schedule.power(1.0, exponent=1), 17.0
    for t, sample in enumerate(samples):
        estimate += float(step_size(t)) * (sample - estimate)
    np.testing.assert_allclose(estimate, samples.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_float32_scalar_from_any_time(name):
    for t in (3, np.int64(3), jnp.int32(3), jnp.uint8(3), jnp.uint32(3), jnp.float32(3)):
        value = EXAMPLES[name](t)
        assert (value.shape, value.dtype) == ((), jnp.float32)
        assert not value.weak_type
        assert value == EXAMPLES[name](3)
    with jax.enable_x64(True):
        assert EXAMPLES[name](3).dtype == jnp.float32


@pytest.mark.parametrize("name", EXAMPLES)
def test_time_maps_elementwise_under_jit_and_vmap(name):
    one_by_one = np.stack([EXAMPLES[name](t) for t in TIMES])
    np.testing.assert_allclose(EXAMPLES[name](TIMES), one_by_one, rtol=1e-6)
    np.testing.assert_allclose(quick.jit(jax.vmap(EXAMPLES[name]))(TIMES), one_by_one, rtol=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_leaves_sweep_without_retracing(name):
    chex.clear_trace_counter()  # it counts by name, over all parametrizations

    @quick.jit
    @chex.assert_max_traces(n=1)
    def value(hyperparameter, t):
        return schedule.at(hyperparameter, t)

    scaled = [
        jax.tree.map(lambda leaf, factor=factor: leaf * factor, EXAMPLES[name])
        for factor in (1, 2, 3)
    ]
    found = [value(each, t) for each, t in zip(scaled, (5, 50, 500), strict=True)]
    expected = [each(t) for each, t in zip(scaled, (5, 50, 500), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)

    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scaled)
    np.testing.assert_allclose(
        jax.vmap(schedule.at, (0, None))(lanes, 50), [each(50) for each in scaled], rtol=1e-6
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_any_tree_of_its_structure_can_be_built(name):
    """As in_axes, as gradients, as placeholders: rebuilding a pytree checks nothing."""
    example = EXAMPLES[name]
    for stand_in in (0, -1, None, object(), "leaf", np.nan):
        leaves, structure = jax.tree.flatten(example)
        assert jax.tree.leaves(
            jax.tree.unflatten(structure, [stand_in] * len(leaves)), is_leaf=lambda x: x is None
        ) == [stand_in] * len(leaves)
    axes = jax.tree.map(lambda _: 0, example)
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), example)
    np.testing.assert_allclose(
        jax.vmap(lambda s: s(5), in_axes=(axes,))(lanes), [example(5)] * 2, rtol=1e-6
    )
    slopes = jax.grad(lambda s: s(50))(jax.tree.map(jnp.float32, example))
    assert all(np.isfinite(slope) for slope in jax.tree.leaves(slopes))


def test_at_takes_numbers_and_schedules():
    for number in (0.25, np.float64(0.25), jnp.float32(0.25)):
        assert schedule.at(number, 10) == 0.25
        assert schedule.at(number, 10).dtype == jnp.float32
    assert schedule.at(1, 10).dtype == jnp.float32
    assert schedule.at(EXAMPLES["linear"], 55) == EXAMPLES["linear"](55)
    assert schedule.at(optax.constant_schedule(2.0), 3) == 2.0


def test_is_a_learning_rate_for_optax():
    rate = schedule.linear(1.0, 0.0, steps=4)
    optimizer = optax.sgd(rate)
    state, moves = optimizer.init(jnp.float32(0)), []
    for _ in range(6):
        update, state = quick.jit(optimizer.update)(jnp.float32(2.0), state)
        moves.append(update)
    np.testing.assert_allclose(moves, [-2.0, -1.5, -1.0, -0.5, 0.0, 0.0])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedule.constant(np.nan), "constant: value is nan; allowed: a finite number"),
        (lambda: schedule.linear(np.inf, 0.1, 10), "linear: start is inf"),
        (lambda: schedule.linear(1.0, np.nan, 10), "linear: end is nan"),
        (
            lambda: schedule.linear(1.0, 0.1, 0),
            "linear: steps is 0; allowed: a finite number above 0",
        ),
        (lambda: schedule.linear(1.0, 0.1, np.array([10, -1])), "linear: steps is"),
        (lambda: schedule.linear(1.0, 0.1, 10, -1), "linear: begin is -1"),
        (lambda: schedule.exponential(1.0, -3), "exponential: half_life is -3"),
        (lambda: schedule.exponential(1.0, 3, -0.1), "exponential: floor is -0.1"),
        (
            lambda: schedule.exponential(0.1, 3, 0.2),
            "exponential: start is 0.1; allowed: a number of at least floor",
        ),
        (lambda: schedule.exponential(np.nan, 3), "exponential: start is nan"),
        (lambda: schedule.power(np.nan, 1.0), "power: start is nan"),
        (lambda: schedule.power(1.0, -1.0), "power: exponent is -1.0"),
        (lambda: schedule.power(1.0, 1.0, 0.0), "power: timescale is 0.0"),
    ],
)
def test_wrong_numbers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_tracers_are_not_checked():
    value = quick.jit(lambda end, steps: schedule.linear(1.0, end, steps)(5))(0.0, 10)
    np.testing.assert_allclose(value, 0.5)


NUMBER = st.floats(-100, 100, width=32, allow_subnormal=False)
TIME = st.integers(0, LATEST)
call = quick.jit(lambda s, t: s(t))


@settings(max_examples=150, deadline=None)
@given(NUMBER, NUMBER, st.integers(1, 10**9), st.integers(0, 10**9), TIME, TIME)
def test_linear_is_monotone_and_bounded(start, end, steps, begin, t, u):
    first, second = (
        float(call(schedule.linear(start, end, steps, begin), np.int32(x))) for x in sorted((t, u))
    )
    rounding = 1e-6 * max(abs(start), abs(end)) + 1e-30  # XLA flushes subnormal numbers to zero
    assert min(start, end) - rounding <= first <= max(start, end) + rounding
    assert (second - first) * np.sign(end - start) >= -2 * rounding


@settings(max_examples=150, deadline=None)
@given(
    st.floats(0, 1, width=32),
    st.floats(0, 1, width=32),
    st.floats(2**-6, 2**20, width=32),
    TIME,
    TIME,
)
def test_decays_fall_and_stay_within_bounds(a, b, scale, t, u):
    floor, start = sorted((a, b))
    for decay, lowest in (
        (schedule.exponential(start, scale, floor), floor),
        (schedule.power(start, b, scale), 0.0),
    ):
        first, second = (float(call(decay, np.int32(x))) for x in sorted((t, u)))
        assert lowest <= second <= first * (1 + 1e-6) <= start * (1 + 1e-5)
