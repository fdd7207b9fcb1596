"""Greedy policies that attain the values they are greedy in.

At a discount of 1, one of the best actions may postpone the reward forever, as a stake
of 0 in the gambler's problem does. These functions look at what leads where.
"""

import jax.numpy as jnp
from jax import lax

from purerl.mdp.operators import best, greedy, reduction_errors, rounding_errors

FREE = 32  # a discount within so many roundings of 1 does not tell a step from none


def taken(table, actions):
    """``table[s, actions[s]]``: ``[S, A]`` -> ``[S]``."""
    return jnp.take_along_axis(table, actions[:, None], axis=-1)[:, 0]


def _can_stay(mdp, actions):
    """States in which some of the ``actions [S, A]`` can be taken forever, and these.

    Returns:
        bool ``[S]`` and bool ``[S, A]``.
    """

    def inside(states):
        leaves = mdp.terminated | ~states[mdp.next_state]
        return actions & ~jnp.any((mdp.probability > 0) & leaves, axis=-1)

    def shrink(carry):
        states, _ = carry
        fewer = jnp.any(inside(states), axis=-1)
        return fewer, jnp.any(fewer != states)

    start = jnp.any(actions, axis=-1)
    states, _ = lax.while_loop(lambda carry: carry[1], shrink, (start, jnp.any(start)))
    return states, inside(states)


def arriving(mdp, preferred, allowed, resting, sought):
    """A policy that ends, or rests, wherever the allowed actions can bring it there.

    Args:
        mdp: the model.
        preferred: the actions to keep where they arrive, int32 ``[S]``.
        allowed: the actions to take instead, bool ``[S, A]``.
        resting: actions that collect nothing in states worth nothing; a state in which
            they can be taken forever counts as an end, bool ``[S, A]``.
        sought: whether to do all this, bool ``[]``.
    """
    possible = mdp.probability > 0
    rests, rest = _can_stay(mdp, resting & sought)
    actions = jnp.where(rests, jnp.argmax(rest, axis=-1).astype(jnp.int32), preferred)

    def widen(carry):
        arrived, actions, _ = carry
        arrives = jnp.any(possible & (mdp.terminated | arrived[mdp.next_state]), axis=-1)
        wider = arrived | taken(arrives, actions)
        # Only where no preferred action helps any more is another one taken.
        stuck = jnp.all(wider == arrived)
        others = allowed & arrives
        turns = stuck & ~arrived & jnp.any(others, axis=-1)
        actions = jnp.where(turns, jnp.argmax(others, axis=-1).astype(jnp.int32), actions)
        wider = wider | turns
        return wider, actions, jnp.any(wider != arrived)

    return lax.while_loop(lambda carry: carry[2], widen, (rests, actions, sought))[1]


def attaining(mdp, q, values, discount):
    """A greedy policy that attains the values, int32 ``[S]``.

    Where a step costs nothing, or less than rounding, one of the best actions may
    postpone the reward forever. It is replaced by one of equal value that does not.
    """
    of_backup = rounding_errors(mdp, values, discount)
    errors = jnp.where(jnp.isfinite(q), of_backup, 0)
    allowed = mdp.available & (q + errors >= jnp.max(q - errors, axis=-1, keepdims=True))
    collects = jnp.any((mdp.probability > 0) & (mdp.reward != 0), axis=-1)
    worthless = jnp.abs(values) <= reduction_errors(best, q, of_backup)
    resting = allowed & ~collects & worthless[:, None]
    free = 1 - discount <= FREE * jnp.finfo(q.dtype).eps
    return arriving(mdp, greedy(q), allowed, resting, free)
