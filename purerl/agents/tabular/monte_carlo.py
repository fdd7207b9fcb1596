r"""Monte-Carlo control: values are averages of returns (Sutton & Barto, 2018, chapter 5).

No episode is stored. For every pair three sums over its visits in this episode are carried along, with the weights
:math:`w_i` that the returns of those visits will have and their ages :math:`k_i`,

.. math:: \text{discounts} = \sum_i w_i \gamma^{k_i}, \qquad \text{total} = \sum_i w_i G_i, \qquad
          \text{kept} = 1 - \sum_i w_i,

where :math:`G_i` is the return of visit :math:`i` as far as it has been seen. A reward adds :math:`\text{discounts} \cdot R` to
the total, and at the end of the episode :math:`Q \leftarrow \text{kept} \cdot Q + \text{total}`, which is what moving :math:`Q`
towards the returns one by one, in the order of the visits, comes to. Episodes may be of any length.

Where an episode is truncated, the value of the state it has reached stands for the rewards that are not seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl, TabularControl
from purerl.checks import FINITE, UNIT_INTERVAL, check_choice, check_numbers
from purerl.policy import EpsilonGreedy, Greedy, Policy
from purerl.pytree import static
from purerl.schedule import Schedule, at, power

VISITS = "first", "every"


class Returns(NamedTuple):
    """The sums of the module's docstring, float32 ``[S, A]`` each, and ``met``, the pairs of this episode, bool ``[S, A]``."""

    discounts: jax.Array
    total: jax.Array
    kept: jax.Array
    met: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> "Returns":
        return cls(jnp.zeros_like(q), jnp.zeros_like(q), jnp.ones_like(q), jnp.zeros(q.shape, bool))

    def add_visit(self, entry, alpha) -> "Returns":
        """A visit more, whose return will move the value by ``alpha`` of the way; none for 0."""
        older = 1 - alpha
        return Returns(
            self.discounts.at[entry].multiply(older).at[entry].add(alpha),
            self.total.at[entry].multiply(older),
            self.kept.at[entry].multiply(older),
            self.met.at[entry].set(True),
        )

    def scale(self, ratio) -> "Returns":
        """An action later, of this importance ratio."""
        return self._replace(discounts=self.discounts * ratio, total=self.total * ratio)

    def add_reward(self, reward, discount) -> "Returns":
        """A reward later."""
        return self._replace(
            total=self.total + self.discounts * reward, discounts=self.discounts * discount
        )

    def close_episode(self, table, last_value, done) -> tuple[jax.Array, "Returns"]:
        """The values and the sums to go on with; ``last_value`` is what the state reached is worth."""
        moved = self.kept * table + self.total + self.discounts * last_value
        closed = jnp.where(done & self.met, moved, table)
        return closed, jax.tree.map(
            lambda new, old: jnp.where(done, new, old), Returns.empty(table), self
        )


class MonteCarlo(IncrementalControl):
    r"""On-policy control: :math:`Q(s, a)` is the average of the returns that followed visits to the pair,

    .. math:: Q(S_t, A_t) \leftarrow Q(S_t, A_t) + \alpha \left( G_t - Q(S_t, A_t) \right),

    at the end of each episode; with :math:`\alpha = 1 / n` of the ``n``-th visit, the default, the mean over all of them. It
    goes where Sarsa goes, without bootstrapping. Sutton & Barto (2018), section 5.4; Singh & Sutton, "Reinforcement learning
    with replacing eligibility traces" (Machine Learning 22, 1996), on first and every visits.

    Attributes:
        visit: ``"first"``, only the first visit to a pair in an episode counts, or ``"every"``. Static.
        learning_rate, count_visits: by default the sample average, ``power(1, 1)`` of the number of earlier visits.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    learning_rate: float | jax.Array | Schedule = power(1.0, 1.0)
    count_visits: bool = static(default=True)
    visit: str = static(default="first")

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, visit=VISITS)

    def init_memory(self, q):
        return Returns.empty(q)

    def learn(self, key, state, transition, t):
        pair, there, discount = (
            (transition.observation, transition.action),
            transition.next_observation,
            at(self.discount, t),
        )
        due = ~state.memory.met[pair] if self.visit == "first" else jnp.bool_(True)
        returns = state.memory.add_visit(pair, jnp.where(due, self.step_size(state, pair, t), 0))
        probabilities = self.behavior_policy.probabilities(self.policy_input(state, there, t))
        last_value = jnp.where(transition.terminated, 0, jnp.sum(probabilities * state.q[there]))
        q, memory = returns.add_reward(transition.reward, discount).close_episode(
            state.q, last_value, transition.done
        )
        return self.count_visit(state._replace(q=q, memory=memory), pair, due)


class Weights(NamedTuple):
    """The same for averages weighted by importance ratios.

    Attributes:
        discounts, total: as in :class:`Returns`, with the ratios so far as weights.
        ratios: the sum of these weights.
        before: the sum over all episodes before.
        met: the pairs of this episode, bool; all are of the shape of the values.
    """

    discounts: jax.Array
    total: jax.Array
    ratios: jax.Array
    before: jax.Array
    met: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> "Weights":
        return cls(*[jnp.zeros_like(q)] * 4, jnp.zeros(q.shape, bool))

    def add_visit(self, entry, weight=1.0) -> "Weights":
        """A visit more; none for a weight of 0."""
        discounts, ratios = (table.at[entry].add(weight) for table in (self.discounts, self.ratios))
        return self._replace(discounts=discounts, ratios=ratios, met=self.met.at[entry].set(True))

    def scale(self, ratio) -> "Weights":
        """An action later, of this importance ratio."""
        return self._replace(
            discounts=self.discounts * ratio, total=self.total * ratio, ratios=self.ratios * ratio
        )

    def add_reward(self, reward, discount) -> "Weights":
        """A reward later."""
        return self._replace(
            total=self.total + self.discounts * reward, discounts=self.discounts * discount
        )

    def close_episode(self, table, last_value, done) -> tuple[jax.Array, "Weights"]:
        """The values and the sums to go on with; ``last_value`` is what the state reached is worth."""
        after, returns = self.before + self.ratios, self.total + self.discounts * last_value
        moved = table + (returns - self.ratios * table) / jnp.where(after > 0, after, 1)
        closed = jnp.where(done & (self.ratios > 0), moved, table)
        fresh = self.empty(table)._replace(before=after)
        return closed, jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, self)


class OffPolicyMonteCarlo(TabularControl):
    r"""The returns of one policy as averages over those of another, weighted by their importance ratios,

    .. math::
        Q(s, a) = \frac{\sum_i W_i G_i}{\sum_i W_i}, \qquad
        W_i = \prod_{k > i} \frac{\pi(A_k \mid S_k)}{b(A_k \mid S_k)},

    over all visits :math:`i` to the pair, the product to the end of the episode. Under a greedy target only what comes after
    the last exploring action of an episode is learned from. It is the box "Off-policy MC control" of Sutton & Barto (2018),
    section 5.7, with the target as it was when an action was chosen, and no episode stored: a step multiplies all weights of
    the episode by its ratio.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: in ``[0, 1]``, that of the behavior where ``behavior`` is None; a schedule is called with ``t``.
        initial_value: of a pair before the first return that counts.
        behavior: the policy that acts, with ``probabilities``; epsilon-greedy by default. What the target does, it must
            do too.
        target: :math:`\pi`, with ``probabilities``; greedy by default.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None
    target: Policy = Greedy()

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, discount=UNIT_INTERVAL, epsilon=UNIT_INTERVAL, initial_value=FINITE)

    @property
    def behavior_policy(self):
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def init_memory(self, q):
        return Weights.empty(q)

    def learn(self, key, state, transition, t):
        pair, there, discount = (
            (transition.observation, transition.action),
            transition.next_observation,
            at(self.discount, t),
        )
        inputs = self.policy_input(state, transition.observation, t)
        ratio = (
            self.target.probabilities(inputs)[transition.action]
            / self.behavior_policy.probabilities(inputs)[transition.action]
        )
        last_value = jnp.sum(
            self.target.probabilities(self.policy_input(state, there, t)) * state.q[there]
        )
        last_value = jnp.where(transition.terminated, 0, last_value)
        weights = state.memory.scale(ratio).add_visit(pair).add_reward(transition.reward, discount)
        q, memory = weights.close_episode(state.q, last_value, transition.done)
        return self.count_visit(state._replace(q=q, memory=memory), pair)
