"""Environments around others: observations, actions and rewards in another form, and statistics.

The first argument of each is the environment inside. Which goes around which matters: with
``RewardScale(EpisodeStatistics(env), 0.1)`` the returns of ``env`` are reported, and a tenth of them is learned from.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import (
    ABOVE_ZERO,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    UNIT_INTERVAL,
    check_numbers,
    check_size,
    check_values,
)
from purerl.envs.base import State, Wrapper, restart
from purerl.mdp.model import FiniteMDP
from purerl.metrics import Mean
from purerl.pytree import Node, static

# Observations.


class OneHot(Wrapper):
    """Integer observations in ``[0, size)`` as indicator vectors, float32 ``[..., size]``; any other integer is all zeros."""

    size: int = static()

    def __post_init__(self):
        check_size(self, "size")

    @property
    def observation(self):
        return jax.ShapeDtypeStruct((*self.env.observation.shape, self.size), jnp.float32)

    def observe(self, state):
        return jax.nn.one_hot(self.env.observe(state), self.size, dtype=jnp.float32)


class Flatten(Wrapper):
    """The observation as a vector: its numbers row by row, in their dtype. A single number becomes ``[1]``."""

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct((math.prod(inside.shape),), inside.dtype)

    def observe(self, state):
        return self.env.observe(state).reshape(-1)


class FrameStackState(NamedTuple):
    """``frames``: the last observations, ``[num_frames, ...]``, the newest last."""

    inner: State
    frames: jax.Array


class FrameStack(Wrapper):
    """The last ``num_frames`` observations of an episode, the oldest first: ``[num_frames, ...]``.

    In the first steps of an episode its first observation stands for those before it (Gymnasium's ``FrameStackObservation``
    with its padding "reset"). A policy over stacks is not one over the states of a finite model, so none is shown.
    """

    num_frames: int = static()

    def __post_init__(self):
        check_size(self, "num_frames")

    @property
    def mdp(self):
        raise AttributeError(
            "FrameStack shows no model: what it observes is not a function of the model's state"
        )

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct((self.num_frames, *inside.shape), inside.dtype)

    def wrap_state(self, inner):
        frame = self.env.observe(inner)
        return FrameStackState(inner, jnp.broadcast_to(frame, (self.num_frames, *frame.shape)))

    def inner(self, state):
        return state.inner

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        frame = self.env.observe(inner)
        return FrameStackState(inner, jnp.concatenate([state.frames[1:], frame[None]])), outcome

    def observe(self, state):
        return state.frames


class ObservationNormalizeState(NamedTuple):
    """``mean`` and ``variance`` of the observations so far, in the shape of one, and their number, ``count``, ``[]``."""

    inner: State
    mean: jax.Array
    variance: jax.Array
    count: jax.Array


class ObservationNormalize(Wrapper):
    r"""Observations less their mean so far, in units of their standard deviation so far:
    :math:`\tilde o = (o - \mu) / \sqrt{\sigma^2 + \epsilon}`, element by element, float32 (float64 stays float64).

    :math:`\mu` and :math:`\sigma^2` are kept in the state, are updated with every state reached, and go on from one
    episode to the next, starts included (Gymnasium's ``NormalizeObservation``). With :math:`n` observations before,
    :math:`\delta = o - \mu` and :math:`N = n + 1`,

    .. math::
        \mu \leftarrow \mu + \frac{\delta}{N}, \qquad
        \sigma^2 \leftarrow \frac{n}{N} \left(\sigma^2 + \frac{\delta^2}{N}\right)

    (Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1982), beginning with
    :math:`\mu = 0, \sigma^2 = 1, n = 10^{-4}`.

    A state is observed through the statistics it carries, its own observation among them. So the ``observation`` of a
    transition is seen through the statistics up to ``S_t`` and its ``next_observation`` through those up to ``S_{t+1}``, one
    update later; the latter is, within an episode, the next transition's ``observation``. What a replay buffer keeps stays as
    it was seen. Under ``vmap`` each environment has statistics of its own. ``reset`` begins them anew, ``restart`` carries
    them on, and evaluations and recordings ``restart`` from the state that the agent has learned in (its first environment's,
    where there are several). A policy through moving statistics is not one over the states of a finite model, so none is shown.

    Attributes:
        epsilon: added to the variance, > 0.
        clip: the largest magnitude of what is observed, > 0.
    """

    epsilon: float | jax.Array = 1e-8
    clip: float | jax.Array = math.inf

    def __post_init__(self):
        check_numbers(self, epsilon=POSITIVE, clip=ABOVE_ZERO)

    @property
    def mdp(self):
        raise AttributeError(
            "ObservationNormalize shows no model: what it observes is not a function of the model's state"
        )

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct(inside.shape, jnp.promote_types(inside.dtype, jnp.float32))

    def wrap_state(self, inner):
        shape, dtype = self.observation.shape, self.observation.dtype
        return self._update(
            inner, jnp.zeros(shape, dtype), jnp.ones(shape, dtype), jnp.asarray(1e-4, dtype)
        )

    def inner(self, state):
        return state.inner

    def restart(self, key, reached):
        return self._update(restart(self.env, key, reached.inner), *reached[1:])

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        return self._update(inner, *state[1:]), outcome

    def observe(self, state):
        scaled = (self._inside(state.inner) - state.mean) / jnp.sqrt(state.variance + self.epsilon)
        return jnp.clip(scaled, -self.clip, self.clip).astype(self.observation.dtype)

    def _inside(self, inner):
        return self.env.observe(inner).astype(self.observation.dtype)

    def _update(self, inner, mean, variance, count):
        total = count + 1
        delta = self._inside(inner) - mean
        return ObservationNormalizeState(
            inner, mean + delta / total, count / total * (variance + delta**2 / total), total
        )


# Actions.


class DiscretizedActions(Wrapper):
    """An environment with continuous actions, of which finitely many are taken: action ``a`` is ``actions[a]``.

    Attributes:
        env: an environment that has ``action``, the shape and dtype of a continuous action, in place of ``num_actions``.
        actions: float ``[A, *env.action.shape]``, finite.

    Example:
        >>> from purerl.envs.classic import Pendulum
        >>> DiscretizedActions(Pendulum(), jnp.array([[-2.0], [0.0], [2.0]])).num_actions
        3
    """

    actions: jax.Array

    def __post_init__(self):
        # Placeholders, which JAX puts into trees, are neither of the two.
        if isinstance(self.env, Node) and isinstance(
            self.actions, (jax.Array, np.ndarray, list, tuple)
        ):
            if not hasattr(self.env, "action"):
                raise ValueError(
                    f"DiscretizedActions: env is {self.env!r}; allowed: one with continuous actions"
                )
            shape = self.env.action.shape
            found = np.shape(self.actions)
            if (
                isinstance(self.actions, (list, tuple))
                or len(found) <= len(shape)
                or found[len(found) - len(shape) :] != shape
            ):
                allowed = ", ".join(["A", *map(str, shape)])
                raise ValueError(
                    f"DiscretizedActions: actions is {self.actions!r}; allowed: an array [{allowed}]"
                )
            check_values(type(self).__name__, vars(self), {"actions": FINITE})

    @property
    def num_actions(self):
        return self.actions.shape[-1 - len(self.env.action.shape)]

    def step(self, key, state, action):
        return self.env.step(key, state, self.actions[action])


class StickyActionsState(NamedTuple):
    inner: State
    last_action: jax.Array


class StickyActions(Wrapper):
    """With some probability the last action is taken again, whatever was asked for (Machado et al., "Revisiting the Arcade
    Learning Environment", JAIR 61, 2018).

    The action before the first one is 0. The last action is kept from one episode to the next, as in MinAtar. It is not
    observed, but the exact model, where the inner environment has one, has it in its state: state ``s`` after action ``b`` is
    number ``s * A + b``.

    Attributes:
        probability: that the action taken before is taken again, in ``[0, 1]``.
    """

    probability: float | jax.Array = 0.1

    def __post_init__(self):
        check_numbers(self, probability=UNIT_INTERVAL)

    @property
    def mdp(self):
        inside = self.env.mdp
        size, num_actions, num_outcomes = inside.probability.shape

        # Tables [S, b, a, 2 K], b being the last action: first the outcomes of action a, then those of b.
        def table(of_a, of_b):
            both = jnp.broadcast_arrays(of_a[:, None, :], of_b[:, :, None])
            return jnp.concatenate(both, axis=-1).reshape(
                size * num_actions, num_actions, 2 * num_outcomes
            )

        reached = (
            inside.next_state * num_actions + jnp.arange(num_actions)[:, None]
        )  # [S, A, K], with the action taken
        return FiniteMDP(
            probability=table(
                inside.probability * (1 - self.probability), inside.probability * self.probability
            ),
            next_state=table(reached, reached),
            reward=table(inside.reward, inside.reward),
            terminated=table(inside.terminated, inside.terminated),
            initial=(inside.initial[:, None] * (jnp.arange(num_actions) == 0)).reshape(-1),
        )

    def states(self):
        num_actions = self.num_actions
        inner = jax.tree.map(lambda x: jnp.repeat(x, num_actions, axis=0), self.env.states())
        last_action = jnp.arange(jax.tree.leaves(inner)[0].shape[0], dtype=jnp.int32) % num_actions
        return StickyActionsState(inner, last_action)

    def wrap_state(self, inner):
        return StickyActionsState(inner, jnp.int32(0))

    def inner(self, state):
        return state.inner

    def restart(self, key, reached):
        return StickyActionsState(restart(self.env, key, reached.inner), reached.last_action)

    def step(self, key, state, action):
        sticky_key, key = jax.random.split(key)
        sticks = jax.random.uniform(sticky_key) < self.probability
        action = jnp.where(sticks, state.last_action, jnp.asarray(action, jnp.int32))
        inner, outcome = self.env.step(key, state.inner, action)
        return StickyActionsState(inner, action), outcome


# Rewards.


class RewardScale(Wrapper):
    """Every reward times a number; those of the exact model too.

    Attributes:
        scale: finite.
    """

    scale: float | jax.Array

    def __post_init__(self):
        check_numbers(self, scale=FINITE)

    @property
    def mdp(self):
        inside = self.env.mdp
        return inside.replace(reward=inside.reward * self.scale)

    def step(self, key, state, action):
        state, outcome = self.env.step(key, state, action)
        return state, outcome._replace(reward=(outcome.reward * self.scale).astype(jnp.float32))


class RewardNoise(Wrapper):
    """Every reward plus a normal number of its own, of mean 0. The exact model knows the means alone.

    Attributes:
        scale: standard deviation of the noise, finite and >= 0.
    """

    scale: float | jax.Array

    def __post_init__(self):
        check_numbers(self, scale=NOT_NEGATIVE)

    def step(self, key, state, action):
        noise_key, key = jax.random.split(key)
        state, outcome = self.env.step(key, state, action)
        noise = self.scale * jax.random.normal(noise_key, dtype=jnp.float32)
        return state, outcome._replace(reward=(outcome.reward + noise).astype(jnp.float32))


# Statistics.


class EpisodeStatisticsState(NamedTuple):
    inner: State
    episode_return: jax.Array
    episode_length: jax.Array


class EpisodeStatistics(Wrapper):
    """Reports the undiscounted return and the length of each episode, as they are at this place in the stack, in
    ``outcome.metrics``: ``episode_return`` and ``episode_length``, a :class:`~purerl.envs.base.Mean` each, counted in the step
    that ends the episode and in no other.

    Put it inside of wrappers that change the reward, to see the true one, and outside of ``TimeLimit``, as in
    ``RewardScale(EpisodeStatistics(purerl.make("CartPole-v1")), 0.1)``: an episode that is truncated further out ends without
    its knowledge and is left out, so that only those that terminate are seen. Where there are several, the innermost is heard.
    """

    def wrap_state(self, inner):
        return EpisodeStatisticsState(inner, jnp.float32(0), jnp.int32(0))

    def inner(self, state):
        return state.inner

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        state = EpisodeStatisticsState(
            inner, state.episode_return + outcome.reward, state.episode_length + 1
        )
        done = outcome.done

        def mean(of_episode):
            return Mean(
                jnp.where(done, of_episode, 0).astype(jnp.float32), done.astype(jnp.float32)
            )

        own = {
            "episode_return": mean(state.episode_return),
            "episode_length": mean(state.episode_length),
        }
        return state, outcome._replace(metrics=own | outcome.metrics)
