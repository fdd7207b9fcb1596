r"""Control by eligibility traces: Sarsa(:math:`\lambda`) and Watkins's Q(:math:`\lambda`).

A trace :math:`z(s, a)` says how much a pair has to do with what is learned now; it fades by :math:`\gamma \lambda` a step.
Visits to a pair, with :math:`x` the table that is one there and zero elsewhere, change it by

============ ============================================================== ======================================
kind         :math:`z \leftarrow`                                           then
============ ============================================================== ======================================
accumulating :math:`\gamma \lambda z + x`                                   :math:`Q \leftarrow Q + \alpha \delta z`
replacing    :math:`\gamma \lambda z`, and 1 at the pair                    :math:`Q \leftarrow Q + \alpha \delta z`
dutch        :math:`\gamma \lambda z + (1 - \alpha \gamma \lambda z(S, A)) x` see below
============ ============================================================== ======================================

Dutch traces are those of *true online* methods, :math:`Q \leftarrow Q + \alpha (\delta + Q(S, A) - Q_\text{old}) z - \alpha
(Q(S, A) - Q_\text{old}) x`, where :math:`Q_\text{old}` is what the pair's value was when the step before bootstrapped from it.
They compute, step by step, what the forward view would with the lambda-returns known so far (van Seijen, Mahmood, Pilarski,
Machado & Sutton, "True online temporal-difference learning", JMLR 17, 2016; Sutton & Barto, 2018, sections 12.5 and 12.7).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import UNIT_INTERVAL, check_choice, check_numbers
from purerl.pytree import static
from purerl.schedule import Schedule, at

TRACES = "accumulating", "replacing", "dutch"


class Traces(NamedTuple):
    """What traces remember.

    Attributes:
        trace: :math:`z`, float32, of the shape of the values.
        old_value: :math:`Q_\\text{old}`, float32 ``[]``.
        next_action: to be taken next, int32 ``[]``; -1 where an episode begins. Not used where values are only predicted.
    """

    trace: jax.Array
    old_value: jax.Array
    next_action: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> "Traces":
        return cls(jnp.zeros_like(q), jnp.float32(0), jnp.int32(-1))

    def update(
        self, kind, q, x, alpha, target, fade, next_value, ratio=1.0
    ) -> tuple[jax.Array, "Traces"]:
        """The values and the traces after a step in ``x``, of whatever shape the values have, whose target bootstrapped from
        ``next_value``."""
        value, trace = jnp.sum(q * x), fade * self.trace
        if kind == "replacing":
            trace = jnp.where(x == 0, trace, x)
        else:
            trace = trace + (x * (1 - alpha * jnp.sum(trace * x)) if kind == "dutch" else x)
        trace, change = ratio * trace, value - self.old_value if kind == "dutch" else 0
        q = q + alpha * ((target - value + change) * trace - change * x)
        return q, self._replace(trace=trace, old_value=next_value)


class SARSALambda(IncrementalControl):
    r"""Sarsa with eligibility traces, :math:`\delta = R + \gamma Q(S', A') - Q(S, A)`. With ``lambda_ = 0`` it is
    :class:`~purerl.agents.tabular.one_step.SARSA`; with ``lambda_ = 1``, dutch traces and a discount of 1 every-visit Monte-Carlo
    control. Rummery & Niranjan (1994); Sutton & Barto (2018), sections 12.5 and 12.7, the box of "True online Sarsa".

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        trace: ``"accumulating"``, ``"replacing"`` (Singh & Sutton, 1996) or ``"dutch"``. Static.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    lambda_: float | jax.Array | Schedule = 0.9
    trace: str = static(default="accumulating")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, lambda_=UNIT_INTERVAL)
        check_choice(self, trace=TRACES)

    def init_memory(self, q):
        return Traces.empty(q)

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def follow(self, next_q: jax.Array, next_action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The value to bootstrap from, and whether what comes next still tells of what was done before."""
        return next_q[next_action], jnp.bool_(True)

    def learn(self, key, state, transition, t):
        pair, there, discount = (
            (transition.observation, transition.action),
            transition.next_observation,
            at(self.discount, t),
        )
        next_action = self.behavior_policy.sample(key, self.policy_input(state, there, t))
        next_value, follows = self.follow(state.q[there], next_action)
        next_value = jnp.where(transition.terminated, 0, next_value)
        q, memory = state.memory.update(
            self.trace,
            state.q,
            jnp.zeros_like(state.q).at[pair].set(1),
            self.step_size(state, pair, t),
            transition.reward + discount * next_value,
            discount * at(self.lambda_, t),
            next_value,
        )
        cut = transition.done | ~follows
        memory = jax.tree.map(
            lambda new, first: jnp.where(cut, first, new), memory, Traces.empty(q)
        )
        memory = memory._replace(next_action=jnp.where(transition.done, -1, next_action))
        return self.count_visit(state._replace(q=q, memory=memory), pair)


class QLambda(SARSALambda):
    r"""Watkins's Q(:math:`\lambda`), off-policy: :math:`\delta = R + \gamma \max_a Q(S', a) - Q(S, A)`, and the traces are cut
    to zero where the next action is not a greedy one, for what follows it is not the greedy policy's doing. With ``lambda_ =
    0`` it is :class:`~purerl.agents.tabular.one_step.QLearning`. Watkins, *Learning from Delayed Rewards* (PhD thesis, Cambridge,
    1989); Sutton & Barto, *Reinforcement Learning* (1st ed., 1998), section 7.6.

    With dutch traces it is the true online update between two cuts.

    Attributes and errors: those of :class:`SARSALambda`.
    """

    def follow(self, next_q, next_action):
        return jnp.max(next_q), next_q[next_action] >= jnp.max(next_q)
