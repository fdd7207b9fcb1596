"""What an agent went through, written down as it happened."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

import purerl.random
from purerl import rollout
from purerl.envs import interact


def lived(monkeypatch, agent, num_steps, seed=0):
    """The transitions, and the states after each of them, leaves
    ``[num_steps, ...]`` of NumPy."""
    experience = []

    def recorded(*args):
        state, transition = interact(*args)
        io_callback(
            lambda x: experience.append(jax.tree.map(np.asarray, x)), None, transition, ordered=True
        )
        return state, transition

    def step(state, t):
        state, _ = agent.step(state, t)
        return state, state._replace(key=())

    with monkeypatch.context() as patch:
        patch.setattr(rollout, "interact", recorded)
        start = agent.init(purerl.random.key(seed, "pcg4d"))
        run = jax.jit(
            lambda state: jax.lax.scan(step, state, jnp.arange(num_steps, dtype=jnp.int32))[1]
        )
        states = jax.tree.map(np.asarray, run(start))
        jax.effects_barrier()
    assert len(experience) == num_steps
    return experience, states, start.key
