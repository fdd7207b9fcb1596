"""Base class of agents that learn from rollouts without replay."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purerl import bellman
from purerl.agents.network import NetworkAgent
from purerl.checks import UNIT_INTERVAL, check_size
from purerl.envs.base import Transition
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.rollout import Actors, Episode
from purerl.schedule import Schedule, at, check_schedules


class RolloutState(NamedTuple):
    """State of an agent that learns from rollouts.

    Attributes:
        collect_key, update_key: constant.
        params: all that is learned.
        opt_state: of the optimizer.
        env_state, episode: of the environments, leaves ``[num_envs, ...]``.
    """

    collect_key: jax.Array
    update_key: jax.Array
    params: Any
    opt_state: optax.OptState
    env_state: Any
    episode: Episode


class RolloutAgent(NetworkAgent):
    r"""Base class of agents that act for a while, learn from it, and forget it.

    Subclasses define :meth:`init_params` and ``step``.

    Attributes:
        env, learning_rate, discount, max_grad_norm, optimizer: see
            :class:`~purerl.agents.network.NetworkAgent`.
        lambda_: :math:`\lambda` of the lambda-returns, in ``[0, 1]``.
        num_envs: environments stepped in parallel. Static, as is all below it.
        rollout_length: steps in each environment between two updates.
    """

    lambda_: float | jax.Array | Schedule = 0.95
    num_envs: int = static(default=32)
    rollout_length: int = static(default=32)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL)
        check_size(self, "num_envs", "rollout_length")

    @property
    def transitions_per_step(self) -> int:
        return self.num_envs * self.rollout_length

    def init_params(self, key: jax.Array) -> Any:
        """Initial parameters. The key is consumed."""
        raise NotImplementedError(f"{type(self).__name__} does not define init_params")

    def init(self, key: jax.Array) -> RolloutState:
        params_key, reset_key, collect_key, update_key = jax.random.split(as_key(key), 4)
        params = copied(self.init_params(params_key))
        actors = Actors.start(self.env, reset_key, self.num_envs)
        return RolloutState(
            collect_key=collect_key,
            update_key=update_key,
            params=params,
            opt_state=copied(self.optimizer.transformation().init(params)),
            env_state=copied(actors.env_state),
            episode=actors.episode,
        )

    def times(self, t: jax.Array) -> jax.Array:
        """The times of one rollout's steps, int32 ``[T]``."""
        return t * self.rollout_length + jnp.arange(self.rollout_length, dtype=jnp.int32)

    def returns(self, rolled: Transition, next_value: jax.Array, clock: jax.Array) -> jax.Array:
        """Lambda-returns, float32 ``[T, E]``, see :func:`purerl.bellman.lambda_return`.

        Args:
            rolled: transitions, leaves ``[T, E, ...]``.
            next_value: of the states that they led to, ``[T, E]``.
            clock: the time of schedules, int32 ``[]``.
        """
        return jax.vmap(bellman.lambda_return, (1, 1, 1, 1, None, None), 1)(
            rolled.reward,
            rolled.terminated,
            rolled.truncated,
            next_value,
            at(self.discount, clock),
            at(self.lambda_, clock),
        )
