"""Base classes of agents with a table of action values."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.base import GreedyAgent
from purerl.checks import FINITE, UNIT_INTERVAL, check_choice, check_numbers
from purerl.envs.base import IndexedEnvironment, Transition, mask_unavailable
from purerl.envs.contract import check_index
from purerl.policy import EpsilonGreedy, Policy, PolicyInput, check_policies
from purerl.pytree import copied, static
from purerl.random import as_key
from purerl.rollout import Episode, advance
from purerl.schedule import Schedule, at, check_schedules


class TabularState(NamedTuple):
    """State of a tabular control agent.

    Attributes:
        key: constant.
        env_state: state of the environment; None where there is none
            (:class:`~purerl.agents.tabular.offline.Offline`).
        q: action values, float32 ``[S, A]``; some agents stack several tables in front.
        visits: updates of each pair so far, int32 ``[S, A]``; None unless counted.
        memory: whatever else the agent keeps.
        episode: for the metrics.
    """

    key: jax.Array
    env_state: Any
    q: jax.Array
    visits: jax.Array | None
    memory: Any
    episode: Episode


class TabularSnapshot(NamedTuple):
    """Snapshot of a tabular control agent: all that acting needs.

    Attributes:
        q: action values, as in :class:`TabularState`.
        env_state: state of the environment.
        gain: estimated average reward, float32 ``[]``; None where it is not estimated.
    """

    q: jax.Array
    env_state: Any
    gain: jax.Array | None = None


class TabularControl(GreedyAgent):
    r"""Base class of agents with a table of action values, updated from one transition
    per step and evaluated greedily.

    Subclasses define :attr:`behavior_policy` and :meth:`learn`, and :meth:`init_memory`
    if they need more state.

    A sweep of few runs uses fewer lanes than ``lanes``, down to ``fewest_lanes``:
    between the two, the learning state has the same bits at every width. It does not in
    a program of one lane, where XLA fuses other products and sums into one rounding.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.

    Raises:
        ValueError: ``env`` does not observe the index of its state.
    """

    env: IndexedEnvironment

    lanes = 128
    fewest_lanes = 2
    needs_visits = False  # whether visits to each pair are counted
    initial_value = 0.0

    def __post_init__(self):
        check_index(type(self).__name__, self.env)

    @property
    def behavior_policy(self) -> Policy:
        """The policy that acts while learning."""
        raise NotImplementedError(f"{type(self).__name__} does not define behavior_policy")

    def init_memory(self, q: jax.Array) -> Any:
        """The initial ``memory``, given the initial table."""
        return None

    def learn(
        self, key: jax.Array, state: TabularState, transition: Transition, t: jax.Array
    ) -> TabularState:
        """The update: ``q``, ``visits`` and ``memory`` after a transition.

        ``state.env_state`` is already the one to continue from.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define learn")

    def choose(self, key: jax.Array, state: TabularState, t: jax.Array) -> jax.Array:
        """The behavior policy's action in the current state, int32 ``[]``."""
        observation = self.env.observe(state.env_state)
        return self.behavior_policy.sample(key, self.policy_input(state, observation, t))

    def init(self, key: jax.Array) -> TabularState:
        reset_key, key = jax.random.split(as_key(key))
        return copied(self.start(key, self.env.reset(reset_key)))

    def start(self, key: jax.Array, env_state: Any) -> TabularState:
        """The initial state, with the environment in ``env_state``."""
        shape = self.env.num_states, self.env.num_actions
        q = jnp.full(shape, self.initial_value, jnp.float32)
        counted = self.needs_visits or self.behavior_policy.needs_visits
        visits = jnp.zeros(shape, jnp.int32) if counted else None
        return TabularState(key, env_state, q, visits, self.init_memory(q), Episode.new())

    def step(self, state: TabularState, t: jax.Array):
        act_key, env_key, learn_key = jax.random.split(jax.random.fold_in(state.key, t), 3)
        action = self.choose(act_key, state, t)
        env_state, episode, transition, metrics = advance(
            self.env, env_key, state.env_state, state.episode, action
        )
        state = state._replace(env_state=env_state, episode=episode)
        return self.learn(learn_key, state, transition, t), metrics

    def policy_input(
        self, state: TabularState, observation: jax.Array, t: jax.Array
    ) -> PolicyInput:
        """Inputs of the policies in a state."""
        visits = None if state.visits is None else state.visits[observation]
        return PolicyInput(observation, self.q_values(state.q, observation), visits, t)

    def visits(self, state: TabularState) -> jax.Array:
        """Updates of each pair so far, int32 ``[S, A]``, if they are counted."""
        assert state.visits is not None  # start made them
        return state.visits

    def count_visit(
        self,
        state: TabularState,
        pair: tuple[jax.Array, jax.Array],
        where: bool | jax.Array = True,
    ) -> TabularState:
        """Count a visit to a pair, if visits are counted and ``where`` is true."""
        if state.visits is None:
            return state
        one = jnp.asarray(where, jnp.int32)
        return state._replace(visits=state.visits.at[pair].add(one))

    def q_values(self, q: jax.Array, observation: jax.Array) -> jax.Array:
        r""":math:`Q(s, \cdot)` of a table, float32 ``[A]``.

        ``-inf`` for an action that is not available.
        """
        return mask_unavailable(self.env, q[observation], observation)

    def mask_table(self, table: jax.Array) -> jax.Array:
        """A table ``[S, A]`` with ``-inf`` for actions that are not available."""
        states = jnp.arange(self.env.num_states, dtype=jnp.int32)
        return jax.vmap(lambda row, state: mask_unavailable(self.env, row, state))(table, states)

    def snapshot(self, state: TabularState) -> TabularSnapshot:
        return TabularSnapshot(state.q, state.env_state)

    def values(self, snapshot: TabularSnapshot, observation: jax.Array) -> jax.Array:
        return self.q_values(snapshot.q, observation)

    def env_state(self, snapshot: TabularSnapshot) -> Any:
        """The environment's state, from which evaluations start."""
        return snapshot.env_state


class IncrementalControl(TabularControl):
    r"""Base class of discounted tabular control with a step size.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha` in ``[0, 1]``. A schedule is evaluated at ``t``,
            or if ``count_visits`` at the number of earlier visits to the pair.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: in ``[0, 1]``, for the default behavior. A schedule is evaluated at
            ``t``.
        initial_value: :math:`Q_0(s, a)`; a value above all returns is an optimistic
            start.
        behavior: the policy that acts while learning; epsilon-greedy by default.
        count_visits: whether to count visits to each pair. Static. A behavior policy
            that needs them has them counted anyway.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None
    count_visits: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_policies(self, "behavior")
        check_schedules(
            self, learning_rate=UNIT_INTERVAL, discount=UNIT_INTERVAL, epsilon=UNIT_INTERVAL
        )
        check_numbers(self, initial_value=FINITE)
        check_choice(self, count_visits=(False, True))

    @property
    def needs_visits(self) -> bool:
        return self.count_visits

    @property
    def behavior_policy(self) -> Policy:
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def step_size(
        self, state: TabularState, pair: tuple[jax.Array, jax.Array], t: jax.Array
    ) -> jax.Array:
        """The learning rate for a pair, float32 ``[]``."""
        if not self.count_visits:
            return at(self.learning_rate, t)
        return at(self.learning_rate, self.visits(state)[pair])

    def update_towards(
        self,
        state: TabularState,
        pair: tuple[jax.Array, jax.Array],
        target: jax.Array,
        t: jax.Array,
        weight: float | jax.Array = 1.0,
        where: bool | jax.Array = True,
    ) -> TabularState:
        r"""Move :math:`Q(s, a)` towards a target and count the visit, if ``where`` is
        true.

        .. math:: Q(s, a) \leftarrow Q(s, a) + w \alpha (G - Q(s, a))

        Args:
            state: of the agent.
            pair: ``(s, a)``.
            target: :math:`G`, float32 ``[]``.
            t: the time.
            weight: :math:`w`, such as an importance ratio.
            where: whether to update at all.
        """
        move = weight * self.step_size(state, pair, t) * (target - state.q[pair])
        q = state.q.at[pair].add(jnp.where(where, move, 0.0))
        return self.count_visit(state._replace(q=q), pair, where)
