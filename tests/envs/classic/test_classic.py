"""Classic control: start states, sweeps, extremes, what is refused, pictures, and the
sine and cosine underneath."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import purerl
import purerl.random
from purerl.envs import classic
from purerl.envs.classic import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from purerl.envs.classic.trigonometry import sin_cos
from tests import quick

KEY = purerl.random.key(0, "pcg4d")  # quick to compile
ENVS = [CartPole(), MountainCar(), MountainCarContinuous(), Acrobot(), Pendulum()]
of_every_env = pytest.mark.parametrize("env", ENVS, ids=lambda env: type(env).__name__)


def leaves_of(env):
    return [
        field.name for field in dataclasses.fields(env) if field.metadata.get("pytree_node", True)
    ]


LEAVES = [(env, leaf) for env in ENVS for leaf in leaves_of(env)]
of_every_leaf = pytest.mark.parametrize(
    ("env", "leaf"), LEAVES, ids=lambda x: x if isinstance(x, str) else type(x).__name__
)


def an_action(env):
    return jnp.full(env.action.shape, 0.5) if hasattr(env, "action") else jnp.int32(1)


def first_step(env, key=None):
    key = KEY if key is None else key
    return env.step(key, env.reset(key), an_action(env))


# Start states.

START = {  # of each coordinate: the least, and how wide its range is; or all at one place
    "CartPole": [(-0.05, 0.1)] * 4,
    "MountainCar": [(-0.6, 0.2), 0.0],
    "MountainCarContinuous": [(-0.6, 0.2), 0.0],
    "Acrobot": [(-0.1, 0.2)] * 4,
    "Pendulum": [(-np.pi, 2 * np.pi), (-1, 2)],
}


@of_every_env
def test_starts_are_uniform(env):
    states = quick.optimizing_jit(jax.vmap(env.reset))(jax.random.split(KEY, 20_000))
    drawn = []
    for coordinate, law in zip(map(np.asarray, states), START[type(env).__name__], strict=True):
        assert coordinate.dtype == np.float32
        if law == 0:
            assert not coordinate.any()
            continue
        least, width = law
        assert stats.kstest(coordinate, stats.uniform(least, width).cdf).pvalue > 1e-4
        margin = 0.001 * width
        assert np.float32(least) <= coordinate.min() < least + margin
        assert least + width - margin < coordinate.max() < np.float32(least + width)
        drawn.append(coordinate)
    correlation = np.corrcoef(np.stack(drawn))
    assert np.abs(correlation - np.eye(len(drawn))).max() < 0.04  # 5.6 standard errors


# Contract.


@of_every_env
def test_contract(env):
    state = jax.eval_shape(env.reset, KEY)
    assert jax.eval_shape(env.observe, state) == env.observation
    reached, outcome = jax.eval_shape(first_step, env)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), reached) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert [(x.shape, x.dtype) for x in outcome[:3]] == [
        ((), jnp.float32),
        ((), jnp.bool_),
        ((), jnp.bool_),
    ]
    assert hasattr(env, "num_actions") != hasattr(env, "action")
    if hasattr(env, "action"):
        low, high = env.action_bounds
        assert (
            (low.shape, low.dtype)
            == (high.shape, high.dtype)
            == (env.action.shape, env.action.dtype)
        )
        assert (low < high).all()


@of_every_leaf
def test_every_leaf_maps_alone(env, leaf):
    """One number is a batch while the others are not."""
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(env.reset, KEY))
    axes = jax.tree_util.tree_map_with_path(
        lambda path, _: 0 if path[-1].name == leaf else None, env
    )
    step = jax.vmap(lambda env: env.step(KEY, state, an_action(env)), in_axes=(axes,))
    states, outcome = jax.eval_shape(
        step, env.replace(**{leaf: jnp.array([getattr(env, leaf)] * 3)})
    )
    assert all(coordinate.shape == (3,) for coordinate in (*states, *outcome[:3]))


def test_a_sweep_compiles_once():
    traces = []

    @quick.optimizing_jit
    def count(env):
        traces.append(env)
        return first_step(env)

    for env in (Acrobot(gravity=1.6), Acrobot(link_moi=2.0), Acrobot(torque_noise_max=0.5)):
        count(env)
    assert len(traces) == 1


def test_torque_noise_is_uniform():
    """At rest the torque is all there is: twice the noise, twice the acceleration."""
    hanging = classic.AcrobotState(*jnp.zeros(4))
    keys = jax.random.split(KEY, 10_000)

    def rate(noise, tau=1e-3):
        env = Acrobot(torque_noise_max=noise, tau=tau)
        states, _ = jax.vmap(lambda key: env.step(key, hanging, 1))(keys)
        return states.theta2_dot

    noisy, noisier, quiet = quick.optimizing_jit(jax.vmap(rate))(jnp.array([0.5, 1.0, 0.0]))
    np.testing.assert_allclose(noisier, 2 * noisy, rtol=1e-4, atol=1e-9)
    assert not quiet.any()
    # [[4.5, 1.75], [1.75, 1.25]] (acc1, acc2) = (0, u), hence acc2 = 4.5 u / (4.5 *
    # 1.25 - 1.75**2)
    torque = np.asarray(noisier) / 1e-3 * (4.5 * 1.25 - 1.75**2) / 4.5
    assert stats.kstest(torque, stats.uniform(-1, 2).cdf).pvalue > 1e-4


# Extremes.

POSITIVE = {
    "CartPole": ["masscart", "masspole", "length", "tau", "theta_threshold", "x_threshold"],
    "MountainCar": ["max_speed"],
    "MountainCarContinuous": ["max_speed"],
    "Acrobot": [leaf for leaf in leaves_of(Acrobot()) if leaf.startswith("link_")]
    + ["max_vel_1", "max_vel_2", "tau"],
    "Pendulum": ["max_speed", "max_torque", "tau", "mass", "length"],
}


@of_every_env
def test_never_a_nan(env):
    """Whatever the action, the numbers and the state: even an int32 that is no action,
    and angles of many turns."""
    state_type = type(jax.eval_shape(env.reset, KEY))
    step = quick.optimizing_jit(
        lambda env, key, state, action: (*env.step(key, state, action), env.observe(state))
    )
    positive, leaves = POSITIVE[type(env).__name__], leaves_of(env)
    signed = {
        "gravity",
        "force",
        "force_mag",
        "power",
        "torque",
        "goal_position",
        "goal_velocity",
        "target_height",
    } & set(leaves)
    widest, most, actions = 1e6, 8, st.integers(-(2**31), 2**31 - 1)
    if isinstance(env, Acrobot):
        # Integrated to the fourth order: masses, times and rates stay moderate.
        widest, most, actions = 16, 2, st.integers(0, 2)

    @given(
        state=st.tuples(*[st.floats(-widest, widest, width=32)] * len(state_type._fields)),
        action=actions,
        physics=st.fixed_dictionaries(
            dict.fromkeys(positive, st.floats(0.125, most, width=32))
            | dict.fromkeys(sorted(signed), st.floats(-64, 64, width=32))
        ),
    )
    def check(state, action, physics):
        action = jnp.array([jnp.float32(action)]) if hasattr(env, "action") else jnp.int32(action)
        if isinstance(env, Acrobot):
            physics["tau"] = min(physics["tau"], 0.25)
        state = state_type(*map(jnp.float32, state))
        reached, outcome, observed = step(env.replace(**physics), KEY, state, action)
        assert np.isfinite(np.array(reached)).all()
        assert np.isfinite(outcome.reward)
        assert np.isfinite(observed).all()

    check()


# What is refused.


@of_every_leaf
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -2.0])
def test_wrong_physics_are_refused(env, leaf, value):
    name = type(env).__name__
    positive = leaf in POSITIVE[name] or leaf == "torque_noise_max"
    above = {"max_position": "min_position", "max_action": "min_action"}.get(leaf)
    if np.isfinite(value) and not (positive or above):
        type(env)(**{leaf: value})
        return
    with pytest.raises(
        ValueError, match=f"{name}: {leaf} is {value!r}; allowed: a finite"
    ) as error:
        type(env)(**{leaf: value})
    assert not above or above in str(error.value)


def test_wrong_choices_are_refused():
    with pytest.raises(ValueError, match="Acrobot: dynamics is 'java'; allowed: 'book', 'nips'"):
        Acrobot(dynamics="java")
    with pytest.raises(
        ValueError, match="CartPole: sutton_barto_reward is 'yes'; allowed: False, True"
    ):
        CartPole(sutton_barto_reward="yes")


# By name.


@pytest.mark.parametrize(
    ("name", "actions"),
    [("Pendulum-v1", [-2, -1, 0, 1, 2]), ("MountainCarContinuous-v0", [-1, 0, 1])],
)
def test_continuous_actions_are_evenly_spaced(name, actions):
    env = purerl.make(name)
    assert env.num_actions == len(actions)
    np.testing.assert_array_equal(env.env.actions[:, 0], actions)
    finer = purerl.make(name, num_actions=9, gravity=0.5).env
    assert finer.env.gravity == 0.5
    np.testing.assert_allclose(np.diff(finer.actions[:, 0]), 2 * actions[-1] / 8, rtol=1e-6)
    assert finer.actions[4, 0] == 0
    state = env.reset(KEY)
    step = quick.optimizing_jit(lambda env, state, action: env.step(None, state, action))
    for i, action in enumerate(actions):
        taken, outcome = step(env, state, jnp.int32(i))
        direct, directly = step(env.env.env, state.inner, jnp.array([float(action)]))
        assert (taken.inner, outcome[:2]) == (direct, directly[:2])
    for wrong in (1, 2.0):
        with pytest.raises(
            ValueError, match=f"num_actions is {wrong}; allowed: a whole number of at least 2"
        ):
            purerl.make(name, num_actions=wrong)
    with pytest.raises(
        ValueError,
        match=f"{name} has no parameter 'physics'; allowed: num_actions, (max_speed|power), ",
    ):
        purerl.make(name, physics=1)


def test_the_table_follows_the_bounds():
    env = purerl.make("Pendulum-v1", num_actions=3, max_torque=1.5).env
    np.testing.assert_array_equal(env.actions, [[-1.5], [0], [1.5]])


# Pictures.


@of_every_env
def test_pictures_show_the_state(env):
    state = env.reset(KEY)
    moved = type(state)(*(x + 0.2 for x in state))
    pictures = env.render(state), env.render(moved)
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3 and picture.shape[2] == 3
    assert (pictures[0] != pictures[1]).any()


# Sine and cosine.


def test_sine_and_cosine_are_float32s():
    x = np.concatenate([np.linspace(-8, 8, 200_001), np.linspace(-1e4, 1e4, 200_001)]).astype(
        np.float32
    )
    sin, cos = quick.optimizing_jit(sin_cos)(x)
    assert sin.dtype == cos.dtype == jnp.float32
    assert np.abs(sin - np.sin(x.astype(np.float64))).max() < 1.2e-7
    assert np.abs(cos - np.cos(x.astype(np.float64))).max() < 1.2e-7
    small = np.float32([1e-3, -1e-5, 1e-10, 0])
    np.testing.assert_allclose(sin_cos(small)[0], np.sin(small.astype(np.float64)), rtol=1e-6)


def test_sine_and_cosine_are_bounded_and_differentiable():
    for x in (1e5, 1e10, -3e38):
        assert all(abs(float(value)) <= 1 for value in sin_cos(jnp.float32(x)))
    x = jnp.linspace(-7, 7, 57)
    sin, cos = sin_cos(x)
    dsin, dcos = quick.optimizing_jit(jax.vmap(jax.jacfwd(sin_cos)))(x)
    np.testing.assert_allclose(dsin, cos, atol=1e-4)
    np.testing.assert_allclose(dcos, -sin, atol=1e-4)


def test_sine_and_cosine_are_jaxs_under_x64():
    with jax.enable_x64(True):
        x = jnp.linspace(-50, 50, 1001)
        np.testing.assert_array_equal(sin_cos(x), (jnp.sin(x), jnp.cos(x)))
