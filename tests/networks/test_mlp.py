import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from purerl.networks import MLP, ActorCritic, ConvNet
from tests import quick

KEY = jax.random.key(0)


def parameters(network, observation_shape, dtype=jnp.float32):
    """Random parameters of the right shapes, from NumPy so that nothing is compiled."""
    shapes = jax.eval_shape(network.init, KEY, jax.ShapeDtypeStruct(observation_shape, dtype))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(scale=0.3, size=leaf.shape).astype(leaf.dtype), shapes
    )


def layers(params):
    """(kernel, bias) of every layer in order, as numpy."""
    params = params["params"]
    return [
        (np.asarray(params[f"Dense_{i}"]["kernel"]), np.asarray(params[f"Dense_{i}"]["bias"]))
        for i in range(len(params))
    ]


@pytest.mark.parametrize("features", [(), (7,), (5, 6, 7)])
def test_shapes_and_number_of_parameters(features):
    params = parameters(MLP(features, 3), (4,))
    sizes = (4, *features, 3)
    assert [kernel.shape for kernel, _ in layers(params)] == list(itertools.pairwise(sizes))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    count = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize(
    "activation, formula", [(nn.relu, lambda x: np.maximum(x, 0)), (jnp.tanh, np.tanh)]
)
def test_output_is_the_product_of_its_layers(activation, formula):
    network = MLP((6, 5), 3, activation=activation)
    params = parameters(network, (4,))
    observation = np.random.default_rng(0).normal(size=4).astype(np.float32)
    (w0, b0), (w1, b1), (w2, b2) = layers(params)
    expected = formula(formula(observation @ w0 + b0) @ w1 + b1) @ w2 + b2
    np.testing.assert_allclose(network.apply(params, observation), expected, rtol=1e-5, atol=1e-6)


def test_no_activation_after_the_last_layer():
    network = MLP((8,), 2)
    params = parameters(network, (4,))
    lowered = {
        "params": params["params"]
        | {"Dense_1": jax.tree.map(lambda leaf: leaf - 100.0, params["params"]["Dense_1"])}
    }
    assert (network.apply(lowered, jnp.ones(4)) < 0).all()


def test_without_hidden_layers_a_one_hot_observation_reads_a_table():
    network = MLP((), 3)
    ((table, bias),) = layers(params := parameters(network, (5,)))
    np.testing.assert_allclose(network.apply(params, jnp.eye(5)), table + bias, rtol=1e-6)


@pytest.mark.parametrize(
    "batch, observation_shape",
    [((8,), (4,)), ((2, 3), (4,)), ((2, 3), ()), ((2, 3), (3, 2, 2)), ((0,), (3, 2, 2))],
)
def test_batch_axes_in_front_equal_one_by_one_and_vmap(batch, observation_shape):
    network = MLP((16,), 2, observation_ndim=len(observation_shape))
    params = parameters(network, observation_shape)
    observations = jax.random.normal(jax.random.key(1), (*batch, *observation_shape))
    apply = mapped = quick.jit(network.apply)
    together = apply(params, observations)
    assert together.shape == (*batch, 2)
    for _ in batch:
        mapped = jax.vmap(mapped, (None, 0))
    np.testing.assert_allclose(mapped(params, observations), together, rtol=1e-5, atol=1e-6)
    observations = np.asarray(observations)
    for index in np.ndindex(*batch):
        np.testing.assert_allclose(
            apply(params, observations[index]), together[index], rtol=1e-5, atol=1e-6
        )


def test_a_batch_is_one_matrix_product_a_layer():
    network = MLP((16, 16), 2)
    params = parameters(network, (4,))
    for function in (network.apply, jax.vmap(network.apply, (None, 0))):
        assert str(jax.make_jaxpr(function)(params, jnp.zeros((32, 4)))).count("dot_general[") == 3


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_, jnp.bfloat16])
def test_observations_of_any_dtype_are_cast(dtype):
    network = MLP((8,), 2)
    observation = jnp.array([1, 0, 1, 1], dtype)
    params = parameters(network, (4,), dtype)
    value = network.apply(params, observation)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, network.apply(params, jnp.array([1.0, 0.0, 1.0, 1.0])))


def test_the_first_weights_are_uniform_with_variance_one_over_inputs():
    params = quick.jit(MLP((400,), 100).init)(KEY, jnp.zeros(200))
    for (kernel, bias), inputs in zip(layers(params), (200, 400), strict=True):
        bound = np.sqrt(3 / inputs)  # of a uniform variable with variance 1 / inputs
        assert np.abs(kernel).max() <= bound
        quantiles = np.quantile(kernel, [0.1, 0.25, 0.5, 0.75, 0.9])
        np.testing.assert_allclose(
            quantiles, bound * np.array([-0.8, -0.5, 0.0, 0.5, 0.8]), atol=0.03 * bound
        )
        assert not bias.any()


def test_orthogonal_first_weights_have_the_scale_of_their_layer():
    """The root of two in hidden layers, where the columns or else the rows of a kernel
    are orthogonal."""
    params = quick.jit(MLP((5, 7), 2, output_scale=0.1).init)(KEY, jnp.zeros(6))
    for (kernel, bias), scale in zip(layers(params), (2**0.5, 2**0.5, 0.1), strict=True):
        inputs, outputs = kernel.shape
        gram = kernel.T @ kernel if inputs >= outputs else kernel @ kernel.T
        np.testing.assert_allclose(gram, scale**2 * np.eye(len(gram)), atol=1e-5 * scale)
        assert not bias.any()


def test_the_first_policy_is_nearly_uniform_and_the_first_value_is_not():
    network = ActorCritic((8,), num_outputs=3, torso=MLP((6,)))
    observation = jnp.float32([1, -2, 0.5, 3])
    params = quick.jit(network.init)(KEY, observation)
    kernels = {name: params["params"][name]["Dense_1"]["kernel"] for name in ("actor", "critic")}
    np.testing.assert_allclose(kernels["actor"].T @ kernels["actor"], 1e-4 * np.eye(3), atol=1e-8)
    np.testing.assert_allclose(kernels["critic"].T @ kernels["critic"], 1, rtol=1e-5)
    policy, value = network.apply(params, observation)
    np.testing.assert_array_equal(network.apply(params, observation, method="policy"), policy)
    np.testing.assert_array_equal(network.apply(params, observation, method="value"), value)


def test_gradient_is_that_of_finite_differences():
    network = MLP((6,), 2, activation=jnp.tanh)
    params = parameters(network, (3,))
    observations = jax.random.normal(jax.random.key(2), (10, 3))

    def loss(params):
        return jnp.mean(network.apply(params, observations) ** 2)

    check_grads(loss, (params,), order=1, modes=["rev"], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bool_])
def test_convolutions_are_laxs(dtype):
    """The matrix product over patches equals XLA's own convolution.

    The kernel is in row-major order over the nine cells.
    """
    network = ConvNet(channels=(5, 3), features=(7,), num_outputs=2)
    params = parameters(network, (10, 6, 4), dtype)
    boards = np.random.default_rng(1).random((2, 3, 10, 6, 4)) < 0.3

    x = jnp.asarray(boards, jnp.float32).reshape(6, 10, 6, 4)
    for i, (before, after) in enumerate([(4, 5), (5, 3)]):
        layer = params["params"][f"Dense_{i}"]
        kernel = layer["kernel"].reshape(3, 3, before, after)
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = nn.relu(x + layer["bias"])
    expected = MLP((7,), 2).apply({"params": params["params"]["MLP_0"]}, x.reshape(6, -1))
    np.testing.assert_allclose(
        network.apply(params, boards.astype(dtype)), expected.reshape(2, 3, 2), rtol=1e-5, atol=1e-5
    )


def test_is_hashable_and_compares_by_its_fields():
    assert MLP((8,), 2) == MLP((8,), 2)
    assert hash(MLP((8,), 2)) == hash(MLP((8,), 2))
    assert MLP((8,), 2) != MLP((9,), 2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MLP((0,), 2), r"features is \(0,\)"),
        (lambda: MLP((8, 2.5), 2), "features is"),
        (lambda: MLP([8], 2), r"features is \[8\]; allowed: a tuple of positive whole numbers"),
        (lambda: MLP((8,), 0), "num_outputs is 0; allowed: a positive whole number"),
        (lambda: MLP((8,), 2, observation_ndim=-1), "observation_ndim is -1"),
        (
            lambda: MLP((8,), 2).init(KEY, jnp.float32(1)),
            r"observation has shape \[\]; allowed: observation_ndim=1",
        ),
        (
            lambda: ConvNet((), (8,), 2),
            r"channels is \(\); allowed: a tuple of positive whole numbers, not empty",
        ),
        (lambda: ConvNet((4, 0), (8,), 2), r"channels is \(4, 0\)"),
        (lambda: ConvNet((4,), (0,), 2).init(KEY, jnp.zeros((5, 5, 1))), r"features is \(0,\)"),
        (
            lambda: ConvNet((4, 4), (8,), 2).init(KEY, jnp.zeros((4, 9, 1))),
            "allowed: more than 4 rows and columns",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
