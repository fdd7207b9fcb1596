r"""Hyperparameters that change with time.

A schedule is a small frozen pytree that is called with the time:
``schedule(t) -> float32``. Its leaves are its numbers, so they sweep and ``vmap``
without recompiling. A schedule keeps no count of its own; the caller decides the unit
of ``t``. Agents call their schedules with the number of environment transitions so far,
an ``optax`` optimizer calls its learning rate (which may be any schedule) with the
number of updates. ``t`` of any shape is mapped elementwise, so a table of visit counts
gives a table of step sizes.

:func:`constant`, :func:`linear`, :func:`exponential` and :func:`power` build them. An
agent also takes any function of time, such as a schedule of ``optax``, which it keeps
as a :class:`Function`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from purerl.checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    Rule,
    check_values,
    refusal,
)
from purerl.pytree import Node, static

Number = float | jax.Array
# A number, a schedule, or another function of time such as a schedule of optax.
Hyperparameter = ArrayLike | Callable[[int | jax.Array], ArrayLike]


class Schedule(Node):
    """Base class of schedules: a formula of the time, cast to float32."""

    def _check(self, **rules: Rule) -> None:
        """Check numbers, in the name of the function that builds the schedule."""
        check_values(type(self).__name__.lower(), vars(self), rules)

    def formula(self, t: jax.Array) -> jax.Array:
        """The value at time ``t``, in the dtype that the arithmetic gives."""
        raise NotImplementedError(f"{type(self).__name__} defines no formula")

    def bounds(self) -> tuple[Number, ...]:
        """Values that it takes, with all others between them; by default none known."""
        return ()

    def __call__(self, t: int | jax.Array) -> jax.Array:
        """The value at time ``t``, float32, of the shape of ``t``."""
        # A signed type, because formulas subtract and negate the time.
        t = jnp.asarray(t, jnp.result_type(t, jnp.int32))
        return jnp.asarray(self.formula(t), jnp.float32)


class Function(Schedule):
    """Any function of time, such as a schedule of ``optax``.

    Attributes:
        function: maps an int32 ``[]`` to a number ``[]``. Static.
    """

    function: Callable[[jax.Array], ArrayLike] = static()

    def formula(self, t):
        return self.function(t)


class Constant(Schedule):
    """Built by :func:`constant`."""

    value: Number

    def __post_init__(self):
        self._check(value=FINITE)

    def bounds(self):
        return (self.value,)

    def formula(self, t):
        return jnp.broadcast_to(self.value, t.shape)


def constant(value: Number) -> Constant:
    """The same value at every time.

    Raises:
        ValueError: a number that is not finite.

    >>> print(constant(0.5)(1_000))
    0.5
    """
    return Constant(value)


class Linear(Schedule):
    """Built by :func:`linear`."""

    start: Number
    end: Number
    steps: Number
    begin: Number

    def __post_init__(self):
        self._check(start=FINITE, end=FINITE, steps=POSITIVE, begin=NOT_NEGATIVE)

    def bounds(self):
        return self.start, self.end

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
    return Linear(start, end, steps, begin)


class Exponential(Schedule):
    """Built by :func:`exponential`."""

    start: Number
    half_life: Number
    floor: Number

    def __post_init__(self):
        self._check(start=FINITE, half_life=POSITIVE, floor=NOT_NEGATIVE)
        floor = self.floor
        if not isinstance(floor, Tracer):
            above_floor = (f"a number of at least floor, which is {floor}", lambda x: x >= floor)
            self._check(start=above_floor)

    def bounds(self):
        return (self.start,)  # the floor may be zero, which is not reached

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
    return Exponential(start, half_life, floor)


class Power(Schedule):
    """Built by :func:`power`."""

    start: Number
    exponent: Number
    timescale: Number

    def __post_init__(self):
        self._check(start=FINITE, exponent=NOT_NEGATIVE, timescale=POSITIVE)

    def bounds(self):
        return (self.start,)  # the limit, zero, is not reached

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
    return Power(start, exponent, timescale)


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


def check_schedules(node: object, **rules: Rule) -> None:
    """Check the fields of a frozen dataclass that hold numbers or schedules of them.

    A function of time that is no pytree is replaced by a :class:`Function`, so that the
    node can be passed to transformations and swept.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    owner = type(node).__name__
    for field, rule in rules.items():
        value = getattr(node, field)
        is_number = isinstance(value, (int, float, np.generic, np.ndarray, jax.Array))
        either = rule if is_number else (f"{rule[0]}, or a schedule", rule[1])
        if isinstance(value, Schedule):
            for bound in value.bounds():
                check_values(owner, {f"a value of {field}": bound}, {f"a value of {field}": rule})
        elif not callable(value) or isinstance(value, type):
            check_values(owner, {field: value}, {field: either})
        elif all(leaf is value for leaf in jax.tree.leaves(value)):
            _check_function(owner, field, value)
            function: Callable[..., Any] = value
            object.__setattr__(node, field, Function(function))


def _check_function(owner, field, function):
    try:
        shape = jax.eval_shape(lambda t: jnp.asarray(function(t)), jnp.int32(0)).shape
    except Exception as error:
        allowed = "a number, or a function of the time as JAX traces it"
        raise refusal(owner, field, function, allowed) from error
    if shape:
        allowed = "a number, or a function of the time with values of shape []"
        raise refusal(owner, field, function, f"{allowed}, not {list(shape)}")
