"""The 10-armed testbed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl.envs import interact
from purerl.envs.diagnostic import Testbed

KEYS = jax.random.split(purerl.random.key(0, "pcg4d"), 4_000)


def test_rewards_and_means_have_their_laws():
    """Five standard errors around mean and variance of the means, and of the noise."""
    env = Testbed(mean=4.0, spread=0.5)
    states = jax.vmap(env.reset)(KEYS)
    reached, outcome = jax.vmap(env.step, (0, 0, None))(KEYS, states, 3)
    means, noise = np.asarray(states.means), np.asarray(outcome.reward - states.means[:, 3])
    assert (
        abs(means.mean() - 4) < 5 * 0.5 / np.sqrt(means.size) and abs(means.std() / 0.5 - 1) < 0.02
    )
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size) and abs(noise.std() - 1) < 0.06
    np.testing.assert_array_equal(reached.means, means)
    best = means[:, 3] == means.max(axis=1)
    np.testing.assert_array_equal(outcome.metrics["optimal_action"].total, best)
    np.testing.assert_array_equal(outcome.metrics["reward"].total, outcome.reward)
    assert (
        abs(best.mean() - 0.1) < 0.03
        and not outcome.terminated.any()
        and not outcome.truncated.any()
    )


def test_means_walk():
    env = Testbed(spread=0.0, walk=0.1)
    states, _ = jax.vmap(lambda key: interact(env, key, env.reset(key), jnp.int32(0)))(KEYS)
    means = np.asarray(states.means)
    assert abs(means.std() / 0.1 - 1) < 0.02 and abs(means.mean()) < 0.01


def test_it_observes_its_only_state_and_is_drawn():
    env = purerl.make("Testbed-v0", arms=5)
    state = env.reset(KEYS[0])
    assert env.observe(state) == 0 and env.num_states == 1 and env.num_actions == 5
    picture = env.render(state)
    assert (
        picture.dtype == np.uint8 and (picture != env.render(env.step(KEYS[1], state, 2)[0])).any()
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"arms": 0}, "arms is 0; allowed: a positive"),
        ({"spread": -1.0}, "spread is -1.0"),
        ({"walk": -1.0}, "walk"),
    ],
)
def test_bad_input_is_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        Testbed(**fields)
