"""Optimal values and policies of finite Markov decision processes, by iteration."""

import functools
import operator

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.attaining import attaining
from purerl.mdp.chain import chain_of
from purerl.mdp.divergence import gibbs
from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    IN_RANGE,
    Solution,
    backup,
    best,
    bounded,
    expected_reward,
    fixed_point,
    greedy,
    mean,
    solver,
)

SWEEPS = 20  # with one policy, in modified policy iteration


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
        return attaining(mdp, q, values, discount)

    return bounded(mdp, discount, best, values, policy, iterations)


def _any_best(q):
    """One of the best actions in each state, int32 ``[S]``.

    Which one differs from state to state, as if by chance: where nothing is known yet
    all actions are equal, and news spreads the faster the more ways are taken.
    """
    state, action = (jnp.arange(n, dtype=jnp.uint32) for n in q.shape)
    mixed = state[:, None] * jnp.uint32(0x9E3779B1) + action * jnp.uint32(0x85EBCA77)
    rank = (mixed ^ (mixed >> 15)) * jnp.uint32(0x2C1B3C6D) >> 1
    return greedy(jnp.where(q == best(q)[:, None], rank.astype(jnp.int32), -1))


def modified_values(mdp, discount, tolerance, max_iterations, sweeps):
    """The values of modified policy iteration, and the number of iterations."""

    def follow(q, values):
        chain = chain_of(mdp, _any_best(q))
        paid = expected_reward(chain)[:, 0]
        weight = discount * jnp.where(chain.terminated, 0, chain.probability)
        # Outcome by outcome, stored once for all sweeps.
        tables = lax.optimization_barrier((paid, weight[:, 0].T, chain.next_state[:, 0].T))

        def sweep(_, values):
            paid, weight, next_state = tables
            terms = [
                w * values.at[s].get(**IN_RANGE) for w, s in zip(weight, next_state, strict=True)
            ]
            return functools.reduce(operator.add, terms, paid)

        return lax.fori_loop(0, sweeps, sweep, values)

    # From values that one sweep can only raise, all others can only raise them, too:
    # they do not follow a bad policy downwards. At a discount of 1 zero has to do.
    reward = jnp.where(mdp.available, expected_reward(mdp), -jnp.inf)
    worst = jnp.minimum(jnp.min(best(reward)), 0)
    lowest = jnp.where(discount < 1, worst / (1 - discount), 0)
    return fixed_point(mdp, discount, best, tolerance, max_iterations, follow, lowest)


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
    values, iterations = modified_values(mdp, discount, tolerance, max_iterations, sweeps)

    def policy(q):
        return attaining(mdp, q, values, discount)

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
        actions = attaining(mdp, q, values, discount)
        taken = jax.nn.one_hot(actions, mdp.num_actions, dtype=q.dtype)
        return epsilon * uniform + (1 - epsilon) * taken

    values, iterations = fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    return bounded(mdp, discount, reduce, values, policy, iterations)


def _entropy_optimal(mdp, discount, temperature, tolerance, max_iterations):
    """:func:`soft_optimal` without a prior."""

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


@solver
def soft_optimal(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    temperature: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
    prior: ArrayLike | None = None,
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

    With a ``prior`` :math:`\mu`, each step costs
    :math:`\tau \, \mathrm{KL}(\pi(\cdot \mid s) \,\|\, \mu(\cdot \mid s))` instead, and

    .. math::
        v(s) = \tau \ln \sum_a \mu(a \mid s) \, e^{q(s, a) / \tau}, \qquad
        \pi(a \mid s) = \mu(a \mid s) \, e^{(q(s, a) - v(s)) / \tau}.

    Under a uniform prior each step costs :math:`\tau \ln A` more than with the entropy
    bonus. As :math:`\tau` grows, :math:`\pi` converges to the prior, and :math:`v` to
    the prior's values. An action of prior zero is never taken, whatever it is worth.
    Todorov, "Linearly-solvable Markov decision problems" (NIPS 2006); Kappen, Gómez &
    Opper, "Optimal control as a graphical model inference problem" (Machine Learning
    87, 2012). :func:`~purerl.mdp.policy_evaluation.trajectory_kl` gives what another
    policy loses against the optimum.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; at 1 values are finite only if every policy ends
            episodes soon enough.
        temperature: :math:`\tau`, above 0.
        tolerance: the largest change at which to stop.
        max_iterations: the largest number of sweeps over all states.
        prior: a policy, int ``[S]`` or float ``[S, A]``; its rows are normalized. None
            is the entropy bonus.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, ``temperature`` not above 0, or
            ``prior`` not a policy for ``mdp``.

    Example:
        Of two actions the prior prefers the one that pays less:

        >>> choice = FiniteMDP(
        ...     probability=[[[1.0], [1.0]]],
        ...     next_state=[[[0], [0]]],
        ...     reward=[[[0.0], [1.0]]],
        ...     terminated=[[[True], [True]]],
        ...     initial=[1.0],
        ... )
        >>> found = soft_optimal(choice, 1.0, 0.5, prior=[[0.9, 0.1]])
        >>> found.policy.round(3).tolist()  # 0.9 to 0.1 e^2
        [[0.549, 0.451]]
    """
    if prior is None:
        return _entropy_optimal(mdp, discount, temperature, tolerance, max_iterations)
    weight = action_probabilities(mdp, prior)

    def tilted(q):
        return gibbs(weight, q, temperature)

    def reduce(q):
        return tilted(q).value

    def weigh(difference):
        return best(jnp.where(weight > 0, difference, 0))

    values, iterations = fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    more_rounding = tilted(backup(mdp, values, discount)).rounding
    return bounded(
        mdp,
        discount,
        reduce,
        values,
        lambda q: tilted(q).law,
        iterations,
        weigh,
        more_rounding,
    )


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
