"""Clipping against optax's, and its derivatives where optax's are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from purerl.updates import clip_by_norm
from tests import quick

GRADIENT = {"w": jnp.array([[3.0, 0.0], [-4.0, 0.0]]), "b": jnp.array([12.0])}  # of norm 13

clip = quick.jit(clip_by_norm)


@pytest.mark.parametrize("max_norm", [1e-3, 6.5, 12.9, 13.0, 13.1, 1e6, float("inf")])
def test_it_is_optaxs(max_norm):
    got = clip(GRADIENT, max_norm)
    expected, _ = optax.clip_by_global_norm(max_norm).update(GRADIENT, optax.EmptyState())
    for name in GRADIENT:
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-7)
    norm = np.sqrt(sum(float((x**2).sum()) for x in got.values()))
    assert norm == pytest.approx(min(13, max_norm), rel=1e-6)


def test_the_norm_is_of_all_leaves():
    """Not of each leaf, and not of each entry."""
    got = clip(GRADIENT, 6.5)
    np.testing.assert_allclose(got["w"], GRADIENT["w"] / 2, rtol=1e-6)
    np.testing.assert_allclose(got["b"], GRADIENT["b"] / 2, rtol=1e-6)


@pytest.mark.parametrize("max_norm", [2.0, float("inf")])
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_derivatives_are_finite(max_norm, factor):
    """At a gradient of zero, and with no bound."""

    def total(factor, max_norm):
        clipped = clip_by_norm(jax.tree.map(lambda g: factor * g, GRADIENT), max_norm)
        return sum(jnp.sum(x) for x in jax.tree.leaves(clipped))

    by_factor, by_norm = quick.jit(jax.grad(total, (0, 1)))(factor, max_norm)
    sums = 3 - 4 + 12
    clipped = factor == 1 and max_norm == 2
    # What is clipped does not depend on how long it was.
    assert by_factor == pytest.approx(0 if clipped else sums, abs=1e-5)
    assert by_norm == pytest.approx(sums / 13 if clipped else 0, abs=1e-5)
