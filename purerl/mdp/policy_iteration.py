"""Policy iteration, and the optimum by the method that suits the size of a model."""

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.attaining import arriving, attaining, taken
from purerl.mdp.chain import chain_of, values_of
from purerl.mdp.model import FiniteMDP
from purerl.mdp.operators import (
    Solution,
    backup,
    best,
    bounded,
    carried_on,
    fixed_point,
    greedy,
    reduction_errors,
    rounding_errors,
    solver,
)
from purerl.mdp.optimal import SWEEPS, modified_policy_iteration, modified_values

SMALL = 0.1  # an error that is small beside the answer
WARM_UP = 1000  # iterations of values before policies are evaluated
MOST_POLICIES = 1000  # to evaluate; improvement takes a few


def _optimal_errors(mdp, values, discount, of_policy):
    """Bounds on the errors of optimal values, float ``[S]``; infinite if none is found.

    The optimum is at least what a policy attains, and at most any ``w`` with
    ``w >= T w`` (Puterman, section 6.2). Such a ``w`` is looked for from the values of
    a best policy, plus twice their own errors, upwards.

    Args:
        mdp: the model.
        values: of a best policy, float ``[S]``.
        discount: in ``[0, 1]``.
        of_policy: their errors, float ``[S]``.
    """
    q = backup(mdp, values, discount)
    rounding = jnp.where(jnp.isfinite(q), rounding_errors(mdp, values, discount), 0)
    highest = q + rounding
    margin = reduction_errors(best, q, rounding)

    def raise_errors(carry):
        errors, count, _ = carry
        needed = best(highest + carried_on(mdp, errors, discount)) - values
        fails = needed > errors
        return jnp.where(fails, needed + margin, errors), count + 1, jnp.any(fails)

    def unfinished(carry):
        _, count, fails = carry
        return fails & (count < WARM_UP)

    start = 2 * of_policy, jnp.int32(0), jnp.all(jnp.isfinite(of_policy))
    errors, _, fails = lax.while_loop(unfinished, raise_errors, start)
    return jnp.where(fails, jnp.inf, errors)


def _improve(mdp, discount, first, max_iterations, max_exact_states):
    """Policy evaluation and improvement in turn, from the policy ``first [S]``."""

    def unfinished(carry):
        *_, iterations, stable = carry
        return ~stable & (iterations < max_iterations)

    def improve(carry):
        actions, before, _, iterations, _ = carry
        found = values_of(chain_of(mdp, actions), discount, max_exact_states)
        q = backup(mdp, found.values, discount)
        finite = jnp.isfinite(found.values)
        kept = taken(q, actions)
        residual = jnp.where(finite, jnp.abs(kept - found.values), 0)
        rounding = rounding_errors(mdp, jnp.where(finite, found.values, 0), discount)
        lowest = q - rounding
        better = best(lowest) > found.values + residual + taken(rounding, actions)
        # The errors of the values may feign an improvement among ties, and policies
        # could follow each other in a circle. So it must be certain, or have helped.
        errors = jnp.where(finite & jnp.isfinite(found.errors), found.errors, residual)
        certain = best(lowest - carried_on(mdp, errors, discount)) > found.values + errors
        rise = jnp.where(finite & jnp.isfinite(before), found.values - before, 0)
        helped = (iterations == 0) | (jnp.sum(rise) > 0)
        stable = ~jnp.any(better) | ~(helped | jnp.any(certain))
        improved = jnp.where(better & ~stable, greedy(lowest), actions)
        return improved, found.values, found.errors, iterations + 1, stable

    zeros = jnp.zeros(mdp.num_states, mdp.reward.dtype)
    start = first, zeros, zeros, jnp.int32(0), jnp.bool_(False)
    actions, values, errors, iterations, _ = lax.while_loop(unfinished, improve, start)
    errors = _optimal_errors(mdp, values, discount, errors)
    return bounded(mdp, discount, best, values, lambda _: actions, iterations, errors=errors)


@solver(static=("max_exact_states",))
def policy_iteration(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    max_iterations: int = 1000,
    max_exact_states: int = 2048,
) -> Solution:
    """Optimal values by alternating policy evaluation and policy improvement.

    The first policy is greedy for the next reward; at ``discount == 1`` it is the one
    found by :func:`~purerl.mdp.optimal.value_iteration` in ``WARM_UP`` sweeps. Howard,
    *Dynamic Programming and Markov Processes* (1960); Puterman, section 6.4.

    An action is replaced only by one that is better by more than rounding errors, so
    that iteration ends among ties. At ``discount == 1`` a policy that ends episodes is
    not replaced by one of equal ``q`` that does not: ``policy`` attains ``values``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        max_iterations: the largest number of policies to evaluate.
        max_exact_states: as in :func:`~purerl.mdp.policy_evaluation.evaluate_policy`.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    # Improvement cannot start from a policy that loses without end: every action that
    # may lead back to such states has value -inf.
    free = discount == 1
    values, _ = fixed_point(mdp, discount, best, 0.0, jnp.where(free, WARM_UP, 0))
    collects = jnp.any((mdp.probability > 0) & (mdp.reward != 0), axis=-1)
    resting = mdp.available & ~collects
    first = arriving(mdp, greedy(backup(mdp, values, discount)), mdp.available, resting, free)
    return _improve(mdp, discount, first, max_iterations, max_exact_states)


@solver(static=("max_exact_states",))
def solve(mdp: FiniteMDP, discount: float | jax.Array, max_exact_states: int = 2048) -> Solution:
    """The optimum, by the method that suits the size of the model.

    It is found by :func:`modified_policy_iteration`, and for up to ``max_exact_states``
    states the policy found is then evaluated, and improved if that is possible, as in
    :func:`policy_iteration`. So slow convergence, close to a discount of 1, cannot be
    taken for the end.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`~purerl.mdp.policy_evaluation.evaluate_policy`.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    if mdp.num_states > max_exact_states:
        return modified_policy_iteration(mdp, discount)
    values, _ = modified_values(mdp, discount, 0.0, WARM_UP, SWEEPS)
    first = attaining(mdp, backup(mdp, values, discount), values, discount)
    return _improve(mdp, discount, first, MOST_POLICIES, max_exact_states)


def optimal_q(mdp: FiniteMDP, discount: float | jax.Array) -> jax.Array:
    """``q*``, float ``[S, A]``: the action values of :func:`solve`.

    NaN in a state whose value may be wrong by more than ``SMALL`` of itself, and of the
    median value, because the precision of the model does not suffice.

    Example:
        A coin is tossed (action 0) until heads, which pays 3 and ends the episode;
        action 1 waits:

        >>> coin = FiniteMDP(
        ...     probability=[[[0.5, 0.5], [1.0, 0.0]]],
        ...     next_state=[[[0, 0], [0, 0]]],
        ...     reward=[[[3.0, 0.0], [0.0, 0.0]]],
        ...     terminated=[[[True, False], [False, False]]],
        ...     initial=[1.0],
        ... )
        >>> optimal_q(coin, 0.5).round(4).tolist()  # v = 3/2 + v/4
        [[2.0, 1.0]]
    """
    found = solve(mdp, discount)
    sizes = jnp.abs(found.values)
    enough = SMALL * jnp.maximum(sizes, jnp.median(sizes))
    unknown = jnp.isinf(found.errors)  # at a discount of 1 there may be no bound
    return jnp.where((unknown | (found.errors <= enough))[:, None], found.q, jnp.nan)
