r"""Linear equations of Markov chains, solved without subtractions.

A chain leaves state ``i`` for state ``j`` with probability ``p[i, j]``. Its states are
eliminated one after another: once ``k`` is gone, a path through it counts as a direct
one, ``p[i, j] += p[i, k] p[k, j] / s[k]``, where ``s[k]`` is the probability to leave
``k`` for a state that remains. That is Gaussian elimination of ``I - P``,

.. math:: I - P = (I - L) \, \text{diag}(s) \, (I - U),

but ``s`` is added up from the probabilities of leaving instead of being found as
``1 - p[k, k]``, so that no number is ever subtracted. The result is exact to some
roundings of every single entry, however slowly the chain mixes and however seldom it
ends, where ordinary elimination loses all digits (Grassmann, Taksar & Heyman,
"Regenerative analysis and steady state distributions for Markov chains", Operations
Research 33, 1985; O'Cinneide, "Entrywise perturbation theory and error analysis for
Markov chains", Numerische Mathematik 65, 1993).

A state that is left for no remaining state represents a set of states that the chain
never leaves, a recurrent class: it is *kept*, and all other states of the class are
eliminated before it. A state that has been cut off by setting its row to zero is kept,
too; so a chain that may end is one with such a state for the end.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.linalg import triangular_solve

BLOCK = 32  # states eliminated between two updates of the whole matrix


class Elimination(NamedTuple):
    """The factors of ``I - P``.

    Attributes:
        lower: ``L``, float ``[N, N]``, zero on and above the diagonal.
        left: ``s``, the probability to leave each state when it is eliminated, float
            ``[N]``; zero for states that are kept.
        upper: ``U``, float ``[N, N]``, not zero for later states and for kept ones.
        kept: the states that represent recurrent classes, bool ``[N]``.
    """

    lower: jax.Array
    left: jax.Array
    upper: jax.Array
    kept: jax.Array


def eliminate(transition: jax.Array) -> Elimination:
    """Eliminate the states of a chain in their order.

    Args:
        transition: ``P``, float ``[N, N]``, not negative. Its diagonal is never used:
            a state is left with the probability not spent on other states.
    """
    size = len(transition)
    width = min(BLOCK, size)
    padded = -(-size // width) * width
    matrix = jnp.pad(transition, (0, padded - size))
    states = jnp.arange(padded)

    def state(matrix, carry, k):
        # The updates by the states of this block are still to be made in the matrix:
        # they are the product of ``lower`` and ``rows``.
        lower, rows, kept = carry
        row = matrix[k] + lower[k] @ rows
        column = matrix[:, k] + lower @ rows[:, k]
        row = jnp.where((states > k) | kept, row, 0)
        left = jnp.sum(row)
        stays = left == 0
        column = jnp.where((states > k) & ~stays, column / jnp.where(stays, 1, left), 0)
        lower = lower.at[:, k % width].set(column)
        rows = rows.at[k % width].set(row)
        return (lower, rows, kept.at[k].set(stays)), left

    def block(carry, ks):
        matrix, kept = carry
        lower = jnp.zeros((padded, width), matrix.dtype)
        start = lower, jnp.zeros_like(lower.T), kept
        (lower, rows, kept), left = lax.scan(functools.partial(state, matrix), start, ks)
        return (matrix + lower @ rows, kept), (lower, rows, left)

    start = matrix, jnp.zeros(padded, bool)
    (_, kept), (lower, rows, left) = lax.scan(block, start, states.reshape(-1, width))
    left = left.reshape(padded)[:size]
    lower = jnp.swapaxes(lower, 0, 1).reshape(padded, padded)[:size, :size]
    rows = rows.reshape(padded, padded)[:size, :size]
    upper = rows / jnp.where(left == 0, 1, left)[:, None]
    return Elimination(lower, left, upper, kept[:size])


def _add_paths(steps: jax.Array, side: jax.Array, lower: bool) -> jax.Array:
    """``x = side + steps @ x`` for a strictly triangular matrix of ``steps``."""

    def solve(matrix, side):
        return triangular_solve(-matrix, side, lower=lower)

    def solve_transposed(matrix, side):
        return triangular_solve(-matrix.T, side, lower=not lower)

    return lax.custom_linear_solve(
        lambda x: x - steps @ x,
        side,
        lambda _, side: solve(steps, side),
        lambda _, side: solve_transposed(steps, side),
    )


def _columns(values, like):
    """Numbers of the states, shaped to multiply ``like [N, ...]``."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _collect(factors, values):
    """The sums from each state until a kept one, from those at each elimination."""
    kept = _columns(factors.kept, values)
    at_kept = factors.upper @ jnp.where(kept, values, 0)
    onward = jnp.triu(jnp.where(factors.kept, 0, factors.upper))
    return jnp.where(kept, values, _add_paths(onward, values + at_kept, lower=False))


def total(factors: Elimination, reward: jax.Array) -> jax.Array:
    """The expected sum of rewards until a kept state: ``x = reward + P x``.

    Args:
        factors: of ``P``.
        reward: of each state, float ``[N]`` or ``[N, D]``.

    Returns:
        The sums, shaped as ``reward``; zero in kept states.
    """
    gathered = _add_paths(factors.lower, reward, lower=True)
    left = _columns(factors.left, reward)
    per_visit = jnp.where(left == 0, 0, gathered / jnp.where(left == 0, 1, left))
    return _collect(factors, per_visit)


def _begun(factors, start):
    """The visits of each state before later ones are eliminated."""
    onward = jnp.triu(jnp.where(factors.kept, 0, factors.upper))
    counted = jnp.where(_columns(factors.kept, start), 0, start)
    return _add_paths(onward.T, counted, lower=True)


def visits(factors: Elimination, start: jax.Array) -> jax.Array:
    """The expected number of visits of each state: ``n = start + n P``.

    Args:
        factors: of ``P``.
        start: the distribution of the first state, or any weights, float ``[N]`` or
            ``[N, D]``.

    Returns:
        The numbers, shaped as ``start``; zero in kept states.
    """
    left = _columns(factors.left, start)
    per_visit = jnp.where(left == 0, 0, _begun(factors, start) / jnp.where(left == 0, 1, left))
    return _add_paths(factors.lower.T, per_visit, lower=False)


def average(factors: Elimination, reward: jax.Array) -> jax.Array:
    """The long-run average of rewards from each state on, float ``[N]``.

    That of a recurrent class is what the chain collects on its way from the kept state
    back to it, divided by how long this takes.
    """
    both = jnp.stack([reward, jnp.ones_like(reward)], axis=1)
    gathered = _add_paths(factors.lower, both, lower=True)
    ratio = gathered[:, 0] / gathered[:, 1]
    return _collect(factors, jnp.where(factors.kept, ratio, 0))


def limiting(factors: Elimination, start: jax.Array) -> jax.Array:
    """The fraction of time that the chain spends in each state, float ``[N]``.

    Args:
        factors: of ``P``.
        start: the distribution of the first state, float ``[N]``.
    """
    entered = jnp.where(factors.kept, start + _begun(factors, start) @ factors.upper, 0)
    cycle = _add_paths(factors.lower, jnp.ones_like(start), lower=True)
    return _add_paths(factors.lower.T, entered / cycle, lower=False)
