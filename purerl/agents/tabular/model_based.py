r"""Control by solving a model that is learned from counts: R-max and posterior sampling.

Both count what followed each pair, the end of an episode as one more state, and add up rewards. Where the answer may have
changed they solve what they believe, by value iteration from the values they have to a change of at most :data:`CHANGE`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl
from purerl.checks import FINITE, POSITIVE, Rule, check_numbers, check_size
from purerl.policy import Greedy
from purerl.pytree import static

CHANGE = 1e-4
BELOW_ONE: Rule = ("a number in [0, 1)", lambda x: (x >= 0) & (x < 1))


class Counts(NamedTuple):
    """What followed each pair: how often which state, the last being the end, float32 ``[S, A, S + 1]``, and the sum of its
    rewards, float32 ``[S, A]``."""

    followed: jax.Array
    reward: jax.Array

    @classmethod
    def empty(cls, q: jax.Array) -> "Counts":
        return cls(jnp.zeros((*q.shape, q.shape[0] + 1)), jnp.zeros_like(q))

    def add(self, transition) -> "Counts":
        pair = transition.observation, transition.action
        there = jnp.where(
            transition.terminated, self.followed.shape[0], transition.next_observation
        )
        return Counts(
            self.followed.at[*pair, there].add(1), self.reward.at[pair].add(transition.reward)
        )


def solve(q, probability, reward, discount, wanted, known=True):
    """Value iteration of a dense model where it is ``wanted`` and pairs are ``known``: float32 ``[S, A]``."""

    def sweep(carry):
        q, _ = carry
        values = jnp.append(jnp.max(q, axis=-1), 0)  # the end is worth nothing
        new = jnp.where(known, reward + discount * probability @ values, q)
        return new, jnp.max(jnp.abs(new - q))

    first = q, jnp.where(wanted, jnp.inf, 0)
    return jax.lax.while_loop(lambda carry: carry[1] > CHANGE, sweep, first)[0]


class RMax(TabularControl):
    r"""Optimism about what is not known: a pair that has been tried fewer than ``m`` times is worth :math:`R_{max} / (1 -
    \gamma)`, and the others what the frequencies in their first ``m`` trials say. It acts greedily, and solves the model when a
    pair becomes known; in all but polynomially many steps it is near the optimum. Brafman & Tennenholtz, "R-max: a general
    polynomial time algorithm for near-optimal reinforcement learning" (JMLR 3, 2002); discounted as in Strehl, Li & Littman,
    "Reinforcement learning in finite MDPs: PAC analysis" (JMLR 10, 2009).

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1)``.
        max_reward: :math:`R_{max}`, the largest reward.
        known_after: ``m``, trials after which a pair is known, at least 1. Static.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    discount: float | jax.Array = 0.95
    max_reward: float | jax.Array = 1.0
    known_after: int = static(default=10)

    lanes = 4  # each solves a model of S * A * S numbers
    bits_depend_on_lanes = True  # matrix products
    needs_visits = True
    behavior_policy = Greedy()

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, discount=BELOW_ONE, max_reward=FINITE)
        check_size(self, "known_after")

    @property
    def initial_value(self):
        return self.max_reward / (1 - self.discount)

    def init_memory(self, q):
        return Counts.empty(q)

    def learn(self, key, state, transition, t):
        pair = transition.observation, transition.action
        learns = state.visits[pair] < self.known_after
        counts = jax.tree.map(
            lambda new, old: jnp.where(learns, new, old), state.memory.add(transition), state.memory
        )
        state = self.count_visit(state, pair)
        tried = jnp.maximum(jnp.sum(counts.followed, axis=-1), 1)
        q = solve(
            state.q,
            counts.followed / tried[..., None],
            counts.reward / tried,
            self.discount,
            wanted=state.visits[pair] == self.known_after,
            known=state.visits >= self.known_after,
        )
        return state._replace(q=q, memory=counts)


class PSRL(TabularControl):
    r"""Posterior sampling: a model is drawn from what is believed, solved, and acted on greedily for a while. What follows a
    pair has a Dirichlet prior, ``prior_count`` shared equally among all states and the end; its mean reward a normal one, known
    through rewards of standard deviation ``reward_noise``. Strens, "A Bayesian framework for reinforcement learning" (ICML
    2000); Osband, Russo & Van Roy, "(More) efficient reinforcement learning via posterior sampling" (NeurIPS 2013), whose
    episodes all have the length ``period``.

    The values are those of the model drawn last.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        discount: :math:`\gamma` in ``[0, 1)``.
        period: steps between two draws, at least 1. Static.
        prior_count: above 0.
        reward_mean: of the prior.
        reward_scale: its standard deviation, above 0.
        reward_noise: above 0.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    discount: float | jax.Array = 0.95
    period: int = static(default=20)
    prior_count: float | jax.Array = 1.0
    reward_mean: float | jax.Array = 0.0
    reward_scale: float | jax.Array = 1.0
    reward_noise: float | jax.Array = 1.0

    lanes = 4
    bits_depend_on_lanes = True
    behavior_policy = Greedy()

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "period")
        check_numbers(self, discount=BELOW_ONE, reward_mean=FINITE)
        check_numbers(self, prior_count=POSITIVE, reward_scale=POSITIVE, reward_noise=POSITIVE)

    def init_memory(self, q):
        return Counts.empty(q)

    def posterior(self, counts: Counts):
        """Parameters of the Dirichlet, float32 ``[S, A, S + 1]``; mean and scale of the mean reward, float32 ``[S, A]``."""
        weights = counts.followed + self.prior_count / counts.followed.shape[-1]
        prior, evidence = self.reward_scale**-2.0, self.reward_noise**-2.0
        precision = prior + evidence * jnp.sum(counts.followed, axis=-1)
        return (
            weights,
            (prior * self.reward_mean + evidence * counts.reward) / precision,
            jax.lax.rsqrt(precision),
        )

    def draw(self, key: jax.Array, counts: Counts, q: jax.Array) -> jax.Array:
        """The values of a model drawn from the posterior, worked out from those of another."""
        weights, mean, scale = self.posterior(counts)
        transition_key, reward_key = jax.random.split(key)
        probability = jax.nn.softmax(jax.random.loggamma(transition_key, weights), axis=-1)
        reward = mean + scale * jax.random.normal(reward_key, mean.shape)
        return solve(q, probability, reward, self.discount, True)

    def start(self, key, env_state):
        key, prior_key = jax.random.split(key)
        state = super().start(key, env_state)
        return state._replace(q=self.draw(prior_key, state.memory, state.q))

    def learn(self, key, state, transition, t):
        counts = state.memory.add(transition)
        # Time is the same in all lanes, so that what is not drawn is not computed either.
        due = (t + 1) % self.period == 0
        q = jax.lax.cond(due, self.draw, lambda key, counts, q: q, key, counts, state.q)
        return state._replace(q=q, memory=counts)
