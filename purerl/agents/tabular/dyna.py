"""Control by acting and planning in turn with a learned model: Dyna-Q, Dyna-Q+ and prioritized sweeping (Sutton & Barto, 2018,
chapter 8).

The model is a table of what last followed each pair. For an environment that always answers alike it is exact once a pair has
been seen; for another it is a sample.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl import bellman, policy
from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import NOT_NEGATIVE, check_numbers, check_size
from purerl.pytree import static
from purerl.schedule import at


class Model(NamedTuple):
    """What last followed each pair.

    Attributes:
        next_state: int32 ``[S, A]``.
        reward: float32 ``[S, A]``.
        terminated: bool ``[S, A]``.
    """

    next_state: jax.Array
    reward: jax.Array
    terminated: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> "Model":
        """Every pair stays where it is, for nothing."""
        here = jnp.broadcast_to(jnp.arange(q.shape[0], dtype=jnp.int32)[:, None], q.shape)
        return cls(here, jnp.zeros_like(q), jnp.zeros(q.shape, bool))

    def learn(self, pair, transition) -> "Model":
        followed = transition.next_observation, transition.reward, transition.terminated
        return Model(
            *(table.at[pair].set(value) for table, value in zip(self, followed, strict=True))
        )

    def target(self, q, pair, discount, bonus=0.0):
        """Q-learning's, of a pair as the model has it."""
        next_state, reward, terminated = (table[pair] for table in self)
        return bellman.q_learning(reward + bonus, terminated, q[next_state], discount)


class Planner(NamedTuple):
    """The memory of Dyna.

    Attributes:
        model: the model.
        states: those that have been seen, in the order in which they were, int32 ``[S]``.
        size: how many of them there are, int32 ``[]``.
        last: when each pair was last tried, -1 for never, int32 ``[S, A]``.
    """

    model: Model
    states: jax.Array
    size: jax.Array
    last: jax.Array

    def learn(self, pair, transition, t) -> "Planner":
        new = jnp.all(self.last[pair[0]] < 0)
        place = jnp.where(
            new, self.size, len(self.states)
        )  # beyond the end, where nothing is written
        states, size = (
            self.states.at[place].set(pair[0], mode="drop"),
            self.size + new.astype(jnp.int32),
        )
        return Planner(self.model.learn(pair, transition), states, size, self.last.at[pair].set(t))


class DynaQ(IncrementalControl):
    r"""Q-learning from each transition, and then from ``planning_steps`` more that the model imagines, each of a state drawn
    from those seen and an action drawn from those tried there. Sutton, "Integrated architectures for learning, planning, and
    reacting based on approximating dynamic programming" (ICML 1990); Sutton & Barto (2018), section 8.2.

    Attributes:
        planning_steps: ``n``, at least 1. Static.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    planning_steps: int = static(default=10)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "planning_steps")

    def init_memory(self, q):
        nowhere = jnp.zeros(q.shape[0], jnp.int32)
        return Planner(Model.empty(q), nowhere, jnp.int32(0), jnp.full(q.shape, -1, jnp.int32))

    def imagined(self, tried: jax.Array) -> jax.Array:
        """Which actions of a seen state are planned with, bool ``[A]``."""
        return tried

    def bonus(self, since: jax.Array) -> jax.Array:
        """What is added to the model's reward for a pair not tried for so many steps."""
        return jnp.float32(0)

    def learn(self, key, state, transition, t):
        pair, discount = (transition.observation, transition.action), at(self.discount, t)
        target = bellman.q_learning(
            transition.reward, transition.terminated, state.q[transition.next_observation], discount
        )
        state = self.update_towards(state, pair, target, t)
        planner = state.memory.learn(pair, transition, t)
        state_key, action_key = jax.random.split(key)
        places = jax.random.randint(state_key, (self.planning_steps,), 0, planner.size)
        action_keys = jax.random.split(action_key, self.planning_steps)

        def plan(q, drawn):
            place, action_key = drawn
            imagined = planner.states[place]
            allowed = self.imagined(planner.last[imagined] >= 0)
            pair = imagined, policy.epsilon_greedy(action_key, allowed.astype(jnp.float32), 0.0)
            target = planner.model.target(q, pair, discount, self.bonus(t - planner.last[pair]))
            return q.at[pair].add(self.step_size(state, pair, t) * (target - q[pair])), None

        q, _ = jax.lax.scan(plan, state.q, (places, action_keys))
        return state._replace(q=q, memory=planner)


class DynaQPlus(DynaQ):
    r"""Dyna-Q that is curious: what the model says of a pair that was not tried for :math:`\tau` steps is rewarded by
    :math:`\kappa \sqrt \tau` more. Actions that were never tried are imagined too, as leading back to their state for nothing.
    It finds what has changed, also for the better. Sutton (1990); Sutton & Barto (2018), section 8.3.

    Attributes:
        curiosity: :math:`\kappa`, not negative.
        The others and errors: those of :class:`DynaQ`.
    """

    curiosity: float | jax.Array = 1e-3

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, curiosity=NOT_NEGATIVE)

    def imagined(self, tried):
        return jnp.ones_like(tried)

    def bonus(self, since):
        return self.curiosity * jnp.sqrt(since.astype(jnp.float32))


class Queue(NamedTuple):
    """The memory of prioritized sweeping.

    Attributes:
        model: the model.
        leads_to: the state that follows each pair, -1 where that is not known or the episode ends, int32 ``[S, A]``.
        priority: of each pair, 0 where it is not in the queue, float32 ``[S, A]``.
    """

    model: Model
    leads_to: jax.Array
    priority: jax.Array

    def first(self) -> tuple[jax.Array, jax.Array]:
        """The pair of the largest priority."""
        state = jnp.argmax(jnp.max(self.priority, axis=1))
        return state, jnp.argmax(self.priority[state])


class PrioritizedSweeping(IncrementalControl):
    r"""Planning where it matters: pairs wait with a priority of :math:`|R + \gamma \max_a Q(S', a) - Q(S, A)|`, if it exceeds a
    threshold. After each transition, up to ``planning_steps`` times, the first in the queue is updated and all the pairs that
    the model says lead to its state get a new priority. Nothing else is learned from the transition. The queue is a table, whose
    largest entry is the first. Moore & Atkeson, "Prioritized sweeping" (Machine Learning 13, 1993); Peng & Williams, "Efficient
    learning and planning within the Dyna framework" (Adaptive Behavior 1, 1993); Sutton & Barto (2018), section 8.4, for
    deterministic environments.

    Attributes:
        planning_steps: ``n``, at least 1. Static.
        threshold: :math:`\theta`, not negative.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    planning_steps: int = static(default=5)
    threshold: float | jax.Array = 1e-4

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "planning_steps")
        check_numbers(self, threshold=NOT_NEGATIVE)

    def init_memory(self, q):
        return Queue(Model.empty(q), jnp.full(q.shape, -1, jnp.int32), jnp.zeros_like(q))

    def learn(self, key, state, transition, t):
        pair, discount = (transition.observation, transition.action), at(self.discount, t)
        model = state.memory.model.learn(pair, transition)
        leads_to = state.memory.leads_to.at[pair].set(
            jnp.where(transition.terminated, -1, transition.next_observation)
        )
        error = jnp.abs(model.target(state.q, pair, discount) - state.q[pair])
        priority = state.memory.priority.at[pair].max(jnp.where(error > self.threshold, error, 0))
        queue = Queue(model, leads_to, priority)

        def goes_on(carry):
            state, first, updates = carry
            return (updates < self.planning_steps) & (state.memory.priority[first] > 0)

        def plan(carry):
            state, first, updates = carry
            state, queue = (
                self.update_towards(state, first, model.target(state.q, first, discount), t),
                state.memory,
            )
            errors = jnp.abs(model.reward + discount * jnp.max(state.q[first[0]]) - state.q)
            waits = (leads_to == first[0]) & (errors > self.threshold)
            priority = jnp.maximum(queue.priority.at[first].set(0), jnp.where(waits, errors, 0))
            queue = queue._replace(priority=priority)
            return state._replace(memory=queue), queue.first(), updates + 1

        return jax.lax.while_loop(goes_on, plan, (state._replace(memory=queue), queue.first(), 0))[
            0
        ]
