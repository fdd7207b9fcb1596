"""Common parts of MinAtar's games: a board of 10 by 10 cells, and six actions."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import SWITCH, check_numbers, refusal, shown, whole
from purerl.envs import drawing
from purerl.pytree import Node, static

SIZE = 10
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


def expand(words: jax.Array) -> jax.Array:
    """The observation of planes packed into words, bool ``[10, 10, C]``.

    The planes are words of 25 cells, uint32 ``[4, C]``, of 20, ``[5, C]``, or of 10.
    XLA moves everything computed from an ``arange`` alone out of a loop, and keeps it
    as an array. So shift amounts are a bare ``arange`` here, and a word's cells times
    ``C`` channels are one block of bit tests.
    """
    cells = SIZE * SIZE // words.shape[0]
    bits = words[:, None, :] >> jnp.arange(cells, dtype=jnp.uint32)[:, None] & 1
    return (bits == 1).reshape(SIZE, SIZE, words.shape[-1])


class MinAtar(Node):
    """A game of MinAtar, exactly as in version 1.0.15, without sticky actions.

    Young & Tian, "MinAtar: An Atari-inspired testbed for thorough and reproducible
    reinforcement learning experiments" (2019). Sticky actions are the wrapper
    :class:`~purerl.envs.wrappers.StickyActions`, which :func:`purerl.make` puts around
    it.

    Boards are kept as bits of ``uint32`` words, and objects as single numbers, so that
    a step is arithmetic without arrays.

    Attributes:
        actions: the meanings of actions ``0, 1, ...``: 0 nothing, 1 left, 2 up, 3
            right, 4 down, 5 fire. Static. ``MINIMAL`` has those with an effect in the
            game.
    """

    CHANNELS: ClassVar[tuple[str, ...]]
    COLORS: ClassVar[tuple[drawing.Color, ...]]  # of the channels
    MINIMAL: ClassVar[tuple[int, ...]]

    actions: tuple[int, ...] = static(default=tuple(range(6)), kw_only=True)

    def __post_init__(self):
        actions = self.actions if isinstance(self.actions, tuple) else ()
        numbers = tuple(map(whole, actions))
        if not numbers or not all(number in range(6) for number in numbers):
            allowed = "a tuple of numbers from 0 to 5"
            raise refusal(type(self).__name__, "actions", shown(self.actions), allowed)
        object.__setattr__(self, "actions", numbers)

    @property
    def num_actions(self) -> int:
        return len(self.actions)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((SIZE, SIZE, len(self.CHANNELS)), jnp.bool_)

    def meaning(self, action: jax.Array) -> jax.Array:
        """The meaning of an action: one of the six of MinAtar, int32 ``[]``.

        The table is a number whose base-8 digits are read by a shift.
        """
        table = sum(meaning << 3 * i for i, meaning in enumerate(self.actions))
        return jnp.right_shift(jnp.int32(table), 3 * jnp.asarray(action, jnp.int32)) & 7

    def observe(self, state: Any) -> jax.Array:
        raise NotImplementedError

    def render(self, state: Any) -> np.ndarray:
        """The board; a later channel is drawn over an earlier one."""
        seen = np.asarray(jax.jit(type(self).observe)(self, state))
        colors = np.full((SIZE, SIZE, 3), drawing.BLACK, np.uint8)
        for channel, color in enumerate(self.COLORS):
            colors[seen[..., channel]] = color
        return drawing.cells(colors, size=24)


class RampingMinAtar(MinAtar):
    """A game that becomes harder as it goes on.

    Attributes:
        ramping: whether it does so. bool.
    """

    ramping: bool | jax.Array = True

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ramping=SWITCH)
