"""Pieces of a gradient update."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from purerl.optimizers import Optimizer


def clip_by_norm(gradient: Any, max_norm: jax.Array) -> Any:
    """A gradient scaled down to ``max_norm`` if its global norm is larger.

    The numbers of ``optax.clip_by_global_norm``, with derivatives that are finite where
    the gradient is zero or ``max_norm`` infinite. Pascanu, Mikolov & Bengio, "On the
    difficulty of training recurrent neural networks" (ICML 2013).

    Args:
        gradient: a pytree of floats.
        max_norm: above 0, ``[]``.
    """
    square = optax.tree.norm(gradient, squared=True)
    norm = jnp.sqrt(jnp.where(square == 0, 1, square))
    within = (square == 0) | (norm < max_norm)
    # Both sides of a select are differentiated, so neither may be infinite.
    divisor = jnp.where(within, 1, norm)
    limit = jnp.where(within, 1, max_norm)
    return jax.tree.map(lambda g: jnp.where(within, g, g / divisor * limit), gradient)


def descend(
    optimizer: Optimizer,
    params: Any,
    opt_state: optax.OptState,
    gradient: Any,
    learning_rate: jax.Array,
    max_norm: jax.Array,
) -> tuple[Any, optax.OptState]:
    """Parameters after one step against a clipped gradient, and the optimizer's state.

    Args:
        optimizer: gives the direction.
        params, gradient: pytrees of floats.
        opt_state: of the optimizer.
        learning_rate: ``[]``.
        max_norm: see :func:`clip_by_norm`.
    """
    gradient = clip_by_norm(gradient, max_norm)
    direction, opt_state = optimizer.transformation().update(gradient, opt_state, params)
    step = jax.tree.map(lambda d: -learning_rate * d, direction)
    return optax.apply_updates(params, step), opt_state


def minibatches(key: jax.Array, size: int, count: int, epochs: int = 1) -> jax.Array:
    """Indices of minibatches that go through ``size`` items in random order.

    Args:
        key: consumed.
        size: of all that is learned from, a multiple of ``count``.
        count: minibatches of one pass.
        epochs: passes, each in an order of its own.

    Returns:
        int32 ``[epochs * count, size // count]``.

    >>> print(jnp.sort(minibatches(jax.random.key(0), 4, count=2).ravel()))
    [0 1 2 3]
    """
    items = jnp.arange(size, dtype=jnp.int32)
    orders = jax.vmap(lambda key: jax.random.permutation(key, items))(jax.random.split(key, epochs))
    return orders.reshape(epochs * count, size // count)
