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

    def ascend(self, params: Any, opt_state: Any, gradient: Any, t: jax.Array) -> Any:
        """Parameters and optimizer state after a step along a gradient."""
        return self.descend(params, opt_state, jax.tree.map(jnp.negative, gradient), t)

    def next_weight(self, weight: jax.Array, discount: jax.Array) -> jax.Array:
        """The weight of the next step's policy gradient, ``[]``."""
        return weight * discount if self.discounted_states else weight

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
        value_weight: :math:`c_v`, not negative; for a learned baseline. The step is a
            sum over the episode, so that long episodes need a small one.
        baseline: ``"none"``: 0; ``"mean"``: the mean of the returns of all steps of
            earlier episodes; ``"learned"``: :math:`v_\theta(S_t)`. Static.
        discounted_states: whether the factor :math:`\gamma^t` is there. Without it,
            late steps count as much as early ones; the sum is then the gradient of
            nothing, but learning is faster in long episodes. Static.

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
        reward = transition.reward
        observation, action = transition.observation, transition.action
        if self.baseline == "learned":

            def differentiated(params):
                distribution, value = self.outputs(params, observation)
                return distribution.log_probability(action), value

            (_, baseline), gradient = jax.vjp(differentiated, state.params)
            critic = at(self.value_weight, t)
            now = gradient((memory.weight, critic))[0]
            expected = gradient((memory.weight * baseline, critic * baseline))[0]
            beyond = self.critic(state.params, transition.next_observation)
            goes_on = transition.truncated & ~transition.terminated
            reward = reward + discount * jnp.where(goes_on, beyond, 0)
        else:

            def log_probability(params):
                return self.distribution(params, observation).log_probability(action)

            now = jax.vjp(log_probability, state.params)[1](memory.weight)[0]
            mean = memory.past.total / jnp.maximum(memory.past.count, 1)
            baseline = mean if self.baseline == "mean" else 0.0
            expected = jax.tree.map(lambda g: baseline * g, now)

        trace = jax.tree.map(lambda z, g: discount * z + g, memory.trace, now)
        total = jax.tree.map(
            lambda sum, z, g: sum + reward * z - g, memory.gradient, trace, expected
        )
        ages = discount * memory.ages + 1
        returns = Mean(memory.returns.total + ages * reward, memory.returns.count + 1)
        weight = self.next_weight(memory.weight, discount)
        going = ReinforceMemory(trace, total, weight, ages, returns, memory.past)
        past = jax.tree.map(jnp.add, memory.past, returns)
        fresh = self.init_memory(state.params)._replace(past=past)
        params, opt_state = self.ascend(state.params, state.opt_state, total, t)
        learned = params, opt_state, fresh
        kept = state.params, state.opt_state, going
        params, opt_state, memory = _select(transition.done, learned, kept)
        return state._replace(params=params, opt_state=opt_state, memory=memory)


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
        observation = transition.observation

        def differentiated(params):
            distribution, value = self.outputs(params, observation)
            return distribution.log_probability(transition.action), value

        def bonus(params):
            entropy = self.entropy(self.distribution(params, observation))
            return at(self.entropy_weight, t) * entropy

        (_, value), gradient = jax.vjp(differentiated, state.params)
        beyond = self.critic(state.params, transition.next_observation)
        target = bellman.one_step(transition.reward, transition.terminated, beyond, discount)
        error = target - value
        now = gradient((memory.weight, at(self.value_weight, t)))[0]
        decay = discount * at(self.lambda_, t)
        trace = jax.tree.map(lambda z, g: decay * z + g, memory.trace, now)
        of_entropy = jax.grad(bonus)(state.params)
        total = jax.tree.map(lambda z, g: error * z + g, trace, of_entropy)
        params, opt_state = self.ascend(state.params, state.opt_state, total, t)
        going = TraceMemory(trace, self.next_weight(memory.weight, discount))
        memory = _select(transition.done, self.init_memory(params), going)
        return state._replace(params=params, opt_state=opt_state, memory=memory)


def _select(condition, x, y):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)
