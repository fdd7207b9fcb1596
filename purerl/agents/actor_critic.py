"""Advantage actor-critic and proximal policy optimization."""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purerl import surrogate
from purerl.agents.policy_network import PolicyNetworkAgent
from purerl.agents.rollouts import RolloutAgent, RolloutState
from purerl.checks import ABOVE_ZERO, NOT_NEGATIVE, check_choice, check_size, refusal
from purerl.envs.base import Transition
from purerl.metrics import Mean, Metrics
from purerl.optimizers import Adam, Optimizer, RMSProp
from purerl.pytree import static
from purerl.rollout import Actors, rollout
from purerl.schedule import Schedule, at, check_schedules
from purerl.updates import minibatches


class Rows(NamedTuple):
    r"""A rollout as updates see it, a row for each transition, leaves ``[N, ...]``.

    All is constant.

    Attributes:
        observation, action: :math:`S` and :math:`A`.
        log_probability: :math:`\ln \pi(A \mid S)` of the policy that acted.
        value: :math:`v(S)` at that time.
        target: the lambda-return :math:`G`.
        advantage: :math:`G - v(S)`, normalized or not.
    """

    observation: jax.Array
    action: jax.Array
    log_probability: jax.Array
    value: jax.Array
    target: jax.Array
    advantage: jax.Array


class AdvantageAgent(PolicyNetworkAgent, RolloutAgent):
    r"""Base class of agents that learn from the advantages of a rollout.

    One iteration acts for ``rollout_length`` steps in each of ``num_envs``
    environments. With the network that acted, it computes values, lambda-returns
    :math:`G` (:func:`purerl.bellman.lambda_return`, which bootstraps through
    truncation) and advantages :math:`\hat A = G - v(S)`. :meth:`improve` then learns
    from these rows, by the gradient of :meth:`loss`. Subclasses define both
    :meth:`improve` and :meth:`objective`.

    Attributes:
        env, initial_std, network, squash: see
            :class:`~purerl.agents.policy_network.PolicyNetworkAgent`.
        learning_rate: of the optimizer, not negative. This and the other schedules are
            evaluated at the number of transitions before the iteration.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0.
        optimizer: the direction of an update.
        lambda_: :math:`\lambda` in ``[0, 1]``.
        entropy_weight: :math:`c_h` of the entropy bonus, not negative.
        value_weight: :math:`c_v` of the value's loss, not negative.
        num_envs: environments stepped in parallel. Static, as is all below it.
        rollout_length: steps in each environment between two updates.
    """

    entropy_weight: float | jax.Array | Schedule = 0.0
    value_weight: float | jax.Array | Schedule = 0.5
    num_envs: int = static(default=8)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, entropy_weight=NOT_NEGATIVE, value_weight=NOT_NEGATIVE)

    def step(self, state: RolloutState, t: jax.Array):
        def behavior(key, observation):
            return self.distribution(state.params, observation).sample(key)

        actors, rolled, metrics = rollout(
            self.acting_env,
            behavior,
            Actors(state.env_state, state.episode),
            state.collect_key,
            self.times(t),
        )
        clock = t * self.transitions_per_step
        rows = self.rows(state.params, rolled, clock)
        key = jax.random.fold_in(state.update_key, t)
        params, opt_state, more = self.improve(key, state.params, state.opt_state, rows, clock)
        state = RolloutState(state.collect_key, state.update_key, params, opt_state, *actors)
        return state, metrics | more

    def rows(self, params: Any, rolled: Transition, clock: jax.Array) -> Rows:
        """The rows of a rollout, leaves ``[T * E, ...]``.

        Args:
            params: with which it was collected.
            rolled: its transitions, leaves ``[T, E, ...]``.
            clock: the time of schedules, int32 ``[]``.
        """

        def of_one(transition):
            distribution, value = self.outputs(params, transition.observation)
            log_probability = distribution.log_probability(transition.action)
            return log_probability, value, self.critic(params, transition.next_observation)

        log_probability, value, next_value = jax.vmap(jax.vmap(of_one))(rolled)
        target = self.returns(rolled, next_value, clock)
        rows = Rows(
            observation=rolled.observation,
            action=rolled.action,
            log_probability=log_probability,
            value=value,
            target=target,
            advantage=target - value,
        )
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)

    def improve(
        self, key: jax.Array, params: Any, opt_state: Any, rows: Rows, clock: jax.Array
    ) -> tuple[Any, Any, Metrics]:
        """Parameters and optimizer state after learning from a rollout, and metrics.

        The key is consumed.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define improve")

    def objective(self, log_probability: jax.Array, row: Rows, clock: jax.Array) -> jax.Array:
        """The policy's objective at one row, ``[]``; its mean is maximized."""
        raise NotImplementedError(f"{type(self).__name__} does not define objective")

    def value_loss(self, value: jax.Array, row: Rows, clock: jax.Array) -> jax.Array:
        """The critic's loss at one row, ``[]``: half the squared error."""
        del clock
        return optax.l2_loss(value, row.target)

    def loss(
        self, params: Any, rows: Rows, clock: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of some rows, and measures that become metrics, each ``[]``."""

        def of_one(row):
            distribution, value = self.outputs(params, row.observation)
            log_probability = distribution.log_probability(row.action)
            log_ratio = log_probability - row.log_probability
            return {
                "objective": self.objective(log_probability, row, clock),
                "value_loss": self.value_loss(value, row, clock),
                "entropy": self.entropy(distribution),
                "kl": jnp.expm1(log_ratio) - log_ratio,
            }

        means = jax.tree.map(jnp.mean, jax.vmap(of_one)(rows))
        loss = (
            at(self.value_weight, clock) * means["value_loss"]
            - at(self.entropy_weight, clock) * means["entropy"]
            - means.pop("objective")
        )
        return loss, means | {"loss": loss}

    def learn(
        self, params: Any, opt_state: Any, rows: Rows, clock: jax.Array
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """Parameters and optimizer state after a step on the loss of some rows, and
        measures."""
        gradient, measures = jax.grad(self.loss, has_aux=True)(params, rows, clock)
        return *self.descend(params, opt_state, gradient, clock), measures


class A2C(AdvantageAgent):
    r"""Advantage actor-critic: one step along the policy gradient after each rollout.

    .. math::
        L(\theta) = \frac1N \sum_{i=1}^N \left[
            -\ln \pi_\theta(A_i \mid S_i) \, \hat A_i
            + \frac{c_v}2 (G_i - v_\theta(S_i))^2
            - c_h H(\pi_\theta(\cdot \mid S_i)) \right],
        \qquad \hat A_i = G_i - v(S_i),

    where :math:`G` is the lambda-return and :math:`\hat A` constant. It is the
    synchronous form of Mnih et al., "Asynchronous methods for deep reinforcement
    learning" (ICML 2016), which has :math:`\lambda = 1`; with less it has the
    advantages of Schulman et al., "High-dimensional continuous control using
    generalized advantage estimation" (ICLR 2016).

    Attributes:
        env, initial_std, network, squash: see
            :class:`~purerl.agents.policy_network.PolicyNetworkAgent`.
        learning_rate, discount, max_grad_norm, optimizer, lambda_, entropy_weight,
            value_weight, num_envs, rollout_length: see
            :class:`~purerl.agents.actor_critic.AdvantageAgent`.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    learning_rate: float | jax.Array | Schedule = 7e-4
    max_grad_norm: float | jax.Array | Schedule = 0.5
    optimizer: Optimizer = RMSProp(decay=0.99, eps=1e-5, centered=False)
    lambda_: float | jax.Array | Schedule = 1.0
    rollout_length: int = static(default=5)

    def objective(self, log_probability, row, clock):
        del clock
        return surrogate.policy_gradient(log_probability, row.advantage)

    def improve(self, key, params, opt_state, rows, clock):
        del key
        params, opt_state, measures = self.learn(params, opt_state, rows, clock)
        del measures["kl"]  # which is 0 before the first step
        return params, opt_state, {k: Mean(v, jnp.float32(1)) for k, v in measures.items()}


class PPO(AdvantageAgent):
    r"""Proximal policy optimization: several epochs on a clipped objective.

    .. math::
        L(\theta) = \frac1N \sum_{i=1}^N \left[
            -\min\left(\rho_i \hat A_i, \;
                \min(\max(\rho_i, 1 - \epsilon), 1 + \epsilon) \hat A_i\right)
            + \frac{c_v}2 (G_i - v_\theta(S_i))^2
            - c_h H(\pi_\theta(\cdot \mid S_i)) \right],
        \qquad \rho_i = \frac{\pi_\theta(A_i \mid S_i)}{\pi(A_i \mid S_i)},

    where :math:`\pi` is the policy that acted, with
    :math:`\hat A = G - v(S)` and the lambda-return :math:`G` under its network. One
    iteration goes through the rollout ``epochs`` times, in ``minibatches`` parts.
    Schulman et al., "Proximal policy optimization algorithms" (2017).

    Attributes:
        env, initial_std, network, squash: see
            :class:`~purerl.agents.policy_network.PolicyNetworkAgent`.
        learning_rate, discount, max_grad_norm, optimizer, lambda_, entropy_weight,
            value_weight, num_envs, rollout_length: see
            :class:`~purerl.agents.actor_critic.AdvantageAgent`.
        clip: :math:`\epsilon`, above 0.
        value_clip: the value's loss ignores what moves it further than this from the
            value under the policy that acted, above 0; infinite by default. See
            :func:`purerl.surrogate.clipped_value_loss`.
        normalize: whether advantages are shifted and scaled to mean 0 and variance 1:
            ``"none"``, over the ``"rollout"``, or over each ``"minibatch"``, which
            biases the gradient but makes it independent of the scale of rewards.
            Static, as is all below it.
        epochs: passes over a rollout.
        minibatches: gradient steps of one pass, a divisor of the rollout's transitions.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    learning_rate: float | jax.Array | Schedule = 3e-4
    max_grad_norm: float | jax.Array | Schedule = 0.5
    optimizer: Optimizer = Adam(eps=1e-5)
    clip: float | jax.Array | Schedule = 0.2
    value_clip: float | jax.Array | Schedule = math.inf
    normalize: Literal["none", "rollout", "minibatch"] = static(default="minibatch")
    epochs: int = static(default=4)
    minibatches: int = static(default=4)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, clip=ABOVE_ZERO, value_clip=ABOVE_ZERO)
        check_choice(self, normalize=("none", "rollout", "minibatch"))
        check_size(self, "epochs", "minibatches")
        if self.transitions_per_step % self.minibatches:
            allowed = f"a divisor of num_envs * rollout_length, {self.transitions_per_step}"
            raise refusal("PPO", "minibatches", self.minibatches, allowed)
        groups = {"none": 0, "rollout": 1, "minibatch": self.minibatches}[self.normalize]
        if self.transitions_per_step == groups:
            what = f"{self.normalize!r}, of a single transition, whose advantage becomes 0"
            raise refusal("PPO", "normalize", what, "'none', or more transitions")

    def objective(self, log_probability, row, clock):
        clip = at(self.clip, clock)
        return surrogate.clipped(log_probability, row.log_probability, row.advantage, clip)

    def value_loss(self, value, row, clock):
        clip = at(self.value_clip, clock)
        return surrogate.clipped_value_loss(value, row.value, row.target, clip)

    def improve(self, key, params, opt_state, rows, clock):
        if self.normalize == "rollout":
            rows = _standardized(rows)

        def update(carry, index):
            part = jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), rows)
            part = _standardized(part) if self.normalize == "minibatch" else part
            params, opt_state = carry
            params, opt_state, measures = self.learn(params, opt_state, part, clock)
            return (params, opt_state), measures

        parts = minibatches(key, self.transitions_per_step, self.minibatches, self.epochs)
        (params, opt_state), measures = jax.lax.scan(update, (params, opt_state), parts)
        count = jnp.float32(len(parts))
        return params, opt_state, {k: Mean(jnp.sum(v), count) for k, v in measures.items()}


def _standardized(rows):
    """Rows whose advantages have mean 0 and variance 1, or are all 0."""
    centered = rows.advantage - jnp.mean(rows.advantage)
    return rows._replace(advantage=centered / (jnp.std(rows.advantage) + 1e-8))
