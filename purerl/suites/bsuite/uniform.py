"""The baseline that acts uniformly at random."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs.base import Environment
from purerl.envs.contract import check_environment
from purerl.metrics import Metrics
from purerl.pytree import Node
from purerl.random import as_key
from purerl.rollout import Episode, advance


class UniformState(NamedTuple):
    """State of :class:`Uniform`.

    Attributes:
        key: constant.
        env_state: of the environment.
        episode: the episode under way.
    """

    key: jax.Array
    env_state: Any
    episode: Episode


class Uniform(Node):
    """An agent that draws actions uniformly and does not learn: the baseline.

    Attributes:
        env: the environment.
    """

    env: Environment

    transitions_per_step = 1
    lanes = 8

    def __post_init__(self):
        check_environment("Uniform", self.env)

    def init(self, key: jax.Array) -> UniformState:
        reset_key, key = jax.random.split(as_key(key))
        return UniformState(key, self.env.reset(reset_key), Episode.new())

    def step(self, state: UniformState, t: jax.Array) -> tuple[UniformState, Metrics]:
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        observation = self.env.observe(state.env_state)
        action = self.act(self.snapshot(state), act_key, observation)
        env_state, episode, _, metrics = advance(
            self.env, env_key, state.env_state, state.episode, action
        )
        return UniformState(state.key, env_state, episode), metrics

    def snapshot(self, state: UniformState) -> tuple[()]:
        """Empty, since nothing is learned."""
        return ()

    def act(self, snapshot: tuple[()], key: jax.Array, observation: jax.Array) -> jax.Array:
        """A uniformly random action, int32 ``[]``. The key is consumed."""
        del snapshot, observation
        return jax.random.randint(key, (), 0, self.env.num_actions, jnp.int32)
