"""What the five games of MinAtar have in common: a board of 10 by 10 cells, six actions, and a picture in bits."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import SWITCH, check_numbers
from purerl.envs import drawing
from purerl.pytree import Node, static

SIZE = 10
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


def expand(words: jax.Array) -> jax.Array:
    """The observation, bool ``[10, 10, C]``, of planes in words of 25 cells, uint32 ``[4, C]``, of 20, ``[5, C]``, or of 10.

    Written this way because XLA moves all that follows from an ``arange`` alone out of a loop and keeps it as an array: here
    only a bare one is shifted by, and a word's cells times C channels are one block of bit tests.
    """
    cells = SIZE * SIZE // words.shape[0]
    bits = words[:, None, :] >> jnp.arange(cells, dtype=jnp.uint32)[:, None] & 1
    return (bits == 1).reshape(SIZE, SIZE, words.shape[-1])


class MinAtar(Node):
    """A game of MinAtar (Young & Tian, "MinAtar: An Atari-inspired testbed for thorough and reproducible reinforcement learning
    experiments", 2019), exactly as version 1.0.15 plays it, sticky actions apart: these are the wrapper
    :class:`~purerl.envs.wrappers.StickyActions`, which :func:`purerl.make` puts around it.

    Boards are kept as bits of ``uint32`` words and objects as single numbers, so that a step is arithmetic without an array.

    Attributes:
        actions: what action ``0, 1, ...`` means, of 0 nothing, 1 left, 2 up, 3 right, 4 down, 5 fire. Static. ``MINIMAL`` has
            those that make a difference in the game.
    """

    CHANNELS: ClassVar[tuple[str, ...]]
    ColorS: ClassVar[
        tuple[drawing.Color, ...]
    ]  # of the channels; a later one is drawn over an earlier one
    MINIMAL: ClassVar[tuple[int, ...]]

    actions: tuple[int, ...] = static(default=tuple(range(6)), kw_only=True)

    def __post_init__(self):
        if not self.actions or not all(
            type(action) is int and 0 <= action < 6 for action in self.actions
        ):
            raise ValueError(
                f"{type(self).__name__}: actions is {self.actions!r}; allowed: a tuple of numbers from 0 to 5"
            )

    @property
    def num_actions(self) -> int:
        return len(self.actions)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((SIZE, SIZE, len(self.CHANNELS)), jnp.bool_)

    def meaning(self, action: jax.Array) -> jax.Array:
        """Which of the six actions an index stands for. The table is a number whose base-8 digits are looked up by a shift."""
        table = sum(meaning << 3 * i for i, meaning in enumerate(self.actions))
        return jnp.right_shift(jnp.int32(table), 3 * jnp.asarray(action, jnp.int32)) & 7

    def render(self, state) -> np.ndarray:
        seen = np.asarray(jax.jit(type(self).observe)(self, state))
        colors = np.full((SIZE, SIZE, 3), drawing.BLACK, np.uint8)
        for channel, color in enumerate(self.ColorS):
            colors[seen[..., channel]] = color
        return drawing.cells(colors, size=24)


class RampingMinAtar(MinAtar):
    """A game that becomes harder while it lasts.

    Attributes:
        ramping: whether it does. bool.
    """

    ramping: bool | jax.Array = True

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ramping=SWITCH)
