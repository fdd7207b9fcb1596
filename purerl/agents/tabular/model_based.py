"""Control by solving a model learned from counts: R-max and posterior sampling.

Both count what followed each pair, with the end of an episode as one more state, and
sum rewards. When the answer may have changed they solve their model by value iteration,
starting from the current values, until no value changes by more than :data:`CHANGE`.
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl
from purerl.checks import FINITE, POSITIVE, Rule, check_numbers, check_size
from purerl.policy import Greedy, Policy
from purerl.pytree import static

CHANGE = 1e-4
BELOW_ONE: Rule = ("a number in [0, 1)", lambda x: (x >= 0) & (x < 1))


class Counts(NamedTuple):
    """Statistics of the transitions so far.

    Attributes:
        followed: how often each state followed each pair; the last entry is the end of
            an episode, float32 ``[S, A, S + 1]``.
        reward: the sum of the rewards of each pair, float32 ``[S, A]``.
    """

    followed: jax.Array
    reward: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> Self:
        """No transitions."""
        return cls(jnp.zeros((*q.shape, q.shape[0] + 1), q.dtype), jnp.zeros_like(q))

    def add(self, transition) -> Self:
        """Count a transition."""
        end = self.followed.shape[0]
        reached = jnp.where(transition.terminated, end, transition.next_observation)
        return type(self)(
            followed=self.followed.at[*transition.pair, reached].add(1),
            reward=self.reward.at[transition.pair].add(transition.reward),
        )


def solve(q, probability, reward, discount, wanted, mask, known: bool | jax.Array = True):
    """Value iteration on a dense model, from ``q``, float32 ``[S, A]``.

    Args:
        q: the values to start from.
        probability: float ``[S, A, S + 1]``, the last entry being the end.
        reward: expected rewards, float ``[S, A]``.
        discount: below 1.
        wanted: whether to solve at all; otherwise ``q`` is returned.
        mask: gives a table ``-inf`` for the actions that are not available.
        known: pairs to solve for, bool ``[S, A]``; the others keep their values.
    """

    def sweep(carry):
        q, _ = carry
        values = jnp.append(jnp.max(mask(q), axis=-1), 0)  # the end has value 0
        new = jnp.where(known, reward + jnp.float32(discount) * probability @ values, q)
        return new, jnp.max(jnp.abs(new - q))

    start = q, jnp.where(wanted, jnp.float32(jnp.inf), 0)
    return jax.lax.while_loop(lambda carry: carry[1] > CHANGE, sweep, start)[0]


class RMax(TabularControl):
    r"""R-max: optimism about pairs that are not known yet.

    A pair tried fewer than ``m`` times is worth :math:`R_{max} / (1 - \gamma)`; the
    others are worth what the frequencies in their first ``m`` trials imply. The agent
    acts greedily, and solves its model when a pair becomes known. It is near-optimal in
    all but polynomially many steps. Brafman & Tennenholtz, "R-max: a general polynomial
    time algorithm for near-optimal reinforcement learning" (JMLR 3, 2002); discounted
    as in Strehl, Li & Littman, "Reinforcement learning in finite MDPs: PAC analysis"
    (JMLR 10, 2009).

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1)``.
        max_reward: :math:`R_{max}`, the largest reward.
        known_after: ``m``, trials after which a pair is known, at least 1. Static.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    discount: float | jax.Array = 0.95
    max_reward: float | jax.Array = 1.0
    known_after: int = static(default=10)

    lanes = 4  # each run holds S * A * S numbers
    fewest_lanes = 4  # XLA rounds matrix products differently by width
    needs_visits = True

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, discount=BELOW_ONE, max_reward=FINITE)
        check_size(self, "known_after")

    @property
    def behavior_policy(self) -> Policy:
        return Greedy()

    @property
    def initial_value(self):
        return self.max_reward / (1 - self.discount)

    def init_memory(self, q):
        return Counts.empty(q)

    def learn(self, key, state, transition, t):
        pair = transition.pair
        learns = self.visits(state)[pair] < self.known_after
        counted = state.memory.add(transition)
        counts = jax.tree.map(lambda new, old: jnp.where(learns, new, old), counted, state.memory)
        state = self.count_visit(state, pair)
        tried = jnp.maximum(jnp.sum(counts.followed, axis=-1), 1)
        q = solve(
            state.q,
            counts.followed / tried[..., None],
            counts.reward / tried,
            self.discount,
            wanted=self.visits(state)[pair] == self.known_after,
            mask=self.mask_table,
            known=self.visits(state) >= self.known_after,
        )
        return state._replace(q=q, memory=counts)


class PSRL(TabularControl):
    r"""Posterior sampling: act greedily in a model drawn from the posterior.

    A new model is drawn and solved every ``period`` steps. The successor of a pair has
    a Dirichlet prior, with ``prior_count`` shared equally among all states and the end;
    the mean reward of a pair has a normal prior, and rewards have the standard
    deviation ``reward_noise``. Strens, "A Bayesian framework for reinforcement
    learning" (ICML 2000); Osband, Russo & Van Roy, "(More) efficient reinforcement
    learning via posterior sampling" (NeurIPS 2013), whose episodes all have the length
    ``period``.

    The action values are those of the model drawn last.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1)``.
        period: steps between two draws, at least 1. Static.
        prior_count: above 0.
        reward_mean: mean of the prior of rewards.
        reward_scale: standard deviation of that prior, above 0.
        reward_noise: above 0.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    discount: float | jax.Array = 0.95
    period: int = static(default=20)
    prior_count: float | jax.Array = 1.0
    reward_mean: float | jax.Array = 0.0
    reward_scale: float | jax.Array = 1.0
    reward_noise: float | jax.Array = 1.0

    lanes = 4  # each run holds S * A * S numbers
    fewest_lanes = 4  # XLA rounds matrix products differently by width

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "period")
        check_numbers(self, discount=BELOW_ONE, reward_mean=FINITE)
        check_numbers(self, prior_count=POSITIVE, reward_scale=POSITIVE, reward_noise=POSITIVE)

    @property
    def behavior_policy(self) -> Policy:
        return Greedy()

    def init_memory(self, q):
        return Counts.empty(q)

    def posterior(self, counts: Counts) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Parameters of the posterior.

        Returns:
            Those of the Dirichlet distribution, float32 ``[S, A, S + 1]``; mean and
            standard deviation of the mean reward, float32 ``[S, A]``.
        """
        weights = counts.followed + jnp.float32(self.prior_count) / counts.followed.shape[-1]
        prior = jnp.float32(self.reward_scale) ** -2.0
        evidence = jnp.float32(self.reward_noise) ** -2.0
        precision = prior + evidence * jnp.sum(counts.followed, axis=-1)
        mean = (prior * jnp.float32(self.reward_mean) + evidence * counts.reward) / precision
        return weights, mean, jax.lax.rsqrt(precision)

    def draw(self, key: jax.Array, counts: Counts, q: jax.Array) -> jax.Array:
        """Action values of a model drawn from the posterior, float32 ``[S, A]``.

        Args:
            key: consumed.
            counts: the statistics so far.
            q: the values that value iteration starts from.
        """
        weights, mean, scale = self.posterior(counts)
        transition_key, reward_key = jax.random.split(key)
        draws = jax.random.loggamma(transition_key, weights, dtype=jnp.float32)
        probability = jax.nn.softmax(draws, axis=-1)
        reward = mean + scale * jax.random.normal(reward_key, mean.shape, jnp.float32)
        return solve(q, probability, reward, self.discount, True, self.mask_table)

    def start(self, key, env_state):
        key, prior_key = jax.random.split(key)
        state = super().start(key, env_state)
        return state._replace(q=self.draw(prior_key, state.memory, state.q))

    def learn(self, key, state, transition, t):
        counts = state.memory.add(transition)
        # Time is the same in all lanes, so what is not due is not computed in any.
        due = (t + 1) % self.period == 0
        q = jax.lax.cond(due, self.draw, lambda key, counts, q: q, key, counts, state.q)
        return state._replace(q=q, memory=counts)
