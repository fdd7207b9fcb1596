"""Optimal values and policies of finite Markov decision processes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.checks import refusal
from purerl.mdp.model import FiniteMDP
from purerl.mdp.operators import (
    Solution,
    backup,
    best,
    bounded,
    carried_on,
    fixed_point,
    greedy,
    mean,
    reduction_errors,
    rounding_errors,
    solver,
)
from purerl.mdp.policy_evaluation import chain_of, values_of

FREE = 32  # a discount within so many roundings of 1 does not tell a step from none
SWEEPS = 20  # with one policy, in modified policy iteration
WARM_UP = 1000  # iterations of values before policies are evaluated
MOST_POLICIES = 1000  # to evaluate; improvement takes a few


def _taken(table, actions):
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


def _arriving(mdp, preferred, allowed, resting, sought):
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
        wider = arrived | _taken(arrives, actions)
        # Only where no preferred action helps any more is another one taken.
        stuck = jnp.all(wider == arrived)
        others = allowed & arrives
        turns = stuck & ~arrived & jnp.any(others, axis=-1)
        actions = jnp.where(turns, jnp.argmax(others, axis=-1).astype(jnp.int32), actions)
        wider = wider | turns
        return wider, actions, jnp.any(wider != arrived)

    return lax.while_loop(lambda carry: carry[2], widen, (rests, actions, sought))[1]


def _attaining(mdp, q, values, discount):
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
    return _arriving(mdp, greedy(q), allowed, resting, free)


@solver
def value_iteration(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> Solution:
    """Optimal values by ``v <- T v`` from zero (Puterman, section 6.3).

    After ``n`` iterations ``v`` holds the best expected returns within ``n`` steps.
    Iteration stops when no value changes by more than ``tolerance``, or some time after
    the changes have become as small as rounding errors; so with the default tolerance
    the result is as exact as the dtype allows.

    At ``discount == 1``, if reward can be collected without end, only
    ``max_iterations`` stops the growth of the values. ``policy`` is greedy in ``q``,
    and attains the values: of actions of equal ``q`` it takes one that does not
    postpone the reward forever, if there is one.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all states.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    values, iterations = fixed_point(mdp, discount, best, tolerance, max_iterations)

    def policy(q):
        return _attaining(mdp, q, values, discount)

    return bounded(mdp, discount, best, values, policy, iterations)


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


def _modified(mdp, discount, tolerance, max_iterations, sweeps):
    """The values of modified policy iteration, and the number of iterations."""

    def follow(q, values):
        chain = chain_of(mdp, greedy(q))

        def sweep(_, values):
            return backup(chain, values, discount)[:, 0]

        return lax.fori_loop(0, sweeps, sweep, values)

    return fixed_point(mdp, discount, best, tolerance, max_iterations, follow)


@solver(static=("sweeps",))
def modified_policy_iteration(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
    sweeps: int = SWEEPS,
) -> Solution:
    """Optimal values by sweeps over all actions and sweeps over the best ones in turn.

    Each iteration is one of :func:`value_iteration`, followed by ``sweeps`` of
    ``v <- T_pi v`` with the greedy policy, which read a fraction ``1 / A`` of the model
    (Puterman & Shin, "Modified policy iteration algorithms for discounted Markov
    decision problems", Management Science 24, 1978; Puterman, section 6.5). Iteration
    stops as in :func:`value_iteration`.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all actions.
        sweeps: with one policy. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    values, iterations = _modified(mdp, discount, tolerance, max_iterations, sweeps)

    def policy(q):
        return _attaining(mdp, q, values, discount)

    return bounded(mdp, discount, best, values, policy, iterations)


@solver
def epsilon_soft_optimal(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    epsilon: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> Solution:
    r"""The optimum among epsilon-soft policies.

    These take every action with probability at least :math:`\epsilon / A`. The optimum
    satisfies

    .. math::
        \tilde q(s, a) = \sum_k p_k \left(r_k + \gamma (1 - d_k) \tilde v(s'_k)\right),
        \qquad \tilde v(s) = (1 - \epsilon) \max_a \tilde q(s, a)
            + \frac{\epsilon}{A} \sum_a \tilde q(s, a).

    On-policy control with an epsilon-greedy behavior converges to it. Sutton & Barto
    (2018), section 5.4; John, "When the best move isn't optimal: Q-learning with
    exploration" (AAAI 1994). ``policy`` is float ``[S, A]``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        epsilon: in ``[0, 1]``.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all states.

    Raises:
        ValueError: ``discount`` or ``epsilon`` is not in ``[0, 1]``.
    """

    uniform = mdp.available / jnp.sum(mdp.available, axis=-1, keepdims=True, dtype=mdp.reward.dtype)

    def reduce(q):
        return (1 - epsilon) * best(q) + epsilon * mean(uniform, q)

    def policy(q):
        actions = _attaining(mdp, q, values, discount)
        taken = jax.nn.one_hot(actions, mdp.num_actions, dtype=q.dtype)
        return epsilon * uniform + (1 - epsilon) * taken

    values, iterations = fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    return bounded(mdp, discount, reduce, values, policy, iterations)


@solver
def soft_optimal(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    temperature: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> Solution:
    r"""The optimum with an entropy bonus, :math:`\tau H(\pi(\cdot \mid s))` per step.

    .. math::
        v(s) = \tau \ln \sum_a e^{q(s, a) / \tau}, \qquad
        \pi(a \mid s) = e^{(q(s, a) - v(s)) / \tau}.

    As :math:`\tau` decreases to zero, :math:`v` converges to the ordinary optimum, from
    which it differs by at most :math:`\tau \ln A / (1 - \gamma)`. Ziebart, *Modeling
    purposeful adaptive behavior with the principle of maximum causal entropy* (PhD
    thesis, CMU, 2010); Haarnoja, Tang, Abbeel & Levine, "Reinforcement learning with
    deep energy-based policies" (ICML 2017). ``policy`` is float ``[S, A]``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; at 1 values are finite only if every policy ends
            episodes soon enough.
        temperature: :math:`\tau`, above 0.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all states.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``temperature`` not above 0.
    """

    def reduce(q):
        return temperature * jax.nn.logsumexp(q / temperature, axis=-1)

    values, iterations = fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    # The error of the sum of exponentials is at most A + 8 roundings of its terms, that
    # of a division by the temperature one.
    eps = jnp.finfo(values.dtype).eps
    entropy = temperature * jnp.log(jnp.asarray(mdp.num_actions, values.dtype))
    of_sum = (mdp.num_actions + 8) * temperature
    more_rounding = eps * (2 * jnp.abs(values) + of_sum + 2 * entropy)

    def policy(q):
        return jax.nn.softmax(q / temperature, axis=-1)

    return bounded(mdp, discount, reduce, values, policy, iterations, best, more_rounding)


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
        kept = _taken(q, actions)
        residual = jnp.where(finite, jnp.abs(kept - found.values), 0)
        rounding = rounding_errors(mdp, jnp.where(finite, found.values, 0), discount)
        lowest = q - rounding
        better = best(lowest) > found.values + residual + _taken(rounding, actions)
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
    found by :func:`value_iteration` in ``WARM_UP`` sweeps. Howard, *Dynamic Programming
    and Markov Processes* (1960); Puterman, section 6.4.

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
    first = _arriving(mdp, greedy(backup(mdp, values, discount)), mdp.available, resting, free)
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
    values, _ = _modified(mdp, discount, 0.0, WARM_UP, SWEEPS)
    first = _attaining(mdp, backup(mdp, values, discount), values, discount)
    return _improve(mdp, discount, first, MOST_POLICIES, max_exact_states)


def optimal_q(mdp: FiniteMDP, discount: float | jax.Array) -> jax.Array:
    """``q*``, float ``[S, A]``: the action values of :func:`solve`.

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
    return solve(mdp, discount).q


@solver
def finite_horizon(
    mdp: FiniteMDP, horizon: int | jax.Array, discount: float | jax.Array = 1.0
) -> jax.Array:
    """The best expected return within ``horizon`` steps: ``T^horizon 0``.

    The maximum is over policies that may depend on time (Puterman, section 4.5). It is
    an upper bound for a learner under a time limit.

    Args:
        mdp: the model.
        horizon: the number of steps, int ``[]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    zeros = jnp.zeros(mdp.num_states, mdp.reward.dtype)
    return lax.fori_loop(0, horizon, lambda _, values: best(backup(mdp, values, discount)), zeros)


class LinearProgram(NamedTuple):
    """The optimum of the primal and the dual program.

    Attributes:
        values: of the primal, ``v*``, float64 ``[S]``.
        occupancy: of the dual, ``sum_t discount^t P(S_t = s, A_t = a)`` with uniform
            ``S_0``, float64 ``[S, A]``.
        policy: the action of largest occupancy, int32 ``[S]``.
    """

    values: np.ndarray
    occupancy: np.ndarray
    policy: np.ndarray


def linear_program(mdp: FiniteMDP, discount: float) -> LinearProgram:
    r"""The optimum by linear programming, sharing no code with the other solvers.

    .. math::
        \min_v \frac 1 S \sum_s v(s) \quad \text{where} \quad
        v(s) \ge \sum_k p_k \left(r_k + \gamma (1 - d_k) v(s'_k)\right)
        \quad \text{for all } s, a.

    It is solved in double precision by SciPy's HiGHS, with a sparse matrix, and cannot
    be used under ``jit``. d'Epenoux, "A probabilistic production and inventory problem"
    (Management Science 10, 1963); Puterman, section 6.9.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; 1 only if every policy ends episodes.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or no finite optimum was found.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    if not 0 <= discount <= 1:
        raise refusal("linear_program", "discount", discount, "a number in [0, 1]")
    probability = np.asarray(mdp.probability, float)
    size, actions, _ = probability.shape
    # One row per state and action: discount P(s' | s, a) - [s = s'].
    pairs = np.arange(size * actions)
    here = coo_array((np.ones(len(pairs)), (pairs, np.repeat(np.arange(size), actions))))
    row = np.broadcast_to(pairs.reshape(size, actions, 1), probability.shape).ravel()
    column = np.asarray(mdp.next_state).ravel()
    weight = np.where(mdp.terminated, 0, discount * probability).ravel()
    following = coo_array((weight, (row, column)), shape=here.shape)
    reward = (probability * np.asarray(mdp.reward, float)).sum(axis=-1).ravel()
    available = np.asarray(mdp.available).ravel()
    found = linprog(
        np.full(size, 1 / size),
        A_ub=(following - here).tocsr()[available],
        b_ub=-reward[available],
        bounds=(None, None),
        method="highs",
    )
    if not found.success:
        allowed = f"one with a finite optimum, but no finite optimum was found: {found.message}"
        raise refusal("linear_program", "discount", discount, allowed)
    occupancy = np.zeros(size * actions)
    occupancy[available] = -found.ineqlin.marginals
    occupancy = occupancy.reshape(size, actions)
    return LinearProgram(found.x, occupancy, occupancy.argmax(axis=1).astype(np.int32))
