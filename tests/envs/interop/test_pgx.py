"""pgx: with the same keys, its games with one player here do what they do at home."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl.envs import TimeLimit, interact
from purerl.run import plain

pgx = pytest.importorskip("pgx")

from purerl.envs.interop import from_pgx  # noqa: E402
from tests import quick  # noqa: E402


@pytest.mark.parametrize("name", ["2048", "minatar-breakout"])
def test_steps_are_pgxs(name):
    if name.startswith("minatar"):
        pytest.importorskip("pgx_minatar")
    env, theirs = from_pgx(name), pgx.make(name)

    @quick.optimizing_jit
    def run(key):
        def body(carry, key):
            mine, state = carry
            action = jax.random.randint(key, (), 0, env.num_actions)
            mine, transition = interact(env, key, mine, action)
            step_key, reset_key = jax.random.split(key)
            reached = theirs.step(state, action, step_key)
            same = (
                jnp.array_equal(transition.observation, state.observation)
                & jnp.array_equal(transition.next_observation, reached.observation)
                & (transition.reward == reached.rewards[0])
                & (transition.terminated == reached.terminated)
                & ~transition.truncated
            )
            ends = reached.terminated
            state = jax.tree.map(
                lambda new, old: jnp.where(ends, new, old), theirs.init(reset_key), reached
            )
            return (mine, state), (same, ends, transition.reward)

        return jax.lax.scan(body, (env.reset(key), theirs.init(key)), jax.random.split(key, 2000))[
            1
        ]

    same, ends, rewards = run(purerl.random.key(0, "pcg4d"))
    assert same.all() and ends.sum() > 20 and (rewards > 0).sum() > 20
    if name == "2048":
        assert ((rewards == -1) & ends).any()  # an illegal action


def test_contract_and_records():
    env = from_pgx("2048")
    state = env.reset(purerl.random.key(0))
    reached, outcome = env.step(purerl.random.key(1), state, 1)
    assert jax.tree.map(jax.typeof, jax.tree.leaves(state)) == jax.tree.map(
        jax.typeof, jax.tree.leaves(reached)
    )
    assert (
        jax.eval_shape(env.observe, reached)
        == env.observation
        == jax.ShapeDtypeStruct((4, 4, 31), jnp.bool_)
    )
    assert [x.dtype for x in outcome[:3]] == [jnp.float32, jnp.bool_, jnp.bool_]
    assert env.num_actions == 4 and env.render(reached).dtype == np.uint8
    arrays = {}
    assert plain.decode(plain.encode(env, arrays), arrays) == env


@pytest.mark.slow
def test_dqn_trains_on_it():
    agent = purerl.DQN(
        env=TimeLimit(from_pgx("2048"), 50),
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


def test_games_of_more_players_are_refused():
    with pytest.raises(ValueError, match="go_9x9 has 2 players; allowed: one"):
        from_pgx("go_9x9")
    with pytest.raises(ValueError, match="Wrong env_id 'Go' is passed"):
        from_pgx("Go")
