"""Policy gradient from a single stream of experience: REINFORCE, and actor-critic with
eligibility traces."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purerl import bellman
from purerl.agents.network import NetworkSnapshot
from purerl.agents.policy_network import PolicyNetworkAgent
from purerl.checks import NOT_NEGATIVE, UNIT_INTERVAL, check_choice
from purerl.envs.base import Transition
from purerl.metrics import Mean
from purerl.optimizers import SGD, Optimizer
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.rollout import Episode, advance
from purerl.schedule import Schedule, at, check_schedules
from purerl.updates import descend


class OnlineState(NamedTuple):
    """State of an agent that learns from one stream.

    Attributes:
        key: constant.
        params: of the network and, for continuous actions, ``log_std``.
        opt_state: of the optimizer.
        env_state: state of the environment.
        episode: for the metrics.
        memory: what the agent keeps of the episode.
    """

    key: jax.Array
    params: Any
    opt_state: optax.OptState
    env_state: Any
    episode: Episode
    memory: Any


class OnlinePolicyAgent(PolicyNetworkAgent):
    """Base class of agents that take one step in one environment and learn from it.

    Subclasses define :meth:`init_memory` and :meth:`learn`.
    """

    value_weight: float | jax.Array | Schedule = 1.0
    discounted_states: bool = static(default=True)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, value_weight=NOT_NEGATIVE)
        check_choice(self, discounted_states=(False, True))

    transitions_per_step = 1

    def init_memory(self, params: Any) -> Any:
        """The memory at the start, given the initial parameters."""
        raise NotImplementedError(f"{type(self).__name__} does not define init_memory")

    def learn(self, state: OnlineState, transition: Transition, t: jax.Array) -> OnlineState:
        """Parameters, optimizer state and memory after a transition."""
        raise NotImplementedError(f"{type(self).__name__} does not define learn")

    def init(self, key: jax.Array) -> OnlineState:
        params_key, reset_key, key = jax.random.split(as_key(key), 3)
        params = self.init_params(params_key)
        opt_state = self.optimizer.transformation().init(params)
        env_state = self.env.reset(reset_key)
        memory = self.init_memory(params)
        return copied(OnlineState(key, params, opt_state, env_state, Episode.new(), memory))

    def step(self, state: OnlineState, t: jax.Array):
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        observation = self.env.observe(state.env_state)
        action = self.distribution(state.params, observation).sample(act_key)
        env_state, episode, transition, metrics = advance(
            self.acting_env, env_key, state.env_state, state.episode, action
        )
        state = state._replace(env_state=env_state, episode=episode)
        return self.learn(state, transition, t), metrics

    def of_step(self, params: Any, transition: Transition) -> dict[str, jax.Array]:
        """What is differentiated at a transition, each ``[]``: the log-probability of
        the action, the value and the entropy."""
        distribution, value = self.outputs(params, transition.observation)
        return {
            "log_probability": distribution.log_probability(transition.action),
            "value": value,
            "entropy": self.entropy(distribution),
        }

    def ascend(self, params: Any, opt_state: Any, gradient: Any, t: jax.Array) -> tuple[Any, Any]:
        """Parameters and optimizer state after a step along a gradient."""
        downhill = jax.tree.map(jnp.negative, gradient)
        rate, norm = at(self.learning_rate, t), at(self.max_grad_norm, t)
        return descend(self.optimizer, params, opt_state, downhill, rate, norm)

    def snapshot(self, state: OnlineState) -> NetworkSnapshot:
        return NetworkSnapshot(state.params, state.env_state)


class ReinforceMemory(NamedTuple):
    """Sums over the episode so far, which make its gradient.

    Attributes:
        trace: of gradients, in the structure of the parameters.
        gradient: what the episode's rewards so far contribute, in the same structure.
        weight: of the next step, float32 ``[]``.
        ages: sum of the discounts by which the next reward counts for earlier returns.
        returns: sum and number of all returns of this episode's steps so far.
        past: sum and number of those of earlier episodes.
    """

    trace: Any
    gradient: Any
    weight: jax.Array
    ages: jax.Array
    returns: Mean
    past: Mean


class Reinforce(OnlinePolicyAgent):
    r"""REINFORCE: one step along the policy gradient after each whole episode.

    .. math::
        \theta \leftarrow \theta + \alpha \sum_{t=0}^{T-1} \left[
            \gamma^t (G_t - b_t) \nabla \ln \pi_\theta(A_t \mid S_t)
            + c_v (G_t - v_\theta(S_t)) \nabla v_\theta(S_t) \right],
        \qquad G_t = \sum_{k=t}^{T-1} \gamma^{k-t} R_{k+1},

    whose first part has the gradient of the expected return
    :math:`\mathbb E[G_0]` for its mean, whatever the baseline :math:`b_t`. The
    gradient of an episode is summed up while it lasts: a reward counts for every
    earlier step by a trace of their gradients. Williams, "Simple statistical
    gradient-following algorithms for connectionist reinforcement learning" (Machine
    Learning 8, 1992); Sutton & Barto, *Reinforcement Learning* (2nd ed., 2018),
    sections 13.3 and 13.4, whose two step sizes are here :math:`\alpha` and
    :math:`\alpha c_v`.

    An episode that was truncated ends there; with a learned baseline, its return
    continues with the value of the state reached.

    Attributes:
        env, network, initial_std, squash: see
            :class:`~purerl.agents.policy_network.PolicyNetworkAgent`.
        learning_rate: :math:`\alpha`, not negative. This and the other schedules are
            evaluated at the number of transitions.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: the sum's global norm is scaled down to it, above 0; infinite by
            default.
        optimizer: the direction of an update; by default the gradient itself.
        value_weight: :math:`c_v`, not negative; for a learned baseline.
        baseline: ``"none"``: 0; ``"mean"``: the mean of the returns of all steps of
            earlier episodes; ``"learned"``: :math:`v_\theta(S_t)`. Static.
        discounted_states: whether the factor :math:`\gamma^t` is there. Without it,
            late
            steps count as much as early ones; the sum is then the gradient of nothing,
            but learning is faster in long episodes. Static.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    optimizer: Optimizer = SGD()
    baseline: Literal["none", "mean", "learned"] = static(default="learned")

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, baseline=("none", "mean", "learned"))

    def init_memory(self, params):
        zeros = optax.tree.zeros_like(params)
        none = Mean(jnp.float32(0), jnp.float32(0))
        return ReinforceMemory(zeros, zeros, jnp.float32(1), jnp.float32(0), none, none)

    def learn(self, state, transition, t):
        discount, memory = at(self.discount, t), state.memory
        learned = self.baseline == "learned"
        step, vjp = jax.vjp(lambda params: self.of_step(params, transition), state.params)

        def gradient(of_policy, of_value):
            parts = {"log_probability": of_policy, "value": of_value * learned, "entropy": 0.0}
            return vjp(jax.tree.map(jnp.float32, parts))[0]

        past = memory.past
        baseline = {
            "none": jnp.float32(0),
            "mean": past.total / jnp.maximum(past.count, 1),
            "learned": step["value"],
        }[self.baseline]
        reward = transition.reward
        if learned:
            beyond = self.critic(state.params, transition.next_observation)
            goes_on = transition.truncated & ~transition.terminated
            reward = reward + discount * jnp.where(goes_on, beyond, 0)

        value_weight = at(self.value_weight, t)
        now = gradient(memory.weight, value_weight)
        expected = gradient(memory.weight * baseline, value_weight * step["value"])
        trace = jax.tree.map(lambda z, g: discount * z + g, memory.trace, now)
        total = jax.tree.map(
            lambda sum, z, g: sum + reward * z - g, memory.gradient, trace, expected
        )
        ages = discount * memory.ages + 1
        returns = Mean(memory.returns.total + ages * reward, memory.returns.count + 1)
        params, opt_state = self.ascend(state.params, state.opt_state, total, t)
        done = transition.done
        fresh = self.init_memory(state.params)._replace(
            past=jax.tree.map(jnp.add, memory.past, returns)
        )
        weight = memory.weight * discount if self.discounted_states else memory.weight
        going = ReinforceMemory(trace, total, weight, ages, returns, memory.past)
        return state._replace(
            params=_select(done, params, state.params),
            opt_state=_select(done, opt_state, state.opt_state),
            memory=_select(done, fresh, going),
        )


class TraceMemory(NamedTuple):
    """What actor-critic keeps of an episode.

    Attributes:
        trace: :math:`z`, in the structure of the parameters.
        weight: of the policy's gradient in the next step, float32 ``[]``.
    """

    trace: Any
    weight: jax.Array


class ActorCriticLambda(OnlinePolicyAgent):
    r"""Actor-critic with eligibility traces, which learns at every step.

    .. math::
        \delta = R + \gamma (1 - d) v_\theta(S') - v_\theta(S), \qquad
        z \leftarrow \gamma \lambda z + \gamma^t \nabla \ln \pi_\theta(A \mid S)
            + c_v \nabla v_\theta(S), \qquad
        \theta \leftarrow \theta + \alpha \left[
            \delta z + c_h \nabla H(\pi_\theta(\cdot \mid S)) \right],

    where :math:`t` counts the steps of the episode and :math:`z` starts from 0 in each.
    Sutton & Barto, *Reinforcement Learning* (2nd ed., 2018), section 13.5, with one
    trace for both and :math:`c_v` for the ratio of their step sizes. Without
    ``discounted_states`` it is the actor-critic of Young & Tian, "MinAtar" (2019).

    Attributes:
        env, network, initial_std, squash: see
            :class:`~purerl.agents.policy_network.PolicyNetworkAgent`.
        learning_rate: :math:`\alpha`, not negative. This and the other schedules are
            evaluated at the number of transitions.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: the bracket's global norm is scaled down to it, above 0; infinite
            by default.
        optimizer: the direction of an update; by default the bracket itself.
        value_weight: :math:`c_v`, not negative.
        lambda_: :math:`\lambda` in ``[0, 1]``.
        entropy_weight: :math:`c_h`, not negative.
        discounted_states: whether the factor :math:`\gamma^t` is there. Static.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    optimizer: Optimizer = SGD()
    lambda_: float | jax.Array | Schedule = 0.8
    entropy_weight: float | jax.Array | Schedule = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL, entropy_weight=NOT_NEGATIVE)

    def init_memory(self, params):
        return TraceMemory(optax.tree.zeros_like(params), jnp.float32(1))

    def learn(self, state, transition, t):
        discount, memory = at(self.discount, t), state.memory
        step, vjp = jax.vjp(lambda params: self.of_step(params, transition), state.params)

        def gradient(of_policy, of_value, of_entropy):
            parts = {"log_probability": of_policy, "value": of_value, "entropy": of_entropy}
            return vjp(jax.tree.map(jnp.float32, parts))[0]

        beyond = self.critic(state.params, transition.next_observation)
        target = bellman.one_step(transition.reward, transition.terminated, beyond, discount)
        error = target - step["value"]
        now = gradient(memory.weight, at(self.value_weight, t), 0.0)
        decay = discount * at(self.lambda_, t)
        trace = jax.tree.map(lambda z, g: decay * z + g, memory.trace, now)
        bonus = gradient(0.0, 0.0, at(self.entropy_weight, t))
        total = jax.tree.map(lambda z, g: error * z + g, trace, bonus)
        params, opt_state = self.ascend(state.params, state.opt_state, total, t)
        weight = memory.weight * discount if self.discounted_states else memory.weight
        going = TraceMemory(trace, weight)
        memory = _select(transition.done, self.init_memory(params), going)
        return state._replace(params=params, opt_state=opt_state, memory=memory)


def _select(condition, x, y):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)
