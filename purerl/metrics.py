"""Metrics as sums that add up, and sums that stay exact over long runs."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class Mean(NamedTuple):
    """A mean kept as ``total / count``, so that means can be added and accumulated.

    Attributes:
        total: the sum, float32 ``[]``.
        count: the number of values added, float32 ``[]``.
    """

    total: jax.Array
    count: jax.Array


Metrics = dict[str, Mean]


def normalized(metrics: Metrics) -> Metrics:
    """The same means with a count of one, and of zero where nothing was counted.

    >>> loss = Mean(jnp.float32(6.0), jnp.float32(4.0))
    >>> print(normalized({"loss": loss})["loss"].total)
    1.5
    """

    def normalize(mean):
        some = mean.count > 0
        return Mean(mean.total / jnp.where(some, mean.count, 1), some.astype(jnp.float32))

    return {name: normalize(mean) for name, mean in metrics.items()}


def averages(metrics: Metrics) -> dict[str, jax.Array]:
    """Each mean as a number, float32 of the shape of the sums; NaN where nothing was
    counted.

    For example, the return is NaN until the first episode has ended. Known numbers are
    divided on the host, so that ``jax.debug_nans`` does not stop there. Inside ``jit``
    or ``vmap`` the NaN is a result of the program, and it does.

    >>> print(averages({"loss": Mean(jnp.float32(6.0), jnp.float32(4.0))})["loss"])
    1.5
    """
    return {name: _average(*mean) for name, mean in metrics.items()}


def _average(total, count):
    if isinstance(total, Tracer) or isinstance(count, Tracer):
        # The quotient that is not selected is finite, and so is its derivative.
        none = count == 0
        return jnp.where(none, jnp.nan, total / jnp.where(none, 1, count))
    with np.errstate(invalid="ignore"):
        quotient = np.asarray(total) / np.asarray(count)
    return jax.device_put(quotient, total.sharding)


class CompensatedSum(NamedTuple):
    r"""A sum with the rounding error that it contains (Kahan summation).

    With the total :math:`s` and the excess :math:`c`, adding :math:`x` computes

    .. math:: y = x - c, \qquad s' = s + y, \qquad c' = (s' - s) - y.

    A plain float32 count stops growing at :math:`2^{24}`; this one does not. Kahan,
    "Further remarks on reducing truncation errors" (CACM 8(1), 1965).

    Attributes:
        total: :math:`s`, a pytree of floats.
        excess: :math:`c`, of the same structure.

    >>> one = jnp.float32(1)
    >>> sum = CompensatedSum(jnp.float32(2**24), jnp.float32(0)).add(one).add(one)
    >>> print(sum.total - 2**24)
    2.0
    """

    total: Any
    excess: Any

    @classmethod
    def zeros(cls, like: Any) -> Self:
        """Zero, with the structure of ``like`` (arrays or ``jax.ShapeDtypeStruct``)."""
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return cls(zeros, zeros)

    def add(self, more: Any) -> Self:
        """The sum after adding ``more``, a pytree of the same structure."""
        rest = jax.tree.map(jnp.subtract, more, self.excess)
        total = jax.tree.map(jnp.add, self.total, rest)
        excess = jax.tree.map(lambda new, old, y: (new - old) - y, total, self.total, rest)
        return type(self)(total, excess)
