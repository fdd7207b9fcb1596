"""The blocked scan, against ``jax.lax.scan``."""

import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.extend import core

import purerl
import purerl.random
from purerl import timescan
from purerl.envs import interact

pytestmark = pytest.mark.optimized


def draw(key, t):
    return jax.random.bits(jax.random.fold_in(key, t), (2,), dtype=jnp.uint32)


def hoists_nothing(x, t):
    return x * 3 + t, x


def hoists_everything(x, t):
    return x, (t * 5, t % 3 == 0)


def constant_key(state, t):
    """The usual case: a key that never changes, folded with the time."""
    key, x, nothing = state
    words = draw(key, t)
    return (key, x * 7 + words[0], nothing), {"word": words[1], "x": x, "none": None}


def changing_key(state, t):
    """A key in the carry that changes: draws from it depend on the state."""
    key, x = state
    key, use = jax.random.split(jax.random.fold_in(key, t))
    return (key, x + jax.random.bits(use, dtype=jnp.uint32)), jax.random.bits(
        jax.random.fold_in(use, t), dtype=jnp.uint32
    )


def swapped(state, t):
    """Leaves that are returned unchanged, but elsewhere, are not constant."""
    a, b = state
    return (b, a), a * 10 + b + t


def duplicated(state, t):
    a, b = state
    return (a, a), b + t


def branches(x, t):
    x = jax.lax.cond(t % 3 == 0, lambda x: x * 5 + t, lambda x: x + 1, x)
    powers = [lambda n=n: jnp.int32(n) for n in (1, 10, 100)]
    return x, jax.lax.switch(t % 4, [*powers, lambda: t])


def loops(x, t):
    inner = jax.lax.fori_loop(0, t % 5, lambda i, y: y * 2 + i, t)
    total = jax.lax.scan(lambda y, z: (y + z, None), t, jnp.arange(3, dtype=jnp.int32))[0]
    return x * 3 + inner + total, (inner, total)


def nested(state, t):
    """A blocked scan inside another, like an agent's inner loop of interactions."""
    key, x = state
    key_t = jax.random.fold_in(key, t)

    def inner(x, i):
        return x * 3 + jax.random.bits(jax.random.fold_in(key_t, i), dtype=jnp.uint32), x

    x, xs = timescan.time_scan(inner, x, jnp.arange(10, dtype=jnp.int32))
    return (key, x), jnp.sum(xs)


def literals(x, t):
    return jnp.int32(4), (2.5, True)


def table(state, t):
    """A write to a place that depends on time, and a read from there."""
    ring, constants = state
    return (ring.at[t % 4].add(constants[t % 3] + ring[0]), constants), ring[t % 4]


KEY = purerl.random.key(3, "pcg4d")
WORD = jnp.uint32(1)
STEPS = {
    hoists_nothing: jnp.int32(2),
    hoists_everything: jnp.int32(2),
    constant_key: (KEY, WORD, None),
    changing_key: (KEY, WORD),
    swapped: (jnp.int32(1), jnp.int32(2)),
    duplicated: (jnp.int32(1), jnp.int32(2)),
    branches: jnp.int32(1),
    loops: jnp.int32(1),
    nested: (KEY, WORD),
    literals: jnp.int32(1),
    table: (jnp.arange(4, dtype=jnp.int32), jnp.array([2, 3, 5])),
}


def both(step, state, ts, block=timescan.BLOCK):
    """The results of the blocked scan and of the plain scan."""
    blocked = jax.jit(lambda state, ts: timescan.time_scan(step, state, ts, block))
    plain = jax.jit(lambda state, ts: jax.lax.scan(step, state, ts))
    return blocked(state, ts), plain(state, ts)


def assert_equal(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@given(st.integers(0, 40), st.integers(1, 45), st.integers(-100, 2**30))
@example(1, 128, 0)
@example(37, 128, 0)
@example(36, 8, 0)
@settings(max_examples=4)
def test_it_is_the_plain_scan_bit_for_bit(step, length, block, start):
    assert_equal(*both(step, STEPS[step], start + jnp.arange(length, dtype=jnp.int32), block))


def test_long_scans_of_several_blocks():
    for length in (256, 3 * 127, 257):
        assert_equal(*both(constant_key, STEPS[constant_key], jnp.arange(length, dtype=jnp.int32)))


def test_times_need_not_be_regular():
    ts = jnp.array([7, 7, -3, 2**31 - 1, 0, 12], jnp.int32)
    assert_equal(*both(constant_key, STEPS[constant_key], ts, 3))


FLOAT_STEPS = {
    "sum of products": (lambda x, t: (x + 0.1 * t, x), jnp.float32(0.3)),
    "normal": (
        lambda x, t: (
            0.9 * x + 0.3 * jax.random.normal(jax.random.fold_in(KEY, t), (7,), dtype=jnp.float32),
            x,
        ),
        jnp.zeros(7, dtype=jnp.float32),
    ),
    "dot": (
        lambda x, t: (
            x
            + jnp.dot(
                jnp.sin(jnp.arange(64.0, dtype=jnp.float32) * t),
                jnp.cos(jnp.arange(64.0, dtype=jnp.float32) * t),
            ),
            x,
        ),
        jnp.float32(0),
    ),
}


@pytest.mark.parametrize("name", FLOAT_STEPS)
def test_floats_agree_to_rounding(name):
    step, state = FLOAT_STEPS[name]
    got, expected = both(step, state, jnp.arange(640, dtype=jnp.int32))
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_whose_numbers_change_under_vmap_are_left_alone(impl):
    def step(x, t):
        return x * 3 + jax.random.bits(
            jax.random.fold_in(jax.random.key(0, impl=impl), t), dtype=jnp.uint32
        ), x

    assert_equal(*both(step, WORD, jnp.arange(12, dtype=jnp.int32)))


def test_python_numbers_in_the_carry_are_promoted_alike():
    for start in (0, 0.0):
        assert_equal(*both(lambda x, t: (x + 0.5 * t, x), start, jnp.arange(12, dtype=jnp.int32)))


@pytest.mark.parametrize(
    "step",
    [
        lambda state, t: ((state[0] + 1,), t),
        lambda state, t: ((state[0] + 1, state[1] * 1.5), t),
        lambda state, t: ((state[0] + 1, jnp.zeros(2, int)), t),
    ],
    ids=["structure", "dtype", "shape"],
)
def test_a_step_must_return_the_carry_it_was_given(step):
    state, ts = (jnp.int32(0), jnp.int32(0)), jnp.arange(4, dtype=jnp.int32)
    with pytest.raises(TypeError):
        jax.lax.scan(step, state, ts)
    with pytest.raises(TypeError):
        timescan.time_scan(lambda s, t: step(s, t + 0 * t), state, ts)


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for sub in core.jaxprs_in_params(eqn.params):
            yield from equations(sub)


def test_a_branch_on_time_stays_a_branch_under_vmap():
    def step(state, t):
        key, x = state
        x = jax.lax.cond(t % 10 == 0, lambda x: x * 5 + 1, lambda x: x, x)
        return (key, x + jax.random.bits(jax.random.fold_in(key, t), dtype=jnp.uint32)), None

    def run(key, x):
        return timescan.time_scan(step, (key, x), jnp.arange(100, dtype=jnp.int32))

    keys, xs = jax.random.split(KEY, 3), jnp.zeros(3, jnp.uint32)
    jaxpr = jax.make_jaxpr(jax.vmap(run))(keys, xs).jaxpr
    conds = [eqn for eqn in equations(jaxpr) if eqn.primitive.name == "cond"]
    assert (
        len(conds) == 1 and conds[0].invars[0].aval.shape == ()
    )  # one lane's answer is everyone's
    assert not any(
        eqn.primitive.name == "select_n" and eqn.outvars[0].aval.shape == (3,)
        for eqn in equations(jaxpr)
    )


def test_what_depends_on_time_alone_leaves_the_inner_loop():
    """Random bits are drawn in the head; the loop only combines them with the state."""

    def step(state, t):
        key, x = state
        return (key, x * 3 + jax.random.bits(jax.random.fold_in(key, t), dtype=jnp.uint32)), None

    jaxpr = jax.make_jaxpr(lambda s: timescan.time_scan(step, s, jnp.arange(256, dtype=jnp.int32)))(
        (KEY, WORD)
    ).jaxpr
    outer = next(eqn for eqn in equations(jaxpr) if eqn.primitive.name == "scan")
    body = outer.params["jaxpr"].jaxpr
    (inner,) = [eqn for eqn in body.eqns if eqn.primitive.name == "scan"]
    assert (outer.params["length"], inner.params["length"]) == (2, 128)
    assert {eqn.primitive.name for eqn in equations(inner.params["jaxpr"].jaxpr)} == {"mul", "add"}
    prepared = [
        eqn.outvars[0].aval.shape
        for eqn in body.eqns
        if eqn.primitive.name.startswith("random_bits")
    ]
    assert prepared == [(128,)] or any(s[:1] == (128,) for s in prepared)


def scan_lengths(function, *args):
    """The lengths of the scans in a function of ``args``, from the outermost on."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return [eqn.params["length"] for eqn in equations(jaxpr) if eqn.primitive.name == "scan"]


def run_256(step, state):
    return timescan.time_scan(step, state, jnp.arange(256, dtype=jnp.int32))[0]


def test_enough_lanes_run_a_plain_scan():
    def step(x, t):
        return x * 3 + jax.random.bits(jax.random.fold_in(KEY, t), (), jnp.uint32), None

    def run(x):
        return run_256(step, x)

    words = jnp.arange(64, dtype=jnp.uint32)
    plain, blocks = [256], [2, 128]
    assert scan_lengths(run, WORD) == blocks
    assert scan_lengths(jax.vmap(run), words[:63]) == blocks
    assert scan_lengths(jax.vmap(run), words) == plain
    assert scan_lengths(jax.vmap(jax.vmap(run)), words.reshape(8, 8)) == plain
    inside = jax.vmap(lambda x: jax.lax.scan(lambda x, _: (run(x), None), x, length=3)[0])
    assert scan_lengths(inside, words) == [3, *plain]

    def wide_step(x, t):
        return x * 3 + jax.random.bits(jax.random.fold_in(KEY, t), (64,), jnp.uint32), None

    assert scan_lengths(lambda x: run_256(wide_step, x), words) == plain


def test_a_step_that_would_round_differently_runs_in_blocks():
    def summed(x, t):
        return x + t.astype(jnp.float32) * 0.1, None

    def selected(x, t):
        product = t.astype(jnp.float32) * 0.1
        return jnp.where(x > product, product, x + 1), None

    numbers = jnp.arange(64, dtype=jnp.float32)
    lengths = {
        step: scan_lengths(jax.vmap(lambda x, step=step: run_256(step, x)), numbers)
        for step in (summed, selected)
    }
    assert lengths == {summed: [2, 128], selected: [256]}


@pytest.mark.parametrize("lanes", [1, 64])
def test_derivatives_of_lanes(lanes):
    def step(x, t):
        return x * jnp.where(jax.random.bits(jax.random.fold_in(KEY, t)) % 2 == 1, 1.25, 0.8), None

    slopes = jax.vmap(jax.grad(lambda x: run_256(step, x)))(jnp.ones(lanes))
    np.testing.assert_allclose(slopes, run_256(step, jnp.float32(1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "lengths"), [("CartPole-v1", [256]), ("Pendulum-v1", [2, 128])], ids=str
)
def test_a_rollout_has_the_same_bits_in_few_lanes_and_in_many(name, lengths):
    """Both draw floats; only Pendulum multiplies one and then adds it to its state."""
    env = purerl.make(name)

    def run(key):
        def step(state, t):
            act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(act_key, (), 0, env.num_actions)
            return interact(env, env_key, state, action)[0], state

        return timescan.time_scan(step, env.reset(key), jnp.arange(256, dtype=jnp.int32))[1]

    keys = jax.random.split(KEY, 64)
    lanes = jax.vmap(run)
    assert scan_lengths(lanes, keys) == lengths
    assert scan_lengths(lanes, keys[:2]) == [2, 128]
    many, few = jax.jit(lanes)(keys), jax.jit(lanes)(keys[:2])
    assert_equal(jax.tree.map(operator.itemgetter(slice(2)), many), few)


@pytest.mark.parametrize(
    "step", [constant_key, changing_key, nested, table, branches], ids=lambda step: step.__name__
)
def test_lanes_are_what_they_are_alone(step):
    def vary(i):
        def leaf(x):
            is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            return jax.random.fold_in(x, i) if is_key else x + jnp.asarray(i, x.dtype)

        return jax.tree.map(leaf, STEPS[step])

    def run(i):
        return timescan.time_scan(step, vary(i), jnp.arange(24, dtype=jnp.int32), 8)

    lanes = jax.jit(jax.vmap(run))(jnp.arange(4, dtype=jnp.int32))
    alone = jax.jit(run)
    for i in range(4):
        assert_equal(jax.tree.map(operator.itemgetter(i), lanes), alone(i))


def test_derivatives_are_those_of_the_plain_scan():
    def final(scan):
        def f(x):
            y, ys = scan(
                lambda y, t: (y * x + jnp.sin(t * x), y * t), x, jnp.arange(24, dtype=jnp.int32)
            )
            return y + jnp.mean(ys)

        return f

    for derivative in (jax.grad, jax.jacfwd, lambda f: jax.grad(jax.grad(f))):
        blocked, plain = (
            jax.jit(derivative(final(scan)))(0.8) for scan in (timescan.time_scan, jax.lax.scan)
        )
        np.testing.assert_allclose(blocked, plain, rtol=1e-5)


def test_the_step_is_traced_once():
    step = chex.assert_max_traces(lambda x, t: (x * 3 + t * t, x), n=1)
    run = jax.jit(
        chex.assert_max_traces(
            lambda x: timescan.time_scan(step, x, jnp.arange(12, dtype=jnp.int32)), n=1
        )
    )
    for x in range(3):
        run(jnp.int32(x))


def test_values_from_outside_the_step_may_be_traced():
    ts = jnp.arange(12, dtype=jnp.int32)

    def run(scan, offset):
        return scan(
            lambda x, t: (
                x * 3 + jax.random.bits(jax.random.fold_in(KEY, t), dtype=jnp.uint32) + offset,
                None,
            ),
            WORD,
            ts,
        )[0]

    offsets = jnp.array([1, 2], jnp.uint32)
    lanes = jax.jit(jax.vmap(lambda offset: run(timescan.time_scan, offset)))(offsets)
    plain = jax.jit(lambda offset: run(jax.lax.scan, offset))
    assert lanes.tolist() == [int(plain(offset)) for offset in offsets]


def test_effects_happen_as_often_as_in_the_plain_scan():
    seen = []

    def step(x, t):
        jax.debug.callback(lambda: seen.append(1))
        return x + t * t, x

    jax.block_until_ready(
        jax.jit(lambda: timescan.time_scan(step, jnp.int32(0), jnp.arange(8, dtype=jnp.int32)))()
    )
    jax.effects_barrier()
    assert len(seen) == 8
