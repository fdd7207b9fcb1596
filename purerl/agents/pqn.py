"""Parallelized Q-network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from purerl.agents.deep import DeepAgent
from purerl.agents.network import NetworkSnapshot, blank
from purerl.agents.rollouts import RolloutAgent, RolloutState
from purerl.checks import check_size, refusal
from purerl.metrics import Mean
from purerl.networks import MLP
from purerl.optimizers import Optimizer, RAdam
from purerl.policy import PolicyInput
from purerl.pytree import static
from purerl.rollout import Actors, rollout
from purerl.schedule import Schedule, linear
from purerl.updates import minibatches


class PQN(RolloutAgent, DeepAgent):
    r"""Parallelized Q-network: Q-learning without replay buffer and target network.

    One iteration acts for ``rollout_length`` steps in each of ``num_envs`` environments
    and computes Peng's :math:`Q(\lambda)` returns of these transitions,

    .. math::
        G_t = R_{t+1} + \gamma (1 - d_t) \left[
            (1 - \lambda) \max_a Q_\theta(S_{t+1}, a) + \lambda \, G_{t+1} \right],

    with the parameters that acted. Then it goes through them ``epochs`` times in
    ``minibatches`` parts, each a step on the mean of
    :math:`\frac12 (G_t - Q_\theta(S_t, A_t))^2`. What replay and target network do for
    DQN, many environments and layer normalization do here. Gallici et al., "Simplifying
    deep temporal difference learning" (ICLR 2025); Peng & Williams, "Incremental
    multi-step Q-learning" (Machine Learning 22, 1996).

    Attributes:
        env: the environment. The network sees observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of the optimizer, not negative. This and the other schedules are
            evaluated at the number of transitions before the iteration.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: of the epsilon-greedy behavior, in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0.
        behavior: the policy that acts while learning; None is epsilon-greedy.
        optimizer: the direction of an update.
        network: any flax module that maps an observation to ``[A]`` numbers, see
            :class:`~purerl.agents.dqn.DQN`. Static, as is all below ``lambda_``.
        lambda_: :math:`\lambda` in ``[0, 1]``.
        num_envs: environments stepped in parallel.
        rollout_length: steps in each environment between two updates.
        epochs: passes over a rollout.
        minibatches: gradient steps of one pass, a divisor of the rollout's transitions.

    Raises:
        ValueError: a field out of range, or sizes that do not divide as stated.
    """

    learning_rate: float | jax.Array | Schedule = 1e-3
    epsilon: float | jax.Array | Schedule = linear(1.0, 0.05, 50_000)
    max_grad_norm: float | jax.Array | Schedule = 10.0
    optimizer: Optimizer = RAdam()
    network: nn.Module = static(default=MLP((128, 128), layer_norm=True))
    epochs: int = static(default=2)
    minibatches: int = static(default=8)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "epochs", "minibatches")
        if self.transitions_per_step % self.minibatches:
            allowed = f"a divisor of num_envs * rollout_length, {self.transitions_per_step}"
            raise refusal("PQN", "minibatches", self.minibatches, allowed)
        self.check_network("network", self.q_network, self.env.num_actions)

    def init_params(self, key: jax.Array) -> Any:
        return self.q_network.init(key, blank(self.env))

    def step(self, state: RolloutState, t: jax.Array):
        clock = t * self.transitions_per_step

        def behavior(key, observation):
            noise = None
            if self.needs_noise:
                noise, key = jax.random.split(key)
            values = self._values(state.params, observation, noise)
            policy_input = PolicyInput(observation, values, None, clock)
            return self.behavior_policy.sample(key, policy_input)

        actors, rolled, metrics = rollout(
            self.env,
            behavior,
            Actors(state.env_state, state.episode),
            state.collect_key,
            self.times(t),
        )

        best = jax.vmap(jax.vmap(lambda seen: jnp.max(self._values(state.params, seen))))
        returns = self.returns(rolled, best(rolled.next_observation), clock)
        experience = jax.tree.map(
            lambda x: x.reshape(self.transitions_per_step, *x.shape[2:]),
            (rolled.observation, rolled.action, returns),
        )

        def update(carry, inputs):
            params, opt_state = carry
            key, index = inputs
            part = jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), experience)
            noise = key if self.needs_noise else None
            (loss, q), gradient = jax.value_and_grad(self.loss, has_aux=True)(params, *part, noise)
            return self.descend(params, opt_state, gradient, clock), (loss, q)

        shuffle_key, noise_key = jax.random.split(jax.random.fold_in(state.update_key, t))
        parts = minibatches(shuffle_key, self.transitions_per_step, self.minibatches, self.epochs)
        keys = jax.random.split(noise_key, len(parts))
        (params, opt_state), (loss, q) = jax.lax.scan(
            update, (state.params, state.opt_state), (keys, parts)
        )
        count = jnp.float32(len(parts))
        metrics |= {"loss": Mean(jnp.sum(loss), count), "q": Mean(jnp.sum(q), count)}
        return RolloutState(
            state.collect_key, state.update_key, params, opt_state, *actors
        ), metrics

    def loss(
        self,
        params: Any,
        observation: jax.Array,
        action: jax.Array,
        returns: jax.Array,
        noise: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """The loss of a minibatch, and the mean value of actions taken, both ``[]``.

        Args:
            params: of the network.
            observation: ``[B, ...]``.
            action: int32 ``[B]``.
            returns: float32 ``[B]``, constant.
            noise: consumed; None unless the network draws noise.
        """

        def taken(observation, action):
            return self._q(params, observation, noise)[action]

        q = jax.vmap(taken)(observation, action)
        return jnp.mean(optax.l2_loss(q, returns)), jnp.mean(q)

    def values(self, snapshot: NetworkSnapshot, observation: jax.Array) -> jax.Array:
        return self._values(snapshot.params, observation)

    def _q(self, params, observation, noise=None) -> jax.Array:
        """The network's outputs, float32 ``[A]``."""
        rngs = None if noise is None else {"noise": noise}
        q: Any = self.q_network.apply(params, observation, rngs=rngs)
        return q.reshape(self.env.num_actions)

    def _values(self, params, observation, noise=None) -> jax.Array:
        return self.masked(self._q(params, observation, noise), observation)
