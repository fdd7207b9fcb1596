"""A finite Markov decision process as data.

A Markov decision process is a tuple ``(S, A, R, P, rho0)``: states, actions, rewards, the law ``P(s' | s, a)`` of the next
state, and the law ``rho0`` of the first. Here the law is kept by *outcomes*: taking action ``a`` in state ``s`` leads to
outcome ``k`` with probability ``probability[s, a, k]``, which yields ``reward[s, a, k]``, goes to ``next_state[s, a, k]``, and
ends the episode there if ``terminated[s, a, k]``. A million states with three outcomes each fit where a dense ``[S, A, S]``
would not, and one draw decides everything about a step.

A policy ``pi(a | s)`` is an integer array ``[S]`` (the action taken, with certainty) or a float array ``[S, A]``.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_REAL = (jnp.integer, jnp.floating)
_LEAVES = {  # name: axes, kinds of number
    "probability": ("SAK", _REAL),
    "next_state": ("SAK", (jnp.integer,)),
    "reward": ("SAK", _REAL),
    "terminated": ("SAK", (jnp.bool_,)),
    "initial": ("S", _REAL),
}


def _as_array(value):
    return value if isinstance(value, jax.Array) else np.asarray(value)


def is_concrete(value: Any) -> bool:
    """Whether a value can be looked at now: it does not stand for one inside a transformation such as ``jit``."""
    return not isinstance(value, jax.core.Tracer)


def _require_kind(name, array, kinds):
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise ValueError(
            f"{name} has dtype {array.dtype}; allowed: {' or '.join(kind.__name__ for kind in kinds)}"
        )


def _require(holds, name, values, allowed):
    """Raise a ValueError that names the first place where ``holds`` is false, and the value there."""
    if not holds.all():
        place = np.unravel_index(np.argmin(holds), holds.shape)
        where = ", ".join(
            f"{axis} {index}"
            for axis, index in zip(("state", "action", "outcome"), place, strict=False)
        )
        raise ValueError(f"{name}{where and f' at {where}'} is {values[place]}; allowed: {allowed}")


def _require_distribution(name, weights):
    """``weights`` are probabilities over their last axis."""
    tolerance = 64 * float(
        jnp.finfo(weights.dtype).eps
    )  # room for what was normalized in its own precision, and no more
    total = weights.sum(axis=-1, dtype=np.float64)
    _require(weights >= 0, name, weights, "a number >= 0")
    _require(
        np.abs(total - 1) <= tolerance, f"the sum of {name}", total, f"1, within {tolerance:.1e}"
    )


def _require_range(name, indices, size):
    _require((indices >= 0) & (indices < size), name, indices, f"an integer in [0, {size})")


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class FiniteMDP:
    """A finite Markov decision process in outcome form: a frozen pytree.

    ``P(s' | s, a)`` is the sum of ``probability[s, a, k]`` over the outcomes with ``next_state[s, a, k] == s'``; there may be
    several, differing in reward or in termination. A state reached with ``terminated`` has value zero, whatever its own row
    says. Outcomes of probability zero are padding: their other entries are never used, but must be valid.

    The constructor takes arrays or anything :func:`numpy.asarray` takes, copies what is not a JAX array, and checks it;
    shapes and kinds always, values where they are known (not inside ``jit`` or ``vmap``). Transformations rebuild the
    pytree without the constructor, so models of one shape may be stacked along leading axes with ``jax.tree.map`` and
    mapped over with ``jax.vmap``.

    Attributes:
        probability: of each outcome, float ``[S, A, K]``, non-negative, summing to one over ``K``.
        next_state: int32 ``[S, A, K]``, in ``[0, S)``.
        reward: float ``[S, A, K]``, finite.
        terminated: whether the outcome ends the episode, bool ``[S, A, K]``.
        initial: the law of the first state, float ``[S]``.

    All floats have one dtype: what JAX promotes those given to, and its default float (float32, or float64 under
    ``jax_enable_x64``) where none is a float.

    Raises:
        ValueError: an array has another shape or kind than the above, or an entry is not allowed; names the array, the first
            such state, action and outcome, and what was found there.

    Example:
        A coin is tossed (action 0) until it shows heads, which pays 1 and ends the episode; to pass (action 1) costs nothing:

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
        ValueError: the sum of probability at state 0, action 1 is 0.5; allowed: 1, within 7.6e-06
    """

    probability: jax.Array
    next_state: jax.Array
    reward: jax.Array
    terminated: jax.Array
    initial: jax.Array

    replace = dataclasses.replace

    def __post_init__(self):
        given = {name: _as_array(value) for name, value in vars(self).items()}
        shape = given["probability"].shape
        if len(shape) != 3 or 0 in shape:
            raise ValueError(
                f"probability has shape {shape}; allowed: [S, A, K], none of them zero"
            )
        size = dict(zip("SAK", shape, strict=True))
        for name, (axes, kinds) in _LEAVES.items():
            allowed = tuple(size[axis] for axis in axes)
            if given[name].shape != allowed:
                raise ValueError(
                    f"{name} has shape {given[name].shape}; allowed: {allowed}, after probability's {shape}"
                )
            _require_kind(name, given[name], kinds)

        reals = [name for name, (_, kinds) in _LEAVES.items() if kinds is _REAL]
        dtype = jnp.result_type(*(given[name] for name in reals))
        dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)

        # Reals are checked as they will be kept, indices as they were given: int32 might wrap a wrong one into the range.
        known = {name: np.asarray(array) for name, array in given.items() if is_concrete(array)}
        with np.errstate(over="ignore"):
            known |= {
                name: known[name].astype(dtype, copy=False) for name in reals if name in known
            }
        for name in ("probability", "initial"):
            if name in known:
                _require_distribution(name, known[name])
        if "next_state" in known:
            _require_range("next_state", known["next_state"], size["S"])
        if "reward" in known:
            _require(np.isfinite(known["reward"]), "reward", known["reward"], "a finite number")

        for name, array in given.items():
            kept = dtype if name in reals else array.dtype if name == "terminated" else jnp.int32
            # NumPy's arrays are copied, because the caller may go on writing to them.
            object.__setattr__(
                self, name, jnp.array(array, kept, copy=not isinstance(array, jax.Array))
            )

    def tree_flatten_with_keys(self):
        return tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in _LEAVES
        ), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        model = object.__new__(
            cls
        )  # not the constructor: JAX also puts things into trees that are not arrays
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


def check_policy(mdp: FiniteMDP, policy: jax.Array) -> jax.Array:
    """The policy itself, as a JAX array, unless it is none for ``mdp``. Its values are looked at where they are known.

    Raises:
        ValueError: ``policy`` is neither integers ``[S]`` in ``[0, A)`` nor floats ``[S, A]``, each row a distribution.
    """
    policy = _as_array(policy)
    _require_kind("policy", policy, _REAL)
    stochastic = jnp.issubdtype(policy.dtype, jnp.floating)
    size = (mdp.num_states, mdp.num_actions)
    if policy.shape != size[: 1 + stochastic]:
        raise ValueError(
            f"policy has dtype {policy.dtype} and shape {policy.shape}; allowed: integers {size[:1]} or floats {size}"
        )
    if is_concrete(policy) and stochastic:
        _require_distribution("policy", np.asarray(policy).astype(mdp.probability.dtype))
    elif is_concrete(policy):
        _require_range("policy", np.asarray(policy), mdp.num_actions)
    return jnp.asarray(policy)


def action_probabilities(mdp: FiniteMDP, policy: jax.Array) -> jax.Array:
    """``pi(a | s)`` of a policy in either form, in the floats of ``mdp``: ``[S, A]``.

    Raises:
        ValueError: as :func:`check_policy`.
    """
    policy = check_policy(mdp, policy)
    if jnp.issubdtype(policy.dtype, jnp.floating):
        return policy.astype(mdp.probability.dtype)
    return jax.nn.one_hot(policy, mdp.num_actions, dtype=mdp.probability.dtype)
