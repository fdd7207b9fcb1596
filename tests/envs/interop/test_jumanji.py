"""jumanji: with the same keys, its environments here do what they do at home."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl.envs import TimeLimit, interact
from purerl.run import plain

jumanji = pytest.importorskip("jumanji")

from purerl.envs.interop import from_jumanji  # noqa: E402
from tests import quick  # noqa: E402


@pytest.mark.parametrize(
    ("name", "view", "limit"), [("Snake-v1", "grid", 4000), ("SlidingTilePuzzle-v0", "puzzle", 40)]
)
def test_steps_are_jumanjis(name, view, limit):
    """With actions drawn at random, episode after episode; a reset is jumanji's with
    ``interact``'s own reset key."""
    env, theirs = from_jumanji(name, view, time_limit=limit), jumanji.make(name, time_limit=limit)

    @quick.optimizing_jit
    def run(key):
        def body(carry, key):
            mine, state, shown = carry
            action = jax.random.randint(key, (), 0, env.num_actions)
            mine, transition = interact(env, key, mine, action)
            reached, timestep = theirs.step(state, action)
            state, fresh = jax.tree.map(
                lambda new, old: jnp.where(timestep.last(), new, old),
                theirs.reset(jax.random.split(key)[1]),
                (reached, timestep),
            )
            same = (
                jnp.array_equal(transition.observation, shown)
                & jnp.array_equal(transition.next_observation, getattr(timestep.observation, view))
                & (transition.reward == timestep.reward)
                & ((transition.terminated | transition.truncated) == timestep.last())
            )
            return (mine, state, getattr(fresh.observation, view)), (
                same,
                transition.terminated,
                transition.truncated,
            )

        state, timestep = theirs.reset(key)
        start = env.reset(key), state, getattr(timestep.observation, view)
        return jax.lax.scan(body, start, jax.random.split(key, 2000))[1]

    same, terminated, truncated = run(purerl.random.key(0, "pcg4d"))
    assert same.all() and terminated.sum() > 20
    assert not truncated.any()  # jumanji's own limits say that the episode terminated


def test_a_time_limit_of_purerls_truncates():
    env = TimeLimit(from_jumanji("SlidingTilePuzzle-v0", "puzzle", time_limit=10**6), 5)
    step = quick.optimizing_jit(env.step)
    state = env.reset(purerl.random.key(0))
    for t in range(5):
        state, outcome = step(None, state, t % 4)
    assert outcome.truncated and not outcome.terminated


def test_actions_of_several_parts_are_numbered():
    env, theirs = from_jumanji("RubiksCube-v0", "cube"), jumanji.make("RubiksCube-v0")
    assert env.num_actions == 18 and theirs.action_spec.num_values.tolist() == [6, 1, 3]
    state = quick.optimizing_jit(env.reset)(purerl.random.key(0))
    ours = quick.optimizing_jit(
        jax.vmap(lambda action: env.observe(env.step(None, state, action)[0]))
    )(jnp.arange(18))
    parts = jnp.array([(face, 0, turn) for face in range(6) for turn in range(3)])
    there = quick.optimizing_jit(
        jax.vmap(lambda action: theirs.step(state.inner, action)[1].observation.cube)
    )(parts)
    np.testing.assert_array_equal(ours, there)
    assert len({cube.tobytes() for cube in np.asarray(ours)}) == 18


def test_contract_and_records():
    env = from_jumanji("Snake-v1", "grid", num_rows=6, num_cols=6)
    state = env.reset(purerl.random.key(0))
    reached, outcome = env.step(None, state, 1)
    assert jax.tree.map(jax.typeof, jax.tree.leaves(state)) == jax.tree.map(
        jax.typeof, jax.tree.leaves(reached)
    )
    assert (
        jax.eval_shape(env.observe, reached)
        == env.observation
        == jax.ShapeDtypeStruct((6, 6, 5), jnp.float32)
    )
    assert [x.dtype for x in outcome[:3]] == [jnp.float32, jnp.bool_, jnp.bool_]
    assert env.render(reached).dtype == np.uint8
    arrays = {}
    assert plain.decode(plain.encode(env, arrays), arrays) == env


@pytest.mark.slow
def test_dqn_trains_on_it():
    env = TimeLimit(
        from_jumanji("Snake-v1", lambda shown: shown.grid[..., 0], num_rows=6, num_cols=6), 50
    )
    agent = purerl.DQN(
        env=env,
        network=purerl.networks.MLP((8,)),
        batch_size=16,
        replay=purerl.replay.Uniform(500),
        learning_starts=100,
    )
    state, curves = quick.optimizing_jit(lambda key: purerl.train(agent, key, 400, points=4))(
        purerl.random.key(0, "pcg4d")
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert np.isfinite(curves["episode_return"]).any()


@pytest.mark.parametrize(
    ("name", "view", "message"),
    [
        (
            "RobotWarehouse-v0",
            "image",
            "view is 'image'; allowed: agents_view, action_mask, step_count or a function",
        ),
        ("Connector-v3", "grid", "allowed: fewer than .* discrete actions and a single reward"),
        ("JobShop-v0", "ops_mask", "allowed: fewer than .* discrete actions and a single reward"),
        ("PacMan-v1", "player_locations", "which is no array"),
    ],
)
def test_what_does_not_fit_is_refused(name, view, message):
    with pytest.raises(ValueError, match=message):
        from_jumanji(name, view)
