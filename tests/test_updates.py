"""Clipping against optax's, and its derivatives where optax's are not finite; steps and
minibatches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from purerl.optimizers import RMSProp
from purerl.updates import clip_by_norm, descend, minibatches
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


def test_a_step_clips_and_then_scales():
    """The clipped gradient is halved; one step of RMSProp, by hand."""
    params = {"w": jnp.ones((2, 2)), "b": jnp.zeros(1)}
    optimizer = RMSProp(decay=0.9, eps=0.1, centered=False)
    opt_state = optimizer.transformation().init(params)
    new, opt_state = quick.jit(descend)(optimizer, params, opt_state, GRADIENT, 0.01, 6.5)
    for name in params:
        half = np.asarray(GRADIENT[name]) / 2
        direction = half / (np.sqrt(0.1 * half**2) + 0.1)
        np.testing.assert_allclose(new[name], params[name] - 0.01 * direction, rtol=1e-5)
        np.testing.assert_allclose(opt_state.nu[name], 0.1 * half**2, rtol=1e-5)


def test_minibatches_go_through_all_items_in_each_epoch():
    keys = jax.random.split(jax.random.key(0), 500)
    found = np.asarray(quick.jit(jax.vmap(lambda key: minibatches(key, 12, 3, 2)))(keys))
    assert found.shape == (500, 6, 4) and found.dtype == np.int32
    epochs = found.reshape(500, 2, 12)
    np.testing.assert_array_equal(np.sort(epochs), np.broadcast_to(np.arange(12), (500, 2, 12)))
    # Each item is as likely first as another, and epochs have orders of their own.
    for epoch in range(2):
        assert stats.chisquare(np.bincount(epochs[:, epoch, 0], minlength=12)).pvalue > 1e-6
    same = (epochs[:, 0] == epochs[:, 1]).mean()
    assert abs(same - 1 / 12) < 0.02
