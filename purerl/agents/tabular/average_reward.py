r"""Control where the reward by the step counts, and no discount.

Both methods learn differential action values, for which with the gain :math:`g`, the largest average reward,

.. math:: Q(s, a) = r(s, a) - g + \mathbb E \max_{a'} Q(S', a') \quad \text{up to a constant},

and an estimate of the gain beside them, the ``memory``, float32 ``[]``. An episode that terminates begins anew, as in
:mod:`purerl.mdp.average`: the state it starts from is the one that follows.
"""

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl, TabularSnapshot, TabularState
from purerl.checks import FINITE, NOT_NEGATIVE, UNIT_INTERVAL, check_numbers
from purerl.policy import EpsilonGreedy, Policy
from purerl.schedule import Schedule, at


class DifferentialQLearning(TabularControl):
    r"""Off-policy control of a model whose best gain does not depend on the state,

    .. math::
        \delta = R - \bar R + \max_a Q(S', a) - Q(S, A), \qquad
        Q(S, A) \leftarrow Q(S, A) + \alpha \delta, \qquad \bar R \leftarrow \bar R + \eta \alpha \delta .

    With step sizes that fall as Q-learning's must, :math:`\bar R` goes to the gain of the best policy, and :math:`Q` to a
    solution of the equation above, without a reference state. Wan, Naik & Sutton, "Learning and planning in average-reward
    Markov decision processes" (ICML 2021).

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha` in ``[0, 1]``; a schedule is called with ``t``.
        gain_rate: :math:`\eta`, not negative.
        epsilon: in ``[0, 1]``, that of the behavior where ``behavior`` is None; a schedule is called with ``t``.
        initial_value: :math:`Q_0(s, a)`.
        behavior: the policy that acts; epsilon-greedy by default.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    gain_rate: float | jax.Array = 0.1
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None

    def __post_init__(self):
        super().__post_init__()
        check_numbers(
            self,
            learning_rate=UNIT_INTERVAL,
            gain_rate=NOT_NEGATIVE,
            epsilon=UNIT_INTERVAL,
            initial_value=FINITE,
        )

    @property
    def behavior_policy(self):
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def init_memory(self, q):
        return jnp.float32(0)

    def snapshot(self, state: TabularState) -> TabularSnapshot:
        return TabularSnapshot(state.q, state.env_state, gain=state.memory)

    def gain(self, snapshot: TabularSnapshot) -> jax.Array:
        """The estimated gain, float32 ``[]``."""
        return snapshot.gain

    def next_value(self, state, transition):
        """Of the state that follows, that of the next episode where this one terminated."""
        there = transition.next_observation
        if state.env_state is not None:  # as in a data set, where the next episode is not known
            there = jnp.where(transition.terminated, self.env.observe(state.env_state), there)
        return jnp.max(state.q[there])

    def learn(self, key, state, transition, t):
        pair, alpha = (transition.observation, transition.action), at(self.learning_rate, t)
        delta = (
            transition.reward - state.memory + self.next_value(state, transition) - state.q[pair]
        )
        memory = state.memory + self.gain_rate * alpha * delta
        q = state.q.at[pair].add(_once_known(memory, alpha * delta))
        return self.count_visit(state._replace(q=q, memory=memory), pair)


class RLearning(DifferentialQLearning):
    r"""The first method of its kind, in which only greedy actions tell of the gain:

    .. math::
        \delta = R - \bar R + \max_a Q(S', a) - Q(S, A), \qquad Q(S, A) \leftarrow Q(S, A) + \alpha \delta,

    and if :math:`A` was greedy, that is, :math:`Q(S, A) = \max_a Q(S, a)` before, :math:`\bar R \leftarrow \bar R + \eta
    \delta`. No proof of convergence is known. Schwartz, "A reinforcement learning method for maximizing undiscounted rewards"
    (ICML 1993). The box in Sutton & Barto (1st ed., 1998), section 6.7, asks afterwards whether the action is greedy; that
    favors those whose value has just risen, and :math:`\bar R` may then grow without end.

    Attributes:
        gain_rate: :math:`\eta` in ``[0, 1]``.
        The others and errors: those of :class:`DifferentialQLearning`.
    """

    gain_rate: float | jax.Array = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, gain_rate=UNIT_INTERVAL)

    def learn(self, key, state, transition, t):
        pair, value = (
            (transition.observation, transition.action),
            state.q[transition.observation, transition.action],
        )
        delta = transition.reward - state.memory + self.next_value(state, transition) - value
        greedy = value == jnp.max(state.q[transition.observation])
        memory = state.memory + jnp.where(greedy, self.gain_rate * delta, 0)
        q = state.q.at[pair].add(_once_known(memory, at(self.learning_rate, t) * delta))
        return self.count_visit(state._replace(q=q, memory=memory), pair)


def _once_known(first, then):
    """``then``, which XLA cannot know before ``first``: what reads a table for ``first`` has done so when the table changes,
    which is then done in place. Without it a single run takes sixteen times as long on CPU."""
    return jnp.where(jnp.isnan(first), first, then)
