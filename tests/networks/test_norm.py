"""Layer normalization against flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks import MLP, ConvNet, LayerNorm
from tests import quick

KEY = jax.random.key(0)


def case(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, (*shape, 16)).astype(np.float32)
    params = {
        "params": {name: rng.normal(size=16).astype(np.float32) for name in ("scale", "bias")}
    }
    return params, x, rng.normal(size=x.shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
def test_values_and_gradients_are_flaxs(shape):
    params, x, cotangent = case(shape)

    def results(network):
        value, pull = jax.vjp(network.apply, params, x)
        return value, *pull(cotangent)

    ours, theirs = quick.jit(lambda: (results(LayerNorm()), results(nn.LayerNorm())))()
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)


def test_it_is_the_formula():
    params, x, _ = case((5,))
    wide = x.astype(float)
    centered = wide - wide.mean(-1, keepdims=True)
    expected = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    expected = expected * params["params"]["scale"] + params["params"]["bias"]
    np.testing.assert_allclose(LayerNorm().apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_first_it_only_normalizes():
    x = jnp.array([[1.0, 2.0, 3.0, 10.0]])
    params = LayerNorm().init(KEY, x)
    y = LayerNorm().apply(params, 1e4 * x + 7)
    assert float(jnp.mean(y)) == pytest.approx(0, abs=1e-6)
    assert float(jnp.mean(y**2)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_input_is_finite(value):
    """Its variance is zero, and so is what is normalized."""
    params, x, cotangent = case((2,))
    x = np.full_like(x, value)
    y, pull = jax.vjp(LayerNorm().apply, params, x)
    np.testing.assert_allclose(y, np.broadcast_to(params["params"]["bias"], y.shape), atol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pull(cotangent)))


@pytest.mark.parametrize(
    ("network", "shape"),
    [(MLP((8, 6), 2, layer_norm=True), (4,)), (ConvNet((4,), (8,), 2, layer_norm=True), (5, 5, 2))],
    ids=["mlp", "conv"],
)
def test_it_stands_before_every_activation(network, shape):
    """Names and number of parameters, and outputs that do not depend on the scale of
    the first layer."""
    params = quick.jit(network.init)(KEY, jnp.zeros(shape))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    norms = [path for path, _ in leaves if "LayerNorm" in jax.tree_util.keystr(path)]
    assert len(norms) == 2 * 2
    x = jax.random.normal(jax.random.key(1), shape)
    first = params["params"]["Dense_0"]["kernel"]
    larger = {
        "params": params["params"]
        | {"Dense_0": {"kernel": 9 * first, "bias": jnp.zeros(first.shape[1])}}
    }
    np.testing.assert_allclose(
        network.apply(params, x), network.apply(larger, x), rtol=1e-3, atol=1e-4
    )
