"""Acting in environments while counting episodes: the loop that agents share."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl.envs.base import Environment, Transition, interact
from purerl.metrics import Mean, Metrics
from purerl.timescan import time_scan


class Episode(NamedTuple):
    """The episode under way.

    Attributes:
        episode_return: the undiscounted return so far, float32 ``[]``.
    """

    episode_return: jax.Array

    @classmethod
    def new(cls) -> Self:
        """An episode in which nothing has happened yet."""
        return cls(jnp.float32(0))

    def update(self, transition: Transition) -> tuple[Self, Metrics]:
        """Add a transition, and report the return if it ends the episode.

        An episode is counted when it ends and at no other time, so that short episodes
        are not favored. Metrics of the environment are passed on and take precedence:
        under wrappers that change the reward, ``episode_return`` may be the return in
        the environment inside.
        """
        so_far = self.episode_return + transition.reward
        done = transition.done
        mean = Mean(jnp.where(done, so_far, 0), jnp.float32(done))
        metrics = {"episode_return": mean} | transition.metrics
        return type(self)(jnp.where(done, 0, so_far)), metrics


def advance(
    env: Environment, key: jax.Array, env_state: Any, episode: Episode, action: jax.Array
) -> tuple[Any, Episode, Transition, Metrics]:
    """One step in one environment, with a reset where the episode has ended.

    Args:
        env: the environment.
        key: consumed.
        env_state: its state.
        episode: the episode under way.
        action: int32 ``[]``.

    Returns:
        The environment state and the episode to continue with, the transition, and its
        metrics.
    """
    env_state, transition = interact(env, key, env_state, action)
    episode, metrics = episode.update(transition)
    return env_state, episode, transition, metrics


class Actors(NamedTuple):
    """``E`` environments under way.

    Attributes:
        env_state: their states, leaves ``[E, ...]``.
        episode: their episodes, leaves ``[E]``.
    """

    env_state: Any
    episode: Episode

    @classmethod
    def start(cls, env: Environment, key: jax.Array, num_envs: int) -> Self:
        """Every environment at the start of an episode. The key is consumed."""
        env_state = jax.vmap(env.reset)(jax.random.split(key, num_envs))
        return cls(env_state, jax.tree.map(lambda x: jnp.full(num_envs, x, x.dtype), Episode.new()))


def rollout(
    env: Environment,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
    actors: Actors,
    key: jax.Array,
    times: jax.Array,
) -> tuple[Actors, Transition, Metrics]:
    """Act in every environment at each of some times.

    Args:
        env: the environment.
        choose: ``(key, observation) -> action``, for one environment.
        actors: the ``E`` environments.
        key: not consumed: time ``t`` uses ``fold_in(key, t)``.
        times: int32 ``[T]``, each used once with a key.

    Returns:
        The actors to continue with, the transitions ``[T, E, ...]`` (without metrics),
        and the metrics, summed.
    """
    num_envs = actors.episode.episode_return.shape[0]

    def step(actors, t):
        act_keys, env_keys = jax.random.split(jax.random.fold_in(key, t), (2, num_envs))
        action = jax.vmap(choose)(act_keys, jax.vmap(env.observe)(actors.env_state))
        env_state, episode, transition, metrics = jax.vmap(advance, (None, 0, 0, 0, 0))(
            env, env_keys, actors.env_state, actors.episode, action
        )
        return Actors(env_state, episode), (transition._replace(metrics={}), metrics)

    actors, (transitions, metrics) = time_scan(step, actors, times)
    return actors, transitions, jax.tree.map(jnp.sum, metrics)
