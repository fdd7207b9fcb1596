"""Common parts of the environments: random words, bsuite's shuffles, and lengths.

One draw of 32-bit words serves a whole step, and is taken apart here.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def words_for(bits: int) -> int:
    """Number of words that hold that many bits."""
    return math.ceil(bits / 32)


def unpack(words: jax.Array, bits: int) -> jax.Array:
    """The first ``bits`` bits of uint32 ``[words_for(bits)]``, lowest first.

    Returns:
        0 or 1, uint32 ``[bits]``.

    >>> bits = unpack(jnp.array([6, 1], jnp.uint32), 34)
    >>> bits[jnp.array([0, 1, 2, 3, 32, 33])].tolist()
    [0, 1, 1, 0, 1, 0]
    """
    shifts = jnp.arange(32, dtype=jnp.uint32)
    return ((words[:, None] >> shifts) & 1).reshape(-1)[:bits]


def below(word: jax.Array, n: int) -> jax.Array:
    """An integer in ``[0, n)`` from the upper half of a word, int32 ``[]``.

    Probabilities are uniform up to an error of ``2**-16``.
    """
    return ((word >> 16) * jnp.uint32(n) >> 16).astype(jnp.int32)


def fraction(word: jax.Array) -> jax.Array:
    """A number in ``[0, 1)`` from a word, float32 ``[]``, a multiple of ``2**-24``."""
    return (word >> 8).astype(jnp.int32).astype(jnp.float32) * 2**-24


def generator(owner: str, mapping_seed: int) -> np.random.RandomState:
    """NumPy's legacy generator, with which bsuite shuffles.

    Its stream for a seed is the same in every version.

    Raises:
        ValueError: ``mapping_seed`` is not a whole number in ``[0, 2**32)``; the
            message names the ``owner``.
    """
    whole = isinstance(mapping_seed, (int, np.integer)) and not isinstance(mapping_seed, bool)
    if not whole or not 0 <= mapping_seed < 2**32:
        raise ValueError(
            f"{owner}: mapping_seed is {mapping_seed!r}; allowed: a whole number in [0, 2**32)"
        )
    return np.random.RandomState(mapping_seed)
