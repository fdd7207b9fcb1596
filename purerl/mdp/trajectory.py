"""Trajectories and returns.

A trajectory is ``tau = (s_0, a_0, r_1, s_1, a_1, r_2, ...)``; its return from time
``t`` on is ``G_t = r_{t+1} + discount r_{t+2} + discount^2 r_{t+3} + ...`` (Sutton &
Barto, *Reinforcement Learning*, 2nd ed., 2018, section 3.3).
"""

import jax
import jax.numpy as jnp
from jax import lax

from purerl.checks import refusal
from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities


def discounted_return(rewards: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """``G_0 = sum_t discount^t r_{t+1}``.

    Args:
        rewards: ``r_1, ..., r_T``, ``[T]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[]``; zero if ``T == 0``.

    Example:
        >>> float(discounted_return(jnp.array([1.0, 0.0, 4.0]), 0.5))
        2.0
    """
    rewards = jnp.asarray(rewards)
    return jnp.sum(rewards * jnp.power(discount, jnp.arange(rewards.shape[0])))


def returns_to_go(rewards: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """``G_t = r_{t+1} + discount G_{t+1}`` at every time, with ``G_T = 0``.

    Args:
        rewards: ``r_1, ..., r_T``, ``[T]``.
        discount: in ``[0, 1]``.

    Returns:
        ``G_0, ..., G_{T-1}``, float ``[T]``.

    Example:
        >>> returns_to_go(jnp.array([1.0, 0.0, 4.0]), 0.5).tolist()
        [2.0, 2.0, 4.0]
    """
    # The product is float, even if the rewards are integers.
    rewards = jnp.asarray(rewards) * jnp.ones_like(discount, float)

    def back(later, reward):
        now = reward + discount * later
        return now, now

    return lax.scan(back, jnp.zeros((), rewards.dtype), rewards, reverse=True)[1]


def trajectory_log_probability(
    mdp: FiniteMDP, policy: ArrayLike, states: ArrayLike, actions: ArrayLike
) -> jax.Array:
    """``log P(tau | pi)``, the log probability of states and actions.

    ``P(tau | pi) = rho0(s_0) prod_t pi(a_t | s_t) P(s_{t+1} | s_t, a_t)`` is the
    probability that the first ``T`` steps are these, whatever the rewards. Nothing
    follows termination: every transition except the last counts with the probability of
    its outcomes that do not terminate.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        states: ``s_0, ..., s_T``, int32 ``[T + 1]``.
        actions: ``a_0, ..., a_{T-1}``, int32 ``[T]``.

    Returns:
        float ``[]``; ``-inf`` for an impossible trajectory.

    Raises:
        ValueError: ``policy`` is not a policy for ``mdp``, or the number of states is
            not that of the actions plus one.
    """
    states = jnp.asarray(states)
    actions = jnp.asarray(actions)
    if states.shape != (actions.shape[0] + 1,):
        allowed = f"({actions.shape[0] + 1},), one more than actions"
        owner = "trajectory_log_probability"
        raise refusal(owner, "states", states.shape, allowed, "has shape")
    chosen = action_probabilities(mdp, policy)[states[:-1], actions]
    here = states[:-1], actions
    last = jnp.arange(actions.shape[0]) == actions.shape[0] - 1
    counted = (mdp.next_state[here] == states[1:, None]) & (last[:, None] | ~mdp.terminated[here])
    moved = jnp.sum(jnp.where(counted, mdp.probability[here], 0), axis=-1)
    return jnp.log(mdp.initial[states[0]]) + jnp.sum(jnp.log(chosen)) + jnp.sum(jnp.log(moved))
