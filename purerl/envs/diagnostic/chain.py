"""Finite environments drawn as a row of states, or observed by features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment

LONGEST_ROW = 40  # largest number of states drawn in one row


class Chain(FiniteEnvironment):
    """A finite environment drawn as a row of states.

    The present state is blue; states in which episodes end are gray.
    """

    def render(self, state):
        if self.num_states > LONGEST_ROW:
            return super().render(state)
        possible = np.asarray(self.mdp.probability) > 0
        continues = possible & ~np.asarray(self.mdp.terminated)
        occupied = np.asarray(self.mdp.initial) > 0
        occupied[np.asarray(self.mdp.next_state)[continues]] = True
        colors = np.where(occupied[:, None], drawing.PALE, drawing.GRAY)
        colors[int(state)] = drawing.BLUE
        return drawing.cells(colors[None], 24)


class Featured(Chain):
    """A finite environment that observes features of its states.

    They are meant for linear function approximation. The state is still the index in
    :attr:`mdp`; ``FiniteEnvironment.of(env.mdp)`` is the same problem observed by
    index.

    Attributes:
        features: ``x(s)``, float32 ``[S, d]``, whose rows are the observations.
    """

    features: jax.Array

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.features.shape[-1:], jnp.float32)

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        return jnp.min(self.features, axis=0), jnp.max(self.features, axis=0)

    def observe(self, state):
        return self.features.at[state].get(mode="promise_in_bounds")
