"""A scan over time that draws its random numbers one block of steps at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr
from jax.extend import core

BLOCK = 128  # iterations prepared at once
WIDE = 64  # elements from which on a plain scan fills the vector units by itself


def time_scan(step: Callable, state: Any, ts: jax.Array, block: int = BLOCK) -> tuple[Any, Any]:
    """``jax.lax.scan(step, state, ts)`` that evaluates functions of time in blocks.

    Because randomness is a function of ``(seed, t)``, most of an iteration's arithmetic
    (deriving keys, drawing, schedules) does not depend on the state. ``step`` is traced
    once and its equations are split into two parts. The *head* holds those that depend
    only on ``t`` and on leaves of the state that ``step`` returns unchanged (such as
    its constant key); it is evaluated under ``vmap`` over ``block`` values of ``t``,
    where it fills the machine's vector units. The *tail* holds the rest, and runs in a
    ``lax.scan`` that reads the results of the head. Control flow always stays in the
    tail, so that a ``cond`` on ``t`` remains a branch. So do keys whose draws change
    under ``vmap``: JAX's ``rbg`` and ``unsafe_rbg``.

    Where one iteration is wide, it fills the vector units by itself, and blocks would
    only write the head's results to memory and read them again. So a plain ``lax.scan``
    runs instead if the largest result of the head, times the lanes of all enclosing
    ``vmap``, has at least 64 elements; unless it might round differently, see below, or
    the step has effects. Derivatives are those of the scan in blocks.

    Args:
        step: ``(state, t) -> (state, output)``, pure.
        state: the initial carry.
        ts: int32 ``[T]``.
        block: the number of iterations prepared at once; the largest divisor of ``T``
            up to it is used.

    Returns:
        The final carry, and the outputs stacked, ``[T, ...]``. Integers and draws equal
        those of ``lax.scan`` bit for bit. A float product that the head computes and
        the tail adds is rounded twice, where ``lax.scan`` may round once; the number of
        lanes changes nothing in that.
    """
    length = ts.shape[0]
    block = block_length(length, block)
    leaves, treedef = jax.tree.flatten(state)
    closed, shape = jax.make_jaxpr(step, return_shape=True)(
        state, jax.ShapeDtypeStruct((), ts.dtype)
    )
    if jax.tree.structure(shape[0]) != treedef:
        return jax.lax.scan(step, state, ts)  # raises the error that says what is wrong
    jaxpr = closed.jaxpr
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

    def scan(jaxpr, constants, leaves, xs):
        def body(leaves, x):
            out = eval_jaxpr(jaxpr, constants, *leaves, *x)
            return out[: len(leaves)], out[len(leaves) :]

        return jax.lax.scan(body, leaves, xs)

    def plain(constants, leaves, ts):
        return scan(jaxpr, constants, leaves, (ts,))

    def in_blocks(constants, leaves, ts):
        def prepare(leaves, t):
            return eval_jaxpr(head_jaxpr, constants, *leaves, t)

        def run_block(leaves, block_ts):
            draws = jax.vmap(prepare, in_axes=(None, 0))(leaves, block_ts)
            return scan(tail_jaxpr, constants, leaves, (block_ts, *draws))

        if block == length:
            return run_block(leaves, ts)
        leaves, stacked = jax.lax.scan(run_block, leaves, ts.reshape(-1, block))
        return leaves, [x.reshape(length, *x.shape[2:]) for x in stacked]

    run = in_blocks
    # The checker of key reuse takes a key that enters a function with a batching rule
    # of its own for used.
    flags: Any = jax.config
    checks_keys = flags.jax_debug_key_reuse
    if not checks_keys and not jaxpr.effects and _rounds_alike(head, tail, prepared):
        run = _by_width(in_blocks, plain, max(v.aval.size for v in prepared))
    after, stacked = run(closed.consts, leaves, ts)
    after = [leaves[i] if i in untouched else leaf for i, leaf in enumerate(after)]
    final = jax.tree.unflatten(treedef, after)
    return final, jax.tree.unflatten(jax.tree.structure(shape[1]), stacked)


def _by_width(narrow, wide, width):
    """``wide`` from a width of :data:`WIDE` on, else ``narrow``; both are scans.

    A ``vmap`` around the call multiplies the width by its number of lanes.
    """
    if width >= WIDE:
        return wide

    @jax.custom_batching.custom_vmap
    def run(*args):
        return narrow(*args)

    @run.def_vmap
    def run_lanes(lanes, is_batched, *args):
        axes = tuple(jax.tree.map(lambda batched: 0 if batched else None, is_batched))
        over_lanes = functools.partial(jax.vmap, in_axes=axes, axis_size=lanes)
        out = _by_width(over_lanes(narrow), over_lanes(wide), width * lanes)(*args)
        return out, jax.tree.map(lambda _: True, out)

    # A function with a batching rule of its own has no derivative in reverse.
    differentiable = jax.custom_jvp(run)
    differentiable.defjvp(functools.partial(jax.jvp, narrow))
    return differentiable


def block_length(length: int, at_most: int = BLOCK) -> int:
    """The largest divisor of ``length`` up to ``at_most``; 1 for a length of 0."""
    return max((d for d in range(1, min(at_most, length) + 1) if length % d == 0), default=1)


def _split(jaxpr, fixed, t):
    """Split the equations into a head and a tail, see :func:`time_scan`.

    Equations that depend on ``fixed`` variables alone are put into both (XLA removes
    those that are not used).

    Args:
        jaxpr: the equations of one step.
        fixed: the variables known before the scan.
        t: the variable of the time.

    Returns:
        ``head``, ``tail`` and the variables that the head passes to the tail.
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
    read = [v for eqn in tail for v in eqn.invars] + list(jaxpr.outvars)
    wanted = {v for v in read if not isinstance(v, core.Literal)}
    made = [
        v for eqn in head for v in eqn.outvars if v in moving and not isinstance(v, core.DropVar)
    ]
    return head, tail, [v for v in made if v in wanted]


def _rounds_alike(head, tail, prepared):
    """Whether a step rounds alike if its head is evaluated before or with its tail.

    XLA may round once where a product is added or multiplied on. So every float that is
    passed on must be no product, or be only compared and selected from.
    """
    made = {v: eqn for eqn in head for v in eqn.outvars}
    return all(
        made[v].primitive.name in _NO_PRODUCT
        or all(_selects(eqn) for eqn in tail if any(v is u for u in eqn.invars))
        for v in prepared
        if jnp.issubdtype(v.aval.dtype, jnp.inexact)
    )


def _selects(eqn):
    """Whether an equation only compares and selects, with all those nested in it."""
    nested = [inner for sub in core.jaxprs_in_params(eqn.params) for inner in sub.eqns]
    if nested:
        return eqn.primitive.name not in _CONTROL_FLOW and all(map(_selects, nested))
    return eqn.primitive.name in _SELECTIONS


_NO_PRODUCT = {"convert_element_type", "max", "min"}
_SELECTIONS = {"select_n", "broadcast_in_dim", "eq", "ne", "lt", "le", "gt", "ge"}
_CONTROL_FLOW = {"cond", "while", "scan"}
_CHANGED_BY_VMAP = {"key<rbg>", "key<urbg>"}


def _plain(eqn):
    """True if an equation may move to the head, with all those nested in it.

    That is, it has no control flow, no effect, and no key that must not be batched.
    """
    if eqn.effects or eqn.primitive.name in _CONTROL_FLOW:
        return False
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    if any(str(getattr(aval, "dtype", "")) in _CHANGED_BY_VMAP for aval in avals):
        return False
    nested = [inner for sub in core.jaxprs_in_params(eqn.params) for inner in sub.eqns]
    return all(_plain(inner) for inner in nested)
