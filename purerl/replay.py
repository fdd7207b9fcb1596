"""Experience replay: a ring of transitions, written in order and sampled uniformly.

The ring keeps no position of its own: where to write and how much is filled follow from the number of items added so far,
which follows from time. So under ``vmap`` neither is batched, a write stays one slice and, in a donated scan, happens in place.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp

Buffer = Any


def create(item: Any, capacity: int) -> Buffer:
    """An empty ring for ``capacity`` items shaped like ``item``, a pytree of arrays or ``jax.ShapeDtypeStruct``.

    Returns:
        The same pytree of zeros with a leading axis ``[capacity]``.
    """
    return jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), item)


def write(buffer: Buffer, items: Any, added: int | jax.Array) -> Buffer:
    """Write ``[N]`` items over the oldest, ``added`` having been added before.

    ``N`` must divide the capacity and ``added`` be a multiple of it, so that no write wraps around the end.

    Raises:
        AssertionError: ``N`` does not divide the capacity (while tracing).
    """
    capacity, count = jax.tree.leaves(buffer)[0].shape[0], jax.tree.leaves(items)[0].shape[0]
    chex.assert_is_divisible(capacity, count)
    return jax.tree.map(functools.partial(_write_along(0), added % capacity), buffer, items)


@functools.cache
def _write_along(axis):
    """``dynamic_update_slice_in_dim`` along ``axis``, which stays one under ``vmap`` as long as the start is not batched.

    JAX's own rule makes a scatter of it, which XLA does not do in place: every write would copy the ring.
    """

    @jax.custom_batching.custom_vmap
    def write(start, ring, items):
        return jax.lax.dynamic_update_slice_in_dim(ring, items, start, axis)

    @write.def_vmap
    def write_batch(axis_size, batched, start, ring, items):
        if batched[0]:
            plain = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis)
            axes = [0 if is_batched else None for is_batched in batched]
            return jax.vmap(lambda start, ring, items: plain(ring, items, start), axes)(
                start, ring, items
            ), True
        ring, items = (
            x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, is_batched in zip((ring, items), batched[1:], strict=True)
        )
        return _write_along(axis + 1)(start, ring, items), True

    return write


def sample(buffer: Buffer, key: jax.Array, added: int | jax.Array, batch_size: int) -> Any:
    """``[B]`` items drawn uniformly with replacement from the ``min(added, capacity)`` that the ring holds.

    Lin, "Self-improving reactive agents based on reinforcement learning, planning and teaching" (Machine Learning 8, 1992).
    With replacement because the cost is then that of the batch, not of the ring.

    Args:
        buffer: the ring.
        key: consumed.
        added: how many items have been added so far, at least 1.
        batch_size: ``B``, static.
    """
    capacity = jax.tree.leaves(buffer)[0].shape[0]
    index = jax.random.randint(key, (batch_size,), 0, jnp.minimum(added, capacity))
    return jax.tree.map(lambda ring: ring.at[index].get(mode="promise_in_bounds"), buffer)
