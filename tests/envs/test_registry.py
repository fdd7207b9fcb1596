"""Environments by name: what is registered, and how wrong requests are answered."""

import gymnasium
import jax
import jax.numpy as jnp
import pytest

import purerl.envs
import purerl.random
from purerl.envs import CartPole, GridWorld, TimeLimit, make, names, registry


@pytest.mark.parametrize("name", names())
def test_what_is_made_keeps_the_contract(name):
    env = make(name)
    key = purerl.random.key(0)
    state = env.reset(key)
    for action in range(env.num_actions):
        reached, outcome = env.step(key, state, action)
        assert jax.eval_shape(env.observe, reached) == env.observation
        assert jax.tree.map(lambda x: (x.shape, x.dtype), reached) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
        assert [x.dtype for x in outcome[:3]] == [jnp.float32, jnp.bool_, jnp.bool_]


@pytest.mark.parametrize("name", [name for name in names() if name != "Grid2x3-v0"])
def test_limits_and_sizes_are_gymnasiums(name):
    env, reference = make(name), gymnasium.make(name)
    assert getattr(env, "limit", None) == reference.spec.max_episode_steps
    assert isinstance(env, TimeLimit) == (reference.spec.max_episode_steps is not None)
    assert env.num_actions == reference.action_space.n
    if isinstance(reference.observation_space, gymnasium.spaces.Discrete):
        assert env.mdp.num_states == reference.observation_space.n
    else:
        assert env.observation.shape == reference.observation_space.shape


def test_parameters_reach_the_builder():
    assert make("FrozenLake-v1", slip=0.0).mdp.num_outcomes == 1
    assert make("FrozenLake8x8-v1", slip=0.0).mdp.num_states == 64
    assert make("FrozenLake-v1", rows=["SFG"]).mdp.num_states == 3
    assert make("CartPole-v1", gravity=1.6).env == CartPole(gravity=1.6)
    assert float(make("Grid2x3-v0", step_reward=-0.5).mdp.reward[0, 0, 0]) == -0.5
    assert isinstance(make("CliffWalking-v1", slip=0.5), GridWorld)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("FrozenLake8x8", "FrozenLake8x8-v1"),
        ("grid2x3", "Grid2x3-v0"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(typed, meant):
    with pytest.raises(ValueError, match=f"unknown environment '{typed}'; did you mean '{meant}'\\?") as error:
        make(typed)
    assert all(name in str(error.value) for name in names())


def test_what_resembles_nothing_is_answered_with_the_names():
    with pytest.raises(ValueError, match="unknown environment 'Go'; known: CartPole-v1, "):
        make("Go")


def test_unknown_parameters_are_answered_with_the_known():
    with pytest.raises(ValueError, match="CliffWalking-v1 has no parameter 'wind'; allowed: slip"):
        make("CliffWalking-v1", wind=1)
    with pytest.raises(ValueError, match="FrozenLake8x8-v1 has no parameter 'rows'; allowed: slip"):
        make("FrozenLake8x8-v1", rows=["SG"])
    with pytest.raises(ValueError, match="CartPole-v1 has no parameter 'mass'; allowed: gravity, masscart,"):
        make("CartPole-v1", mass=1)


def test_a_wrong_value_is_the_builders_to_refuse():
    with pytest.raises(ValueError, match="slip is 2"):
        make("FrozenLake-v1", slip=2)


def test_the_page_lists_every_name():
    for name in names():
        assert f"``{name}``" in registry.__doc__


def test_public_names_exist():
    assert all(hasattr(purerl.envs, name) for name in purerl.envs.__all__)
