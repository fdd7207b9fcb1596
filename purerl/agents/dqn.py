"""Deep Q-learning, by parts."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from purerl.agents.deep import DeepAgent
from purerl.agents.network import NetworkSnapshot, blank
from purerl.checks import (
    UNIT_INTERVAL,
    check_size,
    refusal,
)
from purerl.envs.base import Environment, Transition, limits_actions
from purerl.heads import Head, Output, Scalar, check_head
from purerl.metrics import Mean
from purerl.networks import MLP
from purerl.optimizers import Adam, Optimizer
from purerl.policy import Policy, PolicyInput, uniform_among
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.replay import Batch, Draw, Uniform, check_replay
from purerl.rollout import Actors, Episode, rollout
from purerl.schedule import Schedule, at, check_schedules, linear
from purerl.targets import ActionValues, QLearning, Target, check_target
from purerl.timescan import time_scan


class DQNState(NamedTuple):
    """State of DQN.

    Attributes:
        collect_key, sample_key: constant.
        params, target_params: of the online and of the target network.
        opt_state: of the optimizer.
        env_state, episode: of the environments, leaves ``[num_envs, ...]``.
        buffer: of the replay.
    """

    collect_key: jax.Array
    sample_key: jax.Array
    params: Any
    target_params: Any
    opt_state: optax.OptState
    env_state: Any
    episode: Episode
    buffer: Any


class DQN(DeepAgent):
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

    The parts may be exchanged: a :mod:`head <purerl.heads>` says what the network's
    outputs mean and gives the loss, a :mod:`target <purerl.targets>` says what is
    backed up, a :mod:`replay <purerl.replay>` what is drawn. The papers' agents in
    :mod:`purerl.agents.dqn_family` are DQNs of other parts.

    Attributes:
        env: the environment. The network sees observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of the optimizer, not negative. This and the other schedules are
            evaluated at the number of transitions since the warm-up.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: of the epsilon-greedy behavior, in ``[0, 1]``.
        target_step_size: :math:`\tau` in ``[0, 1]`` of
            :math:`\theta^- \leftarrow \tau \theta + (1 - \tau) \theta^-`: 1 copies,
            less is Polyak averaging.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0; infinite by default. Clipping limits the influence of rare large errors,
            for example at episode ends.
        behavior: the policy that acts while learning; None is epsilon-greedy.
        head: what the network says of the return, and the loss.
        target: what is backed up from the next state.
        replay: the buffer, whose capacity is a multiple of one iteration's transitions.
        optimizer: the direction of an update.
        network: any flax module that maps an observation to ``[A * K]`` numbers, ``K``
            as the head says. Where it has fields ``num_outputs``, ``num_actions``,
            ``observation_ndim`` or ``num_states``, these are filled in. If it has
            ``needs_noise``, every pass in training gets ``rngs={"noise": key}`` of a
            key of its own, and none in evaluation. Static, as is all that follows.
        target_period: transitions between two updates of the target network, a multiple
            of one iteration's.
        train_period: steps in each environment between two gradient steps.
        num_envs: environments stepped in parallel.
        batch_size: ``B``.
        learning_starts: transitions that ``init`` collects with uniformly drawn
            actions, a multiple of one iteration's.

    Raises:
        ValueError: a field out of range, sizes that do not divide as stated, or parts
            that do not go together.
    """

    env: Environment
    learning_rate: float | jax.Array | Schedule = 1e-3
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = linear(1.0, 0.05, 10_000)
    target_step_size: float | jax.Array | Schedule = 1.0
    max_grad_norm: float | jax.Array | Schedule = math.inf
    behavior: Policy | None = None
    head: Head = Scalar()
    target: Target = QLearning()
    replay: Uniform = Uniform()
    optimizer: Optimizer = Adam()
    network: nn.Module = static(default=MLP((120, 84)))
    target_period: int = static(default=500)
    train_period: int = static(default=10)
    num_envs: int = static(default=1)
    batch_size: int = static(default=128)
    learning_starts: int = static(default=1_000)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, target_step_size=UNIT_INTERVAL)
        check_head(self, "head")
        check_target(self, "target")
        check_replay(self, "replay")
        check_size(self, "train_period", "num_envs", "batch_size")
        check_size(self, "target_period", "learning_starts", multiple_of=self.transitions_per_step)
        self._check_parts()

    def _check_parts(self):
        """Check that the parts go together."""
        capacity, n = self.replay.capacity, self.replay.n
        if capacity % self.transitions_per_step:
            allowed = f"a positive multiple of {self.transitions_per_step}"
            raise refusal("DQN", "replay.capacity", capacity, allowed)
        if self.batch_size > capacity:
            allowed = f"at most replay.capacity, {capacity}"
            raise refusal("DQN", "batch_size", self.batch_size, allowed)
        most = (min(self.learning_starts, capacity) - 1) // self.num_envs
        if n - 1 > most:
            allowed = f"at most {most + 1}, which learning_starts and the capacity hold"
            raise refusal("DQN", "replay.n", n, allowed)
        if n > 1 and self.target.one_step:
            raise refusal("DQN", "replay.n", n, f"1 with the target {self.target}")
        fractions = self.head.fractions(None)
        if fractions is not None and hasattr(self.network, "num_actions"):
            # Such as Dueling, whose single number would be all that the head sees.
            head, network = type(self.head).__name__, type(self.network).__name__
            allowed = f"with the head {head} a network of features, such as MLP((120, 84))"
            raise refusal("DQN", "network", network, allowed)
        size = self.env.num_actions * self.head.num_outputs
        if fractions is None:
            self.check_network("network", self.q_network, size)
        else:
            self.check_network("network", self.q_network, size * len(fractions), fractions.shape)

    @property
    def transitions_per_step(self) -> int:
        return self.train_period * self.num_envs

    @property
    def warm_up(self) -> int:
        """Transitions that ``init`` collects."""
        return self.learning_starts

    @property
    def q_network(self) -> nn.Module:
        """The network as the head and the environment need it."""
        return self.fit_actions(self.head.network(self.network), self.head.num_outputs)

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
        fractions = self.head.fractions(None)
        inputs = (blank(self.env),) if fractions is None else (blank(self.env), fractions)
        params = self.q_network.init(params_key, *inputs)
        actors = Actors.start(self.env, reset_key, self.num_envs)
        state = DQNState(
            collect_key=collect_key,
            sample_key=sample_key,
            params=params,
            target_params=copied(params),
            opt_state=copied(self.optimizer.transformation().init(params)),
            env_state=copied(actors.env_state),
            episode=actors.episode,
            buffer=self.replay.init(self._item),
        )

        def uniform(key, observation):
            if limits_actions(self.env):
                return uniform_among(key, self.env.available(observation))
            return jax.random.randint(key, (), 0, self.env.num_actions, jnp.int32)

        def warm_up(state, t):
            added = t * self.transitions_per_step
            return self._collect(state, uniform, warm_up_key, t, added)[0], None

        iterations = jnp.arange(self.learning_starts // self.transitions_per_step, dtype=jnp.int32)
        return time_scan(warm_up, state, iterations)[0]

    def step(self, state: DQNState, t: jax.Array):
        clock = t * self.transitions_per_step
        added = self.learning_starts + clock

        def behavior(key, observation):
            noise = None
            if self.needs_noise:
                noise, key = jax.random.split(key)
            values = self._values(state.params, observation, noise)
            policy_input = PolicyInput(observation, values, None, clock)
            return self.behavior_policy.sample(key, policy_input)

        state, metrics = self._collect(state, behavior, state.collect_key, t, added)
        sample_key = jax.random.fold_in(state.sample_key, t)
        if self.needs_noise or self.head.fractions(None) is not None:
            sample_key, loss_key = jax.random.split(sample_key)
        else:
            loss_key = None
        draw = Draw(
            item=self._item,
            batch_size=self.batch_size,
            num_envs=self.num_envs,
            added=added + self.transitions_per_step,
            discount=at(self.discount, clock),
            t=clock,
        )
        batch = self.replay.sample(state.buffer, sample_key, draw)
        (loss, (q, priority)), gradient = jax.value_and_grad(self.loss, has_aux=True)(
            state.params, state.target_params, batch, loss_key
        )
        params, opt_state = self.descend(state.params, state.opt_state, gradient, clock)
        target_params = jax.lax.cond(
            (clock + self.transitions_per_step) % self.target_period == 0,
            lambda: optax.incremental_update(
                params, state.target_params, at(self.target_step_size, clock)
            ),
            lambda: state.target_params,
        )
        metrics |= {"loss": Mean(loss, jnp.float32(1)), "q": Mean(q, jnp.float32(1))}
        return state._replace(
            params=params,
            target_params=target_params,
            opt_state=opt_state,
            buffer=self.replay.learned(state.buffer, batch, priority),
        ), metrics

    def loss(
        self, params: Any, target_params: Any, batch: Batch, key: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The loss of a batch.

        Args:
            params, target_params: of the online and of the target network.
            batch: the transitions.
            key: consumed; None unless the network or the head draws.

        Returns:
            The loss, float32 ``[]``; the mean value of the actions taken, ``[]``, and
            the priorities ``[B]``.
        """
        keys = [None] * 7 if key is None else jax.random.split(key, 7)
        noise = keys[:5] if self.needs_noise else [None] * 5
        draws = self.head.fractions(None) is not None
        size = batch.index.shape[0]

        def of_each(key):
            return jax.random.split(key, size) if draws else None

        def one(transition, discount, key, target_key):
            observation, later = transition.observation, transition.next_observation
            output = self._output(params, observation, noise[0], key)
            next_output = self._output(target_params, later, noise[1], target_key, True)

            def target_values(observation, noise):
                return self._values(target_params, observation, noise)

            seen = self.head.values(next_output)
            values = ActionValues(
                # Drawn fractions would now and then make another action the best.
                target_values(later, noise[4]) if draws else self.masked(seen, later),
                lambda: self._values(params, later, noise[2]),
                lambda: target_values(observation, noise[3]),
            )
            backup = self.target.backup(values, transition.action)
            target = self.head.target(
                transition.reward, transition.terminated, discount, next_output, backup
            )
            loss, priority = self.head.loss(
                output, transition.action, jax.lax.stop_gradient(target)
            )
            return loss, self.head.values(output)[transition.action], priority

        losses, q, priority = jax.vmap(one)(
            batch.transition, batch.discount, of_each(keys[5]), of_each(keys[6])
        )
        return jnp.mean(batch.weight * losses), (jnp.mean(q), jax.lax.stop_gradient(priority))

    def values(self, snapshot: NetworkSnapshot, observation: jax.Array) -> jax.Array:
        return self._values(snapshot.params, observation)

    def _output(self, params, observation, noise=None, key=None, of_target=False) -> Output:
        """A network's outputs for an observation."""
        fractions = self.head.fractions(key, of_target)
        inputs = (observation,) if fractions is None else (observation, fractions)
        rngs = None if noise is None else {"noise": noise}
        numbers: Any = self.q_network.apply(params, *inputs, rngs=rngs)
        return Output(numbers.reshape(self.env.num_actions, -1), fractions)

    def _values(self, params, observation, noise=None) -> jax.Array:
        """Action values, ``-inf`` for an action that is not available, ``[A]``."""
        return self.masked(self.head.values(self._output(params, observation, noise)), observation)

    def _collect(self, state, choose, key, t, added):
        """Act for ``train_period`` steps in every environment, filling the buffer."""
        actors = Actors(state.env_state, state.episode)
        times = t * self.train_period + jnp.arange(self.train_period, dtype=jnp.int32)
        actors, transitions, metrics = rollout(self.env, choose, actors, key, times)
        size = self.transitions_per_step
        transitions = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), transitions)
        buffer = self.replay.write(state.buffer, transitions, added, self.num_envs)
        state = state._replace(env_state=actors.env_state, episode=actors.episode, buffer=buffer)
        return state, metrics
