"""Wrappers that transform actions and rewards, and one for statistics."""

import math
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import (
    ABOVE_ZERO,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    UNIT_INTERVAL,
    check_choice,
    check_numbers,
    check_size,
    refusal,
    shown,
)
from purerl.envs.base import (
    ContinuousEnvironment,
    E,
    HasModel,
    State,
    Wrapper,
    restart,
)
from purerl.envs.contract import check_continuous
from purerl.envs.wrappers.observations import running_moments
from purerl.mdp.model import FiniteMDP
from purerl.metrics import Mean
from purerl.pytree import static

# Actions.


class DiscretizedActions(Wrapper[ContinuousEnvironment]):
    """A finite choice of continuous actions: action ``a`` is ``actions[a]``.

    Attributes:
        env: an environment with ``action``, the shape and dtype of a continuous action,
            instead of ``num_actions``.
        actions: float ``[A, *env.action.shape]``, finite.

    Raises:
        ValueError: ``env`` has no continuous actions, or ``actions`` is no such array.

    Example:
        >>> from purerl.envs.classic import Pendulum
        >>> torques = jnp.array([[-2.0], [0.0], [2.0]])
        >>> DiscretizedActions(Pendulum(), torques).num_actions
        3
    """

    actions: jax.Array

    def __post_init__(self):
        super().__post_init__()
        action = getattr(self.env, "action", None)
        if action is None:
            allowed = "an environment with continuous actions"
            raise refusal("DiscretizedActions", "env", self.env, allowed)
        actions = self.actions
        is_array = isinstance(actions, (jax.Array, np.ndarray))
        shape = tuple(actions.shape) if is_array else ()
        least = 1 + len(action.shape)
        if len(shape) < least or shape[1 - least or len(shape) :] != action.shape:
            what = f"{actions.dtype} {list(shape)}" if is_array else shown(actions)
            allowed = f"an array [{', '.join(['A', *map(str, action.shape)])}]"
            raise refusal("DiscretizedActions", "actions", what, allowed)
        check_numbers(self, actions=FINITE)

    @property
    def num_actions(self) -> int:
        """``A``, the number of actions to choose among."""
        return self.actions.shape[-1 - len(self.env.action.shape)]

    def step(self, key, state, action):
        return self.env.step(key, state, self.actions[action])


class ScaledActions(Wrapper[ContinuousEnvironment]):
    """Continuous actions in units of half their range, from -1 to 1.

    A number beyond is passed on, and acts as the bound does; or it comes through
    ``tanh``, so that every real number has an effect of its own.

    Attributes:
        env: an environment with continuous actions and finite bounds.
        squash: whether actions come through ``tanh``. Static.

    Raises:
        ValueError: ``env`` has no such actions.

    Example:
        >>> from purerl.envs.classic import Pendulum
        >>> print(ScaledActions(Pendulum()).scale(jnp.array([0.5])))
        [1.]
    """

    squash: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, squash=(False, True))
        check_continuous("ScaledActions", self.env)

    @property
    def action_bounds(self):
        """Minus one and one, or infinite if actions are squashed."""
        bound = jnp.full(self.action.shape, jnp.inf if self.squash else 1.0, jnp.float32)
        return -bound, bound

    def scale(self, action: jax.Array) -> jax.Array:
        """The action of the environment inside."""
        low, high = self.env.action_bounds
        unit = jnp.tanh(action) if self.squash else action
        return ((low + high) / 2 + (high - low) / 2 * unit).astype(self.action.dtype)

    def step(self, key, state, action):
        return self.env.step(key, state, self.scale(action))


class StickyActionsState(NamedTuple):
    """The inner state, and the last action taken, int32 ``[]``."""

    inner: State
    last_action: jax.Array


class StickyActions(Wrapper[E]):
    """Repeats the previous action, instead of the chosen one, with some probability.

    See Machado et al., "Revisiting the Arcade Learning Environment" (JAIR 61, 2018).

    The action before the first one is 0. The last action is kept from one episode to
    the next, as in MinAtar. It is not observed, but the exact model, if the inner
    environment has one, includes it in the state: state ``s`` after action ``b`` has
    the index ``s * A + b``.

    Attributes:
        probability: of repeating the previous action, in ``[0, 1]``.
    """

    probability: float | jax.Array = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, probability=UNIT_INTERVAL)

    @property
    def mdp(self: "StickyActions[HasModel]") -> FiniteMDP:
        inside = self.env.mdp
        size, num_actions, num_outcomes = inside.probability.shape

        # Tables [S, b, a, 2 K] with the last action b: outcomes of action a, then of b.
        def table(of_a, of_b):
            both = jnp.broadcast_arrays(of_a[:, None, :], of_b[:, :, None])
            return jnp.concatenate(both, axis=-1).reshape(
                size * num_actions, num_actions, 2 * num_outcomes
            )

        chosen = inside.probability * (1 - self.probability)
        repeated = inside.probability * self.probability
        # [S, A, K], with the action taken
        reached = (
            inside.next_state * num_actions + jnp.arange(num_actions, dtype=jnp.int32)[:, None]
        )
        return FiniteMDP(
            probability=table(chosen, repeated),
            next_state=table(reached, reached),
            reward=table(inside.reward, inside.reward),
            terminated=table(inside.terminated, inside.terminated),
            initial=(
                inside.initial[:, None] * (jnp.arange(num_actions, dtype=jnp.int32) == 0)
            ).reshape(-1),
        )

    def states(self: "StickyActions[HasModel]") -> StickyActionsState:
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
        sticks = jax.random.uniform(sticky_key, dtype=jnp.float32) < self.probability
        action = jnp.where(sticks, state.last_action, jnp.asarray(action, jnp.int32))
        inner, outcome = self.env.step(key, state.inner, action)
        return StickyActionsState(inner, action), outcome


class ActionRepeat(Wrapper[E]):
    """Takes every action several times, as one step.

    The step's reward is the sum of the rewards, its metrics are the sums of the
    metrics, and the observations between are not seen; an episode that ends on the way
    ends the step. So an agent decides less often: what it explores lasts longer, and
    ``discount`` counts its decisions. Known as frame skip from Mnih et al.,
    "Human-level control through deep reinforcement learning" (Nature 518, 2015).

    A :class:`TimeLimit` or :class:`EpisodeStatistics` inside counts steps of the inner
    environment, one outside counts decisions.

    Attributes:
        times: at least 1. Static.

    Raises:
        ValueError: ``times`` is not allowed, or not every action can be taken
            everywhere.
    """

    times: int = static()

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "times")
        if hasattr(self.env, "available"):
            allowed = "an environment in which every action can be taken"
            raise refusal("ActionRepeat", "env", shown(self.env), allowed)

    @property
    def mdp(self) -> NoReturn:
        raise AttributeError("ActionRepeat has no mdp: its steps are several of the model")

    def step(self, key, state, action):
        keys = jax.random.split(key, self.times)

        def again(reached, key):
            state, so_far = reached
            state, outcome = self.env.step(key, state, action)
            outcome = outcome._replace(
                reward=so_far.reward + outcome.reward,
                metrics=jax.tree.map(jnp.add, so_far.metrics, outcome.metrics),
            )
            going = state, outcome
            return jax.tree.map(lambda a, b: jnp.where(so_far.done, a, b), reached, going), None

        first = self.env.step(keys[0], state, action)
        return jax.lax.scan(again, first, keys[1:])[0]


# Rewards.


class RewardScale(Wrapper[E]):
    """Multiplies every reward by a number, also those of the exact model.

    Attributes:
        scale: finite.
    """

    scale: float | jax.Array

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, scale=FINITE)

    @property
    def mdp(self: "RewardScale[HasModel]") -> FiniteMDP:
        inside = self.env.mdp
        return inside.replace(reward=inside.reward * self.scale)

    def step(self, key, state, action):
        state, outcome = self.env.step(key, state, action)
        return state, outcome._replace(reward=(outcome.reward * self.scale).astype(jnp.float32))


class RewardNoise(Wrapper[E]):
    """Adds independent zero-mean Gaussian noise to every reward.

    ``mdp`` keeps the expected rewards.

    Attributes:
        scale: standard deviation of the noise, finite and >= 0.
    """

    scale: float | jax.Array

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, scale=NOT_NEGATIVE)

    def step(self, key, state, action):
        noise_key, key = jax.random.split(key)
        state, outcome = self.env.step(key, state, action)
        noise = self.scale * jax.random.normal(noise_key, dtype=jnp.float32)
        return state, outcome._replace(reward=(outcome.reward + noise).astype(jnp.float32))


# Statistics.


class RewardNormalizeState(NamedTuple):
    """The inner state, and statistics of the discounted sums of rewards so far.

    Attributes:
        inner: state of the inner environment.
        discounted: sum of the episode's rewards so far, each discounted by its age,
            float32 ``[]``.
        mean, variance, count: of all such sums, float32 ``[]``.
    """

    inner: State
    discounted: jax.Array
    mean: jax.Array
    variance: jax.Array
    count: jax.Array


class RewardNormalize(Wrapper[E]):
    r"""Rewards divided by the standard deviation of their discounted sums.

    .. math:: \tilde R = R / \sqrt{\sigma^2 + \epsilon},
              \qquad g \leftarrow \gamma g + R,

    where :math:`\sigma^2` is the variance of all :math:`g` so far, this one included,
    and :math:`g` starts from 0 in every episode. So the returns that a critic predicts
    are of the size of one, whatever the rewards are. It continues from one episode to
    the next, see :class:`~purerl.envs.wrappers.ObservationNormalize` (Gymnasium's
    ``NormalizeReward``). Rewards of a rollout are normalized once, when they are
    received. Put :class:`EpisodeStatistics` inside to see the original returns.

    Attributes:
        discount: :math:`\gamma` in ``[0, 1]``, usually the agent's.
        epsilon: added to the variance, above 0.
        clip: bound on the magnitude of normalized rewards, above 0.
    """

    discount: float | jax.Array = 0.99
    epsilon: float | jax.Array = 1e-8
    clip: float | jax.Array = math.inf

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, discount=UNIT_INTERVAL, epsilon=POSITIVE, clip=ABOVE_ZERO)

    @property
    def mdp(self) -> NoReturn:
        raise AttributeError(
            "RewardNormalize has no mdp: its rewards are not a function of the model's state"
        )

    def wrap_state(self, inner):
        zero = jnp.float32(0)
        return RewardNormalizeState(inner, zero, zero, jnp.float32(1), jnp.float32(1e-4))

    def inner(self, state):
        return state.inner

    def restart(self, key, reached):
        inner = restart(self.env, key, reached.inner)
        return reached._replace(inner=inner, discounted=jnp.float32(0))

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        discounted = jnp.float32(self.discount * state.discounted + outcome.reward)
        moments = running_moments(state.mean, state.variance, state.count, discounted)
        state = RewardNormalizeState(inner, discounted, *moments)
        reward = outcome.reward / jnp.sqrt(state.variance + self.epsilon)
        return state, outcome._replace(reward=jnp.clip(reward, -self.clip, self.clip))


class EpisodeStatisticsState(NamedTuple):
    """The inner state, and sums over the episode so far.

    Attributes:
        inner: state of the inner environment.
        episode_return: undiscounted, float32 ``[]``.
        episode_length: int32 ``[]``.
    """

    inner: State
    episode_return: jax.Array
    episode_length: jax.Array


class EpisodeStatistics(Wrapper[E]):
    """Reports the undiscounted return and the length of each episode.

    ``outcome.metrics`` gets ``episode_return`` and ``episode_length``, each a
    :class:`~purerl.metrics.Mean` counted only in the step that ends an episode. They
    are measured at this wrapper's place in the stack.

    Put it inside wrappers that change the reward, to see the original one, and outside
    ``TimeLimit``, as in
    ``RewardScale(EpisodeStatistics(purerl.make("CartPole-v1")), 0.1)``. Inside
    ``TimeLimit`` it would not notice truncations, so only episodes that terminate would
    be counted. If several are stacked, the innermost wins.
    """

    def wrap_state(self, inner):
        return EpisodeStatisticsState(inner, jnp.float32(0), jnp.int32(0))

    def inner(self, state):
        return state.inner

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        episode_return = state.episode_return + outcome.reward
        episode_length = state.episode_length + 1
        state = EpisodeStatisticsState(inner, episode_return, episode_length)
        done = outcome.done

        def mean(of_episode):
            total = jnp.where(done, of_episode, 0).astype(jnp.float32)
            return Mean(total, done.astype(jnp.float32))

        own = {
            "episode_return": mean(episode_return),
            "episode_length": mean(episode_length),
        }
        return state, outcome._replace(metrics=own | outcome.metrics)
