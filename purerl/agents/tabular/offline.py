"""Learning from a fixed set of transitions, whoever collected it."""

from typing import Any

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl, TabularSnapshot, TabularState
from purerl.envs.base import Environment, Transition, interact
from purerl.policy import Policy, PolicyInput
from purerl.pytree import Node, static
from purerl.random import as_key


class Offline(Node):
    """Any off-policy method on a fixed data set; with :class:`~purerl.agents.tabular.one_step.QLearning`, batch Q-learning.

    One transition is learned from at a step, and the environment is not touched. Sweeps through a data set that holds every
    pair often enough lead to the optimum of the *empirical* model, that is, of the frequencies in it. Lange, Gabel &
    Riedmiller, "Batch reinforcement learning" (in Wiering & van Otterlo, *Reinforcement Learning: State of the Art*, 2012).

    Attributes:
        agent: the method.
        data: the transitions, leaves ``[N, ...]``, such as :func:`collect` gives.
        shuffled: whether transitions are drawn at random with replacement. Otherwise they come in their order, over and over,
            as methods that look at more than one need it. Static.

    Raises:
        ValueError: by ``init``, where columns of ``data`` are empty or differ in length.
    """

    agent: IncrementalControl
    data: Transition
    shuffled: bool = static(default=True)

    transitions_per_step = 1

    @property
    def lanes(self) -> int:
        return self.agent.lanes

    @property
    def bits_depend_on_lanes(self) -> bool:
        return self.agent.bits_depend_on_lanes

    @property
    def env(self) -> Environment:
        return self.agent.env

    @property
    def discount(self):
        return self.agent.discount

    def init(self, key: jax.Array) -> TabularState:
        lengths = [column.shape[0] for column in jax.tree.leaves(self.data)]
        if len(set(lengths)) > 1 or 0 in lengths:
            raise ValueError(
                f"Offline: the columns of data have lengths {lengths}; allowed: one length, of at least 1"
            )
        return self.agent.start(as_key(key), None)

    def step(self, state: TabularState, t: jax.Array):
        draw_key, learn_key = jax.random.split(jax.random.fold_in(state.key, t))
        size = self.data.reward.shape[0]
        index = jax.random.randint(draw_key, (), 0, size) if self.shuffled else t % size
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
    """What a policy that does not learn meets: ``num_steps`` transitions in their order, leaves ``[num_steps, ...]``.

    Args:
        env: one that observes the index of its state.
        policy: sees no values and no visits: :class:`~purerl.policy.Fixed`, or an epsilon-greedy one, which is then uniform.
        key: consumed.
        num_steps: static.
    """
    reset_key, key = jax.random.split(as_key(key))

    def step(env_state: Any, t):
        act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
        inputs = PolicyInput(env.observe(env_state), jnp.zeros(env.num_actions), None, t)
        return interact(env, env_key, env_state, policy.sample(act_key, inputs))

    return jax.lax.scan(step, env.reset(reset_key), jnp.arange(num_steps, dtype=jnp.int32))[1]
