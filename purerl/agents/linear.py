r"""Control with action values that are linear in features of observations.

Values are :math:`\hat q(s, a) = w_a^\top x(s)`, with weights for each action. All three
methods are semi-gradient methods: the error of the last value moves the weights of its
own features, :math:`w_A \leftarrow w_A + \alpha \delta x(S)`. With :math:`d` the
terminated flag:

================== =====================================================================
method             :math:`\delta`
================== =====================================================================
Sarsa              :math:`R + \gamma (1 - d) \, \hat q(S', A') - \hat q(S, A)`
Q-learning         :math:`R + \gamma (1 - d) \max_a \hat q(S', a) - \hat q(S, A)`
differential Sarsa :math:`R - \bar R + \hat q(S', A') - \hat q(S, A)`
================== =====================================================================

With an indicator of the state for features, they are the tabular methods. A step moves
:math:`\hat q(S, A)` by :math:`\alpha \delta \lVert x(S) \rVert^2`: with tile coding,
where that norm is the number of tilings, the usual step size is a tenth to a half
divided by it. Sutton & Barto, *Reinforcement Learning* (2nd ed., 2018), chapter 10.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl import bellman
from purerl.agents.base import GreedyAgent
from purerl.agents.tabular.n_step import Window
from purerl.checks import FINITE, NOT_NEGATIVE, UNIT_INTERVAL, check_numbers, check_size, refusal
from purerl.envs.base import Transition, mask_unavailable
from purerl.envs.contract import observes_index
from purerl.features import Features, add, check_features, count, dot, is_sparse
from purerl.policy import EpsilonGreedy, Policy, PolicyInput, check_policies
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.rollout import Episode, advance
from purerl.schedule import Schedule, at, check_schedules


class LinearState(NamedTuple):
    """State of a linear control agent.

    Attributes:
        key: constant.
        env_state: state of the environment.
        weights: :math:`w`, float32 ``[F, A]``.
        memory: whatever else the agent keeps.
        episode: for the metrics.
    """

    key: jax.Array
    env_state: Any
    weights: jax.Array
    memory: Any
    episode: Episode


class LinearSnapshot(NamedTuple):
    """Snapshot of a linear control agent: all that acting needs.

    Attributes:
        weights: :math:`w`, float32 ``[F, A]``.
        env_state: state of the environment.
        gain: estimated average reward, float32 ``[]``; None where it is not estimated.
    """

    weights: jax.Array
    env_state: Any
    gain: jax.Array | None = None


class LinearControl(GreedyAgent):
    r"""Base class of agents with linear action values, updated from one transition per
    step and evaluated greedily.

    Subclasses define :meth:`learn`, and :meth:`init_memory` if they need more state
    than their weights.

    Attributes:
        env: the environment.
        features: :math:`x`, a function of an observation such as
            :class:`~purerl.features.TileCoding` (see :mod:`purerl.features`). None
            takes the indicator of the state where ``env`` observes its index, and
            elsewhere the observation itself, flattened.
        learning_rate: :math:`\alpha`, not negative. A schedule is evaluated at ``t``.
        epsilon: in ``[0, 1]``, for the default behavior. A schedule is evaluated at
            ``t``.
        initial_value: of every weight. With tile coding the first action values are
            this number times the number of tilings.
        behavior: the policy that acts while learning; epsilon-greedy by default. It may
            not need visit counts.

    Raises:
        ValueError: a field out of range, or ``env`` is no environment with finitely
            many actions.
    """

    features: Features | None = None
    learning_rate: float | jax.Array | Schedule = 0.1
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None

    lanes = 128
    fewest_lanes = 2

    def __post_init__(self):
        super().__post_init__()
        check_features(self, "features")
        check_policies(self, "behavior")
        check_schedules(self, learning_rate=NOT_NEGATIVE, epsilon=UNIT_INTERVAL)
        check_numbers(self, initial_value=FINITE)
        if self.behavior is not None and self.behavior.needs_visits:
            allowed = "a policy that needs no visit counts"
            raise refusal(type(self).__name__, "behavior", self.behavior, allowed)

    @property
    def behavior_policy(self) -> Policy:
        """The policy that acts while learning."""
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def init_memory(self) -> Any:
        """The initial ``memory``."""
        return None

    def learn(
        self, key: jax.Array, state: LinearState, transition: Transition, t: jax.Array
    ) -> LinearState:
        """The update: ``weights`` and ``memory`` after a transition.

        ``state.env_state`` is already the one to continue from.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define learn")

    def x(self, observation: jax.Array) -> jax.Array:
        """The features of an observation, float32 ``[F]``, or the indices of those that
        are 1, int32 ``[k]``."""
        if self.features is not None:
            x = self.features(observation)
        elif observes_index(self.env):
            x = observation[None]
        else:
            x = jnp.ravel(observation).astype(jnp.float32)
        return x.astype(jnp.int32 if is_sparse(x) else jnp.float32)

    @property
    def num_features(self) -> int:
        """``F``."""
        env: Any = self.env
        if self.features is None and observes_index(env):
            return env.num_states
        features = self.x if self.features is None else self.features
        return count(type(self).__name__, features, env.observation)

    def init(self, key: jax.Array) -> LinearState:
        reset_key, key = jax.random.split(as_key(key))
        shape = self.num_features, self.env.num_actions
        weights = jnp.full(shape, self.initial_value, jnp.float32)
        env_state = self.env.reset(reset_key)
        return copied(LinearState(key, env_state, weights, self.init_memory(), Episode.new()))

    def step(self, state: LinearState, t: jax.Array):
        act_key, env_key, learn_key = jax.random.split(jax.random.fold_in(state.key, t), 3)
        action = self.choose(act_key, state, t)
        env_state, episode, transition, metrics = advance(
            self.env, env_key, state.env_state, state.episode, action
        )
        state = state._replace(env_state=env_state, episode=episode)
        return self.learn(learn_key, state, transition, t), metrics

    def choose(self, key: jax.Array, state: LinearState, t: jax.Array) -> jax.Array:
        """The behavior policy's action in the current state, int32 ``[]``."""
        observation = self.env.observe(state.env_state)
        return self.behavior_policy.sample(key, self.policy_input(state.weights, observation, t))

    def policy_input(self, weights: jax.Array, observation: jax.Array, t: jax.Array) -> PolicyInput:
        """Inputs of the policies where something is observed."""
        return PolicyInput(observation, self.q_values(weights, observation), None, t)

    def q_values(self, weights: jax.Array, observation: jax.Array) -> jax.Array:
        r""":math:`\hat q(s, \cdot)`, float32 ``[A]``.

        ``-inf`` for an action that is not available.
        """
        return mask_unavailable(self.env, dot(weights, self.x(observation)), observation)

    def snapshot(self, state: LinearState) -> LinearSnapshot:
        return LinearSnapshot(state.weights, state.env_state)

    def values(self, snapshot: LinearSnapshot, observation: jax.Array) -> jax.Array:
        return self.q_values(snapshot.weights, observation)

    def env_state(self, snapshot: LinearSnapshot) -> Any:
        """The environment's state, from which evaluations start."""
        return snapshot.env_state


class LinearSARSA(LinearControl):
    r"""Episodic semi-gradient Sarsa, with one step or several.

    .. math::
        w_A \leftarrow w_A + \alpha \left( G - \hat q(S_\tau, A_\tau) \right) x(S_\tau),
        \qquad
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i}
            + \gamma^n \hat q(S_{\tau+n}, A_{\tau+n})

    The sum ends with the episode, without the last term where it terminates. Where the
    episode is truncated, the last term is the value of the state reached and of an
    action drawn for it. :math:`A_{\tau+n}` is chosen before the update, as in the book.
    The weights stay bounded, but need not converge: they may move within a region, for
    the policy changes with them (Gordon, "Reinforcement learning with function
    approximation converges to a region", NeurIPS 2000). Under a policy that does not
    learn they converge to the fixed point of TD(0) on state-action pairs. Rummery &
    Niranjan, "On-line Q-learning using connectionist systems" (CUED/F-INFENG/TR 166,
    1994); Sutton & Barto (2018), sections 10.1 and 10.2.

    Attributes:
        discount: :math:`\gamma` in ``[0, 1]``.
        n: steps, at least 1. Static.
        The others, and errors: as in :class:`LinearControl`.
    """

    discount: float | jax.Array | Schedule = 0.99
    n: int = static(default=1)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, discount=UNIT_INTERVAL)
        check_size(self, "n")

    def init_memory(self):
        return Window.empty(self.n, jax.eval_shape(self.x, self.env.observation))

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def learn(self, key, state, transition, t):
        inputs = self.policy_input(state.weights, transition.next_observation, t)
        next_action = self.behavior_policy.sample(key, inputs)
        x = self.x(transition.observation)
        window = state.memory.push(x, transition.action, transition.reward, next_action)
        last_value = jnp.where(transition.terminated, 0, inputs.values[next_action])
        returns = window.returns(last_value, at(self.discount, t))
        ready = window.ready(transition.done)
        alpha = at(self.learning_rate, t)

        def learn(i, weights):
            x, action = window.observations[i], window.actions[i]
            move = alpha * (returns[i] - dot(weights, x, action))
            return add(weights, action, x, jnp.where(ready[i], move, 0))

        weights = jax.lax.fori_loop(0, self.n, learn, state.weights, unroll=min(self.n, 4))
        return state._replace(weights=weights, memory=window.without_ready(transition.done))


class LinearQLearning(LinearControl):
    r"""Semi-gradient Q-learning.

    .. math::
        w_A \leftarrow w_A + \alpha \left(
            R + \gamma (1 - d) \max_a \hat q(S', a) - \hat q(S, A) \right) x(S)

    It learns about another policy than the one that acts, from values that it
    estimates itself and approximates, and so may diverge
    (:func:`purerl.envs.diagnostic.baird_star`). Watkins, *Learning from Delayed
    Rewards* (PhD thesis, Cambridge, 1989); Sutton & Barto (2018), sections 11.1 to
    11.3.

    Attributes:
        discount: :math:`\gamma` in ``[0, 1]``.
        The others, and errors: as in :class:`LinearControl`.
    """

    discount: float | jax.Array | Schedule = 0.99

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, discount=UNIT_INTERVAL)

    def learn(self, key, state, transition, t):
        target = bellman.q_learning(
            transition.reward,
            transition.terminated,
            self.q_values(state.weights, transition.next_observation),
            at(self.discount, t),
        )
        x, action = self.x(transition.observation), transition.action
        move = at(self.learning_rate, t) * (target - dot(state.weights, x, action))
        return state._replace(weights=add(state.weights, action, x, move))


class Differential(NamedTuple):
    r"""Memory of differential Sarsa.

    Attributes:
        gain: :math:`\bar R`, float32 ``[]``.
        next_action: int32 ``[]``; -1 where none is planned.
    """

    gain: jax.Array
    next_action: jax.Array


class DifferentialSARSA(LinearControl):
    r"""Differential semi-gradient Sarsa: on-policy control of the average reward.

    .. math::
        \delta = R - \bar R + \hat q(S', A') - \hat q(S, A), \qquad
        w_A \leftarrow w_A + \alpha \delta x(S), \qquad
        \bar R \leftarrow \bar R + \eta \alpha \delta

    As in :mod:`purerl.mdp.average`, an episode that terminates is followed by the next
    one: :math:`S'` is then the start of that. Under a policy that does not learn,
    :math:`\bar R` converges to its average reward. Sutton & Barto (2018), section 10.3,
    where the step size of :math:`\bar R` is :math:`\beta = \eta \alpha`.

    Attributes:
        gain_rate: :math:`\eta`, not negative.
        The others, and errors: as in :class:`LinearControl`.
    """

    gain_rate: float | jax.Array = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, gain_rate=NOT_NEGATIVE)

    def init_memory(self):
        return Differential(jnp.float32(0), jnp.int32(-1))

    def snapshot(self, state):
        return LinearSnapshot(state.weights, state.env_state, gain=state.memory.gain)

    def gain(self, snapshot: LinearSnapshot) -> jax.Array:
        """The estimated average reward, float32 ``[]``."""
        assert snapshot.gain is not None  # snapshot made it
        return snapshot.gain

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def learn(self, key, state, transition, t):
        start = self.env.observe(state.env_state)
        next_observation = jnp.where(transition.terminated, start, transition.next_observation)
        inputs = self.policy_input(state.weights, next_observation, t)
        next_action = self.behavior_policy.sample(key, inputs)
        x, action = self.x(transition.observation), transition.action
        gain = state.memory.gain
        value = dot(state.weights, x, action)
        delta = transition.reward - gain + inputs.values[next_action] - value
        move = at(self.learning_rate, t) * delta
        memory = Differential(
            gain + jnp.float32(self.gain_rate) * move,
            jnp.where(transition.truncated, -1, next_action),
        )
        return state._replace(weights=add(state.weights, action, x, move), memory=memory)
