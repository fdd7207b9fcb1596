r"""Control by eligibility traces: Sarsa(:math:`\lambda`) and Watkins's
Q(:math:`\lambda`).

A trace :math:`z(s, a)` says how much credit a pair receives for the current TD error.
It decays by :math:`\gamma \lambda` a step. With :math:`x` the table that is one at the
pair visited and zero elsewhere, a visit updates it by

============ ===================================================================
kind         :math:`z \leftarrow`
============ ===================================================================
accumulating :math:`\gamma \lambda z + x`
replacing    :math:`\gamma \lambda z`, and 1 at the pair
dutch        :math:`\gamma \lambda z + (1 - \alpha \gamma \lambda z(S, A)) x`
============ ===================================================================

With accumulating and replacing traces, :math:`Q \leftarrow Q + \alpha \delta z`. Dutch
traces belong to the *true online* methods,

.. math::
    Q \leftarrow Q + \alpha (\delta + Q(S, A) - Q_\text{old}) z
        - \alpha (Q(S, A) - Q_\text{old}) x,

where :math:`Q_\text{old}` is the pair's value when the step before bootstrapped from
it. They compute step by step what the forward view would with the lambda-returns known
so far (van Seijen, Mahmood, Pilarski, Machado & Sutton, "True online
temporal-difference learning", JMLR 17, 2016; Sutton & Barto, 2018, sections 12.5 and
12.7).
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import UNIT_INTERVAL, check_choice
from purerl.pytree import static
from purerl.schedule import Schedule, at, check_schedules

TRACES = "accumulating", "replacing", "dutch"


class Traces(NamedTuple):
    r"""Eligibility traces, and what true online updates remember.

    Attributes:
        trace: :math:`z`, float32, of the shape of the values.
        old_value: :math:`Q_\text{old}`, float32 ``[]``.
        next_action: the next action, int32 ``[]``; -1 where an episode begins. Not used
            in prediction.
    """

    trace: jax.Array
    old_value: jax.Array
    next_action: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> Self:
        """Traces at the start of an episode."""
        return cls(jnp.zeros_like(q), jnp.float32(0), jnp.int32(-1))

    def update(
        self, kind, q, x, alpha, target, decay, next_value, ratio=1.0
    ) -> tuple[jax.Array, Self]:
        r"""The values and traces after a step.

        Args:
            kind: one of :data:`TRACES`.
            q: the values, of any shape.
            x: features of the step, of the same shape.
            alpha: :math:`\alpha`.
            target: :math:`\delta + x^\top q`, what the step bootstraps to.
            decay: :math:`\gamma \lambda`.
            next_value: the value that the target bootstraps from.
            ratio: the importance ratio.
        """
        value = jnp.sum(q * x)
        trace = decay * self.trace
        if kind == "replacing":
            trace = jnp.where(x == 0, trace, x)
        elif kind == "dutch":
            trace = trace + x * (1 - alpha * jnp.sum(trace * x))
        else:
            trace = trace + x
        trace = ratio * trace
        change = value - self.old_value if kind == "dutch" else 0
        q = q + alpha * ((target - value + change) * trace - change * x)
        return q, self._replace(trace=trace, old_value=next_value)


class SARSALambda(IncrementalControl):
    r"""Sarsa(:math:`\lambda`): Sarsa with eligibility traces.

    .. math:: \delta = R + \gamma (1 - d) \, Q(S', A') - Q(S, A)

    With ``lambda_ = 0`` it is :class:`~purerl.agents.tabular.one_step.SARSA`; with
    ``lambda_ = 1``, dutch traces and a discount of 1 it is every-visit Monte Carlo
    control. Rummery & Niranjan (1994); Sutton & Barto (2018), sections 12.5 and 12.7,
    the box of "True online Sarsa".

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        trace: ``"accumulating"``, ``"replacing"`` (Singh & Sutton, 1996) or
            ``"dutch"``. Static.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    lambda_: float | jax.Array | Schedule = 0.9
    trace: str = static(default="accumulating")

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL)
        check_choice(self, trace=TRACES)

    def init_memory(self, q):
        return Traces.empty(q)

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def bootstrap(self, next_q: jax.Array, next_action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The value to bootstrap from, and whether traces continue after this step."""
        return next_q[next_action], jnp.bool_(True)

    def learn(self, key, state, transition, t):
        next_state = transition.next_observation
        discount = at(self.discount, t)
        inputs = self.policy_input(state, next_state, t)
        next_action = self.behavior_policy.sample(key, inputs)
        next_value, continues = self.bootstrap(self.q_values(state.q, next_state), next_action)
        next_value = jnp.where(transition.terminated, 0, next_value)
        q, memory = state.memory.update(
            self.trace,
            state.q,
            jnp.zeros_like(state.q).at[transition.pair].set(1),
            self.step_size(state, transition.pair, t),
            transition.reward + discount * next_value,
            discount * at(self.lambda_, t),
            next_value,
        )
        cut = transition.done | ~continues
        memory = jax.tree.map(
            lambda new, first: jnp.where(cut, first, new), memory, Traces.empty(q)
        )
        memory = memory._replace(next_action=jnp.where(transition.done, -1, next_action))
        return self.count_visit(state._replace(q=q, memory=memory), transition.pair)


class QLambda(SARSALambda):
    r"""Watkins's Q(:math:`\lambda`): off-policy control with eligibility traces.

    .. math:: \delta = R + \gamma (1 - d) \max_a Q(S', a) - Q(S, A)

    Traces are cut to zero when the next action is not greedy, because later rewards no
    longer come from the greedy policy. With ``lambda_ = 0`` it is
    :class:`~purerl.agents.tabular.one_step.QLearning`; with dutch traces it is the true
    online update between two cuts. Watkins, *Learning from Delayed Rewards* (PhD
    thesis, Cambridge, 1989); Sutton & Barto, *Reinforcement Learning* (1st ed., 1998),
    section 7.6.

    Attributes and errors: as in :class:`SARSALambda`.
    """

    def bootstrap(self, next_q, next_action):
        return jnp.max(next_q), next_q[next_action] >= jnp.max(next_q)
