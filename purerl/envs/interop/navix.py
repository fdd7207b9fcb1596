"""navix (https://github.com/epignatelli/navix), MiniGrid in JAX: its environments here. Tried with version 0.7.4."""

import jax.numpy as jnp
import numpy as np

from purerl.envs.base import Outcome
from purerl.envs.interop.common import Foreign, described, strong


class Navix(Foreign):
    """A navix environment, whose state is navix's ``Timestep``. Make one with :func:`from_navix`."""

    @staticmethod
    def make(name, **settings):
        import navix

        return navix.make(name, **settings)

    @property
    def num_actions(self) -> int:
        return len(self.theirs.action_set)

    def reset(self, key):
        return strong(self.theirs.reset(key))

    def restart(self, key, reached):
        return strong(
            self.theirs.reset(key, reached.state.cache)
        )  # the pictures of its tiles need not be drawn again

    def step(self, key, state, action):
        del key  # what navix draws, it draws with the key in its own state
        # Not its `step`, which resets an episode that has ended, and under vmap works out a reset at every step.
        reached = strong(self.theirs._step(state, action))
        return reached, Outcome(
            jnp.float32(reached.reward), reached.is_termination(), reached.is_truncation()
        )

    def render(self, state):
        import navix

        return np.asarray(navix.observations.rgb(state.state))


def from_navix(name: str, **settings) -> Navix:
    """A navix environment as one of purerl.

    Its time limit stays navix's own, ``max_steps``: it truncates, and navix keeps that apart from termination.

    Args:
        name: one that ``navix.make`` knows, such as ``"Navix-Empty-5x5-v0"`` (``navix.register_env`` adds more).
        **settings: for ``navix.make``, such as ``max_steps``, or ``observation_fn=navix.observations.symbolic_first_person``.

    Example::

        env = from_navix("Navix-Empty-5x5-v0", max_steps=50)
    """
    made = Navix(**described(name, settings))
    _ = made.theirs  # which refuses a name or settings that it does not know
    return made
