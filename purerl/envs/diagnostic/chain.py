"""Finite environments whose states lie in a row, or are seen by their features."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import Rule
from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment

WHOLE: Rule = (
    "a whole number of at least 1",
    lambda x: np.issubdtype(x.dtype, np.integer) & (x >= 1),
)
LONGEST_ROW = 40  # states that are drawn in one row


class Chain(FiniteEnvironment):
    """A finite environment drawn as a row of states: the present one blue, those where episodes end gray."""

    def render(self, state):
        if self.num_states > LONGEST_ROW:
            return super().render(state)
        mdp = jax.tree.map(np.asarray, self.mdp)
        goes_on = mdp.initial > 0
        goes_on[mdp.next_state[(mdp.probability > 0) & ~mdp.terminated]] = True
        colors = np.where(goes_on[:, None], drawing.PALE, drawing.GRAY)
        colors[int(state)] = drawing.BLUE
        return drawing.cells(colors[None], 24)


class Featured(Chain):
    """A finite environment that observes features of its states, as linear function approximation wants them.

    The state is still the index in :attr:`mdp`; ``FiniteEnvironment.of(env.mdp)`` is the same problem, observed by index.

    Attributes:
        features: ``x(s)``, float32 ``[S, d]``, the rows of which are the observations.
    """

    features: jax.Array

    @property
    def observation(self):
        return jax.ShapeDtypeStruct(self.features.shape[-1:], jnp.float32)

    def observe(self, state):
        return self.features.at[state].get(mode="promise_in_bounds")
