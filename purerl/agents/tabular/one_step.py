r"""Control by one-step targets: Q-learning, Sarsa, Expected Sarsa and Double
Q-learning.

All four update one entry of the table,
:math:`Q(S, A) \leftarrow Q(S, A) + \alpha (G - Q(S, A))`, and differ in the target
:math:`G`. With :math:`d` the terminated flag:

================= ======================================================================
method            :math:`G`
================= ======================================================================
Q-learning        :math:`R + \gamma (1 - d) \max_a Q(S', a)`
Sarsa             :math:`R + \gamma (1 - d) \, Q(S', A')`
Expected Sarsa    :math:`R + \gamma (1 - d) \sum_a \pi(a \mid S') Q(S', a)`
Double Q-learning :math:`R + \gamma (1 - d) \, Q_2(S', \arg\max_a Q_1(S', a))`
================= ======================================================================

Q-learning and Double Q-learning learn about the greedy policy, Sarsa about the behavior
policy, and Expected Sarsa about any target policy.
"""

import jax
import jax.numpy as jnp

from purerl import bellman
from purerl.agents.tabular.base import IncrementalControl
from purerl.envs.base import mask_unavailable
from purerl.policy import Policy, check_policies
from purerl.schedule import at


class QLearning(IncrementalControl):
    r"""Q-learning: off-policy control by the sampled Bellman optimality operator.

    .. math::
        Q(S, A) \leftarrow Q(S, A)
            + \alpha \left( R + \gamma (1 - d) \max_a Q(S', a) - Q(S, A) \right)

    It converges to :math:`Q^*` with probability one, under any behavior that visits
    every pair infinitely often, if the step sizes of each pair satisfy
    :math:`\sum \alpha = \infty` and :math:`\sum \alpha^2 < \infty`. Watkins, *Learning
    from Delayed Rewards* (PhD thesis, Cambridge, 1989); Watkins & Dayan, "Q-learning"
    (Machine Learning 8, 1992).

    Attributes and errors: as in
    :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    lanes = 512

    def learn(self, key, state, transition, t):
        target = bellman.q_learning(
            transition.reward,
            transition.terminated,
            self.q_values(state.q, transition.next_observation),
            at(self.discount, t),
        )
        return self.update_towards(state, transition.pair, target, t)


class SARSA(IncrementalControl):
    r"""Sarsa: on-policy control whose target uses the next action taken.

    .. math::
        Q(S, A) \leftarrow Q(S, A)
            + \alpha \left( R + \gamma (1 - d) \, Q(S', A') - Q(S, A) \right)

    With epsilon-greedy behavior of constant epsilon it converges to the values of the
    best epsilon-soft policy (:func:`purerl.mdp.epsilon_soft_optimal`), with epsilon
    falling to zero slowly enough to :math:`Q^*`. :math:`A'` is chosen before the
    update, as in the book; at a truncation it is drawn for the state reached and never
    taken. Rummery & Niranjan, "On-line Q-learning using connectionist systems"
    (CUED/F-INFENG/TR 166, 1994); Sutton & Barto, *Reinforcement Learning* (2nd ed.,
    2018), section 6.4; Singh, Jaakkola, Littman & Szepesvári, "Convergence results for
    single-step on-policy reinforcement-learning algorithms" (Machine Learning 38,
    2000).

    ``memory`` is the next action, int32 ``[]``, or -1 where an episode begins.

    Attributes and errors: as in
    :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    lanes = 512

    def init_memory(self, q):
        return jnp.int32(-1)

    def choose(self, key, state, t):
        return jnp.where(state.memory < 0, super().choose(key, state, t), state.memory)

    def learn(self, key, state, transition, t):
        inputs = self.policy_input(state, transition.next_observation, t)
        next_action = self.behavior_policy.sample(key, inputs)
        target = bellman.sarsa(
            transition.reward,
            transition.terminated,
            state.q[transition.next_observation],
            next_action,
            at(self.discount, t),
        )
        state = self.update_towards(state, transition.pair, target, t)
        return state._replace(memory=jnp.where(transition.done, -1, next_action))


class ExpectedSARSA(IncrementalControl):
    r"""Expected Sarsa: the expectation over the target policy's next action.

    .. math::
        Q(S, A) \leftarrow Q(S, A) + \alpha
            \left( R + \gamma (1 - d) \sum_a \pi(a \mid S') Q(S', a) - Q(S, A) \right)

    On-policy, where the target is the behavior, it has Sarsa's limits with less
    variance; off-policy, with a fixed target (:class:`~purerl.policy.Fixed`), it
    converges to that policy's :math:`Q_\pi`, and with a greedy one it is Q-learning.
    van Seijen, van Hasselt, Whiteson & Wiering, "A theoretical and empirical analysis
    of expected Sarsa" (ADPRL 2009); Sutton & Barto (2018), section 6.6.

    Attributes:
        target: :math:`\pi`, a policy with ``probabilities``; the behavior by default.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    target: Policy | None = None

    lanes = 512

    def __post_init__(self):
        super().__post_init__()
        check_policies(self, "target")

    def learn(self, key, state, transition, t):
        policy = self.behavior_policy if self.target is None else self.target
        inputs = self.policy_input(state, transition.next_observation, t)
        target = bellman.expected_sarsa(
            transition.reward,
            transition.terminated,
            state.q[transition.next_observation],
            policy.probabilities(inputs),
            at(self.discount, t),
        )
        return self.update_towards(state, transition.pair, target, t)


class DoubleQLearning(IncrementalControl):
    r"""Double Q-learning: one table selects the next action, another evaluates it.

    .. math::
        Q_1(S, A) \leftarrow Q_1(S, A) + \alpha \left(
            R + \gamma (1 - d) \, Q_2(S', \arg\max_a Q_1(S', a)) - Q_1(S, A) \right)

    or the same with the tables exchanged, each with probability one half. The behavior
    policy sees the mean of both tables, and so does evaluation. Taking the maximum of
    one noisy table overestimates; this does not. van Hasselt, "Double Q-learning"
    (NeurIPS 2010); Sutton & Barto (2018), section 6.7.

    ``q`` is float32 ``[2, S, A]``; visits are counted for both tables together.

    Attributes and errors: as in
    :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    lanes = 512

    def start(self, key, env_state):
        state = super().start(key, env_state)
        return state._replace(q=jnp.stack([state.q, state.q]))

    def q_values(self, q, observation):
        return mask_unavailable(self.env, jnp.mean(q[:, observation], axis=0), observation)

    def learn(self, key, state, transition, t):
        next_state = transition.next_observation
        updated = jax.random.bits(key, dtype=jnp.uint32).astype(jnp.int32) & 1
        target = bellman.double_q(
            transition.reward,
            transition.terminated,
            mask_unavailable(self.env, state.q[updated, next_state], next_state),
            state.q[1 - updated, next_state],
            at(self.discount, t),
        )
        error = target - state.q[updated, *transition.pair]
        move = self.step_size(state, transition.pair, t) * error
        q = state.q.at[updated, *transition.pair].add(move)
        return self.count_visit(state._replace(q=q), transition.pair)
