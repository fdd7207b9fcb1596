r"""Average reward and mixing time.

Under a policy states follow each other as a Markov chain. An episode that ends is
followed by the next one: a terminating outcome leads to the distribution of the first
state, so that everything here holds for episodic models too, per step and not per
episode. Let ``P`` and ``r`` be those of a policy, and :math:`P^*` the long-run average
of the powers of ``P``. The *gain* is :math:`g = P^* r`, and the *bias* (or differential
value) the solution of :math:`h = r - g + P h` with :math:`P^* h = 0` (Puterman, *Markov
Decision Processes*, 1994, chapters 8 and 9; Sutton & Barto, 2018, section 10.3). If the
chain has a single recurrent class, every state has the same gain.

Chains are solved by elimination (:mod:`purerl.mdp.elimination`), in ``S**2`` numbers
and ``S**3`` operations, to a relative precision that does not depend on how slowly they
mix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.chain import chain_of
from purerl.mdp.elimination import average, eliminate, limiting, total
from purerl.mdp.model import ArrayLike, FiniteMDP, check_policy
from purerl.mdp.operators import (
    best,
    continuation_matrix,
    expected,
    expected_reward,
    greedy,
    mean,
    precision,
    reduction_errors,
    solver,
)

LONGEST = 2**30  # steps; a chain that has not mixed by then counts as never mixing
WARM_UP = 1000  # iterations of values before policies are improved
MOST_POLICIES = 100  # to evaluate; improvement takes a few


class AverageReward(NamedTuple):
    """Gain and bias of a given policy, or of an optimal one.

    Attributes:
        gain: the average reward per step of a run from the start, float ``[]``.
        bias: ``h``, the expected total of rewards minus gain from each state on, float
            ``[S]``.
        q: differential action values ``r(s, a) - g(s) + E h(S')``, float ``[S, A]``.
        policy: the policy given, or the one found, int32 ``[S]``.
        error_bound: the largest possible error of the gain, float ``[]``.
        gains: the average reward from each state on, float ``[S]``.
    """

    gain: jax.Array
    bias: jax.Array
    q: jax.Array
    policy: jax.Array
    error_bound: jax.Array
    gains: jax.Array


def _differences(mdp, values):
    """``E[values(S')] - values(s)``, with a new episode after each end: ``[S, A]``.

    The difference is taken before it is weighed: what a state keeps does not drown what
    it passes on.
    """
    first = mean(mdp.initial, values)

    def difference(next_state, reward, terminated, own):
        return jnp.where(terminated, first, values[next_state]) - own

    return expected(mdp, difference, values)


def _changes(mdp, values):
    """``E[R + values(S')] - values(s)``, likewise.

    Returns:
        float ``[S, A]``, and bounds on the rounding errors of each.
    """
    first = mean(mdp.initial, values)

    def change(next_state, reward, terminated, own):
        return reward + (jnp.where(terminated, first, values[next_state]) - own)

    def size(next_state, reward, terminated, own):
        following = jnp.where(terminated, first, values[next_state])
        return jnp.abs(reward) + jnp.abs(following - own)

    changes = jnp.where(mdp.available, expected(mdp, change, values), -jnp.inf)
    return changes, precision(mdp) * expected(mdp, size, values)


def _transitions(chain):
    """``P(s' | s)`` of a model with one action, float ``[S, S]``."""
    ends = jnp.sum(jnp.where(chain.terminated, chain.probability, 0), axis=(1, 2))
    return continuation_matrix(chain) + ends[:, None] * chain.initial


def transition_matrix(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    """``P(s' | s)`` under a policy, float ``[S, S]``, with rows that sum to one.

    The end of an episode leads to the distribution of the first state.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    return _transitions(chain_of(mdp, check_policy(mdp, policy, "transition_matrix")))


@solver
def stationary(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    r"""The stationary distribution :math:`\mu = \mu P` of a policy, float ``[S]``.

    It is the fraction of time spent in each state. The chain may be periodic. With
    several recurrent classes there are many such distributions; this is the one of runs
    from the start, :math:`\rho_0 P^*`.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    return limiting(eliminate(transition_matrix(mdp, policy)), mdp.initial)


class _Chain(NamedTuple):
    """Gains, bias, and a bound on the error of any gain."""

    gains: jax.Array
    bias: jax.Array
    error: jax.Array


def _evaluate(chain):
    matrix = _transitions(chain)
    # The bias is summed until a kept state: of each class the one visited most, since
    # the gain's rounding error is summed with it, and as long.
    everywhere = jnp.full(len(matrix), 1 / len(matrix), matrix.dtype)
    order = jnp.argsort(limiting(eliminate(matrix), everywhere))
    reward = expected_reward(chain)[order, 0]
    factors = eliminate(matrix[order][:, order])
    gains = average(factors, reward)
    bias = total(factors, reward - gains)
    bias = bias - average(factors, bias)
    largest = jnp.max(average(factors, jnp.abs(reward)))
    gains, bias = (jnp.zeros_like(reward).at[order].set(x) for x in (gains, bias))
    # To first order, what rounding changes in the probabilities and rewards, in
    # elimination as in the model itself, changes no more than twice as much for each
    # state in the long run (O'Cinneide, 1993).
    return _Chain(gains, bias, 2 * len(gains) * precision(chain) * largest)


@solver
def average_reward(mdp: FiniteMDP, policy: ArrayLike) -> AverageReward:
    r"""Gain and bias of a policy.

    Its chain may have several recurrent classes, periodic or not. ``error_bound`` is
    one to first order in the precision of the dtype.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    given = jnp.asarray(policy)
    found = _evaluate(chain_of(mdp, given))
    changes, _ = _changes(mdp, found.bias)
    q = changes + (found.bias - found.gains)[:, None]
    gain = mean(mdp.initial, found.gains)
    return AverageReward(gain, found.bias, q, given, found.error, found.gains)


def _relative_values(mdp, tolerance, max_iterations):
    """The values of relative value iteration, float ``[S]``."""

    def stage(carry):
        # Each stage doubles the number of iterations; bounds on rounding errors and a
        # guess at the gain are made once in each.
        values, gap, iterations, limit = carry
        values = values - jnp.median(values)
        changes, errors = _changes(mdp, values)
        rounding = reduction_errors(best, changes, errors)
        gain = jnp.median(best(changes))
        end = iterations + jnp.maximum(iterations, 8)

        def sweep(carry):
            values, _, iterations, limit = carry
            change = best(_changes(mdp, values)[0])
            iterations = iterations + 1
            stuck = jnp.max(change - rounding) <= jnp.min(change + rounding)
            limit = jnp.where(stuck, jnp.minimum(limit, 2 * iterations), limit)
            return values + (change - gain) / 2, jnp.ptp(change), iterations, limit

        def unfinished_stage(carry):
            return unfinished(carry) & (carry[2] < end)

        return lax.while_loop(unfinished_stage, sweep, (values, gap, iterations, limit))

    def unfinished(carry):
        _, gap, iterations, limit = carry
        return ~(gap <= tolerance) & (iterations < limit)

    dtype = mdp.reward.dtype
    zeros = jnp.zeros(mdp.num_states, dtype)
    start = (zeros, jnp.array(jnp.inf, dtype), jnp.int32(0), jnp.int32(max_iterations))
    return lax.while_loop(unfinished, stage, start)[0]


def _improved(mdp, found, actions):
    """A better policy than ``actions``, and how much better any could be at most.

    Returns:
        int32 ``[S]``, and the largest possible gain above that of the policy, float
        ``[]``.
    """
    noise = 4 * precision(mdp) * jnp.max(jnp.abs(found.gains))
    rises = jnp.where(mdp.available, _differences(mdp, found.gains), -jnp.inf)
    changes, errors = _changes(mdp, found.bias)
    # Only actions that keep the gain compete for the bias.
    above = jnp.where(rises >= -noise, changes - found.gains[:, None], -jnp.inf)
    kept = jnp.take_along_axis(above + errors, actions[:, None], axis=-1)[:, 0]
    by_bias = jnp.where(best(above - errors) > kept, greedy(above - errors), actions)
    improved = jnp.where(best(rises) > noise, greedy(rises), by_bias)
    return improved, jnp.maximum(jnp.max(above + errors), 0)


@solver(static=("max_exact_states",))
def optimal_average_reward(
    mdp: FiniteMDP,
    tolerance: float = 0.0,
    max_iterations: int = 1_000_000,
    max_exact_states: int = 2048,
) -> AverageReward:
    r"""The largest average reward.

    For up to ``max_exact_states`` states it is found by policy iteration, which begins
    with a policy of some relative value iteration: first the gain is improved, then,
    among actions that keep it, the bias. The gain may depend on the first state
    (Howard, *Dynamic Programming and Markov Processes*, 1960; Puterman, section 9.2).

    For more states it is found by relative value iteration alone. For any values
    :math:`v` and :math:`w = T v`, the smallest and the largest change bound the gain:
    :math:`\min (w - v) \le g \le \max (w - v)`. Iteration stops when they are
    ``tolerance`` apart, or when rounding keeps them from coming closer. The chain is
    made lazy: with probability one half it stays in its state, which changes neither
    gain nor policy, so that periodic chains converge as well. If the optimal gain
    depends on the first state, iteration does not converge, and ``error_bound`` stays
    large. White, "Dynamic programming, Markov chains, and the method of successive
    approximations" (Journal of Mathematical Analysis and Applications 6, 1963);
    Puterman, section 8.5. ``bias`` is then one of many, which differ by a constant.

    Args:
        mdp: the model.
        tolerance: the distance of the two bounds at which value iteration stops.
        max_iterations: the largest number of sweeps over all states.
        max_exact_states: the largest ``S`` for policy iteration. Static.
    """
    exact = mdp.num_states <= max_exact_states
    limit = jnp.minimum(max_iterations, WARM_UP) if exact else max_iterations
    values = _relative_values(mdp, tolerance, limit)
    changes, errors = _changes(mdp, values)
    actions = greedy(changes)
    if exact:

        def evaluate(actions):
            return _evaluate(chain_of(mdp, actions))

        def improve(carry):
            actions, found, count, _ = carry
            improved, _ = _improved(mdp, found, actions)
            found = evaluate(improved)
            return improved, found, count + 1, jnp.any(improved != actions)

        def unfinished(carry):
            _, _, count, changed = carry
            return changed & (count < MOST_POLICIES)

        start = actions, evaluate(actions), jnp.int32(1), jnp.bool_(True)
        actions, found, _, _ = lax.while_loop(unfinished, improve, start)
        values = found.bias
        gains = found.gains
        changes, _ = _changes(mdp, values)
        error_bound = found.error + _improved(mdp, found, actions)[1]
    else:
        rounding = reduction_errors(best, changes, errors)
        low = jnp.min(best(changes) - rounding)
        high = jnp.max(best(changes) + rounding)
        gains = jnp.full_like(values, (low + high) / 2)
        error_bound = (high - low) / 2
    q = changes + (values - gains)[:, None]
    return AverageReward(mean(mdp.initial, gains), values, q, actions, error_bound, gains)


@solver
def gains(mdp: FiniteMDP, policy: ArrayLike) -> jax.Array:
    r"""The average reward of a policy from each state on, :math:`P^* r`, for any chain.

    There may be several recurrent classes, periodic or not.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``.
    """
    chain = chain_of(mdp, jnp.asarray(policy))
    return average(eliminate(_transitions(chain)), expected_reward(chain)[:, 0])


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
    mu = limiting(eliminate(matrix), mdp.initial)
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
