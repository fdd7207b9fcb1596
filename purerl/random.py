"""Random keys: JAX's own bits from a faster engine, and a lighter generator.

:func:`key` makes an ordinary typed JAX key, so every function of :mod:`jax.random`
takes it, under ``jit``, ``vmap``, ``scan``, ``lax.map`` and ``shard_map``. Only the
computation of its bits differs:

- ``"threefry"`` gives the same bits as JAX's default generator, Threefry-2x32 with
  twenty rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
  with counters laid out as under ``jax_threefry_partitionable``. The rounds are written
  out one after another, where some versions of JAX lower them to a loop on a CPU.
- ``"pcg4d"`` draws four words at a time with the integer hash of Jarzynski & Olano,
  "Hash functions for GPU rendering" (JCGT 9(3), 2020), applied to the two words of the
  key, the counter and the width, with one xor-shift added before it and one after. In
  the published hash, products carry differences only upwards, so that low output bits
  do not depend on high input bits; with the two shifts every input bit flips every
  output bit half the time. Deriving a key costs one multiplication per word: keys only
  need to be distinct, since everything drawn from them is hashed.

**Statistical quality of pcg4d.** ``dieharder`` 3.31.1 was given words drawn the way
purerl draws them. Of all 114 results of ``-a`` over four words from each
``fold_in(seed_key(0, i), t)``, with 64 seeds side by side, none is a failure; five are
"weak" (a p-value outside [0.005, 0.995]), and those tests pass over the keys of another
base. Nor does any of 15 tests fail over one word from each key along ``t``, one from
each along ``i``, the words of keys beside those of the keys they split into, and whole
arrays of ``2**20`` words from each key; three of these 72 results are weak, and all
three pass when repeated over another base. (Threefry had one weak result in 34.) To
repeat it: ``python -m experiments.prng_quality --layout sweep | dieharder -a -g 200``.
The tests add avalanche, and correlations between neighboring seeds, times and siblings.

Purerl derives every key from a seed and a time rather than carrying one:
``fold_in(seed_key(base, i), t)``.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import random as jex_random

from purerl.checks import meant, refusal, shown, whole

Impl = Literal["threefry", "pcg4d"]  # the generators by name

_SPLIT, _FOLD_IN = 0x2545F491, 0x6C078965
_UINT = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}


def _seed_words(seed):
    """The two 32-bit halves of an integer seed, high half first.

    The high half of a 32-bit seed is zero.
    """
    if seed.dtype.itemsize == 8:
        high = lax.shift_right_logical(seed, lax.full_like(seed, 32))
    else:
        high = jnp.zeros_like(seed)
    return jnp.stack([high.astype(jnp.uint32), seed.astype(jnp.uint32)])


# Jitted so that it is traced and lowered once and not at every draw; XLA inlines it.
@jax.jit
def _threefry2x32(k0, k1, x0, x1):
    def rotate(x, distance):
        return (x << jnp.uint32(distance)) | (x >> jnp.uint32(32 - distance))

    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0 = x0 + k0
    x1 = x1 + k1
    for block in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[block % 2]:
            x0 = x0 + x1
            x1 = rotate(x1, distance) ^ x0
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


def _threefry_derive(words, counter, purpose):
    del purpose  # JAX tells a fold from a split by the counter alone
    return _threefry2x32(words[0], words[1], jnp.zeros_like(counter), counter)


def _threefry_bits(words, counter, width):
    high, low = _threefry2x32(words[0], words[1], jnp.zeros_like(counter), counter)
    return _join(high, low) if width == 64 else high ^ low


def _xor_shift(*words):
    return tuple(v ^ (v >> jnp.uint32(16)) for v in words)


@jax.jit
def _pcg4d(x, y, z, w):
    x, y, z, w = (v * jnp.uint32(1664525) + jnp.uint32(1013904223) for v in _xor_shift(x, y, z, w))
    for _ in range(2):
        x = x + y * w
        y = y + z * x
        z = z + x * y
        w = w + y * z
        x, y, z, w = _xor_shift(x, y, z, w)
    return x, y, z, w


def _pcg4d_derive(words, counter, purpose):
    x, y = _xor_shift(words[0], words[1])
    first = x * jnp.uint32(0x9E3779B1) + counter
    second = y * jnp.uint32(0x85EBCA6B) + (counter ^ jnp.uint32(purpose))
    return first, second


def _pcg4d_bits(words, counter, width):
    per_block = 128 // max(width, 32)
    block = counter // jnp.uint32(per_block)
    position = counter % jnp.uint32(per_block)
    out = _pcg4d(words[0], words[1], block, jnp.full_like(block, width))
    if width == 64:
        out = _join(out[0], out[1]), _join(out[2], out[3])
    return functools.reduce(
        lambda rest, i: jnp.where(position == i, out[i], rest), range(per_block - 1), out[-1]
    )


def _join(high, low):
    return (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)


_SMALL = 8  # the largest number of counters that are evaluated one by one


def _over_counters(function, shape):
    """``function`` of the counters ``0, 1, 2, ...`` in row-major order over ``shape``.

    A few counters are evaluated one by one: each is then a separate scalar, which XLA
    keeps in a register (or drops if it is not used) instead of building an array only
    to take it apart again.
    """
    size = math.prod(shape)
    if size > 2**32:
        raise refusal("random bits", "shape", shape, "at most 2**32 elements")
    if not 0 < size <= _SMALL:
        drawn = function(lax.iota(jnp.uint32, size))
    else:
        each = [function(jnp.uint32(i)) for i in range(size)]
        drawn = lax.concatenate([lax.expand_dims(one, (0,)) for one in each], 0)
    return lax.reshape(drawn, (*shape, *drawn.shape[1:]))


def _define(name, tag, derive, bits):
    """A generator from two functions of a key's words and a counter.

    Args:
        name: the generator's name in error messages.
        tag: a short name in the types of its keys.
        derive: ``(words, counter, purpose)`` -> the two words of a derived key.
        bits: ``(words, counter, width)`` -> random bits.
    """

    def split(words, shape):
        return _over_counters(
            lambda counter: jnp.stack(derive(words, counter, _SPLIT), axis=-1), shape
        )

    def fold_in(words, data):
        return jnp.stack(derive(words, jnp.asarray(data).astype(jnp.uint32), _FOLD_IN), axis=-1)

    def random_bits(words, width, shape):
        return _over_counters(
            lambda counter: bits(words, counter, width).astype(_UINT[width]), shape
        )

    return jex_random.define_prng_impl(
        key_shape=(2,),
        seed=_seed_words,
        split=split,
        random_bits=random_bits,
        fold_in=fold_in,
        name=name,
        tag=tag,
    )


IMPLEMENTATIONS = {
    "threefry": _define("threefry", "purefry", _threefry_derive, _threefry_bits),
    "pcg4d": _define("pcg4d", "pcg4d", _pcg4d_derive, _pcg4d_bits),
}


def key(seed: int | jax.Array, impl: Impl = "threefry") -> jax.Array:
    """A typed JAX key from an integer seed, shape ``[]``.

    Raises:
        ValueError: ``impl`` is not the name of a generator of this module.
        TypeError: ``seed`` is not one integer.
    """
    if impl not in IMPLEMENTATIONS:
        raise refusal("key", "impl", repr(impl), ", ".join(map(repr, IMPLEMENTATIONS)))
    return jax.random.key(_integer("key", "seed", seed), impl=IMPLEMENTATIONS[impl])


def _integer(owner, field, value):
    """``value``, if it is one integer."""
    is_array = isinstance(value, (np.ndarray, jax.Array)) and value.ndim == 0
    if whole(value) is None and not (is_array and jnp.issubdtype(value.dtype, jnp.integer)):
        raise TypeError(refusal(owner, field, shown(value), "an integer"))
    return value


def as_key(key: jax.Array) -> jax.Array:
    """A typed key as it is; a legacy ``uint32`` key wrapped as JAX's default kind.

    Raises:
        TypeError: ``key`` is neither.
    """
    kind = getattr(key, "dtype", None)
    if kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key):
        return key
    if kind != jnp.uint32 or np.shape(key)[-1:] not in ((2,), (4,)):
        guess = meant(f"purerl.random.key({key})") if whole(key) is not None else ""
        allowed = "a key of jax.random or purerl.random" + guess
        raise TypeError(refusal("as_key", "key", shown(key), allowed))
    return jax.random.wrap_key_data(key)


def seed_key(base: int | jax.Array, i: int | jax.Array, impl: Impl = "threefry") -> jax.Array:
    """The key of seed ``i`` under an integer ``base``: folds ``i`` into ``key(base)``.

    It is a function of ``base`` and ``i`` alone, so the first five keys are the same in
    a run of five seeds and in one of thirty.
    """
    return jax.random.fold_in(key(base, impl), _integer("seed_key", "i", i))
