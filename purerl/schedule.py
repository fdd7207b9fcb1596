r"""Hyperparameters that change with time.

A schedule is a small frozen pytree that is called with the time:
``schedule(t) -> float32``. Its leaves are its numbers, so they sweep and ``vmap``
without recompiling. A schedule keeps no count of its own; the caller decides the unit
of ``t``. Agents call their schedules with the number of environment transitions so far,
an ``optax`` optimizer calls its learning rate (which may be any schedule) with the
number of updates. ``t`` of any shape is mapped elementwise, so a table of visit counts
gives a table of step sizes.

:func:`constant`, :func:`linear`, :func:`exponential` and :func:`power` validate their
arguments and build the pytrees. The pytrees themselves accept anything as a leaf, as
JAX requires: tracers, ``in_axes``, placeholders.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purerl.checks import FINITE, NOT_NEGATIVE, POSITIVE, Rule, check_values
from purerl.pytree import Node

Number = float | jax.Array
# A number, a schedule, or another function of time such as a schedule of optax.
Hyperparameter = ArrayLike | Callable[[int | jax.Array], ArrayLike]

S = TypeVar("S", bound="Schedule")


class Schedule(Node):
    """Base class of schedules: a formula of the time, cast to float32."""

    def formula(self, t: jax.Array) -> jax.Array:
        """The value at time ``t``, in the dtype that the arithmetic gives."""
        raise NotImplementedError(f"{type(self).__name__} defines no formula")

    def __call__(self, t: int | jax.Array) -> jax.Array:
        """The value at time ``t``, float32, of the shape of ``t``."""
        # A signed type, because formulas subtract and negate the time.
        t = jnp.asarray(t, jnp.result_type(t, jnp.int32))
        return jnp.asarray(self.formula(t), jnp.float32)


def _checked(schedule: S, **rules: Rule) -> S:
    """``schedule``, after checking its numbers by ``rules``, by default ``FINITE``."""
    fields = [field.name for field in dataclasses.fields(schedule)]
    owner = type(schedule).__name__.lower()
    check_values(owner, vars(schedule), dict.fromkeys(fields, FINITE) | rules)
    return schedule


class Constant(Schedule):
    """Built by :func:`constant`."""

    value: Number

    def formula(self, t):
        return jnp.broadcast_to(self.value, t.shape)


def constant(value: Number) -> Constant:
    """The same value at every time.

    Raises:
        ValueError: a number that is not finite.

    >>> print(constant(0.5)(1_000))
    0.5
    """
    return _checked(Constant(value))


class Linear(Schedule):
    """Built by :func:`linear`."""

    start: Number
    end: Number
    steps: Number
    begin: Number

    def formula(self, t):
        fraction = jnp.clip((t - self.begin).astype(jnp.float32) / self.steps, 0.0, 1.0)
        return (1 - fraction) * self.start + fraction * self.end


def linear(start: Number, end: Number, steps: Number, begin: Number = 0) -> Linear:
    r"""A straight line from ``start`` to ``end``, constant before and after.

    It starts at time ``begin`` and ends at time ``begin + steps``:

    .. math:: (1 - f) \, \text{start} + f \, \text{end}, \qquad
              f = \min(\max((t - \text{begin}) / \text{steps}, 0), 1).

    Both ends are met exactly. Mnih et al., "Human-level control through deep
    reinforcement learning" (Nature 518, 2015), methods, decay epsilon in this way.

    Raises:
        ValueError: a number that is not finite, ``steps`` not above 0, or ``begin``
            below 0.

    >>> epsilon = linear(1.0, 0.5, steps=100)
    >>> print(epsilon(0), epsilon(50), epsilon(1_000))
    1.0 0.75 0.5
    """
    return _checked(Linear(start, end, steps, begin), steps=POSITIVE, begin=NOT_NEGATIVE)


class Exponential(Schedule):
    """Built by :func:`exponential`."""

    start: Number
    half_life: Number
    floor: Number

    def formula(self, t):
        return jnp.maximum(
            self.floor, self.start * jnp.exp2((-t).astype(jnp.float32) / self.half_life)
        )


def exponential(start: Number, half_life: Number, floor: Number = 0.0) -> Exponential:
    r"""Exponential decay, halved every ``half_life`` and never below ``floor``.

    .. math:: \max(\text{floor}, \; \text{start} \cdot 2^{-t / \text{half\_life}}).

    A half-life of :math:`h` is a factor of :math:`2^{-1/h}` per unit of time. The
    argument is the half-life rather than the factor because float32 stores factors near
    one, such as 0.9999999, with only one digit of their distance from one.

    Raises:
        ValueError: a number that is not finite, ``half_life`` not above 0, ``floor``
            below 0, or ``start`` below ``floor``.

    >>> epsilon = exponential(1.0, half_life=10, floor=0.125)
    >>> print(epsilon(0), epsilon(10), epsilon(20), epsilon(1_000))
    1.0 0.5 0.25 0.125
    """
    if not any(isinstance(x, jax.Array) for x in (start, floor)):
        above_floor = (f"a number of at least floor, which is {floor}", lambda x: x >= floor)
        check_values("exponential", {"start": start}, {"start": above_floor})
    return _checked(Exponential(start, half_life, floor), half_life=POSITIVE, floor=NOT_NEGATIVE)


class Power(Schedule):
    """Built by :func:`power`."""

    start: Number
    exponent: Number
    timescale: Number

    def formula(self, t):
        return self.start * (1 + t.astype(jnp.float32) / self.timescale) ** -self.exponent


def power(start: Number, exponent: Number, timescale: Number = 1.0) -> Power:
    r"""Polynomial decay.

    .. math:: \text{start} \cdot (1 + t / \text{timescale})^{-\text{exponent}}.

    As a step size with ``exponent`` in :math:`(1/2, 1]` it meets the conditions
    :math:`\sum_t \alpha_t = \infty` and :math:`\sum_t \alpha_t^2 < \infty` of Robbins &
    Monro, "A stochastic approximation method" (Annals of Mathematical Statistics 22,
    1951), under which tabular Q-learning converges with probability one when ``t``
    counts the visits to the state-action pair. The time this takes is polynomial in
    :math:`1 / (1 - \gamma)` for exponents below 1, and exponential in it for exponent
    1: Even-Dar & Mansour, "Learning rates for Q-learning" (JMLR 5, 2003). With
    ``exponent=1`` and ``timescale=1`` it is ``start / (1 + t)``, the step size of the
    sample average.

    Raises:
        ValueError: a number that is not finite, ``exponent`` below 0, or ``timescale``
            not above 0.

    >>> learning_rate = power(1.0, exponent=0.5, timescale=100)
    >>> print(learning_rate(0), learning_rate(300))
    1.0 0.5
    """
    return _checked(Power(start, exponent, timescale), exponent=NOT_NEGATIVE, timescale=POSITIVE)


def at(hyperparameter: Hyperparameter, t: int | jax.Array) -> jax.Array:
    """The value of a hyperparameter at time ``t``.

    A schedule, or any other callable, is evaluated at ``t``; a number is returned as it
    is.

    Returns:
        float32 ``[]``.

    >>> print(at(0.25, 10), at(linear(0.0, 1.0, steps=10), 5))
    0.25 0.5
    """
    value = hyperparameter(t) if callable(hyperparameter) else hyperparameter
    return jnp.asarray(value, jnp.float32)
