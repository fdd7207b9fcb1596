"""Probes: what a working agent's values must be, by exact solution, and that purerl's
agents have them."""

import jax
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp
from purerl.envs import FiniteEnvironment
from purerl.envs.diagnostic import (
    probe_action,
    probe_constant,
    probe_context,
    probe_delay,
    probe_observation,
)
from purerl.run import training
from tests import quick

DISCOUNT = 0.5
# Observations, and action values as the docstrings say them.
ANSWERS = {
    probe_constant: ([0], [[1]]),
    probe_observation: ([-1, 1], [[-1], [1]]),
    probe_delay: ([0, 1], [[DISCOUNT], [1]]),
    probe_action: ([0], [[-1, 1]]),
    probe_context: ([-1, 1], [[1, -1], [-1, 1]]),
}
PROBES = pytest.mark.parametrize("probe", ANSWERS, ids=lambda probe: probe.__name__)


def learned(agent, num_iterations):
    """The state after learning."""
    run = quick.jit(lambda key: training.segment(agent, agent.init(key), 0, num_iterations)[0])
    return run(purerl.random.key(0, "pcg4d"))


@PROBES
def test_exact_values_are_those_said(probe):
    env = probe()
    observations, q = ANSWERS[probe]
    np.testing.assert_array_equal(
        jax.vmap(env.observe)(env.states()), np.array(observations)[:, None]
    )
    np.testing.assert_array_equal(mdp.optimal_q(env.mdp, DISCOUNT), q)
    starts = [1, 0] if probe is probe_delay else np.full(env.num_states, 1 / env.num_states)
    np.testing.assert_array_equal(env.mdp.initial, starts)


@PROBES
def test_dqn_learns_them(probe):
    env = probe()
    agent = purerl.DQN(
        env=env,
        network=purerl.networks.MLP((16,)),
        learning_rate=1e-2,
        epsilon=0.5,
        discount=DISCOUNT,
        train_period=4,
        batch_size=32,
        replay=purerl.replay.Uniform(128),
        learning_starts=32,
        target_period=40,
    )
    state = learned(agent, 400)

    @quick.jit
    def values(state):
        observations = jax.vmap(env.observe)(env.states())
        return jax.vmap(agent.values, (None, 0))(agent.snapshot(state), observations)

    q = values(state)
    np.testing.assert_allclose(q, ANSWERS[probe][1], atol=0.01)


@pytest.mark.parametrize("probe", [probe_delay, probe_context], ids=lambda probe: probe.__name__)
def test_q_learning_learns_them_by_index(probe):
    agent = purerl.QLearning(
        env=FiniteEnvironment.of(probe().mdp), learning_rate=0.1, epsilon=0.5, discount=DISCOUNT
    )
    np.testing.assert_allclose(learned(agent, 1000).q, ANSWERS[probe][1], atol=0.01)


def test_bootstrapping_through_the_end_is_found_out():
    """An agent that forgets about termination, with the exact model: its values are
    those of an endless reward."""
    model = probe_constant().mdp
    forgetful = model.replace(terminated=~model.terminated)
    np.testing.assert_allclose(
        mdp.optimal_q(forgetful, DISCOUNT), [[1 / (1 - DISCOUNT)]], rtol=1e-6
    )
