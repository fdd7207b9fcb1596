r"""Monte Carlo control: values are averages of returns (Sutton & Barto, 2018, chapter
5).

No episode is stored. For every pair three sums over its visits in the current episode
are carried along, with the weights :math:`w_i` that the returns of those visits will
have and their ages :math:`k_i`,

.. math::
    \text{discounts} = \sum_i w_i \gamma^{k_i}, \qquad
    \text{total} = \sum_i w_i G_i, \qquad
    \text{kept} = 1 - \sum_i w_i,

where :math:`G_i` is the return of visit :math:`i` so far. A reward adds
:math:`\text{discounts} \cdot R` to the total. At the end of the episode
:math:`Q \leftarrow \text{kept} \cdot Q + \text{total}`, which equals moving :math:`Q`
towards the returns one by one in the order of the visits. Episodes may have any length.

Where an episode is truncated, the value of the state reached stands for the rewards
that are not observed.
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl, TabularControl
from purerl.checks import FINITE, UNIT_INTERVAL, check_choice, check_numbers
from purerl.policy import EpsilonGreedy, Greedy, Policy, check_policies
from purerl.pytree import static
from purerl.schedule import Schedule, at, check_schedules, power

VISITS = "first", "every"


class Returns(NamedTuple):
    """The sums of the module's docstring, for every entry of a table.

    Attributes:
        discounts, total, kept: float32, of the shape of the values.
        met: entries visited in this episode, bool, of the same shape.
    """

    discounts: jax.Array
    total: jax.Array
    kept: jax.Array
    met: jax.Array

    @classmethod
    def empty(cls, values: jax.Array) -> Self:
        """Sums at the start of an episode."""
        zeros = jnp.zeros_like(values)
        return cls(zeros, zeros, jnp.ones_like(values), jnp.zeros(values.shape, bool))

    def add_visit(self, entry, alpha) -> Self:
        """Add a visit with step size ``alpha`` (0: none)."""
        older = 1 - alpha
        return type(self)(
            discounts=self.discounts.at[entry].multiply(older).at[entry].add(alpha),
            total=self.total.at[entry].multiply(older),
            kept=self.kept.at[entry].multiply(older),
            met=self.met.at[entry].set(True),
        )

    def scale(self, ratio) -> Self:
        """Multiply by the importance ratio of one more action."""
        return self._replace(discounts=self.discounts * ratio, total=self.total * ratio)

    def add_reward(self, reward, discount) -> Self:
        """Account for one more reward."""
        return self._replace(
            total=self.total + self.discounts * reward, discounts=self.discounts * discount
        )

    def close_episode(self, values, last_value, done) -> tuple[jax.Array, Self]:
        """The values, and the sums to continue with.

        Args:
            values: the table.
            last_value: the value of the state reached.
            done: whether the episode has ended; otherwise nothing changes.
        """
        moved = self.kept * values + self.total + self.discounts * last_value
        closed = jnp.where(done & self.met, moved, values)
        fresh = self.empty(values)
        return closed, jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, self)


class MonteCarlo(IncrementalControl):
    r"""On-policy Monte Carlo control.

    .. math::
        Q(S_t, A_t) \leftarrow Q(S_t, A_t) + \alpha \left( G_t - Q(S_t, A_t) \right)

    at the end of each episode. The default :math:`\alpha = 1 / n` at the ``n``-th visit
    makes :math:`Q` the mean of the returns. It has Sarsa's limit, without
    bootstrapping. Sutton & Barto (2018), section 5.4; Singh & Sutton, "Reinforcement
    learning with replacing eligibility traces" (Machine Learning 22, 1996), on first
    and every visits.

    Attributes:
        visit: ``"first"`` (only the first visit to a pair in an episode counts) or
            ``"every"``. Static.
        learning_rate, count_visits: by default the sample average, ``power(1, 1)`` of
            the number of earlier visits.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
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
        pair = transition.pair
        next_state = transition.next_observation
        counts = ~state.memory.met[pair] if self.visit == "first" else jnp.bool_(True)
        alpha = jnp.where(counts, self.step_size(state, pair, t), 0)
        returns = state.memory.add_visit(pair, alpha)
        returns = returns.add_reward(transition.reward, at(self.discount, t))
        pi = self.behavior_policy.probabilities(self.policy_input(state, next_state, t))
        expected = jnp.sum(pi * state.q[next_state])
        last_value = jnp.where(transition.terminated, 0, expected)
        q, memory = returns.close_episode(state.q, last_value, transition.done)
        return self.count_visit(state._replace(q=q, memory=memory), pair, counts)


class Weights(NamedTuple):
    """The sums for averages weighted by importance ratios.

    Attributes:
        discounts, total: as in :class:`Returns`, with the ratios so far as weights.
        ratios: the sum of these weights.
        before: the sum over all earlier episodes.
        met: entries visited in this episode, bool. All have the shape of the values.
    """

    discounts: jax.Array
    total: jax.Array
    ratios: jax.Array
    before: jax.Array
    met: jax.Array

    @classmethod
    def empty(cls, values: jax.Array) -> Self:
        """Sums before the first episode."""
        zeros = jnp.zeros_like(values)
        return cls(zeros, zeros, zeros, zeros, jnp.zeros(values.shape, bool))

    def add_visit(self, entry, weight=1.0) -> Self:
        """Add a visit (a weight of 0: none)."""
        return self._replace(
            discounts=self.discounts.at[entry].add(weight),
            ratios=self.ratios.at[entry].add(weight),
            met=self.met.at[entry].set(True),
        )

    def scale(self, ratio) -> Self:
        """Multiply by the importance ratio of one more action."""
        return self._replace(
            discounts=self.discounts * ratio,
            total=self.total * ratio,
            ratios=self.ratios * ratio,
        )

    def add_reward(self, reward, discount) -> Self:
        """Account for one more reward."""
        return self._replace(
            total=self.total + self.discounts * reward, discounts=self.discounts * discount
        )

    def close_episode(self, values, last_value, done) -> tuple[jax.Array, Self]:
        """The values, and the sums to continue with: :meth:`Returns.close_episode`."""
        after = self.before + self.ratios
        returns = self.total + self.discounts * last_value
        change = (returns - self.ratios * values) / jnp.where(after > 0, after, 1)
        closed = jnp.where(done & (self.ratios > 0), values + change, values)
        fresh = self.empty(values)._replace(before=after)
        return closed, jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, self)


class OffPolicyMonteCarlo(TabularControl):
    r"""Off-policy Monte Carlo control with weighted importance sampling.

    .. math::
        Q(s, a) = \frac{\sum_i W_i G_i}{\sum_i W_i}, \qquad
        W_i = \prod_{k > i} \frac{\pi(A_k \mid S_k)}{b(A_k \mid S_k)}

    over all visits :math:`i` to the pair, the product up to the end of the episode.
    Under a greedy target only what follows the last exploratory action of an episode is
    learned from. It is the box "Off-policy MC control" of Sutton & Barto (2018),
    section 5.7, with the target as it was when an action was chosen. No episode is
    stored: a step multiplies all weights of the episode by its ratio.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: in ``[0, 1]``, for the default behavior. A schedule is evaluated at
            ``t``.
        initial_value: of a pair before the first return that counts.
        behavior: the policy that acts, with ``probabilities``; epsilon-greedy by
            default. It must take every action that the target takes.
        target: :math:`\pi`, with ``probabilities``; greedy by default.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    behavior: Policy | None = None
    target: Policy = Greedy()

    def __post_init__(self):
        super().__post_init__()
        check_policies(self, "behavior", "target")
        check_schedules(self, discount=UNIT_INTERVAL, epsilon=UNIT_INTERVAL)
        check_numbers(self, initial_value=FINITE)

    @property
    def behavior_policy(self):
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    def init_memory(self, q):
        return Weights.empty(q)

    def learn(self, key, state, transition, t):
        state_before, action = transition.pair
        next_state = transition.next_observation
        inputs = self.policy_input(state, state_before, t)
        pi = self.target.probabilities(inputs)[action]
        ratio = pi / self.behavior_policy.probabilities(inputs)[action]
        next_pi = self.target.probabilities(self.policy_input(state, next_state, t))
        expected = jnp.sum(next_pi * state.q[next_state])
        last_value = jnp.where(transition.terminated, 0, expected)
        weights = state.memory.scale(ratio).add_visit(transition.pair)
        weights = weights.add_reward(transition.reward, at(self.discount, t))
        q, memory = weights.close_episode(state.q, last_value, transition.done)
        return self.count_visit(state._replace(q=q, memory=memory), transition.pair)
