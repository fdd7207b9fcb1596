"""navix: its environments here do what they do at home, and its two ways of ending are
kept apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl.envs import interact
from purerl.run import plain

navix = pytest.importorskip("navix")

from purerl.envs.interop import from_navix  # noqa: E402
from tests import quick  # noqa: E402

NAME = "Navix-Empty-Random-5x5-v0"


def test_steps_are_navixs():
    """Within an episode what navix's own ``step`` does; after one, its reset with the
    key of ``interact``."""
    env, theirs = from_navix(NAME, max_steps=15), navix.make(NAME, max_steps=15)

    @quick.optimizing_jit
    def run(key):
        def body(carry, key):
            mine, timestep = carry
            action = jax.random.randint(key, (), 0, env.num_actions)
            mine, transition = interact(env, key, mine, action)
            reached = theirs.step(timestep, action)
            ends = reached.step_type
            same = (
                jnp.array_equal(transition.observation, timestep.observation)
                & jnp.array_equal(transition.next_observation, reached.observation)
                & (transition.reward == reached.reward)
                & (transition.terminated == (ends == 2))
                & (transition.truncated == (ends == 1))
            )
            fresh = theirs.reset(jax.random.split(key)[1])
            leaves = [
                jnp.where(ends > 0, new, old)
                for new, old in zip(*map(jax.tree.leaves, (fresh, reached)), strict=True)
            ]
            return (mine, jax.tree.unflatten(jax.tree.structure(reached), leaves)), (same, ends)

        return jax.lax.scan(body, (env.reset(key), env.reset(key)), jax.random.split(key, 2000))[1]

    same, ends = run(purerl.random.key(0, "pcg4d"))
    assert same.all() and (ends == 1).sum() > 50 and (ends == 2).sum() > 10


def test_contract_records_and_picture():
    env = from_navix(NAME, max_steps=15)
    state = env.reset(purerl.random.key(0))
    reached, outcome = env.step(None, state, 1)
    types = [
        [jax.typeof(x) for x in jax.tree.leaves(s)]
        for s in (state, reached, env.restart(purerl.random.key(2), reached))
    ]
    assert types[0] == types[1] == types[2]
    assert (
        jax.eval_shape(env.observe, reached)
        == env.observation
        == jax.ShapeDtypeStruct((5, 5, 3), jnp.uint8)
    )
    assert [x.dtype for x in outcome[:3]] == [jnp.float32, jnp.bool_, jnp.bool_]
    picture = env.render(reached)
    assert (
        picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[-1] == 3
        and picture.std() > 0
    )
    assert jax.tree.structure(env) == jax.tree.structure(from_navix(NAME, max_steps=15))
    arrays = {}
    assert plain.decode(plain.encode(env, arrays), arrays) == env


@pytest.mark.slow
def test_dqn_trains_on_it():
    env = from_navix(NAME, max_steps=15)
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
