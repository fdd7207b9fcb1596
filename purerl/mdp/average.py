r"""Average reward, and how fast a chain forgets where it began.

Under a policy states follow each other as a Markov chain. An episode that ends begins anew: here a terminating outcome leads
to the law of the first state, so that what is said holds for episodic models too, per step and not per episode. With ``P`` and
``r`` of a policy and a single recurrent class, stationary law :math:`\mu = \mu P`, the *gain* is :math:`g = \mu r` and the
*bias* (or differential value) the solution of :math:`h = r - g + P h` with :math:`\mu h = 0` (Puterman, *Markov Decision
Processes*, 1994, chapter 8; Sutton & Barto, 2018, section 10.3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    expected_reward,
    going_on,
    greedy,
    linear_solve,
    look_ahead,
    mean,
    solver,
)

LONGEST = 2**30  # steps after which a chain that has not mixed counts as one that does not


class AverageReward(NamedTuple):
    """What is known of a policy, or of the best one, by the step.

    Attributes:
        gain: the average reward, float ``[]``.
        bias: ``h``, how much more than the gain is earned from each state on in all, float ``[S]``.
        q: differential action values ``r(s, a) - g + E h(S')``, float ``[S, A]``.
        policy: the policy given, or the one found, int32 ``[S]``.
        error_bound: the gain is no farther from the truth, but for rounding, float ``[]``.
    """

    gain: jax.Array
    bias: jax.Array
    q: jax.Array
    policy: jax.Array
    error_bound: jax.Array


def _backup(mdp, values):
    """``r(s, a) + E values(S')`` where episodes begin anew, float ``[S, A]``."""
    return look_ahead(mdp, values, 1, jnp.sum(mdp.initial * values))


def transition_matrix(mdp: FiniteMDP, policy: jax.Array) -> jax.Array:
    """``P(s' | s)`` under a policy, episodes beginning anew: float ``[S, S]``, rows that sum to one.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    ends = mean(pi, jnp.sum(jnp.where(mdp.terminated, mdp.probability, 0), axis=-1))
    return going_on(mdp, pi) + ends[:, None] * mdp.initial


@solver
def stationary(mdp: FiniteMDP, policy: jax.Array) -> jax.Array:
    r"""The stationary law :math:`\mu = \mu P` of a policy's chain, float ``[S]``: the share of its time in each state.

    By :math:`\mu (I - P + \mathbf 1 \mathbf 1^\top) = \mathbf 1^\top` (Paige, Styan & Wachter, "Computation of the stationary
    distribution of a Markov chain", Journal of Statistical Computation and Simulation 4, 1975). The chain must have a single
    recurrent class, and may be periodic; otherwise the answer is one of many.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    return _stationary(transition_matrix(mdp, policy))


def _stationary(matrix):
    ones = jnp.ones(len(matrix), matrix.dtype)
    return linear_solve((jnp.eye(len(matrix), dtype=matrix.dtype) - matrix + 1).T, ones)


@solver
def average_reward(mdp: FiniteMDP, policy: jax.Array) -> AverageReward:
    r"""Gain and bias of a policy whose chain has a single recurrent class, by two linear equations.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix = transition_matrix(mdp, pi)
    law = _stationary(matrix)
    reward = mean(pi, expected_reward(mdp))
    gain = jnp.sum(law * reward)
    bias = linear_solve(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix + law, reward - gain)
    return AverageReward(gain, bias, _backup(mdp, bias) - gain, policy, jnp.zeros_like(gain))


@solver
def optimal_average_reward(
    mdp: FiniteMDP, tolerance: float = 0.0, max_iterations: int = 1_000_000
) -> AverageReward:
    r"""The largest average reward, by relative value iteration (White, "Dynamic programming, Markov chains, and the method of
    successive approximations", Journal of Mathematical Analysis and Applications 6, 1963; Puterman, section 8.5).

    Of two values of a state one lies below the gain and one above: with :math:`w = T v`, always :math:`\min (w - v) \le g \le
    \max (w - v)`. Iteration stops where they are ``tolerance`` apart, or where rounding has stopped them. Half of every step
    stays where it is, which changes neither gain nor policy, so that periodic chains converge as well. Where the best gain
    depends on the first state, it does not, and ``error_bound`` says so.

    ``bias`` is zero in state 0.

    Args:
        mdp: the model.
        tolerance: of the gain.
        max_iterations: the most sweeps over all states.
    """
    eps = jnp.finfo(mdp.reward.dtype).eps

    def sweep(carry):
        values, _, iterations, limit = carry
        change = jnp.max(_backup(mdp, values), axis=-1) - values
        low, high = jnp.min(change), jnp.max(change)
        values = values + change / 2
        values = values - values[0]
        size = jnp.max(jnp.abs(values)) + jnp.max(jnp.abs(mdp.reward))
        stuck = high - low <= 4 * (mdp.num_outcomes + 4) * eps * size
        limit = jnp.where(stuck, jnp.minimum(limit, 2 * (iterations + 1)), limit)
        return values, jnp.stack([low, high]), iterations + 1, limit

    def unfinished(carry):
        _, (low, high), iterations, limit = carry
        return ~(high - low <= tolerance) & (iterations < limit)

    start = (
        jnp.zeros(mdp.num_states, mdp.reward.dtype),
        jnp.array([-jnp.inf, jnp.inf], mdp.reward.dtype),
    )
    values, (low, high), *_ = lax.while_loop(
        unfinished, sweep, (*start, jnp.int32(0), jnp.int32(max_iterations))
    )
    gain = (low + high) / 2
    q = _backup(mdp, values) - gain
    return AverageReward(gain, values, q, greedy(q), (high - low) / 2)


@solver
def gains(mdp: FiniteMDP, policy: jax.Array) -> jax.Array:
    r"""The average reward of a policy from each state on, whatever its chain: several recurrent classes, periodic or not.

    It is :math:`P^* r` with :math:`P^* = \lim_k ((I + P) / 2)^k`, of which ``k = 2**30`` is taken by squaring.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix = transition_matrix(mdp, pi)

    def square(_, power):
        twice = power @ power
        return twice / jnp.sum(twice, axis=-1, keepdims=True)

    limit = lax.fori_loop(
        0, LONGEST.bit_length() - 1, square, (matrix + jnp.eye(len(matrix), dtype=matrix.dtype)) / 2
    )
    return limit @ mean(pi, expected_reward(mdp))


@solver
def mixing_time(mdp: FiniteMDP, policy: jax.Array, distance: float | jax.Array = 0.25) -> jax.Array:
    r"""The least :math:`t` with :math:`\max_s \frac 1 2 \sum_{s'} |P^t(s, s') - \mu(s')| \le` ``distance``, wherever the chain
    begins (Levin & Peres, *Markov Chains and Mixing Times*, 2nd ed., 2017, section 4.5).

    The distance never grows with :math:`t`, so its last time above is found bit by bit from the powers :math:`P^{2^k}`.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        distance: in total variation, in ``(0, 1)``.

    Returns:
        float ``[]``; infinite for a periodic chain, one with several recurrent classes, and one that takes more than
        ``2**30`` steps.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    matrix = transition_matrix(mdp, policy)
    law = _stationary(matrix)
    doublings = LONGEST.bit_length() - 1

    def square(power, _):
        twice = power @ power
        return twice / jnp.sum(
            twice, axis=-1, keepdims=True
        ), power  # rounding must not wear it away

    def descend(carry, power):
        reached, time = carry
        further, time = reached @ power, 2 * time
        far = ~(
            jnp.max(jnp.sum(jnp.abs(further - law), axis=-1)) / 2 <= distance
        )  # or not a number, where there is no law
        return (jnp.where(far, further, reached), time + far), None

    powers = lax.scan(square, matrix, length=doublings)[1]
    begin = jnp.eye(len(matrix), dtype=matrix.dtype), jnp.int32(0)
    (_, time), _ = lax.scan(descend, begin, powers, reverse=True)
    at_once = jnp.max(1 - law) <= distance  # before any step
    return jnp.where(
        time == LONGEST - 1, jnp.inf, jnp.where(at_once, 0, time + 1).astype(matrix.dtype)
    )
