"""Initial weights of networks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purerl.linalg import qr


def orthogonal(scale: float = 1.0) -> Callable[..., jax.Array]:
    r"""Weights of a layer as a random orthogonal matrix, times ``scale``.

    A kernel of shape ``[..., N]`` is a matrix :math:`W` ``[M, N]`` with
    :math:`W^\top W = \text{scale}^2 I` if :math:`M \ge N`, otherwise
    :math:`W W^\top = \text{scale}^2 I`, uniform among all such matrices: the Q of a
    matrix of normal numbers, with the signs of the diagonal of its R. Saxe, McClelland
    & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks" (ICLR 2014); Mezzadri, "How to generate random matrices from the
    classical compact groups" (Notices of the AMS 54, 2007).

    Many seeds may be initialized under ``vmap`` and in threads, see
    :mod:`purerl.linalg`.

    Args:
        scale: such as :math:`\sqrt 2` before rectifiers.

    Returns:
        ``(key, shape, dtype) -> kernel``, for a layer's ``kernel_init``.

    >>> import jax
    >>> kernel = orthogonal()(jax.random.key(0), (3, 2))
    >>> print((kernel.T @ kernel).round(3) + 0.0)
    [[1. 0.]
     [0. 1.]]
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        rows = math.prod(shape[:-1])
        columns = shape[-1]
        q, r = qr(jax.random.normal(key, (max(rows, columns), min(rows, columns)), dtype))
        q = q * jnp.sign(jnp.diagonal(r))
        matrix = q if rows >= columns else q.T
        return jnp.asarray(scale, dtype) * matrix.reshape(shape)

    return init
