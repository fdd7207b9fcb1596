r"""Control by acting and planning with a learned model (Sutton & Barto, 2018, chapter
8).

The model is a table of what last followed each pair. For deterministic environments it
is exact once a pair has been visited; otherwise it holds the latest sample.
"""

import functools
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl import bellman
from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import NOT_NEGATIVE, check_numbers, check_size
from purerl.envs.base import limits_actions
from purerl.policy import uniform_among
from purerl.pytree import static
from purerl.schedule import at


class Model(NamedTuple):
    """Model of the environment: the last outcome of each pair.

    Attributes:
        next_state: int32 ``[S, A]``.
        reward: float32 ``[S, A]``.
        terminated: bool ``[S, A]``.
    """

    next_state: jax.Array
    reward: jax.Array
    terminated: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> Self:
        """Every pair is a self-loop with reward 0."""
        states = jnp.arange(q.shape[0], dtype=jnp.int32)[:, None]
        here = jnp.broadcast_to(states, q.shape)
        return cls(here, jnp.zeros_like(q), jnp.zeros(q.shape, bool))

    def learn(self, transition) -> Self:
        """The model with a transition stored."""
        pair = transition.pair
        return type(self)(
            next_state=self.next_state.at[pair].set(transition.next_observation),
            reward=self.reward.at[pair].set(transition.reward),
            terminated=self.terminated.at[pair].set(transition.terminated),
        )

    def target(self, next_q, pair, discount, bonus=0.0):
        """The Q-learning target of a pair in the model, float32 ``[]``.

        ``next_q`` gives the action values of a state.
        """
        next_state, reward, terminated = (table[pair] for table in self)
        return bellman.q_learning(reward + bonus, terminated, next_q(next_state), discount)


class Planner(NamedTuple):
    """Memory of Dyna-Q.

    Attributes:
        model: the learned model.
        states: the states visited, in the order of their first visit, int32 ``[S]``.
        size: how many there are, int32 ``[]``.
        last: when each pair was last tried, -1 for never, int32 ``[S, A]``.
    """

    model: Model
    states: jax.Array
    size: jax.Array
    last: jax.Array

    def learn(self, transition, t) -> Self:
        """The memory with a transition stored."""
        state, action = transition.pair
        new = jnp.all(self.last[state] < 0)
        place = jnp.where(new, self.size, len(self.states))  # beyond the end: not written
        return type(self)(
            model=self.model.learn(transition),
            states=self.states.at[place].set(state, mode="drop"),
            size=self.size + new.astype(jnp.int32),
            last=self.last.at[state, action].set(t),
        )


class DynaQ(IncrementalControl):
    r"""Dyna-Q: Q-learning, and planning with a learned model.

    Each transition is followed by ``planning_steps`` updates on transitions of the
    model, each from a state drawn among those visited and an action drawn among those
    tried there. Sutton, "Integrated architectures for learning, planning, and reacting
    based on approximating dynamic programming" (ICML 1990); Sutton & Barto (2018),
    section 8.2.

    Attributes:
        planning_steps: ``n``, at least 1. Static.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    planning_steps: int = static(default=10)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "planning_steps")

    def init_memory(self, q):
        states = jnp.zeros(q.shape[0], jnp.int32)
        never = jnp.full(q.shape, -1, jnp.int32)
        return Planner(Model.empty(q), states, jnp.int32(0), never)

    def planned(self, state: jax.Array, tried: jax.Array) -> jax.Array:
        """The actions of a visited state that are planned with, bool ``[A]``."""
        return tried

    def bonus(self, since: jax.Array) -> jax.Array:
        """Extra reward in planning for a pair not tried for ``since`` steps."""
        return jnp.float32(0)

    def learn(self, key, state, transition, t):
        discount = at(self.discount, t)
        target = bellman.q_learning(
            transition.reward,
            transition.terminated,
            self.q_values(state.q, transition.next_observation),
            discount,
        )
        state = self.update_towards(state, transition.pair, target, t)
        planner = state.memory.learn(transition, t)
        state_key, action_key = jax.random.split(key)
        places = jax.random.randint(state_key, (self.planning_steps,), 0, planner.size, jnp.int32)
        action_keys = jax.random.split(action_key, self.planning_steps)

        def plan(q, drawn):
            place, action_key = drawn
            planned_state = planner.states[place]
            allowed = self.planned(planned_state, planner.last[planned_state] >= 0)
            pair = planned_state, uniform_among(action_key, allowed)
            bonus = self.bonus(t - planner.last[pair])
            next_q = functools.partial(self.q_values, q)
            target = planner.model.target(next_q, pair, discount, bonus)
            move = self.step_size(state, pair, t) * (target - q[pair])
            return q.at[pair].add(move), None

        q, _ = jax.lax.scan(plan, state.q, (places, action_keys))
        return state._replace(q=q, memory=planner)


class DynaQPlus(DynaQ):
    r"""Dyna-Q+: Dyna-Q with an exploration bonus.

    In planning, a pair that was not tried for :math:`\tau` steps earns
    :math:`\kappa \sqrt \tau` in addition to the model's reward. Actions that were never
    tried are planned with too, as self-loops with reward 0. It detects changes of the
    environment, including those for the better. Sutton (1990); Sutton & Barto (2018),
    section 8.3.

    Attributes:
        curiosity: :math:`\kappa`, not negative.
        The others, and errors: as in :class:`DynaQ`.
    """

    curiosity: float | jax.Array = 1e-3

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, curiosity=NOT_NEGATIVE)

    def planned(self, state, tried):
        return self.env.available(state) if limits_actions(self.env) else jnp.ones_like(tried)

    def bonus(self, since):
        return jnp.float32(self.curiosity) * jnp.sqrt(since.astype(jnp.float32))


class Queue(NamedTuple):
    """Memory of prioritized sweeping.

    Attributes:
        model: the learned model.
        leads_to: the state that follows each pair; -1 where it is not known or the
            episode ends, int32 ``[S, A]``.
        priority: of each pair, 0 where it is not in the queue, float32 ``[S, A]``.
    """

    model: Model
    leads_to: jax.Array
    priority: jax.Array

    def first(self) -> tuple[jax.Array, jax.Array]:
        """The pair with the largest priority."""
        state = jnp.argmax(jnp.max(self.priority, axis=1))
        return state, jnp.argmax(self.priority[state])


class PrioritizedSweeping(IncrementalControl):
    r"""Prioritized sweeping: planning where values are about to change most.

    A pair waits in a queue with priority :math:`|R + \gamma \max_a Q(S', a) - Q(S, A)|`
    if that exceeds a threshold. After each transition, up to ``planning_steps`` times,
    the first pair of the queue is updated, and all pairs that lead to its state in the
    model get a new priority. The queue is a table whose largest entry is the first. It
    is meant for deterministic environments. Moore & Atkeson, "Prioritized sweeping"
    (Machine Learning 13, 1993); Peng & Williams, "Efficient learning and planning
    within the Dyna framework" (Adaptive Behavior 1, 1993); Sutton & Barto (2018),
    section 8.4.

    Attributes:
        planning_steps: ``n``, at least 1. Static.
        threshold: :math:`\theta`, not negative.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    planning_steps: int = static(default=5)
    threshold: float | jax.Array = 1e-4

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "planning_steps")
        check_numbers(self, threshold=NOT_NEGATIVE)

    def init_memory(self, q):
        unknown = jnp.full(q.shape, -1, jnp.int32)
        return Queue(Model.empty(q), unknown, jnp.zeros_like(q))

    def learn(self, key, state, transition, t):
        discount = at(self.discount, t)
        pair = transition.pair
        model = state.memory.model.learn(transition)
        reached = jnp.where(transition.terminated, -1, transition.next_observation)
        leads_to = state.memory.leads_to.at[pair].set(reached)
        next_q = functools.partial(self.q_values, state.q)
        error = jnp.abs(model.target(next_q, pair, discount) - state.q[pair])
        threshold = jnp.float32(self.threshold)
        waits = jnp.where(error > threshold, error, 0)
        queue = Queue(model, leads_to, state.memory.priority.at[pair].max(waits))

        def unfinished(carry):
            state, first, updates = carry
            return (updates < self.planning_steps) & (state.memory.priority[first] > 0)

        def plan(carry):
            state, first, updates = carry
            target = model.target(functools.partial(self.q_values, state.q), first, discount)
            state = self.update_towards(state, first, target, t)
            queue = state.memory
            value = jnp.max(self.q_values(state.q, first[0]))
            errors = jnp.abs(model.reward + discount * value - state.q)
            waits = (leads_to == first[0]) & (errors > threshold)
            others = queue.priority.at[first].set(0)
            queue = queue._replace(priority=jnp.maximum(others, jnp.where(waits, errors, 0)))
            return state._replace(memory=queue), queue.first(), updates + 1

        carry = state._replace(memory=queue), queue.first(), jnp.int32(0)
        return jax.lax.while_loop(unfinished, plan, carry)[0]
