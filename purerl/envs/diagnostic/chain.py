"""Finite environments drawn as a row of states, or observed by features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment

LONGEST_ROW = 40  # largest number of states drawn in one row
SHORTEST_ROW = 3  # cells; there is white on both sides of a shorter row
CELL = 32  # pixels
LINE = 16  # height of a line of text below the cells


class Chain(FiniteEnvironment):
    """A finite environment drawn as a row of states."""

    def render(self, state):
        """A row of numbered cells, and what each action does in them.

        The present state is blue; states in which episodes end are gray. For each
        action there are arrowheads towards the side to which it is more likely to lead
        (both, if equally likely), and below them its expected reward, green if positive
        and red if negative. Actions with the same of both are drawn once.
        """
        if self.num_states > LONGEST_ROW:
            return super().render(state)
        possible = np.asarray(self.mdp.probability) > 0
        continues = possible & ~np.asarray(self.mdp.terminated)
        occupied = np.asarray(self.mdp.initial) > 0
        occupied[np.asarray(self.mdp.next_state)[continues]] = True
        colors = np.where(occupied[:, None], drawing.PALE, drawing.GRAY)
        colors[int(state)] = drawing.BLUE
        row = drawing.cells(colors[None], CELL)
        for i, label in enumerate(self._labels()):
            ink = drawing.WHITE if i == int(state) else drawing.BLACK
            _write(row, label, i, ink)
        lines = [row, *self._lines(occupied)]
        missing = max(SHORTEST_ROW - self.num_states, 0) * CELL // 2
        return np.pad(
            np.concatenate(lines), ((0, 0), (missing, missing), (0, 0)), constant_values=255
        )

    def _labels(self):
        """Text of each cell."""
        return [f"{i}" for i in range(self.num_states)]

    def _lines(self, occupied):
        """Pictures of the arrowheads and of the rewards of each action."""
        probability = np.asarray(self.mdp.probability)
        reached = np.asarray(self.mdp.next_state)
        here = np.arange(self.num_states)[:, None, None]
        left = np.sum(probability * (reached < here), axis=-1)
        right = np.sum(probability * (reached > here), axis=-1)
        reward = np.sum(probability * np.asarray(self.mdp.reward), axis=-1)
        pointers = np.char.add(
            np.where((left > 0) & (left > right - 1e-6), "<", ""),
            np.where((right > 0) & (right > left - 1e-6), ">", ""),
        )
        pointers[~occupied] = ""
        reward[~occupied] = 0
        actions = [(tuple(pointers[:, a]), tuple(reward[:, a])) for a in range(self.num_actions)]
        for signs, rewards in dict.fromkeys(actions):
            if any(signs):
                yield _line(signs, [drawing.GRAY] * len(signs))
            if any(rewards):
                texts = [drawing.number(r) if r else "" for r in rewards]
                yield _line(texts, [drawing.GREEN if r > 0 else drawing.RED for r in rewards])


def _line(texts, inks):
    """A line of text below the cells, ``[LINE, S * CELL, 3]``."""
    picture = np.full((LINE, len(texts) * CELL, 3), drawing.WHITE, np.uint8)
    for i, (characters, ink) in enumerate(zip(texts, inks, strict=True)):
        _write(picture, characters, i, ink)
    return picture


def _write(picture, characters, i, ink):
    """Write into the middle of cell ``i`` of a row; what is too long is left out."""
    size = 2 if len(characters) <= 4 else 1
    if len(characters) <= 8:
        drawing.write(picture, characters, len(picture) // 2, CELL * i + CELL // 2, ink, size)


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

    def _labels(self):
        """The observation, if it is a single number."""
        if self.features.shape[-1] > 1:
            return super()._labels()
        return [drawing.number(x) for x in np.asarray(self.features)[:, 0].tolist()]

    def observe(self, state):
        return self.features.at[state].get(mode="promise_in_bounds")
