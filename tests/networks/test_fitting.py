"""Networks fitted to where they are used: the library's and users' own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl import envs, heads, replay
from purerl.networks import MLP, ConvNet, Dueling, ImplicitQuantiles, fitted
from purerl.networks.fitting import check_network

KEY = jax.random.key(0)


class Fixed(nn.Module):
    """A user's network, without fields to fill in."""

    @nn.compact
    def __call__(self, observation):
        return nn.Dense(2)(nn.tanh(nn.Dense(6)(observation)))


class Fitting(nn.Module):
    """A user's network that is told its outputs and holds another."""

    inner: nn.Module
    num_outputs: int = 1
    num_actions: int = 1

    @nn.compact
    def __call__(self, observation):
        return nn.Dense(self.num_outputs)(self.inner(observation))


class TwoNumbers(nn.Module):
    """A user's network that gives a pytree."""

    @nn.compact
    def __call__(self, observation):
        return {"a": nn.Dense(1)(observation), "b": nn.Dense(1)(observation)}


BOARD = jax.ShapeDtypeStruct((3, 3), jnp.float32)
INDEX = jax.ShapeDtypeStruct((), jnp.int32)


def test_fields_are_filled_in_that_are_there():
    network = fitted(MLP((8,)), BOARD, None, num_outputs=6, num_actions=2)
    assert network == MLP((8,), 6, observation_ndim=2)
    assert fitted(MLP((8,)), INDEX, 5, num_outputs=2).num_states == 5
    assert fitted(Fixed(), BOARD, None, num_outputs=6) == Fixed()
    conv = fitted(ConvNet((4,), (8,)), BOARD, None, num_outputs=6, num_actions=2)
    assert conv == ConvNet((4,), (8,), 6)


@pytest.mark.parametrize("kind", [Dueling, ImplicitQuantiles])
def test_modules_inside_are_fitted_to_the_observation_alone(kind):
    network = fitted(kind(MLP((8,))), BOARD, None, num_outputs=6, num_actions=2)
    assert network.torso == MLP((8,), observation_ndim=2)
    assert network.num_outputs == 6
    inside = fitted(Fitting(Dueling(MLP((8,)))), INDEX, 4, num_outputs=6, num_actions=3)
    assert (inside.num_outputs, inside.num_actions) == (6, 3)
    assert inside.inner == Dueling(MLP((8,), observation_ndim=0, num_states=4))


def test_check_network_counts():
    shape, dtype = (4,), jnp.dtype(jnp.float32)
    check_network("DQN", "network", MLP((8,), 6), shape, dtype, 6)
    check_network(
        "DQN", "network", ImplicitQuantiles(MLP((8,)), num_outputs=2), shape, dtype, 6, (3,)
    )
    with pytest.raises(ValueError, match=r"DQN: network is MLP, which gives \(6,\); allowed: .* 4"):
        check_network("DQN", "network", MLP((8,), 6), shape, dtype, 4)
    with pytest.raises(ValueError, match=r"network is TwoNumbers, which gives \{'a': \(1,\)"):
        check_network("DQN", "network", TwoNumbers(), shape, dtype, 2)


def agent(network, **fields):
    return purerl.DQN(
        env=envs.make("CartPole-v1"),
        network=network,
        replay=replay.Uniform(60),
        learning_starts=20,
        target_period=40,
        batch_size=8,
        **fields,
    )


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (Fixed(), {"Dense_0", "Dense_1"}),
        (Fitting(MLP((8,))), {"inner", "Dense_0"}),
    ],
    ids=["fixed", "fitting"],
)
def test_a_network_is_recorded_by_name(network, names, tmp_path):
    """A run folder says which network it was, and gives it back."""
    ran = purerl.sweep(
        agent(network), seeds=1, num_steps=20, points=2, keep="snapshot", out=tmp_path / "run"
    )
    text = (tmp_path / "run" / "manifest.json").read_text()
    assert type(network).__name__ in text and type(network).__module__ in text
    read = purerl.load(tmp_path / "run", classes=[type(network)])
    assert read.agents[0].network == network
    snapshot = read.snapshot(seed=0)
    assert set(snapshot.params["params"]) == names
    jax.tree.map(np.testing.assert_array_equal, snapshot.params, ran.snapshot(seed=0).params)
    values = read.agents[0].values(snapshot, jnp.ones(4))
    assert values.shape == (2,) and np.isfinite(values).all()


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Fixed, which gives \(2,\); .* gives 102 numbers"):
        agent(Fixed(), head=heads.Quantile(51))
    with pytest.raises(ValueError, match="network is the class MLP; allowed: a flax module"):
        agent(MLP)
    with pytest.raises(ValueError, match="a flax module that gives 2 numbers"):
        agent(TwoNumbers())


def test_quantile_fractions_reach_a_users_torso():
    implicit = agent(Fixed(), head=heads.Implicit(4))
    state = jax.eval_shape(implicit.init, KEY)
    assert state.params["params"]["torso"]["Dense_1"]["kernel"].shape == (4, 6)
