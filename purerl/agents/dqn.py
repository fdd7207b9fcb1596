"""Deep Q-learning."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purerl import bellman, replay
from purerl.agents.base import GreedyAgent
from purerl.checks import (
    ABOVE_ZERO,
    NOT_NEGATIVE,
    UNIT_INTERVAL,
    check_choice,
    check_size,
    check_sizes,
    refusal,
    shown,
)
from purerl.envs.base import Environment, Transition, limits_actions, mask_unavailable
from purerl.metrics import Mean
from purerl.networks import MLP, ConvNet
from purerl.policy import epsilon_greedy, uniform_among
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.rollout import Actors, Episode, rollout
from purerl.schedule import Schedule, at, check_schedules, linear
from purerl.timescan import time_scan

TARGETS = {
    "q_learning": lambda reward, terminated, choosing, _, discount: bellman.q_learning(
        reward, terminated, choosing, discount
    ),
    "double_q": bellman.double_q,
}
LOSSES = {"mse": optax.squared_error, "huber": optax.huber_loss}

# Under the root is the smallest normal number: too small to change an update, but where
# a parameter has had no gradient yet, the derivative of the update stays finite.
ADAM = optax.scale_by_adam(eps_root=float(jnp.finfo(jnp.float32).tiny))


class DQNState(NamedTuple):
    """State of DQN.

    Attributes:
        collect_key, sample_key: constant.
        params, target_params: of the online and of the target network.
        opt_state: of the optimizer.
        env_state, episode: of the environments, leaves ``[num_envs, ...]``.
        buffer: the transitions, leaves ``[buffer_size, ...]``.
    """

    collect_key: jax.Array
    sample_key: jax.Array
    params: Any
    target_params: Any
    opt_state: optax.OptState
    env_state: Any
    episode: Episode
    buffer: Transition


class DQNSnapshot(NamedTuple):
    """Snapshot of DQN: all that acting needs.

    Attributes:
        params: of the network.
        env_state: state of the first environment.
    """

    params: Any
    env_state: Any


class DQN(GreedyAgent):
    r"""Deep Q-learning: a Q-network trained on replayed transitions.

    .. math::
        L(\theta) = \frac1B \sum_{i=1}^B \ell\left(
            r_i + \gamma (1 - d_i) \max_a Q_{\theta^-}(s'_i, a), \; Q_\theta(s_i, a_i)
        \right)

    where :math:`\theta^-` is a copy of :math:`\theta`, updated every ``target_period``
    transitions. One iteration takes ``train_period`` steps in each of ``num_envs``
    environments and then one gradient step. Mnih et al., "Human-level control through
    deep reinforcement learning" (Nature 518, 2015), algorithm 1, with Adam (Kingma &
    Ba, ICLR 2015).

    Attributes:
        env: the environment. The network sees observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of Adam, not negative. This and the other schedules are evaluated
            at the number of transitions since the warm-up.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: of the epsilon-greedy behavior, in ``[0, 1]``.
        target_step_size: :math:`\tau` in ``[0, 1]`` of
            :math:`\theta^- \leftarrow \tau \theta + (1 - \tau) \theta^-`: 1 copies,
            less is Polyak averaging.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0; infinite by default. Clipping limits the influence of rare large errors,
            for example at episode ends.
        target_period: transitions between two updates of the target network, a multiple
            of one iteration's. Static, as is all that follows.
        train_period: steps in each environment between two gradient steps.
        num_envs: environments stepped in parallel.
        batch_size: ``B``.
        buffer_size: transitions that the replay buffer holds, a multiple of one
            iteration's.
        learning_starts: transitions that ``init`` collects with uniformly drawn
            actions, a multiple of one iteration's.
        features: sizes of the network's hidden layers.
        channels: for observations that are boards ``[H, W, C]``, the outputs of 3 by 3
            convolutions before the hidden layers (:class:`~purerl.networks.ConvNet`);
            none by default.
        target: ``"q_learning"``, or ``"double_q"`` (van Hasselt, Guez & Silver, AAAI
            2016).
        loss: :math:`\ell`, ``"mse"`` (the squared error) or ``"huber"`` (half the
            squared error up to 1, linear beyond).

    Raises:
        ValueError: a field out of range, or sizes that do not divide as stated.
    """

    env: Environment
    learning_rate: float | jax.Array | Schedule = 1e-3
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = linear(1.0, 0.05, 10_000)
    target_step_size: float | jax.Array | Schedule = 1.0
    max_grad_norm: float | jax.Array | Schedule = math.inf
    target_period: int = static(default=500)
    train_period: int = static(default=10)
    num_envs: int = static(default=1)
    batch_size: int = static(default=128)
    buffer_size: int = static(default=10_000)
    learning_starts: int = static(default=1_000)
    features: tuple[int, ...] = static(default=(120, 84))
    channels: tuple[int, ...] = static(default=())
    target: str = static(default="q_learning")
    loss: str = static(default="mse")

    lanes = 4

    def __post_init__(self):
        super().__post_init__()
        check_schedules(
            self,
            learning_rate=NOT_NEGATIVE,
            discount=UNIT_INTERVAL,
            epsilon=UNIT_INTERVAL,
            target_step_size=UNIT_INTERVAL,
            max_grad_norm=ABOVE_ZERO,
        )
        check_choice(self, target=TARGETS, loss=LOSSES)
        check_sizes(self, "features", "channels")
        seen = self.env.observation
        if self.channels and len(seen.shape) != 3:
            allowed = f"only where an observation is [H, W, C], and not {list(seen.shape)}"
            raise refusal("DQN", "channels", self.channels, allowed)
        is_index = seen.shape == () and jnp.issubdtype(seen.dtype, jnp.integer)
        if is_index and self._num_states is None:
            what = f"{shown(self.env)}, which observes one integer"
            allowed = "only with env.num_states, or inside OneHot(env, size)"
            raise refusal("DQN", "env", what, allowed)
        check_size(self, "train_period", "num_envs", "batch_size")
        check_size(
            self,
            "target_period",
            "buffer_size",
            "learning_starts",
            multiple_of=self.transitions_per_step,
        )
        if self.batch_size > self.buffer_size:
            allowed = f"at most buffer_size, {self.buffer_size}"
            raise refusal("DQN", "batch_size", self.batch_size, allowed)

    @property
    def transitions_per_step(self) -> int:
        return self.train_period * self.num_envs

    @property
    def warm_up(self) -> int:
        return self.learning_starts

    @property
    def network(self) -> MLP | ConvNet:
        if self.channels:
            return ConvNet(self.channels, self.features, self.env.num_actions)
        return MLP(
            self.features,
            self.env.num_actions,
            observation_ndim=len(self.env.observation.shape),
            num_states=self._num_states,
        )

    @property
    def _num_states(self) -> int | None:
        """The number of values of an observation that consists of indices of states."""
        is_integer = jnp.issubdtype(self.env.observation.dtype, jnp.integer)
        return getattr(self.env, "num_states", None) if is_integer else None

    @property
    def _item(self) -> Any:
        """Shapes and dtypes of what the buffer holds of a transition."""
        observation: Any = self.env.observation
        action: Any = jax.ShapeDtypeStruct((), jnp.int32)
        reward: Any = jax.ShapeDtypeStruct((), jnp.float32)
        flag: Any = jax.ShapeDtypeStruct((), jnp.bool_)
        return Transition(
            observation=observation,
            action=action,
            reward=reward,
            terminated=flag,
            truncated=flag,
            next_observation=observation,
        )

    def init(self, key: jax.Array) -> DQNState:
        params_key, reset_key, warm_up_key, collect_key, sample_key = jax.random.split(
            as_key(key), 5
        )
        observation = jnp.zeros(self.env.observation.shape, self.env.observation.dtype)
        params = self.network.init(params_key, observation)
        actors = Actors.start(self.env, reset_key, self.num_envs)
        state = DQNState(
            collect_key=collect_key,
            sample_key=sample_key,
            params=params,
            target_params=copied(params),
            opt_state=ADAM.init(params),
            env_state=copied(actors.env_state),
            episode=actors.episode,
            buffer=replay.create(self._item, self.buffer_size),
        )

        def uniform(key, observation):
            if limits_actions(self.env):
                return uniform_among(key, self.env.available(observation))
            return jax.random.randint(key, (), 0, self.env.num_actions, jnp.int32)

        def warm_up(state, t):
            return self._collect(state, uniform, warm_up_key, t, t * self.transitions_per_step)[
                0
            ], None

        iterations = jnp.arange(self.learning_starts // self.transitions_per_step, dtype=jnp.int32)
        return time_scan(warm_up, state, iterations)[0]

    def step(self, state: DQNState, t: jax.Array):
        clock = t * self.transitions_per_step
        added = self.learning_starts + clock

        epsilon = at(self.epsilon, clock)

        def behavior(key, observation):
            values = self._masked(self._q(state.params, observation), observation)
            return epsilon_greedy(key, values, epsilon)

        state, metrics = self._collect(state, behavior, state.collect_key, t, added)
        sample_key = jax.random.fold_in(state.sample_key, t)
        added = added + self.transitions_per_step
        batch = replay.sample(state.buffer, self._item, sample_key, added, self.batch_size)
        (loss, q), gradient = jax.value_and_grad(self._loss, has_aux=True)(
            state.params, state.target_params, batch, at(self.discount, clock)
        )
        gradient = clip_by_norm(gradient, at(self.max_grad_norm, clock))
        direction, opt_state = ADAM.update(gradient, state.opt_state)
        params = optax.apply_updates(
            state.params, jax.tree.map(lambda d: -at(self.learning_rate, clock) * d, direction)
        )

        target_params = jax.lax.cond(
            (clock + self.transitions_per_step) % self.target_period == 0,
            lambda: optax.incremental_update(
                params, state.target_params, at(self.target_step_size, clock)
            ),
            lambda: state.target_params,
        )
        metrics |= {"loss": Mean(loss, jnp.float32(1)), "q": Mean(q, jnp.float32(1))}
        return state._replace(
            params=params, target_params=target_params, opt_state=opt_state
        ), metrics

    def snapshot(self, state: DQNState) -> DQNSnapshot:
        return DQNSnapshot(state.params, jax.tree.map(lambda x: x[0], state.env_state))

    def values(self, snapshot: DQNSnapshot, observation: jax.Array) -> jax.Array:
        return self._masked(self._q(snapshot.params, observation), observation)

    def env_state(self, snapshot: DQNSnapshot) -> Any:
        """The first environment's state, from which evaluations start."""
        return snapshot.env_state

    def _q(self, params: Any, observation: jax.Array) -> jax.Array:
        """Action values of a batch of any shape, float32 ``[..., A]``."""
        q = self.network.apply(params, observation)
        assert isinstance(q, jax.Array)  # flax may return further collections with it
        return q

    def _masked(self, q: jax.Array, observation: jax.Array) -> jax.Array:
        return mask_unavailable(self.env, q, observation)

    def _collect(self, state, choose, key, t, added):
        """Act for ``train_period`` steps in every environment, filling the buffer."""
        actors = Actors(state.env_state, state.episode)
        times = t * self.train_period + jnp.arange(self.train_period, dtype=jnp.int32)
        actors, transitions, metrics = rollout(self.env, choose, actors, key, times)
        size = self.transitions_per_step
        transitions = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), transitions)
        buffer = replay.write(state.buffer, transitions, added)
        state = state._replace(env_state=actors.env_state, episode=actors.episode, buffer=buffer)
        return state, metrics

    def _loss(self, params, target_params, batch, discount):
        """The loss over a batch, and the mean of the action values taken."""
        q = self._q(params, batch.observation)
        q_taken = jnp.take_along_axis(q, batch.action[:, None], axis=1)[:, 0]
        next_target = self._q(target_params, batch.next_observation)
        choosing = (
            self._q(params, batch.next_observation) if self.target == "double_q" else next_target
        )
        choosing = jax.vmap(self._masked)(choosing, batch.next_observation)
        targets = jax.vmap(TARGETS[self.target], (0, 0, 0, 0, None))(
            batch.reward, batch.terminated, choosing, next_target, discount
        )
        losses = LOSSES[self.loss](q_taken, jax.lax.stop_gradient(targets))
        return jnp.mean(losses), jnp.mean(q_taken)


def clip_by_norm(gradient: Any, max_norm: jax.Array) -> Any:
    """A gradient scaled down to ``max_norm`` if its global norm is larger.

    The numbers of ``optax.clip_by_global_norm``, with derivatives that are finite where
    the gradient is zero or ``max_norm`` infinite. Pascanu, Mikolov & Bengio, "On the
    difficulty of training recurrent neural networks" (ICML 2013).

    Args:
        gradient: a pytree of floats.
        max_norm: above 0, ``[]``.
    """
    square = optax.tree.norm(gradient, squared=True)
    norm = jnp.sqrt(jnp.where(square == 0, 1, square))
    within = (square == 0) | (norm < max_norm)
    # Both sides of a select are differentiated, so neither may be infinite.
    divisor = jnp.where(within, 1, norm)
    limit = jnp.where(within, 1, max_norm)
    return jax.tree.map(lambda g: jnp.where(within, g, g / divisor * limit), gradient)
