r"""Optimizers: the direction of an update from its gradient, with numbers as leaves.

The learning rate is not among the numbers: it belongs to the agent, whose schedules are
evaluated at the number of transitions and not of updates. An agent subtracts the
direction times its learning rate.

Any transformation of optax becomes one in a few lines:

>>> import optax
>>> class Lion(Optimizer):
...     b1: float | jax.Array = 0.9
...     b2: float | jax.Array = 0.99
...
...     def transformation(self):
...         return optax.scale_by_lion(self.b1, self.b2)
>>> Lion(b1=0.8)
Lion(b1=0.8, b2=0.99)
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from purerl.checks import NOT_NEGATIVE, POSITIVE, check_choice, check_numbers, refusal, shown
from purerl.pytree import Node, static

BELOW_ONE = ("a number in [0, 1)", lambda x: (x >= 0) & (x < 1))

# Under the root is the smallest normal number: too small to change an update, but where
# a parameter has had no gradient yet, the derivative of the update stays finite.
_TINY = float(jnp.finfo(jnp.float32).tiny)


class Optimizer(Node):
    """Base class of optimizers."""

    def transformation(self) -> optax.GradientTransformation:
        """The transformation of optax, without a learning rate."""
        raise NotImplementedError(f"{type(self).__name__} does not define transformation")


def check_optimizer(node: object, field: str) -> None:
    """Check that a field is an optimizer.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    value = getattr(node, field)
    if not isinstance(value, Optimizer):
        allowed = "an optimizer, such as purerl.optimizers.Adam()"
        raise refusal(type(node).__name__, field, shown(value), allowed)


class SGD(Optimizer):
    """The gradient itself: stochastic gradient descent."""

    def transformation(self):
        return optax.identity()


class Adam(Optimizer):
    r"""Adam: averages of the gradient and of its square, corrected for their start.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}.

    Kingma & Ba, "Adam: a method for stochastic optimization" (ICLR 2015). The numbers
    of ``optax.scale_by_adam``, bit for bit: float32 keeps few digits of
    :math:`1 - \beta`, so these are taken before rounding.

    Attributes:
        b1, b2: :math:`\beta_1` and :math:`\beta_2` in ``[0, 1)``.
        eps: :math:`\epsilon`, at least 0.
    """

    b1: float | jax.Array = 0.9
    b2: float | jax.Array = 0.999
    eps: float | jax.Array = 1e-8
    rest: Any = dataclasses.field(init=False, repr=False)  # 1 - b1, 1 - b2

    def __post_init__(self):
        check_numbers(self, b1=BELOW_ONE, b2=BELOW_ONE, eps=NOT_NEGATIVE)
        object.__setattr__(self, "rest", (_complement(self.b1), _complement(self.b2)))

    def transformation(self):
        def init(params):
            zeros = optax.tree.zeros_like(params)
            return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

        def update(updates, state, params=None):
            def average(moment, value, decay, rest):
                return jax.tree.map(lambda m, x: rest * x + decay * m, moment, value)

            square = jax.tree.map(lambda g: g**2, updates)
            mean = average(state.mu, updates, self.b1, self.rest[0])
            size = average(state.nu, square, self.b2, self.rest[1])
            count = optax.safe_increment(state.count)
            unbiased_mean = optax.tree.bias_correction(mean, self.b1, count)
            unbiased_size = optax.tree.bias_correction(size, self.b2, count)
            direction = jax.tree.map(
                lambda m, v: m / (jnp.sqrt(v + _TINY) + self.eps), unbiased_mean, unbiased_size
            )
            return direction, optax.ScaleByAdamState(count, mean, size)

        return optax.GradientTransformation(init, update)


def _complement(value):
    """``1 - value`` from a number in double precision, rounded to float32."""
    if isinstance(value, Tracer):
        return 1 - value
    return np.asarray(1 - np.asarray(value, np.float64), np.float32)


class RMSProp(Optimizer):
    r"""RMSProp: the gradient divided by the root of an average of its square.

    .. math::
        v \leftarrow \rho v + (1 - \rho) g^2, \quad
        m \leftarrow \rho m + (1 - \rho) g, \qquad
        \frac{g}{\sqrt{v - m^2} + \epsilon},

    without :math:`m^2` if it is not centered. Tieleman & Hinton, *Neural networks for
    machine learning*, lecture 6.5 (2012); centered, with :math:`\epsilon` outside the
    root, as in Mnih et al. (Nature 518, 2015).

    Attributes:
        decay: :math:`\rho` in ``[0, 1)``.
        eps: :math:`\epsilon`, above 0.
        centered: whether :math:`m^2` is subtracted. Static.
    """

    decay: float | jax.Array = 0.95
    eps: float | jax.Array = 0.01
    centered: bool = static(default=True)

    def __post_init__(self):
        check_numbers(self, decay=BELOW_ONE, eps=POSITIVE)
        check_choice(self, centered=(False, True))

    def transformation(self):
        def init(params):
            zeros = optax.tree.zeros_like(params)
            return optax.ScaleByRStdDevState(mu=zeros, nu=zeros)

        def update(updates, state, params=None):
            size = optax.tree.update_moment(updates, state.nu, self.decay, 2)
            mean = optax.tree.update_moment(updates, state.mu, self.decay, 1)

            def scaled(g, v, m):
                # Rounding may leave less than nothing of the variance.
                spread = jnp.maximum(v - m**2 if self.centered else v, _TINY)
                return g / (jnp.sqrt(spread) + self.eps)

            direction = jax.tree.map(scaled, updates, size, mean)
            return direction, optax.ScaleByRStdDevState(mu=mean, nu=size)

        return optax.GradientTransformation(init, update)


class RAdam(Optimizer):
    """Adam whose step grows with the number of squared gradients averaged.

    Liu et al., "On the variance of the adaptive learning rate and beyond" (ICLR 2020).

    Attributes:
        b1, b2: decay of the averages of the gradient and of its square, in ``[0, 1)``.
        eps: added to the root, at least 0.
    """

    b1: float | jax.Array = 0.9
    b2: float | jax.Array = 0.999
    eps: float | jax.Array = 1e-8

    def __post_init__(self):
        check_numbers(self, b1=BELOW_ONE, b2=BELOW_ONE, eps=NOT_NEGATIVE)

    def transformation(self):
        return optax.scale_by_radam(self.b1, self.b2, self.eps)
