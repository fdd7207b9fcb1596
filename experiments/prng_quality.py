"""An endless stream of a generator's raw 32-bit words, for batteries of tests.

Words of one of purerl's generators are drawn from keys derived the way purerl derives
them, ``fold_in(seed_key(base, i), t)``: a generator may look random along one key and
still repeat itself from one key to the next. Each key gives ``--words`` words. The
layouts are

- ``time``: one seed, increasing ``t``;
- ``seed``: one ``t``, increasing ``i``;
- ``sweep``: 64 seeds side by side at every ``t``, as in a sweep of lanes;
- ``split``: at every ``t``, the words of the step's key and then those of both keys
  that it splits into;
- ``bulk``: a whole array of 2**20 words from each key, for increasing ``t``.

    python -m experiments.prng_quality --impl pcg4d --layout sweep | dieharder -a -g 200
    python -m experiments.prng_quality --impl pcg4d --layout sweep | RNG_test stdin32
"""

import argparse
import functools
import itertools
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np

from purerl.random import IMPLEMENTATIONS, Impl, seed_key

LANES = 64
BULK = 2**20
CHUNK = 2**20  # words made at a time


def by_time(base, start, keys):
    """Keys ``fold_in(seed_key(base, 0), t)`` for consecutive ``t``, ``[keys]``."""
    times = start + jnp.arange(keys, dtype=jnp.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(base(0), times)


def by_seed(base, start, keys):
    """Keys ``fold_in(seed_key(base, i), 0)`` for consecutive ``i``, ``[keys]``."""
    seeds = start + jnp.arange(keys, dtype=jnp.uint32)
    return jax.vmap(lambda i: jax.random.fold_in(base(i), 0))(seeds)


def by_sweep(base, start, keys):
    """Keys of ``LANES`` seeds at consecutive ``t``, ``[keys / LANES, LANES]``."""
    seeds = jax.vmap(base)(jnp.arange(LANES))
    times = start // LANES + jnp.arange(keys // LANES, dtype=jnp.uint32)
    return jax.vmap(lambda t: jax.vmap(jax.random.fold_in, (0, None))(seeds, t))(times)


def by_split(base, start, keys):
    """Keys at consecutive ``t``, and both that each splits into, ``[keys / 4, 3]``."""
    parents = by_time(base, start // 4, keys // 4)
    return jnp.concatenate([parents[:, None], jax.vmap(jax.random.split)(parents)], axis=1)


LAYOUTS = {"time": by_time, "seed": by_seed, "sweep": by_sweep, "split": by_split, "bulk": by_time}


@functools.partial(jax.jit, static_argnames=("impl", "layout", "words"))
def chunk(impl: Impl, layout: str, words: int, base: jax.Array, start: jax.Array) -> jax.Array:
    """Words of the keys from number ``start`` on; ``base``, ``start`` uint32 ``[]``."""
    keys = LAYOUTS[layout](functools.partial(seed_key, base, impl=impl), start, CHUNK // words)
    return jax.vmap(lambda key: jax.random.bits(key, (words,), dtype=jnp.uint32))(keys.reshape(-1))


def stream(impl: Impl, layout: str, words: int, base: int):
    """Yield chunks of words, ``uint32[keys, words]``.

    After 2**32 keys it continues with the next ``base``.
    """
    for number in itertools.count():
        wraps, start = divmod(number * (CHUNK // words), 2**32)
        yield np.asarray(chunk(impl, layout, words, jnp.uint32(base + wraps), jnp.uint32(start)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--impl", choices=IMPLEMENTATIONS, default="pcg4d")
    parser.add_argument("--layout", choices=LAYOUTS, default="sweep")
    parser.add_argument(
        "--words", type=int, choices=[1, 2, 4, 8, 16], default=4, help="words drawn from each key"
    )
    parser.add_argument(
        "--base", type=int, default=0, help="the integer that every seed's key is folded from"
    )
    arguments = parser.parse_args()
    words = BULK if arguments.layout == "bulk" else arguments.words
    try:
        for block in stream(arguments.impl, arguments.layout, words, arguments.base):
            sys.stdout.buffer.write(block.tobytes())
    except BrokenPipeError:  # the battery has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
