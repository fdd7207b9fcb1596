"""Experience replay: a ring buffer of transitions, written in order, sampled uniformly.

The buffer stores no position. The place of the next write and the number of filled
entries follow from the number of items added so far, which is a function of time. So
neither is batched under ``vmap``, and a write stays one slice that, in a scan with
donated buffers, happens in place.
"""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

Buffer = Any


def create(item: Any, capacity: int) -> Buffer:
    """An empty ring buffer.

    Args:
        item: a pytree of arrays or ``jax.ShapeDtypeStruct``, shaped like one item.
        capacity: the number of items it can hold.

    Returns:
        The same pytree, of zeros with a leading axis ``[capacity]``. An item of several
        axes is held as a row, ``[capacity, size]``, since XLA copies along the last
        axis, which of a board is short. It stays one: a ring that is reshaped at every
        write is copied every time.
    """

    def ring(x):
        shape = (math.prod(x.shape),) if len(x.shape) > 1 else x.shape
        return jnp.zeros((capacity, *shape), x.dtype)

    return jax.tree.map(ring, item)


def write(buffer: Buffer, items: Any, added: int | jax.Array) -> Buffer:
    """Overwrite the oldest items.

    Args:
        buffer: the ring.
        items: leaves ``[N, ...]``. ``N`` must divide the capacity, so that no write
            wraps around the end.
        added: the number of items added before, a multiple of ``N``.

    Raises:
        AssertionError: ``N`` does not divide the capacity (while tracing).
    """
    capacity = jax.tree.leaves(buffer)[0].shape[0]
    count = jax.tree.leaves(items)[0].shape[0]
    chex.assert_is_divisible(capacity, count)

    def write(ring, items):
        rows = items.reshape(count, *ring.shape[1:])
        return _write_along(0)(added % capacity, ring, rows)

    return jax.tree.map(write, buffer, items)


@functools.cache
def _write_along(axis):
    """``dynamic_update_slice_in_dim`` along ``axis``, with a batching rule of its own.

    Under ``vmap`` it stays a slice update as long as the start is not batched. JAX's
    own rule turns it into a scatter, which XLA does not do in place: every write would
    copy the ring.
    """

    @jax.custom_batching.custom_vmap
    def write(start, ring, items):
        return jax.lax.dynamic_update_slice_in_dim(ring, items, start, axis)

    @write.def_vmap
    def write_batch(axis_size, batched, start, ring, items):
        if batched[0]:
            plain = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis)
            axes = [0 if is_batched else None for is_batched in batched]
            each = jax.vmap(lambda start, ring, items: plain(ring, items, start), axes)
            return each(start, ring, items), True
        ring, items = (
            x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, is_batched in zip((ring, items), batched[1:], strict=True)
        )
        return _write_along(axis + 1)(start, ring, items), True

    return write


def sample(
    buffer: Buffer, item: Any, key: jax.Array, added: int | jax.Array, batch_size: int
) -> Any:
    """Items drawn uniformly from the ``min(added, capacity)`` that the ring holds.

    Lin, "Self-improving reactive agents based on reinforcement learning, planning and
    teaching" (Machine Learning 8, 1992). They are drawn with replacement, so that the
    cost depends on the batch and not on the ring.

    Args:
        buffer: the ring.
        item: shaped like one item, as given to :func:`create`.
        key: consumed.
        added: the number of items added so far, at least 1.
        batch_size: ``B``, static.

    Returns:
        The pytree of an item, leaves ``[B, ...]``.
    """
    capacity = jax.tree.leaves(buffer)[0].shape[0]
    index = jax.random.randint(key, (batch_size,), 0, jnp.minimum(added, capacity), jnp.int32)

    def read(ring, item):
        drawn = ring.at[index].get(mode="promise_in_bounds")
        return drawn.reshape(batch_size, *item.shape)

    return jax.tree.map(read, buffer, item)
