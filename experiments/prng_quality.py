"""An endless stream of raw 32-bit words of one of purerl's generators, for an outside battery to judge.

The words are drawn from keys derived the way purerl derives them, ``fold_in(seed_key(base, i), t)``: a generator may look
random along one key and still repeat itself from one key to the next. Each key gives ``--words`` words. The layouts are

- ``time``: one seed, ``t`` runs;
- ``seed``: one ``t``, ``i`` runs;
- ``sweep``: 64 seeds side by side at every ``t``, as in a sweep of lanes;
- ``split``: at every ``t``, the words of the step's key and then those of both keys that it splits into;
- ``bulk``: a whole array of 2**20 words from each key, for ``t`` that runs.

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

from purerl.random import IMPLEMENTATIONS, seed_key

LANES = 64
BULK = 2**20
CHUNK = 2**20  # words made at a time


def by_time(base, start, keys):
    """Keys ``fold_in(seed_key(base, 0), t)`` for ``keys`` consecutive ``t``; shape ``[keys]``."""
    return jax.vmap(jax.random.fold_in, (None, 0))(
        base(0), start + jnp.arange(keys, dtype=jnp.uint32)
    )


def by_seed(base, start, keys):
    """Keys ``fold_in(seed_key(base, i), 0)`` for ``keys`` consecutive ``i``; shape ``[keys]``."""
    return jax.vmap(lambda i: jax.random.fold_in(base(i), 0))(
        start + jnp.arange(keys, dtype=jnp.uint32)
    )


def by_sweep(base, start, keys):
    """Keys of ``LANES`` seeds at each of consecutive ``t``; shape ``[keys / LANES, LANES]``."""
    seeds = jax.vmap(base)(jnp.arange(LANES))
    times = start // LANES + jnp.arange(keys // LANES, dtype=jnp.uint32)
    return jax.vmap(lambda t: jax.vmap(jax.random.fold_in, (0, None))(seeds, t))(times)


def by_split(base, start, keys):
    """The key at each of consecutive ``t`` and both keys it splits into; shape ``[keys / 4, 3]``."""
    parents = by_time(base, start // 4, keys // 4)
    return jnp.concatenate([parents[:, None], jax.vmap(jax.random.split)(parents)], axis=1)


LAYOUTS = {"time": by_time, "seed": by_seed, "sweep": by_sweep, "split": by_split, "bulk": by_time}


@functools.partial(jax.jit, static_argnames=("impl", "layout", "words"))
def chunk(impl: str, layout: str, words: int, base: jax.Array, start: jax.Array) -> jax.Array:
    """The words of the keys from number ``start`` on; ``base`` and ``start`` are ``uint32[]``."""
    keys = LAYOUTS[layout](functools.partial(seed_key, base, impl=impl), start, CHUNK // words)
    return jax.vmap(lambda key: jax.random.bits(key, (words,)))(keys.reshape(-1))


def stream(impl: str, layout: str, words: int, base: int):
    """Chunk after chunk, each ``uint32[keys, words]``; after 2**32 keys it goes on with the next ``base``."""
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
            sys.stdout.buffer.write(block)
    except BrokenPipeError:  # the battery has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
