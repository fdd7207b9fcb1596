"""Random words taken apart: one draw of 32-bit words serves a whole step."""

import math

import jax
import jax.numpy as jnp


def words_for(bits: int) -> int:
    """How many words hold that many bits."""
    return math.ceil(bits / 32)


def unpack(words: jax.Array, bits: int) -> jax.Array:
    """The first ``bits`` bits of uint32 ``[words_for(bits)]``, lowest first: uint32 0 or 1, ``[bits]``.

    >>> unpack(jnp.array([6, 1], jnp.uint32), 34)[jnp.array([0, 1, 2, 3, 32, 33])].tolist()
    [0, 1, 1, 0, 1, 0]
    """
    shifts = jnp.arange(32, dtype=jnp.uint32)
    return ((words[:, None] >> shifts) & 1).reshape(-1)[:bits]


def below(word: jax.Array, n: int) -> jax.Array:
    """An integer in ``[0, n)`` from the upper half of a word, int32; no probability is off by more than ``2**-16``."""
    return ((word >> 16) * jnp.uint32(n) >> 16).astype(jnp.int32)


def fraction(word: jax.Array) -> jax.Array:
    """A number in ``[0, 1)`` from a word, float32, a multiple of ``2**-24``."""
    return (word >> 8).astype(jnp.int32).astype(jnp.float32) * 2**-24
