"""Implicit quantile networks by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks import MLP, ImplicitQuantiles
from tests import quick

KEY = jax.random.key(0)


def affine(params, x):
    return x @ np.asarray(params["kernel"], float) + np.asarray(params["bias"], float)


def test_it_is_the_formula():
    network = ImplicitQuantiles(MLP((6,)), embedding=5, features=(7,), num_outputs=3)
    rng = np.random.default_rng(0)
    x, fractions = rng.normal(size=4), np.array([0.05, 0.5, 0.95, 0.5])
    shapes = jax.eval_shape(network.init, KEY, jnp.zeros(4), jnp.zeros(4))
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), shapes)
    got = np.asarray(quick.jit(network.apply)(params, x, fractions))

    inside = params["params"]
    psi = np.maximum(affine(inside["torso"]["Dense_0"], x), 0)

    def quantiles(first):
        cosines = np.cos(np.pi * np.arange(first, first + 5) * fractions[:, None])
        phi = np.maximum(affine(inside["Dense_0"], cosines), 0)
        hidden = np.maximum(affine(inside["MLP_0"]["Dense_0"], psi * phi), 0)
        return affine(inside["MLP_0"]["Dense_1"], hidden).T

    assert got.shape == (3, 4)
    np.testing.assert_allclose(got, quantiles(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(got[:, 1], got[:, 3])
    assert np.abs(got - quantiles(0)).max() > 0.1  # frequencies from 0 would be seen
    assert np.abs(got[:, 0] - got[:, 2]).max() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImplicitQuantiles(7), "ImplicitQuantiles: torso is 7; allowed: a flax module"),
        (lambda: ImplicitQuantiles(MLP(()), embedding=0), "ImplicitQuantiles: embedding is 0"),
        (lambda: ImplicitQuantiles(MLP(()), features=(0,)), r"features is \(0,\)"),
        (lambda: ImplicitQuantiles(MLP(()), num_outputs=0), "num_outputs is 0"),
        (
            lambda: ImplicitQuantiles(MLP((8,)), num_outputs=2).init(
                KEY, jnp.zeros(4), jnp.zeros((3, 2))
            ),
            r"fractions has shape \[3, 2\]; allowed: \[K\]",
        ),
        (
            lambda: ImplicitQuantiles(MLP((8,)), num_outputs=2).init(
                KEY, jnp.zeros((5, 4)), jnp.zeros(3)
            ),
            r"torso gives \[5, 8\]; allowed: \[F\], of one observation",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
