r"""Base classes of agents that predict the values of a policy.

Values are linear in features of the states, :math:`\hat v(s) = x(s)^\top w`. The
default features, a unit vector for each state, make them a table. Let
:math:`\rho = \pi(A \mid S) / b(A \mid S)`, which is 1 where the behavior policy is the
target, let :math:`d` be the terminated flag, and

.. math:: \delta = R + \gamma (1 - d) \, \hat v(S') - \hat v(S).

=================== ============================================================
method              update
=================== ============================================================
TD(0)               :math:`w \leftarrow w + \alpha \rho \delta x`
n-step TD           :math:`w \leftarrow w + \alpha \rho (G - x^\top w) x`
TD(:math:`\lambda`) :math:`w \leftarrow w + \alpha \delta z`
Monte Carlo         :math:`w \leftarrow w + \alpha (\rho G - w)`, at episode ends
=================== ============================================================

On-policy, TD(0) and TD(:math:`\lambda`) converge to :func:`~purerl.mdp.td_fixed_point`,
n-step TD to the fixed point of the n-step operator, and Monte Carlo to :math:`v_\pi`.
With a table all of them converge to :math:`v_\pi`, on-policy or off-policy. Sutton &
Barto, *Reinforcement Learning* (2nd ed., 2018), chapters 6, 7, 9, 11 and 12.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.checks import FINITE, NOT_NEGATIVE, UNIT_INTERVAL, check_choice, check_numbers
from purerl.envs.base import IndexedEnvironment, Transition, mask_unavailable
from purerl.envs.contract import check_index
from purerl.policy import EpsilonGreedy, Policy, PolicyInput, check_policies
from purerl.pytree import Node, copied, static
from purerl.random import as_key
from purerl.rollout import Episode, advance
from purerl.schedule import Schedule, at, check_schedules


class PredictionState(NamedTuple):
    """State of a prediction agent.

    Attributes:
        key: constant.
        env_state: state of the environment.
        weights: :math:`w`, float32 ``[d]``.
        visits: updates of each state so far, int32 ``[S]``; None unless counted.
        memory: whatever else the agent keeps.
        episode: for the metrics.
    """

    key: jax.Array
    env_state: Any
    weights: jax.Array
    visits: jax.Array | None
    memory: Any
    episode: Episode


class PredictionSnapshot(NamedTuple):
    """Snapshot of a prediction agent: the learned weights.

    Attributes:
        weights: :math:`w`, float32 ``[d]``.
        env_state: state of the environment.
    """

    weights: jax.Array
    env_state: Any


class Step(NamedTuple):
    r"""A transition with its features and importance ratio.

    Attributes:
        state, next_state: int32 ``[]``.
        features: :math:`x(S)`, float32 ``[d]``.
        next_features: :math:`x(S')`, or zero where the episode terminated.
        reward: float32 ``[]``.
        ratio: :math:`\rho`, float32 ``[]``.
        done: whether the episode has ended, bool ``[]``.
    """

    state: jax.Array
    next_state: jax.Array
    features: jax.Array
    next_features: jax.Array
    reward: jax.Array
    ratio: jax.Array
    done: jax.Array


class LinearPrediction(Node):
    r"""Base class of agents that predict values with linear features.

    Subclasses define :meth:`learn`, and :meth:`init_memory` if they need more state
    than their weights.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1]``.
        initial_value: :math:`w_0`, one number or float ``[d]``.
        behavior: the policy that acts. It is shown no values: use
            ``EpsilonGreedy(1.0)``, the uniform policy and default, or
            :class:`~purerl.policy.Fixed`.
        target: :math:`\pi`, the policy whose values are learned; the behavior by
            default.
        features: float ``[S, d]``; None for a table.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    env: IndexedEnvironment
    discount: float | jax.Array | Schedule = 0.99
    initial_value: float | jax.Array = 0.0
    behavior: Policy = EpsilonGreedy(1.0)
    target: Policy | None = None
    features: jax.Array | None = None

    transitions_per_step = 1
    lanes = 128
    fewest_lanes = 2
    count_visits = False

    def __post_init__(self):
        check_index(type(self).__name__, self.env)
        check_policies(self, "behavior", "target")
        check_schedules(self, discount=UNIT_INTERVAL)
        check_numbers(self, initial_value=FINITE)

    def init_memory(self, weights: jax.Array) -> Any:
        """The initial ``memory``, given the initial weights."""
        return None

    def learn(self, state: PredictionState, step: Step, t: jax.Array) -> PredictionState:
        """The update: ``weights``, ``visits`` and ``memory`` after a step."""
        raise NotImplementedError(f"{type(self).__name__} does not define learn")

    def init(self, key: jax.Array) -> PredictionState:
        reset_key, key = jax.random.split(as_key(key))
        return copied(self.start(key, self.env.reset(reset_key)))

    def start(self, key: jax.Array, env_state: Any) -> PredictionState:
        """The initial state, with the environment in ``env_state``."""
        size = self.env.num_states if self.features is None else self.features.shape[-1]
        weights = jnp.broadcast_to(jnp.asarray(self.initial_value, jnp.float32), (size,))
        visits = jnp.zeros(self.env.num_states, jnp.int32) if self.count_visits else None
        memory = self.init_memory(weights)
        return PredictionState(key, env_state, weights, visits, memory, Episode.new())

    def step(self, state: PredictionState, t: jax.Array):
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        inputs = self.policy_input(self.env.observe(state.env_state), t)
        env_state, episode, transition, metrics = advance(
            self.env,
            env_key,
            state.env_state,
            state.episode,
            self.behavior.sample(act_key, inputs),
        )
        state = self.learn(state, self.as_step(transition, t), t)
        return state._replace(env_state=env_state, episode=episode), metrics

    def policy_input(self, observation: jax.Array, t: jax.Array) -> PolicyInput:
        """Inputs of the policies: the state and the time, but no values."""
        values = jnp.zeros(self.env.num_actions, jnp.float32)
        return PolicyInput(observation, mask_unavailable(self.env, values, observation), None, t)

    def as_step(self, transition: Transition, t: jax.Array) -> Step:
        """A transition with its features and importance ratio."""
        state = transition.observation
        next_state = transition.next_observation
        ratio = jnp.float32(1)
        if self.target is not None:
            inputs = self.policy_input(state, t)
            pi = self.target.probabilities(inputs)[transition.action]
            ratio = pi / self.behavior.probabilities(inputs)[transition.action]
        return Step(
            state=state,
            next_state=next_state,
            features=self.x(state),
            next_features=jnp.where(transition.terminated, 0, self.x(next_state)),
            reward=transition.reward,
            ratio=ratio,
            done=transition.done,
        )

    def x(self, observation: jax.Array) -> jax.Array:
        """The features of a state, float32 ``[d]``."""
        if self.features is None:
            return jax.nn.one_hot(observation, self.env.num_states, dtype=jnp.float32)
        return jnp.asarray(self.features, jnp.float32)[observation]

    def snapshot(self, state: PredictionState) -> PredictionSnapshot:
        return PredictionSnapshot(state.weights, state.env_state)

    def learned(self, state: PredictionState) -> Any:
        """The part of the state that must stay finite."""
        return state.weights, state.memory

    def value(self, snapshot: PredictionSnapshot, observation: jax.Array) -> jax.Array:
        r""":math:`\hat v(s)`, float32 ``[]``."""
        return self.x(observation) @ snapshot.weights

    def env_state(self, snapshot: PredictionSnapshot) -> Any:
        """The environment's state, from which evaluations start."""
        return snapshot.env_state

    @property
    def evaluated_policy(self) -> Policy:
        r""":math:`\pi`, the policy whose values are learned."""
        return self.behavior if self.target is None else self.target

    def act(
        self, snapshot: PredictionSnapshot, key: jax.Array, observation: jax.Array
    ) -> jax.Array:
        """An action of the evaluated policy. Its schedules are evaluated at t = 0."""
        return self.evaluated_policy.sample(key, self.policy_input(observation, jnp.int32(0)))

    def target_probabilities(self, observation: jax.Array) -> jax.Array:
        """The evaluated policy at t = 0, float32 ``[A]``."""
        inputs = self.policy_input(observation, jnp.int32(0))
        return self.evaluated_policy.probabilities(inputs)

    def probabilities(self, snapshot: PredictionSnapshot, observation: jax.Array) -> jax.Array:
        """The policy of :meth:`act`, float32 ``[A]``."""
        del snapshot
        return self.target_probabilities(observation)


class IncrementalPrediction(LinearPrediction):
    r"""Base class of prediction agents with a step size.

    Attributes:
        learning_rate: :math:`\alpha`, not negative. A schedule is evaluated at ``t``,
            or if ``count_visits`` at the number of earlier visits to the state.
        count_visits: whether to count visits to each state. Static.
        The others, and errors: as in :class:`LinearPrediction`.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    count_visits: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, learning_rate=NOT_NEGATIVE)
        check_choice(self, count_visits=(False, True))

    def visits(self, state: PredictionState) -> jax.Array:
        """Updates of each state so far, int32 ``[S]``, if they are counted."""
        assert state.visits is not None  # start made them
        return state.visits

    def step_size(self, state: PredictionState, observation: jax.Array, t: jax.Array) -> jax.Array:
        """The learning rate for a state, float32 ``[]``."""
        if not self.count_visits:
            return at(self.learning_rate, t)
        return at(self.learning_rate, self.visits(state)[observation])

    def count_visit(
        self,
        state: PredictionState,
        observation: jax.Array,
        where: bool | jax.Array = True,
    ) -> PredictionState:
        """Count a visit to a state, if visits are counted and ``where`` is true."""
        if state.visits is None:
            return state
        one = jnp.asarray(where, jnp.int32)
        return state._replace(visits=state.visits.at[observation].add(one))


def td_error(step: Step, weights: jax.Array, discount: jax.Array) -> jax.Array:
    """The temporal-difference error of a step, float32 ``[]``."""
    target = step.reward + discount * (step.next_features @ weights)
    return target - step.features @ weights
