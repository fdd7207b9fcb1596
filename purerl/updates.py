"""Pieces of a gradient update."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


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
