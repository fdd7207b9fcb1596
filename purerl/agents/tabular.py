"""What methods of control with a table of action values share: everything but how they learn from a transition."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.base import Episode
from purerl.checks import FINITE, UNIT_INTERVAL, check_numbers
from purerl.envs.base import Environment, Transition, interact
from purerl.policy import EpsilonGreedy, Policy, Seen
from purerl.pytree import Node, static
from purerl.random import as_key
from purerl.schedule import Schedule, at


class TabularState(NamedTuple):
    """What changes while learning.

    Attributes:
        key: constant.
        env_state: of the environment; None where there is none (:class:`~purerl.agents.offline.Offline`).
        q: the action values, float32 ``[S, A]``; a method may have several such tables, stacked in front.
        visits: how often each pair was updated, int32 ``[S, A]``; None unless they are counted.
        memory: what the method keeps beside them.
        episode: for the metrics.
    """

    key: jax.Array
    env_state: Any
    q: jax.Array
    visits: jax.Array | None
    memory: Any
    episode: Episode


class Table(Node):
    r"""What has a table of values for the actions in each state, learns from one transition a step, and acts greedily when it
    is judged. A method adds :attr:`acts_by` and :meth:`learn`, and where it needs more than the table, :meth:`begin`.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.

    Raises:
        ValueError: an environment that does not observe the index of its state.
    """

    env: Environment

    transitions_per_step = 1
    counts = False  # whether visits to each pair are counted
    initial_value = 0.0

    def __post_init__(self):
        check_index(self)

    @property
    def acts_by(self) -> Policy:
        """The behaviour policy."""
        raise NotImplementedError

    def begin(self, q: jax.Array) -> Any:
        """The memory to start with."""
        return None

    def learn(self, key: jax.Array, state: TabularState, transition: Transition, t: jax.Array) -> TabularState:
        """The method: ``q``, ``visits`` and ``memory`` after a transition. The rest of the state stays as it is;
        ``env_state`` is already the one to go on from."""
        raise NotImplementedError

    def choose(self, key: jax.Array, state: TabularState, t: jax.Array) -> jax.Array:
        """The behaviour's action in the present state."""
        return self.acts_by.sample(key, self.seen(state, self.env.observe(state.env_state), t))

    def init(self, key: jax.Array) -> TabularState:
        reset_key, key = jax.random.split(as_key(key))
        return self.start(key, self.env.reset(reset_key))

    def start(self, key: jax.Array, env_state: Any) -> TabularState:
        """A state with nothing learnt."""
        shape = self.env.num_states, self.env.num_actions
        q = jnp.full(shape, self.initial_value, jnp.float32)
        visits = jnp.zeros(shape, jnp.int32) if self.counts or self.acts_by.counts else None
        return TabularState(key, env_state, q, visits, self.begin(q), Episode.begin())

    def step(self, state: TabularState, t: jax.Array):
        act_key, env_key, learn_key = jax.random.split(jax.random.fold_in(state.key, t), 3)
        action = self.choose(act_key, state, t)
        env_state, transition = interact(self.env, env_key, state.env_state, action)
        episode, metrics = state.episode.update(transition)
        return self.learn(learn_key, state._replace(env_state=env_state, episode=episode), transition, t), metrics

    def seen(self, state: TabularState, observation: jax.Array, t: jax.Array) -> Seen:
        """What a policy may look at in a state."""
        visits = None if state.visits is None else state.visits[observation]
        return Seen(observation, self.values(state, observation), visits, t)

    def count(self, state: TabularState, pair: tuple[jax.Array, jax.Array], due: bool | jax.Array = True) -> TabularState:
        """One visit to a pair more, if they are counted and it is ``due``."""
        if state.visits is None:
            return state
        return state._replace(visits=state.visits.at[pair].add(jnp.asarray(due, jnp.int32)))

    def values(self, state: TabularState, observation: jax.Array) -> jax.Array:
        return state.q[observation]

    def env_state(self, state: TabularState) -> Any:
        return state.env_state

    def act(self, state: TabularState, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return jnp.argmax(self.values(state, observation)).astype(jnp.int32)


class Tabular(Table):
    r"""A method of discounted control with a step size.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha` in ``[0, 1]``; a schedule is called with ``t``, or with the number of earlier visits to
            the pair that is updated if ``count_visits``.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: in ``[0, 1]``, that of the behaviour where ``behaviour`` is None; a schedule is called with ``t``.
        initial_value: :math:`Q_0(s, a)`; one above all returns makes for an optimistic start.
        behaviour: the policy that acts; epsilon-greedy by default.
        count_visits: whether to count visits to each pair. Static. A behaviour that looks at them has them counted anyway.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behaviour: Policy | None = None
    count_visits: bool = static(default=False)

    def __post_init__(self):
        check_numbers(self, learning_rate=UNIT_INTERVAL, discount=UNIT_INTERVAL, epsilon=UNIT_INTERVAL, initial_value=FINITE)
        super().__post_init__()

    @property
    def counts(self) -> bool:
        return self.count_visits

    @property
    def acts_by(self) -> Policy:
        return EpsilonGreedy(self.epsilon) if self.behaviour is None else self.behaviour

    def step_size(self, state: TabularState, pair: tuple[jax.Array, jax.Array], t: jax.Array) -> jax.Array:
        """The learning rate for a pair ``(s, a)``, float32 ``[]``."""
        return at(self.learning_rate, state.visits[pair] if self.count_visits else t)

    def towards(
        self,
        state: TabularState,
        pair: tuple[jax.Array, jax.Array],
        target: jax.Array,
        t: jax.Array,
        weight: float | jax.Array = 1.0,
        due: bool | jax.Array = True,
    ) -> TabularState:
        """``Q(s, a)`` moved towards its target by the step size times ``weight``, and a visit counted, if it is ``due``."""
        move = weight * self.step_size(state, pair, t) * (target - state.q[pair])
        q = state.q.at[pair].add(jnp.where(due, move, 0.0))
        return self.count(state._replace(q=q), pair, due)


def check_index(agent: Any) -> None:
    """Refuse an ``env`` that does not observe the index of its state, for which a table could not be made.

    Raises:
        ValueError: naming the environment.
    """
    env = agent.env
    if hasattr(env, "num_actions") and not (hasattr(env, "num_states") and env.observation.shape == ()):
        raise ValueError(
            f"{type(agent).__name__}: env is {env!r}; allowed: one with a finite number of states, env.num_states, "
            f"that observes their index"
        )
