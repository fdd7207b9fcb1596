"""CartPole: equal to Gymnasium's step by step, swept by its leaves, never a NaN."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import purerl.random
from purerl.envs.base import TimeLimit
from purerl.envs.cartpole import CartPole, CartPoleState

step = jax.jit(lambda env, state, action: env.step(None, state, action))
PHYSICS = [field.name for field in dataclasses.fields(CartPole)]


@pytest.fixture
def reference():
    """Gymnasium's, without its order enforcement and checks of observations."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    return env


def put(reference, state):
    reference.state = np.array([float(x) for x in state])
    reference.steps_beyond_terminated = None


def coin_flips(seed, length):
    return np.random.default_rng(seed).integers(2, size=length).tolist()


def test_equals_gymnasium_over_episodes_under_x64(reference):
    """From our start state to termination, nothing but the actions in common."""
    with jax.enable_x64(True):
        env = CartPole()
        assert env.observation == jax.ShapeDtypeStruct((4,), jnp.float64)
        lengths = []
        for episode in range(40):
            state = env.reset(purerl.random.key(episode))
            assert jax.eval_shape(env.observe, state) == env.observation
            put(reference, state)
            for t, action in enumerate(coin_flips(episode, 300)):
                state, outcome = step(env, state, action)
                _, reward, terminated, _, _ = reference.step(action)
                np.testing.assert_allclose(np.array(state), reference.state, rtol=0, atol=1e-12)
                assert (float(outcome.reward), bool(outcome.terminated)) == (reward, terminated)
                if terminated:
                    lengths.append(t + 1)
                    break
        assert len(lengths) == 40 and len(set(lengths)) > 10


def test_equals_gymnasium_beyond_the_time_limit_under_x64(reference):
    """A balanced pole stays up for ten seconds, in which rounding grows e**40 times: so each step starts from the reference's
    state."""
    with jax.enable_x64(True):
        env = TimeLimit(CartPole(), 500)
        steps = jax.jit(env.step)
        state = env.reset(purerl.random.key(0))
        put(reference, state.inner)
        for t in range(510):
            x, x_dot, theta, theta_dot = reference.state
            action = int(theta + theta_dot + 0.1 * x + 0.2 * x_dot > 0)
            state, outcome = steps(None, state, action)
            _, reward, terminated, _, _ = reference.step(action)
            np.testing.assert_allclose(np.array(state.inner), reference.state, rtol=0, atol=1e-12)
            assert (float(outcome.reward), bool(outcome.terminated)) == (reward, terminated) == (1, False)
            assert bool(outcome.truncated) == (t >= 499)
            state = state._replace(inner=CartPoleState(*map(jnp.float64, reference.state)))


def test_equals_gymnasium_anywhere_under_x64(reference):
    """Single steps from 2,000 states, far outside of the usual ones, and beyond both thresholds."""
    rng = np.random.default_rng(0)
    starts = rng.uniform(-1, 1, (2000, 4)) * [3, 6, 4, 9]
    actions = rng.integers(2, size=2000)
    with jax.enable_x64(True):
        state, outcome = jax.jit(jax.vmap(lambda s, a: CartPole().step(None, CartPoleState(*s), a)))(starts, actions)
        ours = np.stack(state, -1)
    for i, (start, action) in enumerate(zip(starts, actions, strict=True)):
        put(reference, start)
        _, reward, terminated, _, _ = reference.step(int(action))
        np.testing.assert_allclose(ours[i], reference.state, rtol=0, atol=1e-12)
        assert (float(outcome.reward[i]), bool(outcome.terminated[i])) == (reward, terminated)
    assert 0 < np.mean(outcome.terminated) < 1


def test_equals_gymnasium_in_float32(reference):
    """A step of float32 from the reference's state ends within float32's rounding of the reference's next one."""
    for episode in range(40):
        reference.reset(seed=episode)
        for action in coin_flips(episode, 300):
            before = CartPoleState(*map(jnp.float32, reference.state))
            after, outcome = step(CartPole(), before, action)
            _, reward, terminated, _, _ = reference.step(action)
            np.testing.assert_allclose(np.array(after), reference.state, rtol=1e-5, atol=1e-6)
            assert (float(outcome.reward), bool(outcome.terminated)) == (reward, terminated)
            if terminated:
                break


def test_physics_are_gymnasiums(reference):
    theirs = {name: getattr(reference, name, None) for name in PHYSICS}
    theirs["theta_threshold"] = reference.theta_threshold_radians
    assert dataclasses.asdict(CartPole()) == theirs


def test_starts_are_uniform():
    states = jax.jit(jax.vmap(CartPole().reset))(jax.random.split(purerl.random.key(0), 20_000))
    for coordinate in states:
        assert stats.kstest(np.asarray(coordinate), stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-4
        assert -0.05 <= coordinate.min() < -0.0499 and 0.0499 < coordinate.max() < 0.05
    correlation = np.corrcoef(np.stack(states))
    assert np.abs(correlation - np.eye(4)).max() < 0.04  # 5.6 standard errors


def test_contract():
    env = CartPole()
    assert env.num_actions == 2
    state = env.reset(purerl.random.key(0))
    assert env.observation == jax.ShapeDtypeStruct((4,), jnp.float32)
    assert (env.observe(state).shape, env.observe(state).dtype) == ((4,), jnp.float32)
    after, outcome = step(env, state, 1)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert [(x.shape, x.dtype) for x in outcome] == [((), jnp.float32), ((), jnp.bool_), ((), jnp.bool_)]


def test_vmap_equals_a_loop():
    env = CartPole()
    states = jax.vmap(env.reset)(jax.random.split(purerl.random.key(0), 32))
    actions = jnp.arange(32) % 2
    together, _ = jax.jit(jax.vmap(lambda s, a: env.step(None, s, a)))(states, actions)
    for i in range(32):
        alone, _ = step(env, jax.tree.map(lambda x, i=i: x[i], states), actions[i])
        np.testing.assert_allclose(np.array(alone), np.stack(together)[:, i], rtol=1e-5, atol=1e-7)


def reference_with(**physics):
    """Gymnasium's with other numbers, its derived ones brought up to date."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    names = {"theta_threshold": "theta_threshold_radians"}
    for name, value in physics.items():
        setattr(env, names.get(name, name), value)
    env.total_mass = env.masscart + env.masspole
    env.polemass_length = env.masspole * env.length
    return env


@pytest.mark.parametrize("name", PHYSICS)
def test_every_leaf_sweeps(name):
    """vmap over one leaf equals Gymnasium with that one number changed, and the mass of all with it."""
    start = 1.0, 0.5, 0.15, -0.4
    default = getattr(CartPole(), name)
    values = np.array([0.1, 0.9, 1.0, 3.0]) * default

    def run(value):
        return CartPole(**{name: value}).step(None, CartPoleState(*start), 1)

    with jax.enable_x64(True):
        state, outcome = jax.jit(jax.vmap(run))(values)
        state = np.broadcast_to(np.stack(np.broadcast_arrays(*state), -1), (4, 4))
        terminated = np.broadcast_to(outcome.terminated, 4)
    for i, value in enumerate(values):
        env = reference_with(**{name: value})
        put(env, start)
        _, _, ends, _, _ = env.step(1)
        np.testing.assert_allclose(state[i], env.state, rtol=0, atol=1e-12)
        assert bool(terminated[i]) == ends
    changed = len(np.unique(state, axis=0)) > 1 or len(set(terminated.tolist())) > 1
    assert changed


def test_a_sweep_compiles_once():
    traces = []

    @jax.jit
    def count(env):
        traces.append(env)
        return env.step(None, CartPoleState(*jnp.zeros(4)), 1)

    for gravity in (1.6, 9.8, 24.8):
        count(CartPole(gravity=gravity))
    assert len(traces) == 1


positive = st.floats(1e-3, 1e3)


@given(
    start=st.tuples(st.floats(-2.4, 2.4), st.floats(-1e3, 1e3), st.floats(-1.5, 1.5), st.floats(-1e3, 1e3)),
    action=st.integers(-(2**31), 2**31 - 1),
    physics=st.fixed_dictionaries(
        {name: positive for name in ("masscart", "masspole", "length", "tau")}
        | {"gravity": st.floats(-1e3, 1e3), "force_mag": st.floats(-1e4, 1e4)}
    ),
)
def test_never_a_nan(start, action, physics):
    state, outcome = step(CartPole(**physics), CartPoleState(*map(jnp.float32, start)), action)
    assert np.isfinite(np.array(state)).all()
    assert float(outcome.reward) == 1


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0])
def test_wrong_physics_are_refused(name, value):
    if name in ("gravity", "force_mag") and np.isfinite(value):
        CartPole(**{name: value})
    else:
        with pytest.raises(ValueError, match=f"{name} is {value!r}; allowed: a finite"):
            CartPole(**{name: value})
