"""Noisy layers: the law of what they add, and where it is drawn anew."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import purerl
import purerl.random
from purerl import envs, replay
from purerl.networks import MLP, ConvNet, Dueling, ImplicitQuantiles, NoisyDense
from purerl.policy import Greedy
from tests import quick

KEY = jax.random.key(0)
DRAWS = 40_000


def noise_of(network, params, x, keys):
    """What each key's noise adds to the output, ``[len(keys), ...]``."""
    plain = network.apply(params, x)

    @quick.jit
    @jax.vmap
    def apply(key):
        return network.apply(params, x, rngs={"noise": key}) - plain

    return np.asarray(apply(keys))


def test_the_variance_is_the_formulas():
    r"""Var y_j = E|e| (E|e| sum_i s_ij^2 x_i^2 + t_j^2) with E|e| = sqrt(2 / pi).

    The noise of different outputs is uncorrelated, since its sign is drawn for each.
    """
    moment = integrate.quad(lambda e: abs(e) * stats.norm.pdf(e), -20, 20)[0]
    assert moment == pytest.approx(math.sqrt(2 / math.pi))
    layer, x = NoisyDense(3), jnp.array([0.5, -2.0, 1.0, 0.1])
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(layer.init, KEY, x)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), shapes)
    noise = noise_of(layer, params, x, jax.random.split(KEY, DRAWS))

    kernel = np.asarray(params["params"]["kernel_scale"], float)
    bias = np.asarray(params["params"]["bias_scale"], float)
    of_kernel = moment**2 * (np.asarray(x)[:, None] ** 2 * kernel**2).sum(0)
    variance = of_kernel + moment * bias**2
    np.testing.assert_allclose(noise.var(axis=0), variance, rtol=0.06)
    # Without the second factor, of the noise of the outputs, it would be another.
    assert (np.abs(noise.var(axis=0) / (of_kernel / moment + bias**2) - 1) > 0.15).all()
    assert (np.abs(noise.mean(axis=0)) < 5 * np.sqrt(variance / DRAWS)).all()
    correlation = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    assert (np.abs(correlation) < 5 / math.sqrt(DRAWS)).all()


def test_first_parameters_are_the_papers():
    params = quick.jit(NoisyDense(50, scale=0.4).init)(KEY, jnp.zeros(100))["params"]
    for name in ("kernel", "bias"):
        low, high = params[name].min(), params[name].max()
        assert -0.1 <= low < -0.09 and 0.09 < high <= 0.1  # 1 / sqrt(100)
    assert stats.kstest(np.ravel(params["kernel"]), "uniform", (-0.1, 0.2)).pvalue > 1e-3
    for name, shape in (("kernel_scale", (100, 50)), ("bias_scale", (50,))):
        np.testing.assert_allclose(params[name], np.full(shape, 0.04), rtol=1e-6)


def test_without_a_key_there_is_no_noise():
    layer, x = NoisyDense(2), jnp.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    params = layer.init(KEY, x)
    expected = x @ params["params"]["kernel"] + params["params"]["bias"]
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-6)
    # One pass draws once, whatever the batch.
    noise = layer.apply(params, x, rngs={"noise": KEY}) - expected
    one = layer.apply(params, x[1], rngs={"noise": KEY}) - expected[1]
    np.testing.assert_allclose(noise[1], one, rtol=1e-5, atol=1e-6)


def test_layers_have_noise_of_their_own():
    """Two layers of equal parameters and inputs would add the same with one key.

    Every stream of a dueling network and every layer of a perceptron, in one pass.
    """
    network = Dueling(MLP((4,), noisy=True), (4,), num_outputs=1, num_actions=1, noisy=True)
    x = jnp.ones(4)

    def capture(key):
        _, kept = network.apply(
            params,
            x,
            rngs={"noise": key},
            capture_intermediates=lambda module, _: isinstance(module, NoisyDense),
            mutable=["intermediates"],
        )
        return [leaf.ravel()[0] for leaf in jax.tree.leaves(kept["intermediates"])]

    shapes = jax.eval_shape(network.init, KEY, x)
    # Biases of scale one, and nothing else: what a layer gives is its noise.
    params = jax.tree_util.tree_map_with_path(
        lambda path, p: np.full(p.shape, path[-1].key == "bias_scale", np.float32), shapes
    )
    drawn = np.stack(quick.jit(jax.vmap(capture))(jax.random.split(KEY, 5_000)))
    assert len(drawn) == 5
    assert (drawn.std(axis=1) > 0.5).all()
    correlation = np.corrcoef(drawn)[np.triu_indices(5, 1)]
    assert (np.abs(correlation) < 5 / math.sqrt(5_000)).all()


def test_the_scale_learns():
    """The derivative by sigma is that of the formula, with the noise of the pass."""
    layer, x = NoisyDense(2), jnp.array([1.0, -2.0, 0.5])
    params = layer.init(KEY, x)

    def total(params, rngs):
        return jnp.sum(layer.apply(params, x, rngs=rngs))

    gradient = jax.grad(total)(params, {"noise": jax.random.key(1)})["params"]
    out = gradient["bias_scale"]
    into = gradient["kernel_scale"] / (x[:, None] * out)
    np.testing.assert_allclose(into[:, 0], into[:, 1], rtol=1e-5)
    assert len(np.unique(np.abs(out).round(5))) == 2
    noise = layer.apply(params, x, rngs={"noise": jax.random.key(1)}) - layer.apply(params, x)
    scale = 0.5 / math.sqrt(3)
    np.testing.assert_allclose(
        noise, scale * ((into[:, 0] * x).sum() + 1) * out, rtol=1e-4, atol=1e-6
    )
    assert not any(
        np.any(jax.grad(total)(params, None)["params"][name])
        for name in ("kernel_scale", "bias_scale")
    )


@pytest.mark.parametrize(
    ("network", "shape", "needed"),
    [
        (MLP((8,), 2), (4,), False),
        (MLP((8,), 2, noisy=True), (4,), True),
        (ConvNet((4,), (8,), 2, noisy=True), (5, 5, 1), True),
        (Dueling(MLP((8,)), (), 2, 2), (4,), False),
        (Dueling(MLP((8,)), (), 2, 2, noisy=True), (4,), True),
        (Dueling(MLP((8,), noisy=True), (), 2, 2), (4,), True),
    ],
)
def test_needs_noise_says_whether_a_key_matters(network, shape, needed):
    params = quick.jit(network.init)(KEY, jnp.ones(shape))
    with_key = network.apply(params, jnp.ones(shape), rngs={"noise": KEY})
    assert network.needs_noise is needed
    assert np.array_equal(with_key, network.apply(params, jnp.ones(shape))) is not needed


@pytest.mark.parametrize("noisy", [False, True])
def test_a_perceptron_over_noisy_features_is_noisy(noisy):
    network = ImplicitQuantiles(MLP((8,), noisy=noisy), 4, (), 2)
    inputs = jnp.ones(4), jnp.array([0.2, 0.7])
    params = quick.jit(network.init)(KEY, *inputs)
    with_key = network.apply(params, *inputs, rngs={"noise": KEY})
    assert network.needs_noise is noisy
    assert np.array_equal(with_key, network.apply(params, *inputs)) is not noisy


def agent(num_envs):
    return purerl.DQN(
        env=envs.make("CartPole-v1"),
        network=MLP((), noisy=True),
        behavior=Greedy(),
        learning_rate=0.0,
        replay=replay.Uniform(4 * num_envs * 50),
        num_envs=num_envs,
        train_period=1,
        learning_starts=num_envs,
        target_period=num_envs,
        batch_size=2,
    )


def test_what_acts_is_noisy_anew_in_every_step_and_environment():
    """With equal observations' values all zero and noise alone, greedy actions are
    coins: of different steps, environments and runs they are independent."""
    network = agent(2)

    def run(key):
        state = network.init(key)
        params = jax.tree_util.tree_map_with_path(
            lambda path, p: jnp.full(p.shape, path[-1].key == "bias_scale", jnp.float32),
            state.params,
        )
        state = state._replace(params=params, target_params=params)

        def step(state, t):
            return network.step(state, t)[0], None

        state = jax.lax.scan(step, state, jnp.arange(99, dtype=jnp.int32))[0]
        return state.buffer.action[2:200].reshape(99, 2)

    keys = jax.vmap(lambda i: jax.random.fold_in(purerl.random.key(0, "pcg4d"), i))(jnp.arange(32))
    coins = np.asarray(quick.jit(jax.vmap(run))(keys)) * 2 - 1.0
    bound = 5 / math.sqrt(coins.size)
    assert abs(coins.mean()) < bound
    assert abs((coins[:, 1:] * coins[:, :-1]).mean()) < bound  # steps; frozen noise: 1
    assert abs((coins[:, :, 0] * coins[:, :, 1]).mean()) < 2 * bound  # environments
    assert abs((coins[1:] * coins[:-1]).mean()) < bound  # runs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoisyDense(0), "NoisyDense: features is 0; allowed: a positive whole number"),
        (lambda: NoisyDense(2, scale=0.0), "NoisyDense: scale is 0.0; allowed: a finite number"),
        (lambda: MLP((8,), noisy=1), "MLP: noisy is 1; allowed: False, True"),
        (lambda: ConvNet((8,), noisy=1), "ConvNet: noisy is 1; allowed: False, True"),
        (lambda: Dueling(MLP((8,)), noisy="x"), "Dueling: noisy is 'x'; allowed: False, True"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
