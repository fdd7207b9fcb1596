"""navix (https://github.com/epignatelli/navix), MiniGrid in JAX: its environments.

Tried with version 0.7.4.
"""

import importlib

import jax.numpy as jnp
import numpy as np

from purerl.envs.base import Outcome
from purerl.envs.interop.common import Foreign, described, strong


class Navix(Foreign):
    """A navix environment, whose state is navix's ``Timestep``.

    Make one with :func:`from_navix`.
    """

    @staticmethod
    def make(name, **settings):
        return importlib.import_module("navix").make(name, **settings)

    @property
    def num_actions(self) -> int:
        return len(self.theirs.action_set)

    def reset(self, key):
        return strong(self.theirs.reset(key))

    def restart(self, key, reached):
        # With the cache, the pictures of its tiles need not be drawn again.
        return strong(self.theirs.reset(key, reached.state.cache))

    def step(self, key, state, action):
        del key  # navix draws with the key in its own state
        # Its `step` would reset ended episodes, and under vmap compute a reset each
        # step.
        reached = strong(self.theirs._step(state, action))
        return reached, Outcome(
            jnp.float32(reached.reward), reached.is_termination(), reached.is_truncation()
        )

    def render(self, state):
        observations = importlib.import_module("navix").observations
        return np.asarray(observations.rgb(state.state))


def from_navix(name: str, **settings) -> Navix:
    """A navix environment as one of purerl.

    The time limit remains navix's own, ``max_steps``: it truncates, which navix tells
    apart from termination.

    Args:
        name: one that ``navix.make`` knows, such as ``"Navix-Empty-5x5-v0"``
            (``navix.register_env`` adds more).
        **settings: for ``navix.make``, such as ``max_steps``, or
            ``observation_fn=navix.observations.symbolic_first_person``.

    Example::

        env = from_navix("Navix-Empty-5x5-v0", max_steps=50)
    """
    made = Navix(**described(name, settings))
    _ = made.theirs  # raises an error for an unknown name or setting
    return made
