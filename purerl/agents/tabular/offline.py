"""Learning from a fixed set of transitions."""

from typing import Any

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl, TabularSnapshot, TabularState
from purerl.envs.base import (
    Environment,
    IndexedEnvironment,
    Transition,
    interact,
    mask_unavailable,
)
from purerl.policy import Policy, PolicyInput
from purerl.pytree import Node, copied, static
from purerl.random import as_key


class Offline(Node):
    """An off-policy agent that learns from a fixed data set.

    With :class:`~purerl.agents.tabular.one_step.QLearning` it is batch Q-learning. Each
    step learns from one transition, and the environment is not touched. If the data set
    holds every pair, repeated sweeps converge to the optimum of the *empirical* model,
    that of its frequencies. Lange, Gabel & Riedmiller, "Batch reinforcement learning"
    (in Wiering & van Otterlo, *Reinforcement Learning: State of the Art*, 2012).

    Attributes:
        agent: the agent.
        data: the transitions, leaves ``[N, ...]``, such as :func:`collect` returns.
        shuffled: whether transitions are drawn at random with replacement. Otherwise
            they come in their order, again and again, as agents need that learn from
            more than one transition at a time. Static.

    Raises:
        ValueError: in ``init``, if columns of ``data`` are empty or differ in length.
    """

    agent: IncrementalControl
    data: Transition
    shuffled: bool = static(default=True)

    transitions_per_step = 1

    @property
    def lanes(self) -> int:
        return self.agent.lanes

    @property
    def fewest_lanes(self) -> int:
        return self.agent.fewest_lanes

    @property
    def env(self) -> IndexedEnvironment:
        return self.agent.env

    @property
    def discount(self):
        return self.agent.discount

    def init(self, key: jax.Array) -> TabularState:
        lengths = [column.shape[0] for column in jax.tree.leaves(self.data)]
        if len(set(lengths)) > 1 or 0 in lengths:
            raise ValueError(
                f"Offline: data has columns of lengths {lengths}; allowed: one length, of at "
                "least 1"
            )
        return copied(self.agent.start(as_key(key), None))

    def step(self, state: TabularState, t: jax.Array):
        draw_key, learn_key = jax.random.split(jax.random.fold_in(state.key, t))
        size = self.data.reward.shape[0]
        index = jax.random.randint(draw_key, (), 0, size, jnp.int32) if self.shuffled else t % size
        transition = jax.tree.map(lambda column: column[index], self.data)
        return self.agent.learn(learn_key, state, transition, t), {}

    def snapshot(self, state: TabularState) -> TabularSnapshot:
        return self.agent.snapshot(state)

    def values(self, snapshot: TabularSnapshot, observation: jax.Array) -> jax.Array:
        return self.agent.values(snapshot, observation)

    def probabilities(self, snapshot: TabularSnapshot, observation: jax.Array) -> jax.Array:
        return self.agent.probabilities(snapshot, observation)

    def act(self, snapshot: TabularSnapshot, key: jax.Array, observation: jax.Array) -> jax.Array:
        return self.agent.act(snapshot, key, observation)


def collect(env: Environment, policy: Policy, key: jax.Array, num_steps: int) -> Transition:
    """Transitions of a fixed policy, in their order, leaves ``[num_steps, ...]``.

    Args:
        env: one that observes the index of its state.
        policy: it is shown no values and no visits: :class:`~purerl.policy.Fixed`, or
            an epsilon-greedy one, which is then uniform.
        key: consumed.
        num_steps: static.
    """
    reset_key, key = jax.random.split(as_key(key))

    def step(env_state: Any, t):
        act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
        observation = env.observe(env_state)
        no_values = jnp.zeros(env.num_actions, jnp.float32)
        values = mask_unavailable(env, no_values, observation)
        inputs = PolicyInput(observation, values, None, t)
        return interact(env, env_key, env_state, policy.sample(act_key, inputs))

    times = jnp.arange(num_steps, dtype=jnp.int32)
    return jax.lax.scan(step, env.reset(reset_key), times)[1]
