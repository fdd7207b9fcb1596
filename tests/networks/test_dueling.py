"""Dueling networks against the formula by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks import MLP, ConvNet, Dueling
from tests import quick

KEY = jax.random.key(0)


def parameters(network, shape):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, KEY, jnp.zeros(shape))
    return jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), shapes)


def affine(params, x):
    return x @ np.asarray(params["kernel"], float) + np.asarray(params["bias"], float)


def streams(params, x):
    """The value ``[..., K]`` and the advantages ``[..., A * K]``, by hand."""
    params = params["params"]
    psi = np.maximum(affine(params["torso"]["Dense_0"], x), 0)
    hidden = {
        name: np.maximum(affine(params[name]["Dense_0"], psi), 0) for name in ("value", "advantage")
    }
    return (affine(params[name]["Dense_1"], hidden[name]) for name in ("value", "advantage"))


@pytest.mark.parametrize("batch", [(), (5,)])
@pytest.mark.parametrize("numbers", [1, 3])
def test_it_is_the_formula_for_each_number(numbers, batch):
    """Three actions, of K numbers each, which stand together."""
    network = Dueling(MLP((6,)), (5,), num_outputs=3 * numbers, num_actions=3)
    params = parameters(network, (4,))
    x = np.random.default_rng(1).normal(size=(*batch, 4))
    q = np.asarray(quick.jit(network.apply)(params, x)).reshape(*batch, 3, numbers)

    value, advantage = streams(params, x)
    advantage = advantage.reshape(*batch, 3, numbers)
    expected = value[..., None, :] + advantage - advantage.mean(axis=-2, keepdims=True)
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-4)
    # So advantages have mean zero over the actions, for each number.
    np.testing.assert_allclose((q - value[..., None, :]).mean(-2), 0, atol=1e-4)
    # With the largest advantage in the place of the mean, or the mean over all
    # numbers, it would be another network.
    largest = value[..., None, :] + advantage - advantage.max(axis=-2, keepdims=True)
    assert np.abs(q - largest).max() > 0.1
    if numbers > 1:
        over_all = value[..., None, :] + advantage - advantage.mean(axis=(-2, -1), keepdims=True)
        assert np.abs(q - over_all).max() > 0.1


def test_a_constant_added_to_all_advantages_changes_nothing():
    network = Dueling(MLP((6,)), (), num_outputs=6, num_actions=3)
    params = parameters(network, (4,))
    shifted = jax.tree.map(lambda p: p, params)
    shifted["params"]["advantage"]["Dense_0"]["bias"] = params["params"]["advantage"]["Dense_0"][
        "bias"
    ] + np.tile([5.0, -2.0], 3)
    x = jnp.ones(4)
    np.testing.assert_allclose(network.apply(params, x), network.apply(shifted, x), atol=1e-5)


def test_convolutions_may_be_the_torso():
    network = Dueling(ConvNet((4,), (8,)), (8,), num_outputs=6, num_actions=2)
    params = quick.jit(network.init)(KEY, jnp.zeros((5, 5, 2)))
    assert network.apply(params, jnp.zeros((7, 5, 5, 2))).shape == (7, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dueling(3), "Dueling: torso is 3; allowed: a flax module, such as MLP"),
        (lambda: Dueling(MLP((8,)), (0,)), r"Dueling: features is \(0,\)"),
        (lambda: Dueling(MLP((8,)), num_actions=0), "Dueling: num_actions is 0"),
        (
            lambda: Dueling(MLP((8,)), num_outputs=5, num_actions=2),
            "Dueling: num_outputs is 5; allowed: a positive multiple of 2",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
