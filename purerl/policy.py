r"""Policies: how actions are chosen where values are known, as frozen pytrees.

A policy gives ``probabilities(seen) -> float32 [A]``, :math:`\pi(\cdot \mid s)`, and ``sample(key, seen) -> int32 []``.
``seen`` is all that one may look at. The same policy serves as behaviour, which chooses, and as target, which is learnt about:
where a method has both they are two arguments.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl import exploration
from purerl.checks import FINITE, NOT_NEGATIVE, POSITIVE, UNIT_INTERVAL, check_numbers
from purerl.pytree import Node
from purerl.schedule import Schedule, at


class Seen(NamedTuple):
    """What a policy may look at.

    Attributes:
        observation: the index of the state, int32 ``[]``.
        values: :math:`Q(s, \\cdot)`, float32 ``[A]``.
        visits: :math:`N(s, \\cdot)`, how often each action was taken here, int32 ``[A]``; None unless they are counted.
        t: the time that schedules are called with, int32 ``[]``.
    """

    observation: jax.Array
    values: jax.Array
    visits: jax.Array | None
    t: jax.Array


class Policy(Node):
    """What all policies share: an action drawn from ``probabilities``. ``counts``: whether visits are looked at."""

    counts = False

    def probabilities(self, seen: Seen) -> jax.Array:
        """:math:`\\pi(\\cdot \\mid s)`, float32 ``[A]``."""
        raise NotImplementedError(f"{type(self).__name__} has no probabilities in closed form; allowed: another policy")

    def sample(self, key: jax.Array, seen: Seen) -> jax.Array:
        """An action, int32 ``[]``. The key is consumed."""
        return exploration.draw(key, self.probabilities(seen))


class Greedy(Policy):
    """One of the actions of largest ``index``, which is their value unless a subclass knows better; ties are broken
    uniformly."""

    def index(self, seen: Seen) -> jax.Array:
        """What is maximised, float32 ``[A]``."""
        return seen.values

    def probabilities(self, seen):
        return exploration.epsilon_greedy_probabilities(self.index(seen), 0.0)

    def sample(self, key, seen):
        return exploration.epsilon_greedy(key, self.index(seen), 0.0)


class EpsilonGreedy(Policy):
    """:func:`purerl.exploration.epsilon_greedy`; with a constant ``epsilon`` the epsilon-soft policies' own, with 1 the
    uniform one.

    Attributes:
        epsilon: in ``[0, 1]``; a schedule is called with ``t``.
    """

    epsilon: float | jax.Array | Schedule = 0.1

    def __post_init__(self):
        check_numbers(self, epsilon=UNIT_INTERVAL)

    def probabilities(self, seen):
        return exploration.epsilon_greedy_probabilities(seen.values, at(self.epsilon, seen.t))

    def sample(self, key, seen):
        return exploration.epsilon_greedy(key, seen.values, at(self.epsilon, seen.t))


class Softmax(Policy):
    r""":math:`\pi(a) \propto e^{Q(s, a) / \tau}`, the Gibbs or Boltzmann law. Sutton & Barto (2018), section 2.8 and
    equation 13.2.

    Attributes:
        temperature: :math:`\tau` above 0; a schedule is called with ``t``.
    """

    temperature: float | jax.Array | Schedule = 1.0

    def __post_init__(self):
        check_numbers(self, temperature=POSITIVE)

    def probabilities(self, seen):
        return jax.nn.softmax(seen.values / at(self.temperature, seen.t))


class UCB(Greedy):
    r"""Greedy in the upper confidence bound

    .. math:: Q(s, a) + c \sqrt{\ln N(s) / N(s, a)}, \qquad N(s) = \sum_a N(s, a),

    after every action has been taken once. Sutton & Barto (2018), equation 2.10; with :math:`c = \sqrt 2` and rewards in
    ``[0, 1]`` it is UCB1 of Auer, Cesa-Bianchi & Fischer, "Finite-time analysis of the multiarmed bandit problem" (Machine
    Learning 47, 2002).

    Attributes:
        confidence: :math:`c`, at least 0.
    """

    confidence: float | jax.Array | Schedule = 2.0
    counts = True

    def __post_init__(self):
        check_numbers(self, confidence=NOT_NEGATIVE)

    def index(self, seen):
        total = jnp.maximum(jnp.sum(seen.visits), 1)
        bonus = at(self.confidence, seen.t) * jnp.sqrt(jnp.log(total) / jnp.maximum(seen.visits, 1))
        return jnp.where(seen.visits == 0, jnp.inf, seen.values + bonus)


class CountBonus(Greedy):
    r"""Greedy in :math:`Q(s, a) + \beta / \sqrt{N(s, a) + 1}`. Strehl & Littman, "An analysis of model-based interval
    estimation for Markov decision processes" (Journal of Computer and System Sciences 74, 2008), whose bonus this is, there
    of the reward.

    Attributes:
        bonus: :math:`\beta`, at least 0.
    """

    bonus: float | jax.Array | Schedule = 1.0
    counts = True

    def __post_init__(self):
        check_numbers(self, bonus=NOT_NEGATIVE)

    def index(self, seen):
        return seen.values + at(self.bonus, seen.t) * jax.lax.rsqrt(seen.visits + 1.0)


class Thompson(Policy):
    r"""Greedy in values drawn from their posterior, for normal returns of known variance :math:`\sigma^2` and a normal prior:

    .. math::
        \theta_a \sim \mathcal N\left(\frac{\mu_0 / \sigma_0^2 + n_a Q(s, a) / \sigma^2}{\lambda_a}, \; \lambda_a^{-1}\right),
        \qquad \lambda_a = \sigma_0^{-2} + n_a \sigma^{-2},

    with :math:`n_a = N(s, a)`. It is exact where ``values`` are sample averages (a step size of ``1 / (1 + n)``) of independent
    returns, as in a bandit. Thompson, "On the likelihood that one unknown probability exceeds another" (Biometrika 25, 1933);
    Russo et al., "A tutorial on Thompson sampling" (Foundations and Trends in Machine Learning 11, 2018), section 4. It has no
    ``probabilities``.

    Attributes:
        mean: :math:`\mu_0`.
        scale: :math:`\sigma_0`, above 0.
        noise: :math:`\sigma`, above 0.
    """

    mean: float | jax.Array = 0.0
    scale: float | jax.Array = 1.0
    noise: float | jax.Array = 1.0
    counts = True

    def __post_init__(self):
        check_numbers(self, mean=FINITE, scale=POSITIVE, noise=POSITIVE)

    def sample(self, key, seen):
        prior, evidence = self.scale**-2.0, seen.visits * self.noise**-2.0
        mean = (prior * self.mean + evidence * seen.values) / (prior + evidence)
        draw = mean + jax.random.normal(key, mean.shape) * jax.lax.rsqrt(prior + evidence)
        return jnp.argmax(draw).astype(jnp.int32)


class Fixed(Policy):
    """A policy that does not learn.

    Attributes:
        table: :math:`\\pi(a \\mid s)`, float ``[S, A]``, rows that sum to one.
    """

    table: jax.Array

    def probabilities(self, seen):
        return jnp.asarray(self.table, jnp.float32)[seen.observation]
