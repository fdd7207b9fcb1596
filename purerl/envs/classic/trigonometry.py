"""Sine and cosine together, in vector instructions."""

import math

import jax
import jax.numpy as jnp

# pi / 2 in three parts, the first two with so few digits that their multiples are exact
_HALF_PI = 1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8


def sin_cos(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``(sin(x), cos(x))``, float in and out.

    In float32 they are polynomials over an eighth of a turn in either direction,
    accurate to 1.2e-7 while ``|x| < 1e4`` and bounded for every finite ``x``. XLA
    computes its own sine one element at a time on a CPU, which takes at least eight
    times as long. In float64 they are JAX's functions.
    """
    x = jnp.asarray(x)
    if x.dtype != jnp.float32:
        return jnp.sin(x), jnp.cos(x)
    turns = jnp.round(x * (2 / math.pi))
    r = x
    for part in _HALF_PI:
        r = r - turns * part
    r = jnp.clip(r, -0.8, 0.8)
    r2 = r * r
    sine = r + r * r2 * (-1.6666654611e-1 + r2 * (8.3321608736e-3 - r2 * 1.9515295891e-4))
    tail = 4.166664568298827e-2 + r2 * (-1.388731625493765e-3 + r2 * 2.443315711809948e-5)
    cosine = 1 - 0.5 * r2 + r2 * r2 * tail
    quarter = turns.astype(jnp.int32)
    swapped = quarter & 1 == 1
    sin = jnp.where(swapped, cosine, sine)
    cos = jnp.where(swapped, sine, cosine)
    signed_sin = jnp.where(quarter & 2 == 2, -sin, sin)
    signed_cos = jnp.where((quarter + 1) & 2 == 2, -cos, cos)
    return signed_sin, signed_cos
