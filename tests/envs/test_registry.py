"""Environments by name: what is registered, and how wrong requests are answered."""

import re
from typing import get_args

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl.envs
import purerl.random
from purerl.envs import CartPole, GridWorld, TimeLimit, interact, kinds, make, names, registry
from purerl.envs.diagnostic import Featured, Testbed
from tests import quick

GYMNASIUMS = [name for name in names() if name in gymnasium.registry and name != "Blackjack-v1"]
LANES, STEPS = 3, 40


# The same classes with other limits, sizes, rewards or more actions: their turn comes
# with the slow tests.
ALIKE = re.compile(
    r"MinAtar/.*-v0|RandomWalk.*|Taxi-v4|CartPole-v0|CliffWalkingSlippery-v1|FrozenLake8x8-v1"
    r"|bsuite/(.*_(noise|scale|stochastic|size|distract))/0"
)


def slow_where_alike(name):
    return pytest.param(name, marks=pytest.mark.slow) if ALIKE.fullmatch(name) else name


@pytest.mark.parametrize("name", list(map(slow_where_alike, kinds().values())))
def test_what_is_made_keeps_the_contract(name):
    """Shapes and dtypes as declared at every step, no NaN, no key used twice, one
    program; lanes, each with leaves of its own, equal to a loop over them."""
    env = make(name)
    assert jax.tree.structure(env) == jax.tree.structure(
        make(name)
    )  # made again, it is the same program

    def rollout(env, key):
        key, reset_key = jax.random.split(key)

        def step(state, t):  # a scan refuses a state whose shapes or dtypes change
            action_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(action_key, (), 0, env.num_actions)
            return interact(env, env_key, state, action)

        return jax.lax.scan(step, env.reset(reset_key), jnp.arange(STEPS))

    lanes = jax.tree.map(lambda leaf: np.stack([jnp.asarray(leaf)] * LANES), env)

    def run(key, same_key):
        keys, same_keys = jax.random.split(key, LANES), jax.random.split(same_key, LANES)
        return jax.vmap(rollout)(lanes, keys), jax.lax.map(lambda key: rollout(env, key), same_keys)

    key = purerl.random.key(0, "pcg4d")
    with jax.debug_key_reuse(True):
        traced = jax.jit(run).trace(key, key)
    compiled = traced.lower().compile(quick.UNOPTIMIZED)
    together, one_by_one = jax.tree.map(np.asarray, compiled(key, key))

    def agree(a, b):
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-4
            )  # rounding, and what 40 steps make of it
            assert np.isfinite(a).all()
        else:
            np.testing.assert_array_equal(a, b)

    jax.tree.map(agree, together, one_by_one)
    transition = together[1]
    for observation in (transition.observation, transition.next_observation):
        assert jax.ShapeDtypeStruct(observation.shape[2:], observation.dtype) == env.observation
    assert [x.dtype for x in transition[2:5]] == [jnp.float32, jnp.bool_, jnp.bool_]
    picture = env.render(jax.tree.map(lambda x: x[0], together[0]))
    assert (
        picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and len(np.unique(picture)) > 1
    )


@pytest.mark.parametrize("name", GYMNASIUMS)
def test_limits_and_sizes_are_gymnasiums(name):
    env, reference = make(name), gymnasium.make(name)
    assert getattr(env, "limit", None) == reference.spec.max_episode_steps
    assert isinstance(env, TimeLimit) == (reference.spec.max_episode_steps is not None)
    if isinstance(reference.action_space, gymnasium.spaces.Discrete):
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
        ("CartPole", "CartPole-v1"),
        ("Breakout", "MinAtar/Breakout-v1"),
        ("ALE/Breakout-v5", "MinAtar/Breakout-v1"),
        ("bsuite/Catch", "bsuite/catch/0"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(typed, meant):
    with pytest.raises(
        ValueError, match=f"unknown environment '{typed}'; did you mean '{meant}'\\?"
    ) as error:
        make(typed)
    assert len(str(error.value)) < 300


def test_what_resembles_nothing_is_answered_with_the_names():
    with pytest.raises(
        ValueError, match="unknown environment 'Go'; known: Grid2x3-v0, FrozenLake-v1, "
    ):
        make("Go")


def test_unknown_parameters_are_answered_with_the_known():
    with pytest.raises(ValueError, match="CliffWalking-v1 has no parameter 'wind'; allowed: slip"):
        make("CliffWalking-v1", wind=1)
    with pytest.raises(
        ValueError, match="FrozenLake8x8-v1 has no parameter 'rows'; allowed: slip, reward_schedule"
    ):
        make("FrozenLake8x8-v1", rows=["SG"])
    with pytest.raises(
        ValueError, match="CartPole-v1 has no parameter 'mass'; allowed: gravity, masscart,"
    ):
        make("CartPole-v1", mass=1)


def test_a_wrong_value_is_the_builders_to_refuse():
    with pytest.raises(ValueError, match="slip is 2"):
        make("FrozenLake-v1", slip=2)


def test_the_page_lists_every_name():
    for name in kinds().values():
        assert f"``{name}``" in registry.__doc__


def test_kinds_stand_for_all_names():
    assert len(names()) == len(set(names())) == 456
    assert list(kinds())[:2] == ["Grid2x3-v0", "FrozenLake-v1"]
    assert kinds()["bsuite/deep_sea/0 to 20"] == "bsuite/deep_sea/0"
    assert len(kinds()) == 48 + 20


def test_public_names_exist():
    assert all(hasattr(purerl.envs, name) for name in purerl.envs.__all__)


def test_names_for_type_checkers_agree_with_the_registry():
    """``make`` tells a checker by the name what the environment then has: an exact
    model observed by index, features of such a model's states, or pictures alone."""
    tabular, featured, rendered = map(
        get_args, (registry.TabularName, registry.FeaturedName, registry.RenderedName)
    )
    plain = [name for name in names() if not name.startswith("bsuite/")]
    assert sorted([*tabular, *featured, *rendered, "Testbed-v0"]) == sorted(plain)
    for name in plain:
        env = make(name)
        model = hasattr(env, "mdp")
        indexed = hasattr(env, "num_states") and env.observation.shape == ()
        assert hasattr(env, "render"), name
        assert (model and indexed) == (name in tabular), name
        assert model == (name in tabular or name in featured), name
        assert isinstance(env, Featured) == (name in featured), name
        assert isinstance(env, Testbed) == (name == "Testbed-v0"), name
        if model:
            states = jax.tree.leaves(jax.eval_shape(env.states))
            assert {leaf.shape[0] for leaf in states} == {env.mdp.num_states}, name


def test_wrappers_have_the_optional_members_of_what_is_inside():
    forwarded = ("mdp", "num_states", "action", "action_bounds")
    for inside, expected in [
        (make("FrozenLake-v1"), {"mdp", "num_states"}),
        (CartPole(), set()),
        (purerl.envs.Pendulum(), {"action", "action_bounds"}),
    ]:
        wrapped = TimeLimit(inside, 10)
        assert {name for name in forwarded if hasattr(wrapped, name)} == expected
        assert purerl.envs.has_model(wrapped) == ("mdp" in expected)
        assert purerl.envs.can_render(wrapped)
