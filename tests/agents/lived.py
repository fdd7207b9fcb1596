"""What an agent went through, written down as it happened."""

import jax
import jax.numpy as jnp
import numpy as np

import purerl.random
from purerl import rollout
from purerl.envs import interact
from tests import quick


def lived(monkeypatch, agent, num_steps, seed=0):
    """The transitions, and the states after each of them, leaves
    ``[num_steps, ...]`` of NumPy."""
    seen = []

    def recorded(*args):
        state, transition = interact(*args)
        seen.append(transition)
        return state, transition

    def step(state, t):
        seen.clear()
        state, _ = agent.step(state, t)
        (transition,) = seen  # of this very step, as it is traced
        return state, (transition, state._replace(key=()))

    with monkeypatch.context() as patch:
        patch.setattr(rollout, "interact", recorded)
        start = quick.jit(agent.init)(purerl.random.key(seed, "pcg4d"))
        run = quick.jit(
            lambda state: jax.lax.scan(step, state, jnp.arange(num_steps, dtype=jnp.int32))[1]
        )
        transitions, states = jax.tree.map(np.asarray, run(start))
    leaves, treedef = jax.tree.flatten(transitions)
    experience = [treedef.unflatten(leaf) for leaf in zip(*leaves, strict=True)]
    return experience, states, start.key
