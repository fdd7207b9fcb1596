"""Tabular Q-learning."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purerl import bellman
from purerl.agents.base import Episode
from purerl.checks import FINITE, UNIT_INTERVAL, check_numbers
from purerl.envs.base import Environment, interact
from purerl.exploration import epsilon_greedy
from purerl.random import as_key
from purerl.schedule import Schedule, at


class QLearningState(NamedTuple):
    """``q``: float32 ``[S, A]``; ``visits``: int32 ``[S, A]``, None unless they are counted."""

    key: jax.Array
    env_state: Any
    q: jax.Array
    visits: jax.Array | None
    episode: Episode


class QLearning(struct.PyTreeNode):
    r"""Off-policy control of a finite MDP by the sampled Bellman optimality operator:

    .. math::
        Q(S, A) \leftarrow Q(S, A) + \alpha \left( R + \gamma (1 - d) \max_a Q(S', a) - Q(S, A) \right),

    with :math:`A` drawn epsilon-greedily from :math:`Q(S, \cdot)`. It finds :math:`Q^*` with probability one if every pair is
    visited without end and its step sizes satisfy :math:`\sum \alpha = \infty`, :math:`\sum \alpha^2 < \infty`. Watkins,
    *Learning from Delayed Rewards* (PhD thesis, Cambridge, 1989); Watkins & Dayan, "Q-learning" (Machine Learning 8, 1992).

    Attributes:
        env: an environment that observes its state index and shows its model as ``env.mdp``.
        learning_rate: :math:`\alpha` in ``[0, 1]``; a schedule is called with ``t``, or with the number of earlier visits to
            the pair that is updated if ``count_visits``.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: in ``[0, 1]``, the probability of a uniformly drawn action; a schedule is called with ``t``.
        initial_value: :math:`Q_0(s, a)`.
        count_visits: whether to count visits to each pair. Static.

    Raises:
        ValueError: a number out of its range, or an environment without a finite model.
    """

    env: Environment
    learning_rate: float | jax.Array | Schedule = 0.1
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    count_visits: bool = struct.field(pytree_node=False, default=False)

    transitions_per_step = 1

    def __post_init__(self):
        check_numbers(self, learning_rate=UNIT_INTERVAL, discount=UNIT_INTERVAL, epsilon=UNIT_INTERVAL, initial_value=FINITE)
        if hasattr(self.env, "num_actions") and not (hasattr(self.env, "mdp") and self.env.observation.shape == ()):
            raise ValueError(
                f"QLearning: env is {self.env!r}; allowed: one with a finite model, env.mdp, that observes its index"
            )

    def init(self, key: jax.Array) -> QLearningState:
        reset_key, key = jax.random.split(as_key(key))
        shape = self.env.mdp.num_states, self.env.num_actions
        return QLearningState(
            key=key,
            env_state=self.env.reset(reset_key),
            q=jnp.full(shape, self.initial_value, jnp.float32),
            visits=jnp.zeros(shape, jnp.int32) if self.count_visits else None,
            episode=Episode.begin(),
        )

    def step(self, state: QLearningState, t: jax.Array):
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        q, visits = state.q, state.visits

        action = epsilon_greedy(act_key, q[self.env.observe(state.env_state)], at(self.epsilon, t))
        env_state, transition = interact(self.env, env_key, state.env_state, action)
        pair = transition.observation, action

        target = bellman.q_learning(
            transition.reward, transition.terminated, q[transition.next_observation], at(self.discount, t)
        )
        learning_rate = at(self.learning_rate, visits[pair] if self.count_visits else t)
        q = q.at[pair].add(learning_rate * (target - q[pair]))
        if self.count_visits:
            visits = visits.at[pair].add(1)

        episode, metrics = state.episode.update(transition)
        return QLearningState(state.key, env_state, q, visits, episode), metrics

    def values(self, state: QLearningState, observation: jax.Array) -> jax.Array:
        return state.q[observation]

    def env_state(self, state: QLearningState) -> Any:
        return state.env_state

    def act(self, state: QLearningState, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return jnp.argmax(self.values(state, observation)).astype(jnp.int32)
