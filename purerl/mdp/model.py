"""A finite Markov decision process as data.

A Markov decision process is a tuple ``(S, A, R, P, rho0)``: states, actions, rewards,
the transition probabilities ``P(s' | s, a)``, and the distribution ``rho0`` of the
first state. Here transitions are stored by *outcomes*: taking action ``a`` in state
``s`` has outcome ``k`` with probability ``probability[s, a, k]``. This outcome yields
``reward[s, a, k]``, leads to ``next_state[s, a, k]``, and ends the episode there if
``terminated[s, a, k]``. A million states with three outcomes each fit in memory where a
dense ``[S, A, S]`` would not, and a single draw decides everything about a step.

In some models not every action is allowed in every state: ``available[s, a]`` says
which are. All are by default.

A policy ``pi(a | s)`` is an integer array ``[S]`` (the action taken, deterministic) or
a float array ``[S, A]`` (probabilities).
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.core import Tracer

from purerl.checks import refusal
from purerl.pytree import in_a_line

# Numbers, nested sequences of them, and arrays of NumPy or JAX.
ArrayLike = npt.ArrayLike | jax.Array

_REAL = (jnp.integer, jnp.floating)
_LEAVES = {  # name: axes, allowed kinds of number
    "probability": ("SAK", _REAL),
    "next_state": ("SAK", (jnp.integer,)),
    "reward": ("SAK", _REAL),
    "terminated": ("SAK", (jnp.bool_,)),
    "initial": ("S", _REAL),
    "available": ("SA", (jnp.bool_,)),
}
_REAL_LEAVES = tuple(name for name, (_, kinds) in _LEAVES.items() if kinds is _REAL)


def _as_array(value: ArrayLike) -> jax.Array | np.ndarray:
    return value if isinstance(value, jax.Array) else np.asarray(value)


def is_concrete(value: Any) -> bool:
    """True unless a value is a tracer inside a transformation such as ``jit``."""
    return not isinstance(value, Tracer)


def _require_kind(owner, name, array, kinds):
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        allowed = " or ".join(kind.__name__ for kind in kinds)
        raise refusal(owner, name, array.dtype, allowed, "has dtype")


def _require(owner, holds, name, values, allowed):
    """Raise a ValueError that names the first place where ``holds`` is false."""
    if not holds.all():
        place = np.unravel_index(np.argmin(holds), holds.shape)
        axes = zip(("state", "action", "outcome"), place, strict=False)
        where = ", ".join(f"{axis} {index}" for axis, index in axes)
        raise refusal(owner, f"{name} at {where}" if where else name, values[place], allowed)


def _require_distribution(owner, name, weights):
    """Require probabilities over the last axis."""
    # Room for rounding if they were normalized in their own precision, and no more.
    tolerance = 64 * float(jnp.finfo(weights.dtype).eps)
    total = weights.sum(axis=-1, dtype=np.float64)
    is_one = np.abs(total - 1) <= tolerance
    _require(owner, weights >= 0, name, weights, "a number >= 0")
    _require(owner, is_one, f"the sum of {name}", total, f"1, within {tolerance:.1e}")


def _require_range(owner, name, indices, size):
    in_range = (indices >= 0) & (indices < size)
    _require(owner, in_range, name, indices, f"an integer in [0, {size})")


def _check_shapes(given):
    """Check shapes and kinds of number; return ``S``."""
    shape = given["probability"].shape
    if len(shape) != 3 or 0 in shape:
        allowed = "[S, A, K], none of them zero"
        raise refusal("FiniteMDP", "probability", shape, allowed, "has shape")
    size = dict(zip("SAK", shape, strict=True))
    for name, (axes, kinds) in _LEAVES.items():
        expected = tuple(size[axis] for axis in axes)
        if given[name].shape != expected:
            allowed = f"{expected}, after probability's {shape}"
            raise refusal("FiniteMDP", name, given[name].shape, allowed, "has shape")
        _require_kind("FiniteMDP", name, given[name], kinds)
    return size["S"]


def _check_entries(given, dtype, num_states):
    """Check the entries of the arrays whose values are known."""
    # Floats are checked as they will be stored, indices as they were given: conversion
    # to int32 might wrap a wrong index into the range.
    known = {name: np.asarray(array) for name, array in given.items() if is_concrete(array)}
    with np.errstate(over="ignore"):
        for name in known.keys() & set(_REAL_LEAVES):
            known[name] = known[name].astype(dtype, copy=False)
    for name in ("probability", "initial"):
        if name in known:
            _require_distribution("FiniteMDP", name, known[name])
    if "next_state" in known:
        _require_range("FiniteMDP", "next_state", known["next_state"], num_states)
    if "reward" in known:
        reward = known["reward"]
        _require("FiniteMDP", np.isfinite(reward), "reward", reward, "a finite number")
    if "available" in known:
        some = known["available"].any(axis=-1)
        _require("FiniteMDP", some, "any(available)", some, "True: an action for every state")


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FiniteMDP:
    """A finite Markov decision process in outcome form: a frozen pytree.

    ``P(s' | s, a)`` is the sum of ``probability[s, a, k]`` over the outcomes with
    ``next_state[s, a, k] == s'``; several outcomes may lead to one state, differing in
    reward or in termination. A state reached with ``terminated`` has value zero,
    whatever its own row says. Outcomes of probability zero are padding: their other
    entries are never used, but must be valid.

    The constructor takes arrays or anything that :func:`numpy.asarray` takes, copies
    whatever is not a JAX array, and checks it: shapes and kinds always, values if they
    are known (not inside ``jit`` or ``vmap``). Transformations rebuild the pytree
    without the constructor, so models of one shape may be stacked along leading axes
    with ``jax.tree.map`` and mapped over with ``jax.vmap``.

    Attributes:
        probability: of each outcome, float ``[S, A, K]``, non-negative, summing to one
            over ``K``.
        next_state: int32 ``[S, A, K]``, in ``[0, S)``.
        reward: float ``[S, A, K]``, finite.
        terminated: whether the outcome ends the episode, bool ``[S, A, K]``.
        initial: the distribution of the first state, float ``[S]``.
        available: the actions allowed in each state, bool ``[S, A]``, at least one; by
            default all. An action that is not has value ``-inf``, and its outcomes are
            never used, but must be valid.

    All floats have one dtype: the one to which JAX promotes the given arrays, or its
    default float (float32, or float64 under ``jax_enable_x64``) if none is a float.

    Raises:
        ValueError: the shape or kind of an array differs from the above, or an entry is
            not allowed; names the array, the first such state, action and outcome, and
            the value there.

    Example:
        A coin is tossed (action 0) until it shows heads, which pays 1 and ends the
        episode; passing (action 1) costs nothing:

        >>> coin = FiniteMDP(
        ...     probability=[[[0.5, 0.5], [1.0, 0.0]]],
        ...     next_state=[[[0, 0], [0, 0]]],
        ...     reward=[[[1.0, 0.0], [0.0, 0.0]]],
        ...     terminated=[[[True, False], [False, False]]],
        ...     initial=[1.0],
        ... )
        >>> coin.num_states, coin.num_actions, coin.num_outcomes
        (1, 2, 2)
        >>> coin.replace(probability=coin.probability.at[0, 1].set(0.25))
        Traceback (most recent call last):
        ...
        ValueError: FiniteMDP: the sum of probability at state 0, action 1 is 0.5;
        allowed: 1, within 7.6e-06
    """

    probability: jax.Array
    next_state: jax.Array
    reward: jax.Array
    terminated: jax.Array
    initial: jax.Array
    available: jax.Array = None  # pyright: ignore[reportAssignmentType] (set by the constructor)

    if TYPE_CHECKING:  # the constructor converts its arguments

        def __init__(
            self,
            probability: ArrayLike,
            next_state: ArrayLike,
            reward: ArrayLike,
            terminated: ArrayLike,
            initial: ArrayLike,
            available: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self):
        if self.available is None:
            every = np.ones(np.shape(self.probability)[:2], bool)
            object.__setattr__(self, "available", every)
        given = {name: _as_array(value) for name, value in vars(self).items()}
        num_states = _check_shapes(given)
        dtype = jnp.result_type(*(given[name] for name in _REAL_LEAVES))
        dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
        _check_entries(given, dtype, num_states)

        kept = {"next_state": jnp.int32, "terminated": jnp.bool_, "available": jnp.bool_}
        for name, array in given.items():
            # NumPy's arrays are copied, because the caller may go on writing to them.
            copy = not isinstance(array, jax.Array)
            stored = jnp.array(array, kept.get(name, dtype), copy=copy)
            object.__setattr__(self, name, stored)

    def __repr__(self):
        return in_a_line(self)

    def replace(self, **changes: ArrayLike) -> "FiniteMDP":
        """A copy with some arrays changed, checked as by the constructor."""
        return dataclasses.replace(self, **changes)

    def tree_flatten_with_keys(self):
        """The arrays with their names, for JAX."""
        leaves = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in _LEAVES]
        return tuple(leaves), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        """Rebuild the model without the constructor: leaves need not be arrays."""
        model = object.__new__(cls)
        vars(model).update(zip(_LEAVES, leaves, strict=True))
        return model

    @property
    def num_states(self) -> int:
        """``S``."""
        return self.probability.shape[-3]

    @property
    def num_actions(self) -> int:
        """``A``."""
        return self.probability.shape[-2]

    @property
    def num_outcomes(self) -> int:
        """``K``, the largest number of outcomes of one state and action."""
        return self.probability.shape[-1]


def check_policy(mdp: FiniteMDP, policy: ArrayLike, owner: str, name: str = "policy") -> jax.Array:
    """Check a policy for ``mdp``; its values only if they are known.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        owner: the function named in the error message.
        name: of the argument named there.

    Returns:
        The policy as a JAX array.

    Raises:
        ValueError: ``policy`` is neither integers ``[S]`` in ``[0, A)`` nor floats
            ``[S, A]`` whose rows are distributions, or it takes an action that is not
            available.
    """
    array = _as_array(policy)
    _require_kind(owner, name, array, _REAL)
    stochastic = jnp.issubdtype(array.dtype, jnp.floating)
    size = (mdp.num_states, mdp.num_actions)
    if array.shape != size[: 1 + stochastic]:
        found = f"{array.dtype} and shape {array.shape}"
        raise refusal(owner, name, found, f"integers {size[:1]} or floats {size}", "has dtype")
    if is_concrete(array):
        known = np.asarray(array)
        if stochastic:
            # As exact as the coarser of the two: policies of agents are float32.
            dtypes = known.dtype, np.dtype(mdp.probability.dtype)
            coarser = min(dtypes, key=lambda dtype: dtype.itemsize)
            _require_distribution(owner, name, known.astype(coarser))
        else:
            _require_range(owner, name, known, mdp.num_actions)
        if is_concrete(mdp.available):
            available = np.asarray(mdp.available)
            if stochastic:
                allowed = available | (known == 0)
            else:
                allowed = np.take_along_axis(available, known[:, None], axis=1)[:, 0]
            _require(owner, allowed, name, known, "an available action")
    return jnp.asarray(array)


def action_probabilities(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    """``pi(a | s)`` of a policy in either form, in the dtype of ``mdp``: ``[S, A]``.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``, see :func:`check_policy`.
    """
    pi = check_policy(mdp, policy, "action_probabilities")
    if jnp.issubdtype(pi.dtype, jnp.floating):
        return pi.astype(mdp.probability.dtype)
    return jax.nn.one_hot(pi, mdp.num_actions, dtype=mdp.probability.dtype)
