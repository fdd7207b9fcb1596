"""Convolutions with kernels and strides, against XLA's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks import MLP, NATURE, ConvNet
from purerl.networks.conv import patches
from tests import quick

KEY = jax.random.key(0)


def convolution(x, kernel, stride):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=numbers
    )


@pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [(1, 1, (4, 5)), (3, 1, (3, 7)), (2, 2, (7, 6)), (4, 2, (9, 10)), (3, 4, (11, 8))],
)
def test_patches_are_laxs_convolution(size, stride, shape):
    rng = np.random.default_rng(0)
    board = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 5)).astype(np.float32)
    rows = patches(board, size, stride)
    expected = convolution(board, kernel, stride)
    got = rows @ kernel.reshape(-1, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_patch_is_a_row():
    """Cells in row-major order, channels last."""
    board = jnp.arange(2 * 5 * 4).reshape(5, 4, 2)
    rows = patches(board, 2, 3)
    assert rows.shape == (2, 1, 8)
    np.testing.assert_array_equal(rows[0, 0], [0, 1, 2, 3, 8, 9, 10, 11])
    np.testing.assert_array_equal(rows[1, 0], [24, 25, 26, 27, 32, 33, 34, 35])


@pytest.mark.parametrize(("layer_norm", "activation"), [(False, nn.silu), (True, nn.relu)])
def test_kernels_strides_and_scale(layer_norm, activation):
    network = ConvNet(
        (5, 3),
        (7,),
        2,
        (4, 3),
        (3, 2),
        layer_norm=layer_norm,
        scale=1 / 255,
        activation=activation,
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(2, 16, 20, 4), dtype=np.uint8)
    shapes = jax.eval_shape(network.init, KEY, pixels)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), shapes)
    inside = params["params"]
    x = jnp.asarray(pixels, jnp.float32) / 255
    for i, (kernel, stride) in enumerate([(4, 3), (3, 2)]):
        weights = inside[f"Dense_{i}"]["kernel"]
        weights = weights.reshape(kernel, kernel, x.shape[-1], weights.shape[-1])
        x = convolution(x, weights, stride) + inside[f"Dense_{i}"]["bias"]
        if layer_norm:  # over the channels of each cell
            x = nn.LayerNorm().apply({"params": inside[f"LayerNorm_{i}"]}, x)
        x = activation(x)
    head = MLP((7,), 2, layer_norm=layer_norm, activation=activation)
    expected = head.apply({"params": inside["MLP_0"]}, x.reshape(2, -1))
    np.testing.assert_allclose(network.apply(params, pixels), expected, rtol=1e-3, atol=1e-3)


def test_the_nature_networks_shapes():
    """84 x 84 pixels become 20 x 20, 9 x 9 and 7 x 7 cells."""
    network = NATURE.clone(num_outputs=6)
    pixels = jax.ShapeDtypeStruct((84, 84, 4), jnp.uint8)
    params = jax.eval_shape(network.init, KEY, pixels)["params"]
    kernels = [params[f"Dense_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(8 * 8 * 4, 32), (4 * 4 * 32, 64), (3 * 3 * 64, 64)]
    dense = params["MLP_0"]
    assert dense["Dense_0"]["kernel"].shape == (7 * 7 * 64, 512)
    assert dense["Dense_1"]["kernel"].shape == (512, 6)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_687_206
    out = jax.eval_shape(network.apply, {"params": params}, pixels)
    assert (out.shape, out.dtype) == ((6,), jnp.float32)


def test_defaults_are_written_out():
    """Parameters and outputs, to the last bit."""
    board = jax.random.normal(KEY, (6, 6, 2))
    plain = ConvNet((4, 3), (8,), 2)
    written = ConvNet((4, 3), (8,), 2, kernels=(3, 3), strides=(1, 1), scale=1)
    ours, theirs = (quick.jit(network.init)(KEY, board) for network in (plain, written))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    np.testing.assert_array_equal(plain.apply(ours, board), written.apply(theirs, board))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvNet((4, 4), kernels=(3,)), r"kernels is \(3,\); allowed: None, or 2 numbers"),
        (lambda: ConvNet((4,), strides=(1, 1)), r"strides is \(1, 1\); allowed: None, or 1 "),
        (lambda: ConvNet((4,), strides=(0,)), r"strides is \(0,\); allowed: a tuple of positive"),
        (lambda: ConvNet((4,), layer_norm=None), "layer_norm is None; allowed: False, True"),
        (lambda: ConvNet((4,), scale=0.0), "scale is 0.0; allowed: a finite number above 0"),
        (lambda: ConvNet((4,)).init(KEY, jnp.zeros(5)), r"board has shape \[5\]; allowed: "),
        (
            lambda: jax.eval_shape(NATURE.init, KEY, jnp.zeros((84, 35, 4), jnp.uint8)),
            r"board has shape \[84, 35, 4\]; allowed: more than 35 rows and columns",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_smallest_board_that_is_named_is_allowed():
    smallest = jax.ShapeDtypeStruct((36, 36, 4), jnp.uint8)
    assert jax.eval_shape(NATURE.init, KEY, smallest)
