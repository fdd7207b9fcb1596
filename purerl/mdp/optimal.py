"""Optimal values and policies of finite Markov decision processes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.checks import refusal
from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    Solution,
    backup,
    best,
    bounded,
    fixed_point,
    greedy,
    rounding_bound,
    solver,
)
from purerl.mdp.policy_evaluation import values_of


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
    ``max_iterations`` stops the growth of the values. The ``policy``, greedy in ``q``,
    need not be optimal then: among actions of equal ``q`` it may take one that
    postpones the reward forever. The policy of :func:`policy_iteration` does not.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all states.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    values, iterations = fixed_point(mdp, discount, best, tolerance, max_iterations)
    return bounded(mdp, discount, best, values, greedy, iterations)


def optimal_q(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> jax.Array:
    """``q*``, float ``[S, A]``: the action values of :func:`value_iteration`.

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
    return value_iteration(mdp, discount, tolerance, max_iterations).q


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

    def reduce(q):
        return (1 - epsilon) * best(q) + epsilon * jnp.mean(q, axis=-1)

    def policy(q):
        taken = jax.nn.one_hot(greedy(q), mdp.num_actions, dtype=q.dtype)
        return epsilon / mdp.num_actions + (1 - epsilon) * taken

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
    more_rounding = eps * (2 * jnp.max(jnp.abs(values)) + of_sum + 2 * entropy)

    def policy(q):
        return jax.nn.softmax(q / temperature, axis=-1)

    return bounded(mdp, discount, reduce, values, policy, iterations, best, more_rounding)


@solver(static=("max_exact_states",))
def policy_iteration(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    max_iterations: int = 1000,
    max_exact_states: int = 2048,
) -> Solution:
    """Optimal values by alternating policy evaluation and policy improvement.

    The first policy is greedy for the next reward; at ``discount == 1`` it is the one
    found by :func:`value_iteration`. Howard, *Dynamic Programming and Markov Processes*
    (1960); Puterman, section 6.4.

    An action is replaced only by one that is better by more than the numerical residual
    of the equations, so that iteration cannot cycle among ties. At ``discount == 1`` a
    policy that ends episodes is not replaced by one of equal ``q`` that does not:
    ``policy`` attains ``values``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        max_iterations: the largest number of policies to evaluate.
        max_exact_states: as in :func:`~purerl.mdp.policy_evaluation.evaluate_policy`.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    rounding = rounding_bound(mdp, discount)

    def unfinished(carry):
        _, _, iterations, stable = carry
        return ~stable & (iterations < max_iterations)

    def improve(carry):
        actions, _, iterations, _ = carry
        values, _ = values_of(mdp, action_probabilities(mdp, actions), discount, max_exact_states)
        q = backup(mdp, values, discount)
        kept = jnp.take_along_axis(q, actions[:, None], axis=-1)[:, 0]
        finite = jnp.isfinite(values)
        residual = jnp.max(jnp.where(finite, jnp.abs(kept - values), 0))
        better = best(q) > kept + residual + rounding(jnp.where(finite, values, 0))
        return jnp.where(better, greedy(q), actions), values, iterations + 1, ~jnp.any(better)

    # Improvement cannot start from a policy that loses without end: every action that
    # may lead back to such states has value -inf. The greedy policy for optimal values
    # is not such a policy, unless all are.
    values, _ = fixed_point(mdp, discount, best, 0.0, jnp.where(discount < 1, 0, 1_000_000))
    start = greedy(backup(mdp, values, discount)), values, jnp.int32(0), jnp.bool_(False)
    actions, values, iterations, _ = lax.while_loop(unfinished, improve, start)
    return bounded(mdp, discount, best, values, lambda _: actions, iterations)


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
    found = linprog(
        np.full(size, 1 / size),
        A_ub=(following - here).tocsr(),
        b_ub=-reward,
        bounds=(None, None),
        method="highs",
    )
    if not found.success:
        allowed = f"one with a finite optimum, but no finite optimum was found: {found.message}"
        raise refusal("linear_program", "discount", discount, allowed)
    occupancy = -found.ineqlin.marginals.reshape(size, actions)
    return LinearProgram(found.x, occupancy, occupancy.argmax(axis=1).astype(np.int32))
