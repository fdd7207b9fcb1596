"""The ring against a deque, and its sampling against the uniform distribution."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.extend import core
from scipy import stats

import purerl.random
from purerl import replay
from tests import quick

ITEM = {
    "x": jax.ShapeDtypeStruct((2,), jnp.float32),
    "nested": (jnp.uint8(0), jnp.bool_(False)),
    "none": None,
}

write = quick.jit(replay.write)
sample = quick.jit(replay.sample, static_argnums=4)


def items(first, count):
    """Items numbered from ``first`` on, which can be told apart by ``x``."""
    number = np.arange(first, first + count)
    x = np.stack([number, -number], axis=1).astype(np.float32)
    return {"x": x, "nested": ((number % 251).astype(np.uint8), number % 3 == 0), "none": None}


def test_an_empty_ring_has_the_dtypes_of_an_item():
    ring = replay.create(ITEM, 12)
    assert jax.tree.structure(ring) == jax.tree.structure(ITEM)
    for leaf, like in zip(jax.tree.leaves(ring), jax.tree.leaves(ITEM), strict=True):
        assert (leaf.shape, leaf.dtype) == ((12, *like.shape), like.dtype)
        assert not leaf.any()


@given(
    shape=st.sampled_from([(1, 1), (4, 1), (4, 2), (4, 4), (12, 3), (12, 4)]),
    num_writes=st.integers(0, 30),
    earlier=st.sampled_from([0, 0, 0, 2**31 - 12 * 100]),
)
def test_a_ring_holds_what_a_deque_of_its_capacity_holds(shape, num_writes, earlier):
    capacity, count = shape
    earlier -= earlier % count
    ring, model = replay.create(ITEM, capacity), deque(maxlen=capacity)
    for i in range(num_writes):
        ring = write(ring, items(i * count, count), earlier + i * count)
        model.extend(range(i * count, (i + 1) * count))
    numbers = np.array(model, int)
    slots = (earlier + numbers) % capacity
    for leaf, expected in zip(
        jax.tree.leaves(ring), jax.tree.leaves(items(0, num_writes * count)), strict=True
    ):
        leaf = np.asarray(leaf)
        np.testing.assert_array_equal(leaf[slots], expected[numbers])
        assert not np.delete(leaf, slots, axis=0).any()  # the rest is unwritten


@pytest.mark.parametrize("impl", purerl.random.IMPLEMENTATIONS)
@pytest.mark.parametrize("added", [1, 5, 11, 12, 13, 36, 41])
def test_sampling_is_uniform_over_what_was_written(added, impl):
    capacity, batch_size, num_batches = 12, 16, 2_000
    ring = replay.create(jnp.int32(0), capacity)
    for i in range(added):
        ring = write(ring, jnp.array([i + 1], jnp.int32), i)
    keys = jax.random.split(purerl.random.key(added, impl), num_batches)
    batches = np.asarray(
        jax.jit(jax.vmap(lambda key: replay.sample(ring, jnp.int32(0), key, added, batch_size)))(
            keys
        )
    )
    assert batches.shape == (num_batches, batch_size)
    held = np.arange(max(0, added - capacity), added) + 1
    assert np.isin(batches, held).all()  # never an unwritten slot, which holds 0
    if len(held) > 1:
        assert (
            stats.chisquare(np.bincount(batches.ravel(), minlength=added + 1)[held]).pvalue > 1e-6
        )
        # With replacement, and independently: every pair of items is as likely as every
        # other.
        pairs = np.bincount(
            (batches[:, 0] - held[0]) * len(held) + batches[:, 1] - held[0],
            minlength=len(held) ** 2,
        )
        assert stats.chisquare(pairs).pvalue > 1e-6


def test_an_item_is_sampled_whole():
    ring = write(replay.create(ITEM, 256), items(0, 256), 0)
    batch = sample(ring, ITEM, purerl.random.key(0), 256, 64)
    number = np.asarray(batch["x"])[:, 0].astype(int)
    assert len(set(number.tolist())) > 30
    for leaf, expected in zip(jax.tree.leaves(batch), jax.tree.leaves(items(0, 256)), strict=True):
        np.testing.assert_array_equal(leaf, expected[number])


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for sub in core.jaxprs_in_params(eqn.params):
            yield from equations(sub)


def test_sampling_costs_as_much_as_the_batch():
    ring = replay.create(jnp.float32(0), 2**20)
    jaxpr = jax.make_jaxpr(
        lambda ring, key, added: replay.sample(ring, jnp.float32(0), key, added, 32)
    )(ring, purerl.random.key(0), 7)
    results = [variable.aval.size for eqn in equations(jaxpr.jaxpr) for variable in eqn.outvars]
    assert len(results) > 5 and max(results) <= 4 * 32
    assert not {"sort", "while"} & {eqn.primitive.name for eqn in equations(jaxpr.jaxpr)}


def test_a_board_is_held_as_a_row_and_sampled_as_a_board():
    boards = np.random.default_rng(0).random((6, 3, 4, 2)) < 0.5
    ring = write(replay.create(boards[0], 12), boards, 6)
    assert ring.shape == (12, 24) and ring.dtype == bool
    np.testing.assert_array_equal(ring[6:], boards.reshape(6, 24))
    batch = np.asarray(sample(ring[6:], boards[0], purerl.random.key(0), 6, 32))
    assert batch.shape == (32, 3, 4, 2)
    assert all(any(np.array_equal(one, board) for board in boards) for one in batch)
    assert len(np.unique(batch, axis=0)) == 6


@pytest.mark.parametrize("shape", [(), (4, 4, 3)], ids=str)
@pytest.mark.parametrize("lanes", [None, 4])
def test_a_donated_ring_is_written_in_place(lanes, shape):
    capacity = 2**16
    item = jax.ShapeDtypeStruct(shape, jnp.int32)

    def fill(ring):
        def step(ring, t):
            return replay.write(ring, jnp.full((1, *shape), t), t), None

        return jax.lax.scan(step, ring, jnp.arange(100, dtype=jnp.int32))[0]

    ring = jax.eval_shape(lambda: replay.create(item, capacity))
    if lanes:
        fill = jax.vmap(fill)
        ring = jax.ShapeDtypeStruct((lanes, *ring.shape), ring.dtype)
    memory = jax.jit(fill, donate_argnums=0).lower(ring).compile().memory_analysis()
    assert memory.temp_size_in_bytes < ring.size * 4 / 8 / (lanes or 1)


def test_a_write_must_divide_the_capacity():
    with pytest.raises(AssertionError, match="not divisible"):
        write(replay.create(ITEM, 10), items(0, 4), 0)
