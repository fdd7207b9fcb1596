r"""Control of the average reward, without a discount.

Both agents learn differential action values. With the gain :math:`g`, the largest
average reward, these satisfy

.. math::
    Q(s, a) = r(s, a) - g + \mathbb E \max_{a'} Q(S', a') \quad \text{up to a constant}.

They also estimate the gain, in ``memory``, float32 ``[]``. As in
:mod:`purerl.mdp.average`, an episode that terminates is followed by the next one: the
state that follows is the start state of the next episode.
"""

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl, TabularSnapshot, TabularState
from purerl.checks import FINITE, NOT_NEGATIVE, UNIT_INTERVAL, check_numbers
from purerl.policy import EpsilonGreedy, Policy, check_policies
from purerl.schedule import Schedule, at, check_schedules


class DifferentialQLearning(TabularControl):
    r"""Differential Q-learning: off-policy control of the average reward.

    .. math::
        \delta = R - \bar R + \max_a Q(S', a) - Q(S, A), \qquad
        Q(S, A) \leftarrow Q(S, A) + \alpha \delta, \qquad
        \bar R \leftarrow \bar R + \eta \alpha \delta

    It is for models whose best gain does not depend on the state. With step sizes that
    decrease as Q-learning's must, :math:`\bar R` converges to that gain and :math:`Q`
    to a solution of the equation above, without a reference state. Wan, Naik & Sutton,
    "Learning and planning in average-reward Markov decision processes" (ICML 2021).

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha` in ``[0, 1]``. A schedule is evaluated at ``t``.
        gain_rate: :math:`\eta`, not negative.
        epsilon: in ``[0, 1]``, for the default behavior. A schedule is evaluated at
            ``t``.
        initial_value: :math:`Q_0(s, a)`.
        behavior: the policy that acts; epsilon-greedy by default.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    gain_rate: float | jax.Array = 0.1
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None

    def __post_init__(self):
        super().__post_init__()
        check_policies(self, "behavior")
        check_schedules(self, learning_rate=UNIT_INTERVAL, epsilon=UNIT_INTERVAL)
        check_numbers(self, gain_rate=NOT_NEGATIVE, initial_value=FINITE)

    @property
    def behavior_policy(self):
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def init_memory(self, q):
        return jnp.float32(0)

    def snapshot(self, state: TabularState) -> TabularSnapshot:
        return TabularSnapshot(state.q, state.env_state, gain=state.memory)

    def gain(self, snapshot: TabularSnapshot) -> jax.Array:
        """The estimated gain, float32 ``[]``."""
        assert snapshot.gain is not None  # snapshot made it
        return snapshot.gain

    def next_value(self, state, transition):
        """The value of the next state; after a termination, of the next start."""
        next_state = transition.next_observation
        if state.env_state is not None:  # None in a data set: the next start is not known
            start = self.env.observe(state.env_state)
            next_state = jnp.where(transition.terminated, start, next_state)
        return jnp.max(self.q_values(state.q, next_state))

    def learn(self, key, state, transition, t):
        pair = transition.pair
        alpha = at(self.learning_rate, t)
        next_value = self.next_value(state, transition)
        delta = transition.reward - state.memory + next_value - state.q[pair]
        gain = state.memory + jnp.float32(self.gain_rate) * alpha * delta
        q = state.q.at[pair].add(_after(gain, alpha * delta))
        return self.count_visit(state._replace(q=q, memory=gain), pair)


class RLearning(DifferentialQLearning):
    r"""R-learning: control of the average reward, updating the gain at greedy actions.

    .. math::
        \delta = R - \bar R + \max_a Q(S', a) - Q(S, A), \qquad
        Q(S, A) \leftarrow Q(S, A) + \alpha \delta,

    and :math:`\bar R \leftarrow \bar R + \eta \delta` if :math:`A` was greedy, that is,
    if :math:`Q(S, A) = \max_a Q(S, a)` before the update. No proof of convergence is
    known. Schwartz, "A reinforcement learning method for maximizing undiscounted
    rewards" (ICML 1993). The box in Sutton & Barto (1st ed., 1998), section 6.7, tests
    after the update whether the action is greedy. That favors actions whose value has
    just risen, and :math:`\bar R` may then grow without bound.

    Attributes:
        gain_rate: :math:`\eta` in ``[0, 1]``.
        The others, and errors: as in :class:`DifferentialQLearning`.
    """

    gain_rate: float | jax.Array = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, gain_rate=UNIT_INTERVAL)

    def learn(self, key, state, transition, t):
        pair = transition.pair
        value = state.q[pair]
        next_value = self.next_value(state, transition)
        delta = transition.reward - state.memory + next_value - value
        greedy = value == jnp.max(self.q_values(state.q, transition.observation))
        gain = state.memory + jnp.where(greedy, jnp.float32(self.gain_rate) * delta, 0)
        q = state.q.at[pair].add(_after(gain, at(self.learning_rate, t) * delta))
        return self.count_visit(state._replace(q=q, memory=gain), pair)


def _after(first, value):
    """``value``, made to depend on ``first`` so that XLA computes it later.

    What reads a table for ``first`` has then finished when the table changes, so that
    the change happens in place. Without it a single run takes sixteen times as long on
    a CPU.
    """
    return jnp.where(jnp.isnan(first), first, value)
