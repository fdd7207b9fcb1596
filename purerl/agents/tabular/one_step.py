r"""Control by one-step targets: Q-learning, Sarsa, Expected Sarsa and Double Q-learning.

All four move one entry of the table, :math:`Q(S, A) \leftarrow Q(S, A) + \alpha (G - Q(S, A))`, and differ in the target
:math:`G`. With :math:`d` the terminated flag:

================== ===================================================================== =========================
method             :math:`G`                                                             learns about
================== ===================================================================== =========================
Q-learning         :math:`R + \gamma (1 - d) \max_a Q(S', a)`                            the greedy policy
Sarsa              :math:`R + \gamma (1 - d) \, Q(S', A')`                               the behavior
Expected Sarsa     :math:`R + \gamma (1 - d) \sum_a \pi(a \mid S') Q(S', a)`             any target policy
Double Q-learning  :math:`R + \gamma (1 - d) \, Q_2(S', \arg\max_a Q_1(S', a))`          the greedy policy
================== ===================================================================== =========================
"""

import jax
import jax.numpy as jnp

from purerl import bellman
from purerl.agents.tabular.base import IncrementalControl
from purerl.policy import Policy
from purerl.schedule import at


class QLearning(IncrementalControl):
    r"""Off-policy control of a finite MDP by the sampled Bellman optimality operator:

    .. math::
        Q(S, A) \leftarrow Q(S, A) + \alpha \left( R + \gamma (1 - d) \max_a Q(S', a) - Q(S, A) \right),

    with :math:`A` drawn by any behavior. It finds :math:`Q^*` with probability one if every pair is
    visited without end and its step sizes satisfy :math:`\sum \alpha = \infty`, :math:`\sum \alpha^2 < \infty`. Watkins,
    *Learning from Delayed Rewards* (PhD thesis, Cambridge, 1989); Watkins & Dayan, "Q-learning" (Machine Learning 8, 1992).

    Attributes and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def learn(self, key, state, transition, t):
        target = bellman.q_learning(
            transition.reward,
            transition.terminated,
            state.q[transition.next_observation],
            at(self.discount, t),
        )
        return self.update_towards(state, (transition.observation, transition.action), target, t)


class SARSA(IncrementalControl):
    r"""On-policy control: the next action in the target is the one that is then taken,

    .. math:: Q(S, A) \leftarrow Q(S, A) + \alpha \left( R + \gamma (1 - d) \, Q(S', A') - Q(S, A) \right).

    With an epsilon-greedy behavior of constant epsilon its values go to those of the best epsilon-soft policy
    (:func:`purerl.mdp.epsilon_soft_optimal`), with epsilon falling to zero slowly enough to :math:`Q^*`. :math:`A'` is chosen
    before the update, as in the book; at a truncation it is drawn for the state that was reached and never taken. Rummery &
    Niranjan, "On-line Q-learning using connectionist systems" (CUED/F-INFENG/TR 166, 1994); Sutton & Barto, *Reinforcement
    Learning* (2nd ed., 2018), section 6.4; Singh, Jaakkola, Littman & Szepesvári, "Convergence results for single-step
    on-policy reinforcement-learning algorithms" (Machine Learning 38, 2000).

    ``memory`` is the action to take next, int32 ``[]``, -1 where an episode begins. Attributes and errors: those of
    :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def init_memory(self, q):
        return jnp.int32(-1)

    def choose(self, key, state, t):
        return jnp.where(state.memory < 0, super().choose(key, state, t), state.memory)

    def learn(self, key, state, transition, t):
        next_action = self.behavior_policy.sample(
            key, self.policy_input(state, transition.next_observation, t)
        )
        target = bellman.sarsa(
            transition.reward,
            transition.terminated,
            state.q[transition.next_observation],
            next_action,
            at(self.discount, t),
        )
        state = self.update_towards(state, (transition.observation, transition.action), target, t)
        return state._replace(memory=jnp.where(transition.done, -1, next_action))


class ExpectedSARSA(IncrementalControl):
    r"""The expectation over the target policy's next action in place of a sample:

    .. math:: Q(S, A) \leftarrow Q(S, A) + \alpha \left( R + \gamma (1 - d) \sum_a \pi(a \mid S') Q(S', a) - Q(S, A) \right).

    On-policy where the target is the behavior, with Sarsa's limits and less variance; off-policy where it is another. With a
    greedy target it is Q-learning; with a target that does not learn (:class:`~purerl.policy.Fixed`) it finds that policy's
    :math:`Q_\pi`. van Seijen, van Hasselt, Whiteson & Wiering, "A theoretical and empirical analysis of expected Sarsa" (ADPRL
    2009); Sutton & Barto (2018), section 6.6.

    Attributes:
        target: :math:`\pi`, any policy with ``probabilities``; the behavior by default.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    target: Policy | None = None

    def learn(self, key, state, transition, t):
        policy = self.behavior_policy if self.target is None else self.target
        probabilities = policy.probabilities(
            self.policy_input(state, transition.next_observation, t)
        )
        target = bellman.expected_sarsa(
            transition.reward,
            transition.terminated,
            state.q[transition.next_observation],
            probabilities,
            at(self.discount, t),
        )
        return self.update_towards(state, (transition.observation, transition.action), target, t)


class DoubleQLearning(IncrementalControl):
    r"""Two tables, one of which, by the toss of a coin, selects the best next action, and the other evaluates it:

    .. math::
        Q_1(S, A) \leftarrow Q_1(S, A) + \alpha \left(R + \gamma (1 - d) \, Q_2(S', \arg\max_a Q_1(S', a)) - Q_1(S, A)\right)

    or the same with the tables exchanged. The behavior looks at their mean, which is also what ``values`` returns. It does not
    suffer from the maximum of noisy estimates being more than the largest of their means. van Hasselt, "Double Q-learning"
    (NeurIPS 2010); Sutton & Barto (2018), section 6.7.

    ``q`` is float32 ``[2, S, A]``; visits are those of both tables together. Attributes and errors: those of
    :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def start(self, key, env_state):
        state = super().start(key, env_state)
        return state._replace(q=jnp.stack([state.q, state.q]))

    def q_values(self, q, observation):
        return jnp.mean(q[:, observation], axis=0)

    def learn(self, key, state, transition, t):
        first = (
            jax.random.bits(key, dtype=jnp.uint32).astype(jnp.int32) & 1
        )  # the table that is updated
        pair = transition.observation, transition.action
        target = bellman.double_q(
            transition.reward,
            transition.terminated,
            state.q[first, transition.next_observation],
            state.q[1 - first, transition.next_observation],
            at(self.discount, t),
        )
        q = state.q.at[first, *pair].add(
            self.step_size(state, pair, t) * (target - state.q[first, *pair])
        )
        return self.count_visit(state._replace(q=q), pair)
