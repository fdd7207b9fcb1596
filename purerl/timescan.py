"""A scan over time that draws its random numbers a block at a time."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

BLOCK = 128


def time_scan(step: Callable, state: Any, ts: jax.Array, block: int = BLOCK) -> tuple[Any, Any]:
    """``jax.lax.scan(step, state, ts)``, with what depends on time alone worked out for a block of iterations at once.

    Under the rule that randomness is a function of ``(seed, t)``, most of an iteration's arithmetic (deriving keys, drawing,
    schedules) does not wait for the state. ``step`` is traced once and its equations are dealt into two: those that follow
    from ``t`` and from leaves of the state that ``step`` returns untouched (its constant key, say) are evaluated under
    ``vmap`` over ``block`` values of ``t``, where they fill the machine's vector units; the rest runs in a ``lax.scan`` that
    reads their results. Control flow is never moved, so that a ``cond`` on ``t`` stays a branch; nor are keys whose draws
    ``vmap`` changes, JAX's ``rbg`` and ``unsafe_rbg``.

    Args:
        step: ``(state, t) -> (state, output)``, pure.
        state: the initial carry.
        ts: int32 ``[T]``.
        block: how many iterations are prepared at once; the largest divisor of ``T`` up to it is taken.

    Returns:
        The final carry, and the outputs stacked ``[T, ...]``: those of ``lax.scan`` bit for bit in integers and draws. A float
        product that the head works out and the tail adds is rounded twice, where ``lax.scan`` may round once.
    """
    length = ts.shape[0]
    block = block_length(length, block)
    leaves, treedef = jax.tree.flatten(state)
    closed, shape = jax.make_jaxpr(step, return_shape=True)(
        state, jax.ShapeDtypeStruct((), ts.dtype)
    )
    if jax.tree.structure(shape[0]) != treedef:
        return jax.lax.scan(step, state, ts)  # which says what is wrong
    jaxpr, constants = closed.jaxpr, closed.consts
    *inputs, t = jaxpr.invars
    outputs = jaxpr.outvars[: len(leaves)]
    untouched = [
        i for i, (before, after) in enumerate(zip(inputs, outputs, strict=True)) if before is after
    ]
    head, tail, prepared = _split(jaxpr, {inputs[i] for i in untouched} | set(jaxpr.constvars), t)
    if not prepared:
        return jax.lax.scan(step, state, ts)
    head_jaxpr = jaxpr.replace(eqns=head, outvars=prepared)
    tail_jaxpr = jaxpr.replace(eqns=tail, invars=[*jaxpr.invars, *prepared])

    def prepare(leaves, t):
        return jax.core.eval_jaxpr(head_jaxpr, constants, *leaves, t)

    def run_block(leaves, block_ts):
        def body(leaves, xs):
            t, draws = xs
            out = jax.core.eval_jaxpr(tail_jaxpr, constants, *leaves, t, *draws)
            return out[: len(leaves)], out[len(leaves) :]

        return jax.lax.scan(
            body, leaves, (block_ts, jax.vmap(prepare, in_axes=(None, 0))(leaves, block_ts))
        )

    if block == length:
        leaves, stacked = run_block(leaves, ts)
    else:
        leaves, stacked = jax.lax.scan(run_block, leaves, ts.reshape(-1, block))
        stacked = [x.reshape(length, *x.shape[2:]) for x in stacked]
    return jax.tree.unflatten(treedef, leaves), jax.tree.unflatten(
        jax.tree.structure(shape[1]), stacked
    )


def block_length(length: int, at_most: int = BLOCK) -> int:
    """The largest divisor of ``length`` up to ``at_most``; 1 for a length of 0."""
    return max((d for d in range(1, min(at_most, length) + 1) if length % d == 0), default=1)


def _split(jaxpr, fixed, t):
    """Deal the equations into those known from ``t`` and the ``fixed`` variables, and those that wait for the state.

    Equations of ``fixed`` variables alone stand on both sides (XLA keeps them where they are used).

    Returns:
        ``head``, ``tail`` and the variables that the head hands to the tail.
    """
    moving = {t}
    head, tail = [], []
    for eqn in jaxpr.eqns:
        variables = [v for v in eqn.invars if not isinstance(v, core.Literal)]
        if not (set(variables) <= fixed | moving and _plain(eqn)):
            tail.append(eqn)
        elif moving.isdisjoint(variables):
            fixed.update(eqn.outvars)
            head.append(eqn)
            tail.append(eqn)
        else:
            moving.update(eqn.outvars)
            head.append(eqn)
    wanted = {v for eqn in tail for v in eqn.invars if not isinstance(v, core.Literal)} | {
        v for v in jaxpr.outvars if not isinstance(v, core.Literal)
    }
    made = [
        v for eqn in head for v in eqn.outvars if v in moving and not isinstance(v, core.DropVar)
    ]
    return head, tail, [v for v in made if v in wanted]


_CONTROL_FLOW = {"cond", "while", "scan"}
_CHANGED_BY_VMAP = {"key<rbg>", "key<urbg>"}


def _plain(eqn):
    """Neither control flow, nor an effect, nor a key that must not be batched in it, however deep."""
    return (
        not eqn.effects
        and eqn.primitive.name not in _CONTROL_FLOW
        and not any(
            str(v.aval.dtype) in _CHANGED_BY_VMAP
            for v in (*eqn.invars, *eqn.outvars)
            if hasattr(v.aval, "dtype")
        )
        and all(_plain(inner) for sub in core.jaxprs_in_params(eqn.params) for inner in sub.eqns)
    )
