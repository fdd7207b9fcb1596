"""How a behaviour policy chooses: ``(key, values [A], parameter) -> action``."""

import chex
import jax
import jax.numpy as jnp


def epsilon_greedy(key: jax.Array, values: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    r"""A uniformly drawn action with probability :math:`\epsilon`, otherwise a maximal one, ties broken uniformly:

    .. math::
        \pi(a) = \frac{\epsilon}{A} + (1 - \epsilon) \frac{[a \in M]}{|M|}, \qquad M = \arg\max_b \text{values}_b .

    Unbroken ties would make a fresh table walk in one direction only, which in a gridworld can keep the goal from ever
    being seen. Sutton & Barto, *Reinforcement Learning* (2nd edition, 2018), section 2.2.

    Args:
        key: consumed. Two words are drawn from it: whether to explore, and which of the candidates to take.
        values: ``[A]``.
        epsilon: in ``[0, 1]``, ``[]``.

    Returns:
        int32 ``[]`` in ``[0, A)``.

    >>> import jax, jax.numpy as jnp
    >>> print(epsilon_greedy(jax.random.key(0), jnp.array([0.0, 2.0, 1.0]), 0.0))
    1
    """
    chex.assert_rank([values, epsilon], [1, 0])
    # Words rather than uniform(key, (2,)): XLA then never builds the pair. 23 bits keep choice * count below count.
    explore, choice = ((word >> 9) * jnp.float32(2**-23) for word in jax.random.bits(key, (2,)))
    # Not less, rather than equal: where a value is NaN every action is a candidate, and none is out of range.
    candidates = ~(values < jnp.max(values)) | (explore < epsilon)
    # The action before which floor(choice * count) candidates have passed.
    passed = _running_count(candidates)
    rank = (choice * passed[-1]).astype(jnp.int32)
    return jnp.sum(passed <= rank, dtype=jnp.int32)


def epsilon_greedy_probabilities(values: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """The law of :func:`epsilon_greedy`: float32 ``[A]``.

    >>> import jax.numpy as jnp
    >>> print(epsilon_greedy_probabilities(jnp.array([0.0, 2.0, 2.0, 1.0]), 0.5))
    [0.125 0.375 0.375 0.125]
    """
    chex.assert_rank([values, epsilon], [1, 0])
    best = ~(values < jnp.max(values))
    return epsilon / values.shape[0] + (1 - epsilon) * best / jnp.sum(best, dtype=jnp.float32)


def draw(key: jax.Array, probabilities: jax.Array) -> jax.Array:
    """An action drawn from ``probabilities``, float ``[A]``, by inversion: int32 ``[]``. One of probability zero is never
    drawn.

    >>> import jax, jax.numpy as jnp
    >>> print(draw(jax.random.key(0), jnp.array([0.0, 1.0, 0.0])))
    1
    """
    chex.assert_rank(probabilities, 1)
    total = jnp.cumsum(probabilities)
    # Of what the sum really is, so that rounding cannot lead beyond the last action that is possible.
    u = jax.random.uniform(key, dtype=total.dtype) * total[-1]
    return jnp.sum(total <= u, dtype=jnp.int32)


def _running_count(flags):
    """``jnp.cumsum(flags)``, int32 ``[A]``: by counting bits where they fit a word, which fuses and costs far less on CPU."""
    if flags.shape[0] > 32:
        return jnp.cumsum(flags, dtype=jnp.int32)
    bit = jnp.arange(flags.shape[0], dtype=jnp.uint32)
    word = jnp.sum(flags.astype(jnp.uint32) << bit, dtype=jnp.uint32)
    return jax.lax.population_count(word & ((jnp.uint32(2) << bit) - 1)).astype(jnp.int32)
