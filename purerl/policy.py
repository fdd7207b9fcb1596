r"""Policies: choosing actions from action values, as frozen pytrees.

A policy gives ``probabilities(inputs) -> float32 [A]``, :math:`\pi(\cdot \mid s)`, and
``sample(key, inputs) -> int32 []``, where ``inputs`` (:class:`PolicyInput`) is
everything that a policy may depend on. The same policy serves as behavior policy, which
acts, and as target policy, which is learned about; a method that has both takes two
arguments.

The functions at the top draw actions from arrays.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purerl.checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    UNIT_INTERVAL,
    check_numbers,
    refusal,
    shown,
)
from purerl.pytree import Node
from purerl.schedule import Schedule, at, check_schedules


def epsilon_greedy(key: jax.Array, values: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    r"""A uniform action with probability :math:`\epsilon`, otherwise a greedy one.

    Ties are broken uniformly:

    .. math::
        \pi(a) = \frac{\epsilon}{A} + (1 - \epsilon) \frac{[a \in M]}{|M|}, \qquad
        M = \arg\max_b \text{values}_b .

    Taking the first of equal actions would make an untrained table walk in one
    direction only, so that in a gridworld the goal might never be found. Sutton &
    Barto, *Reinforcement Learning* (2nd edition, 2018), section 2.2.

    Args:
        key: consumed. Two words are drawn from it: one decides whether to explore, the
            other which of the candidates to take.
        values: ``[A]``.
        epsilon: in ``[0, 1]``, ``[]``.

    Returns:
        int32 ``[]`` in ``[0, A)``; never an action of value ``-inf``, which is not
        available, nor does :math:`A` count it.

    >>> import jax, jax.numpy as jnp
    >>> print(epsilon_greedy(jax.random.key(0), jnp.array([0.0, 2.0, 1.0]), 0.0))
    1
    """
    chex.assert_rank([values, epsilon], [1, 0])
    # Words rather than uniform(key, (2,)): XLA then never builds the pair. With 23
    # bits, choice * count stays below count.
    words = jax.random.bits(key, (2,), jnp.uint32)
    explore, choice = ((word >> 9) * jnp.float32(2**-23) for word in words)
    # "Not less" rather than "equal": if a value is NaN, every action is a candidate,
    # and the action drawn is in range.
    best = jnp.max(values)
    candidates = ~(values < best) | (explore < epsilon)
    candidates &= (values != -jnp.inf) | (best == -jnp.inf)
    # The action before which floor(choice * count) candidates have passed.
    passed = _running_count(candidates)
    rank = (choice * passed[-1]).astype(jnp.int32)
    return jnp.sum(passed <= rank, dtype=jnp.int32)


def epsilon_greedy_probabilities(values: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """The probabilities of :func:`epsilon_greedy`, float32 ``[A]``.

    >>> import jax.numpy as jnp
    >>> print(epsilon_greedy_probabilities(jnp.array([0.0, 2.0, 2.0, 1.0]), 0.5))
    [0.125 0.375 0.375 0.125]
    """
    chex.assert_rank([values, epsilon], [1, 0])
    largest = jnp.max(values)
    best = (~(values < largest)).astype(jnp.float32)
    available = ((values != -jnp.inf) | (largest == -jnp.inf)).astype(jnp.float32)
    uniform = epsilon / jnp.sum(available) * available
    return uniform + (1 - epsilon) * best / jnp.sum(best)


def uniform_among(key: jax.Array, allowed: jax.Array) -> jax.Array:
    """An action drawn uniformly among those allowed.

    Args:
        key: consumed.
        allowed: bool ``[A]``; if none is allowed, all are.

    Returns:
        int32 ``[]`` in ``[0, A)``.

    >>> import jax, jax.numpy as jnp
    >>> print(uniform_among(jax.random.key(0), jnp.array([False, False, True])))
    2
    """
    chex.assert_type(allowed, bool)
    return epsilon_greedy(key, allowed.astype(jnp.float32), 0.0)


def draw(key: jax.Array, probabilities: jax.Array) -> jax.Array:
    """An action drawn from ``probabilities`` by inversion, int32 ``[]``.

    An action of probability zero is never drawn.

    Args:
        key: consumed.
        probabilities: float ``[A]``.

    >>> import jax, jax.numpy as jnp
    >>> print(draw(jax.random.key(0), jnp.array([0.0, 1.0, 0.0])))
    1
    """
    chex.assert_rank(probabilities, 1)
    total = jnp.cumsum(probabilities.astype(jnp.float32))
    # Scaled by the sum as rounded, so that the result is never beyond the last possible
    # action.
    u = jax.random.uniform(key, dtype=jnp.float32) * total[-1]
    return jnp.sum(total <= u, dtype=jnp.int32)


def _running_count(flags):
    """``jnp.cumsum(flags)``, int32 ``[A]``.

    Up to 32 flags are packed into a word whose bits are counted: it fuses, and costs
        far
    less on a CPU.
    """
    if flags.shape[0] > 32:
        return jnp.cumsum(flags, dtype=jnp.int32)
    bit = jnp.arange(flags.shape[0], dtype=jnp.uint32)
    word = jnp.sum(flags.astype(jnp.uint32) << bit, dtype=jnp.uint32)
    return jax.lax.population_count(word & ((jnp.uint32(2) << bit) - 1)).astype(jnp.int32)


class PolicyInput(NamedTuple):
    """Everything that a policy may depend on.

    Attributes:
        observation: the index of the state, int32 ``[]``.
        values: :math:`Q(s, \\cdot)`, float32 ``[A]``; ``-inf`` for an action that is
            not available.
        visits: :math:`N(s, \\cdot)`, how often each action was taken in this state,
            int32 ``[A]``; None unless visits are counted.
        t: the time at which schedules are evaluated, int32 ``[]``.
    """

    observation: jax.Array
    values: jax.Array
    visits: jax.Array | None
    t: jax.Array


class Policy(Node):
    """Base class of policies: actions are drawn from ``probabilities``.

    ``needs_visits`` is True for policies that read ``inputs.visits``; agents count
    visits only for those.
    """

    needs_visits = False

    def probabilities(self, inputs: PolicyInput) -> jax.Array:
        """:math:`\\pi(\\cdot \\mid s)`, float32 ``[A]``."""
        raise NotImplementedError(
            f"{type(self).__name__} has no probabilities in closed form; allowed: another policy"
        )

    def sample(self, key: jax.Array, inputs: PolicyInput) -> jax.Array:
        """An action, int32 ``[]``. The key is consumed."""
        return draw(key, self.probabilities(inputs))


def _visits(policy: Policy, inputs: PolicyInput) -> jax.Array:
    """The visit counts that a policy needs, int32 ``[A]``."""
    if inputs.visits is None:
        raise refusal(type(policy).__name__, "inputs.visits", None, "visit counts, int32 [A]")
    return inputs.visits


def check_policies(node: object, *fields: str) -> None:
    """Check that fields are policies, or None where that is the default.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    for field in fields:
        value = getattr(node, field)
        optional = getattr(type(node), field, None) is None
        if not (isinstance(value, Policy) or (value is None and optional)):
            allowed = "a policy, such as EpsilonGreedy(0.1)" + (", or None" if optional else "")
            raise refusal(type(node).__name__, field, shown(value), allowed)


class Greedy(Policy):
    """An action of largest ``index``, by default the action value.

    Ties are broken uniformly.
    """

    def index(self, inputs: PolicyInput) -> jax.Array:
        """The quantity that is maximized, float32 ``[A]``."""
        return inputs.values

    def probabilities(self, inputs):
        return epsilon_greedy_probabilities(self.index(inputs), 0.0)

    def sample(self, key, inputs):
        return epsilon_greedy(key, self.index(inputs), 0.0)


class EpsilonGreedy(Policy):
    """:func:`epsilon_greedy`; ``epsilon = 1`` is the uniform policy.

    Attributes:
        epsilon: in ``[0, 1]``; a schedule is evaluated at ``t``.
    """

    epsilon: float | jax.Array | Schedule = 0.1

    def __post_init__(self):
        check_schedules(self, epsilon=UNIT_INTERVAL)

    def probabilities(self, inputs):
        return epsilon_greedy_probabilities(inputs.values, at(self.epsilon, inputs.t))

    def sample(self, key, inputs):
        return epsilon_greedy(key, inputs.values, at(self.epsilon, inputs.t))


class Softmax(Policy):
    r"""The Gibbs or Boltzmann distribution :math:`\pi(a) \propto e^{Q(s, a) / \tau}`.

    Sutton & Barto (2018), section 2.8 and equation 13.2.

    Attributes:
        temperature: :math:`\tau` above 0; a schedule is evaluated at ``t``.
    """

    temperature: float | jax.Array | Schedule = 1.0

    def __post_init__(self):
        check_schedules(self, temperature=POSITIVE)

    def probabilities(self, inputs):
        return jax.nn.softmax(inputs.values / at(self.temperature, inputs.t))


class UCB(Greedy):
    r"""Greedy in the upper confidence bound, after every action has been taken once.

    .. math:: Q(s, a) + c \sqrt{\ln N(s) / N(s, a)}, \qquad N(s) = \sum_a N(s, a).

    Sutton & Barto (2018), equation 2.10; with :math:`c = \sqrt 2` and rewards in
    ``[0, 1]`` it is UCB1 of Auer, Cesa-Bianchi & Fischer, "Finite-time analysis of the
    multiarmed bandit problem" (Machine Learning 47, 2002).

    Attributes:
        confidence: :math:`c`, at least 0; a schedule is evaluated at ``t``.
    """

    confidence: float | jax.Array | Schedule = 2.0
    needs_visits = True

    def __post_init__(self):
        check_schedules(self, confidence=NOT_NEGATIVE)

    def index(self, inputs):
        visits = _visits(self, inputs)
        total = jnp.maximum(jnp.sum(visits, dtype=jnp.int32), 1).astype(jnp.float32)
        bonus = at(self.confidence, inputs.t) * jnp.sqrt(jnp.log(total) / jnp.maximum(visits, 1))
        untried = (visits == 0) & (inputs.values != -jnp.inf)
        return jnp.where(untried, jnp.inf, inputs.values + bonus)


class CountBonus(Greedy):
    r"""Greedy in :math:`Q(s, a) + \beta / \sqrt{N(s, a) + 1}`.

    The bonus is that of Strehl & Littman, "An analysis of model-based interval
    estimation for Markov decision processes" (Journal of Computer and System Sciences
    74, 2008), who add it to the reward rather than to the value.

    Attributes:
        bonus: :math:`\beta`, at least 0; a schedule is evaluated at ``t``.
    """

    bonus: float | jax.Array | Schedule = 1.0
    needs_visits = True

    def __post_init__(self):
        check_schedules(self, bonus=NOT_NEGATIVE)

    def index(self, inputs):
        visits = _visits(self, inputs)
        return inputs.values + at(self.bonus, inputs.t) * jax.lax.rsqrt(
            visits.astype(jnp.float32) + 1
        )


class Thompson(Policy):
    r"""Greedy in values drawn from their posterior distribution.

    For normal returns of known variance :math:`\sigma^2` and a normal prior,

    .. math::
        \theta_a \sim \mathcal N\left(
            \frac{\mu_0 / \sigma_0^2 + n_a Q(s, a) / \sigma^2}{\lambda_a}, \;
            \lambda_a^{-1}\right),
        \qquad \lambda_a = \sigma_0^{-2} + n_a \sigma^{-2},

    with :math:`n_a = N(s, a)`. The posterior is exact if ``values`` are sample averages
    (a step size of ``1 / (1 + n)``) of independent returns, as in a bandit. Thompson,
    "On the likelihood that one unknown probability exceeds another" (Biometrika 25,
    1933); Russo et al., "A tutorial on Thompson sampling" (Foundations and Trends in
    Machine Learning 11, 2018), section 4. It has no ``probabilities``.

    Attributes:
        mean: :math:`\mu_0`.
        scale: :math:`\sigma_0`, above 0.
        noise: :math:`\sigma`, above 0.
    """

    mean: float | jax.Array = 0.0
    scale: float | jax.Array = 1.0
    noise: float | jax.Array = 1.0
    needs_visits = True

    def __post_init__(self):
        check_numbers(self, mean=FINITE, scale=POSITIVE, noise=POSITIVE)

    def sample(self, key, inputs):
        prior = jnp.float32(self.scale) ** -2.0
        evidence = _visits(self, inputs).astype(jnp.float32) * jnp.float32(self.noise) ** -2.0
        mean = prior * jnp.float32(self.mean) + evidence * inputs.values
        precision = prior + evidence
        noise = jax.random.normal(key, mean.shape, jnp.float32)
        drawn = mean / precision + noise * jax.lax.rsqrt(precision)
        drawn = jnp.where(inputs.values == -jnp.inf, -jnp.inf, drawn)
        return jnp.argmax(drawn).astype(jnp.int32)


class Fixed(Policy):
    """A fixed tabular policy.

    Attributes:
        table: :math:`\\pi(a \\mid s)`, float ``[S, A]``, rows that sum to one.
    """

    table: jax.Array

    def __post_init__(self):
        table = self.table
        is_array = isinstance(table, (jax.Array, np.ndarray))
        if not is_array or table.ndim < 2:
            what = f"{table.dtype} {list(table.shape)}" if is_array else shown(table)
            raise refusal("Fixed", "table", what, "an array of floats [S, A]")
        check_numbers(self, table=NOT_NEGATIVE)
        if not isinstance(table, Tracer):
            total = np.sum(np.asarray(table), axis=-1)
            if np.abs(total - 1).max() > 1e-3:
                worst = total.flat[np.abs(total - 1).argmax()]
                raise refusal("Fixed", "the sum of a row of table", worst, "1")

    def probabilities(self, inputs):
        return jnp.asarray(self.table, jnp.float32)[inputs.observation]
