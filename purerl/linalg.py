"""Matrix decompositions that are safe under ``vmap`` and in threads.

On a CPU, XLA shares the matrices of a batch out to its threads and waits for them. Two
such batches at a time, in one program or in programs of several threads, may wait for
each other forever (JAX 0.10.2). Here a batch is decomposed one matrix after another on
a CPU; on other devices it stays a batch.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

F = TypeVar("F", bound=Callable)


def one_by_one(function: F) -> F:
    """``function`` of single matrices, which ``vmap`` maps one by one on a CPU."""
    sequential = jax.custom_batching.sequential_vmap(function)

    @functools.wraps(function)
    def safe(*matrices):
        return lax.platform_dependent(*matrices, cpu=sequential, default=function)

    return safe  # type: ignore[return-value]


@one_by_one
def solve(matrix: jax.Array, side: jax.Array) -> jax.Array:
    """``x`` of ``matrix @ x = side``.

    Args:
        matrix: float ``[N, N]``.
        side: float ``[N]`` or ``[N, M]``.

    Returns:
        float, of the shape of ``side``.
    """
    return jnp.linalg.solve(matrix, side)


@one_by_one
def qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The reduced QR decomposition.

    Args:
        matrix: float ``[M, N]``.

    Returns:
        ``Q``, float ``[M, K]``, and ``R``, float ``[K, N]``, with ``K = min(M, N)``.
    """
    q, r = jnp.linalg.qr(matrix)
    return q, r


def triangular_solve(matrix: jax.Array, side: jax.Array, lower: bool) -> jax.Array:
    """``x`` of ``matrix @ x = side`` for a triangular matrix with a diagonal of ones.

    Args:
        matrix: float ``[N, N]``, of which the diagonal and the other side are not read.
        side: float ``[N]`` or ``[N, M]``.
        lower: whether the matrix is lower triangular. Static.

    Returns:
        float, of the shape of ``side``.
    """
    return _LOWER(matrix, side) if lower else _UPPER(matrix, side)


def _unit_triangular(lower: bool) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return one_by_one(
        functools.partial(jax.scipy.linalg.solve_triangular, lower=lower, unit_diagonal=True)
    )


_LOWER = _unit_triangular(True)
_UPPER = _unit_triangular(False)
