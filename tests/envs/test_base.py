"""Time limits, one-hot observations and the one place that resets, seen through
environments whose every step is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl.random
from purerl.envs import (
    OneHot,
    Outcome,
    TimeLimit,
    cliff_walking,
    frozen_lake,
    gridworld,
    interact,
    make,
)
from purerl.pytree import Node
from tests import quick


class Corridor(Node):
    """Walk right from a random one of cells 0 to 2; cell ``length`` is terminal. The
    reward is the cell reached."""

    length: int

    num_actions = 2
    observation = jax.ShapeDtypeStruct((), jnp.int32)

    def reset(self, key):
        return jax.random.randint(key, (), 0, 3)

    def step(self, key, state, action):
        del key
        state = state + action
        return state, Outcome(state.astype(jnp.float32), state >= self.length, jnp.bool_(False))

    def observe(self, state):
        return state


def walk(env, key, num_steps, action=1):
    """The transitions of a walk with resets, leaves [T], and the state after each."""

    def step(state, t):
        state, transition = interact(env, jax.random.fold_in(key, t), state, jnp.int32(action))
        return state, (transition, state)

    return quick.optimizing_jit(
        lambda: jax.lax.scan(step, env.reset(key), jnp.arange(num_steps))
    )()[1]


def test_the_next_observation_is_the_one_reached_and_only_the_state_is_reset():
    transition, after = walk(Corridor(5), purerl.random.key(0), 200)
    np.testing.assert_array_equal(transition.next_observation, transition.observation + 1)
    np.testing.assert_array_equal(transition.reward, transition.next_observation)
    np.testing.assert_array_equal(transition.terminated, transition.next_observation == 5)
    assert not transition.truncated.any()
    ended = np.asarray(transition.terminated)
    np.testing.assert_array_equal(
        np.asarray(after)[~ended], np.asarray(transition.next_observation)[~ended]
    )
    assert set(np.asarray(after)[ended].tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(transition.observation[1:], after[:-1])


def test_a_time_limit_truncates_and_starts_to_count_again():
    transition, after = walk(TimeLimit(Corridor(1000), 7), purerl.random.key(0), 70)
    np.testing.assert_array_equal(transition.truncated, np.arange(1, 71) % 7 == 0)
    assert not transition.terminated.any()
    np.testing.assert_array_equal(after.elapsed, np.arange(1, 71) % 7)
    np.testing.assert_array_equal(
        transition.next_observation, transition.observation + 1
    )  # through truncation too


@pytest.mark.parametrize(
    ("limit", "ends"), [(4, (False, True)), (5, (True, False)), (6, (True, False))]
)
def test_terminated_beats_truncated_at_the_limit(limit, ends):
    env = TimeLimit(Corridor(5), limit)
    state = env.reset(purerl.random.key(0))._replace(inner=jnp.int32(0))
    for _ in range(min(limit, 5)):
        state, outcome = env.step(None, state, 1)
    assert (bool(outcome.terminated), bool(outcome.truncated)) == ends


@pytest.mark.parametrize(("inner", "outer"), [(3, 8), (8, 3), (3, 3)])
def test_time_limits_nest(inner, outer):
    env = TimeLimit(TimeLimit(Corridor(1000), inner), outer)
    transition, _ = walk(env, purerl.random.key(0), 24)
    np.testing.assert_array_equal(transition.truncated, np.arange(1, 25) % min(inner, outer) == 0)


def test_the_limit_is_a_leaf():
    def lengths(limit):
        return walk(TimeLimit(Corridor(1000), limit), purerl.random.key(0), 12)[0].truncated.sum()

    np.testing.assert_array_equal(jax.vmap(lengths)(jnp.array([1, 3, 5, 13])), [12, 4, 2, 0])


def test_one_hot():
    env = OneHot(TimeLimit(cliff_walking(), 10), 48)
    state = env.reset(purerl.random.key(0))
    seen = env.observe(state)
    assert (
        env.observation
        == jax.ShapeDtypeStruct((48,), jnp.float32)
        == jax.eval_shape(env.observe, state)
    )
    assert (int(seen.argmax()), float(seen.sum())) == (36, 1.0)
    state, _ = env.step(None, state, 0)
    assert int(env.observe(state).argmax()) == 24
    assert env.num_actions == 4


def test_wrappers_show_the_model():
    lake = frozen_lake()
    assert OneHot(TimeLimit(lake, 3), 16).mdp is lake.mdp
    with pytest.raises(AttributeError):
        _ = TimeLimit(Corridor(3), 3).mdp


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1"])
@pytest.mark.parametrize("impl", ["threefry", "pcg4d"])
def test_interact_compiles_once_and_repeats_itself(name, impl):
    """In scan under vmap under jit, one trace for other keys, and the same bits for the
    same keys."""
    env, traces = make(name), []

    @quick.optimizing_jit
    def run(keys):
        traces.append(name)

        def one(key):
            def step(state, t):
                action_key, env_key = jax.random.split(jax.random.fold_in(key, t))
                action = jax.random.randint(action_key, (), 0, env.num_actions)
                return interact(env, env_key, state, action)

            return jax.lax.scan(step, env.reset(key), jnp.arange(150))

        return jax.vmap(one)(keys)

    keys = jax.random.split(purerl.random.key(0, impl), 8)
    first, again, other = run(keys), run(keys), run(jax.random.split(purerl.random.key(1, impl), 8))
    assert len(traces) == 1
    jax.tree.map(np.testing.assert_array_equal, first, again)
    transition = first[1]
    assert not np.array_equal(transition.observation, other[1].observation)
    done = np.asarray(transition.terminated | transition.truncated)
    assert done.any(axis=1).all()
    # Where no episode ended, the next transition goes on from where this one led. (XLA
    # may compute what is carried and what is returned in two places, and round them
    # differently.)
    reached, went_on = (
        np.asarray(transition.next_observation)[:, :-1],
        np.asarray(transition.observation)[:, 1:],
    )
    np.testing.assert_allclose(reached[~done[:, :-1]], went_on[~done[:, :-1]], rtol=0, atol=1e-6)


def test_a_key_is_used_once():
    env = TimeLimit(gridworld(["SS.G"], slip=0.5), 3)  # draws its start and each step
    keys = jax.random.split(purerl.random.key(0), 2)
    with jax.debug_key_reuse(True):
        quick.optimizing_jit(
            lambda reset_key, key: interact(env, key, env.reset(reset_key), jnp.int32(0))
        )(*keys)
