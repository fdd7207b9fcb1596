r"""Average reward and mixing time.

Under a policy states follow each other as a Markov chain. An episode that ends is
followed by the next one: a terminating outcome leads to the distribution of the first
state, so that everything here holds for episodic models too, per step and not per
episode. Let ``P`` and ``r`` be those of a policy whose chain has a single recurrent
class, with stationary distribution :math:`\mu = \mu P`. The *gain* is
:math:`g = \mu r`, and the *bias* (or differential value) the solution of
:math:`h = r - g + P h` with :math:`\mu h = 0` (Puterman, *Markov Decision Processes*,
1994, chapter 8; Sutton & Barto, 2018, section 10.3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    continuation_matrix,
    expected_reward,
    greedy,
    linear_solve,
    look_ahead,
    mean,
    solver,
)

LONGEST = 2**30  # steps; a chain that has not mixed by then counts as never mixing


class AverageReward(NamedTuple):
    """Gain and bias of a given policy, or of an optimal one.

    Attributes:
        gain: the average reward per step, float ``[]``.
        bias: ``h``, the expected total of rewards minus gain from each state on, float
            ``[S]``.
        q: differential action values ``r(s, a) - g + E h(S')``, float ``[S, A]``.
        policy: the policy given, or the one found, int32 ``[S]``.
        error_bound: the largest possible error of the gain, apart from rounding, float
            ``[]``.
    """

    gain: jax.Array
    bias: jax.Array
    q: jax.Array
    policy: jax.Array
    error_bound: jax.Array


def _backup(mdp, values):
    """``r(s, a) + E values(S')``, with a new episode after each end: ``[S, A]``."""
    return look_ahead(mdp, values, 1, jnp.sum(mdp.initial * values))


def transition_matrix(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    """``P(s' | s)`` under a policy, float ``[S, S]``, with rows that sum to one.

    The end of an episode leads to the distribution of the first state.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    ends = mean(pi, jnp.sum(jnp.where(mdp.terminated, mdp.probability, 0), axis=-1))
    return continuation_matrix(mdp, pi) + ends[:, None] * mdp.initial


@solver
def stationary(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    r"""The stationary distribution :math:`\mu = \mu P` of a policy, float ``[S]``.

    It is the fraction of time spent in each state, and solves
    :math:`\mu (I - P + \mathbf 1 \mathbf 1^\top) = \mathbf 1^\top` (Paige, Styan &
    Wachter, "Computation of the stationary distribution of a Markov chain", Journal of
    Statistical Computation and Simulation 4, 1975). The chain must have a single
    recurrent class, and may be periodic; with several classes the answer is one of
    many.

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
def average_reward(mdp: FiniteMDP, policy: ArrayLike) -> AverageReward:
    r"""Gain and bias of a policy whose chain has a single recurrent class.

    Both are solutions of linear equations.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix = transition_matrix(mdp, pi)
    mu = _stationary(matrix)
    reward = mean(pi, expected_reward(mdp))
    gain = jnp.sum(mu * reward)
    bias = linear_solve(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix + mu, reward - gain)
    q = _backup(mdp, bias) - gain
    return AverageReward(gain, bias, q, jnp.asarray(policy), jnp.zeros_like(gain))


@solver
def optimal_average_reward(
    mdp: FiniteMDP, tolerance: float = 0.0, max_iterations: int = 1_000_000
) -> AverageReward:
    r"""The largest average reward, by relative value iteration.

    For any values :math:`v` and :math:`w = T v`, the smallest and the largest change
    bound the gain: :math:`\min (w - v) \le g \le \max (w - v)`. Iteration stops when
    they are ``tolerance`` apart, or when rounding keeps them from coming closer. The
    chain is made lazy: with probability one half it stays in its state, which changes
    neither gain nor policy, so that periodic chains converge as well. If the optimal
    gain depends on the first state, iteration does not converge, and ``error_bound``
    stays large. White, "Dynamic programming, Markov chains, and the method of
    successive approximations" (Journal of Mathematical Analysis and Applications 6,
    1963); Puterman, section 8.5.

    ``bias`` is zero in state 0.

    Args:
        mdp: the model.
        tolerance: the distance of the two bounds at which to stop.
        max_iterations: the largest number of sweeps over all states.
    """
    eps = jnp.finfo(mdp.reward.dtype).eps

    def sweep(carry):
        values, _, iterations, limit = carry
        change = jnp.max(_backup(mdp, values), axis=-1) - values
        low = jnp.min(change)
        high = jnp.max(change)
        values = values + change / 2
        values = values - values[0]
        size = jnp.max(jnp.abs(values)) + jnp.max(jnp.abs(mdp.reward))
        stuck = high - low <= 4 * (mdp.num_outcomes + 4) * eps * size
        limit = jnp.where(stuck, jnp.minimum(limit, 2 * (iterations + 1)), limit)
        return values, jnp.stack([low, high]), iterations + 1, limit

    def unfinished(carry):
        _, (low, high), iterations, limit = carry
        return ~(high - low <= tolerance) & (iterations < limit)

    zeros = jnp.zeros(mdp.num_states, mdp.reward.dtype)
    bounds = jnp.array([-jnp.inf, jnp.inf], mdp.reward.dtype)
    start = (zeros, bounds, jnp.int32(0), jnp.int32(max_iterations))
    values, (low, high), *_ = lax.while_loop(unfinished, sweep, start)
    gain = (low + high) / 2
    q = _backup(mdp, values) - gain
    return AverageReward(gain, values, q, greedy(q), (high - low) / 2)


@solver
def gains(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    r"""The average reward of a policy from each state on, for any chain.

    There may be several recurrent classes, periodic or not. The gains are :math:`P^* r`
    with :math:`P^* = \lim_k ((I + P) / 2)^k`, approximated at ``k = 2**30`` by repeated
    squaring.

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

    lazy = (matrix + jnp.eye(len(matrix), dtype=matrix.dtype)) / 2
    limit = lax.fori_loop(0, LONGEST.bit_length() - 1, square, lazy)
    return limit @ mean(pi, expected_reward(mdp))


@solver
def mixing_time(mdp: FiniteMDP, policy: ArrayLike, distance: float | jax.Array = 0.25) -> jax.Array:
    r"""The mixing time: the number of steps to come near the stationary distribution.

    It is the least :math:`t` with
    :math:`\max_s \frac 1 2 \sum_{s'} |P^t(s, s') - \mu(s')| \le` ``distance`` (Levin &
    Peres, *Markov Chains and Mixing Times*, 2nd ed., 2017, section 4.5). This distance
    never grows with :math:`t`, so the last time at which it is larger is found bit by
    bit from the powers :math:`P^{2^k}`.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        distance: the total variation distance, in ``(0, 1)``.

    Returns:
        float ``[]``; infinite for a periodic chain, one with several recurrent classes,
        and one that takes more than ``2**30`` steps.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    matrix = transition_matrix(mdp, policy)
    mu = _stationary(matrix)
    doublings = LONGEST.bit_length() - 1

    def square(power, _):
        twice = power @ power
        # Normalized, or rounding errors would accumulate in the sums of rows.
        return twice / jnp.sum(twice, axis=-1, keepdims=True), power

    def descend(carry, power):
        reached, time = carry
        further = reached @ power
        time = 2 * time
        # Negated so that NaN counts as far: without a stationary distribution, mu is
        # NaN.
        far = ~(jnp.max(jnp.sum(jnp.abs(further - mu), axis=-1)) / 2 <= distance)
        return (jnp.where(far, further, reached), time + far), None

    powers = lax.scan(square, matrix, length=doublings)[1]
    start = jnp.eye(len(matrix), dtype=matrix.dtype), jnp.int32(0)
    (_, time), _ = lax.scan(descend, start, powers, reverse=True)
    at_once = jnp.max(1 - mu) <= distance  # before any step
    steps = jnp.where(at_once, 0, time + 1).astype(matrix.dtype)
    return jnp.where(time == LONGEST - 1, jnp.inf, steps)
