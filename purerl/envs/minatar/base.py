"""Common parts of MinAtar's games: a board of 10 by 10 cells, and six actions."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import SWITCH, check_numbers, refusal, shown, whole
from purerl.envs import drawing
from purerl.pytree import Node, static

SIZE = 10
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


# The row and the column of each cell of a plane, [10, 10].
CELL_ROW, CELL_COLUMN = np.indices((SIZE, SIZE))
NEVER = -1


class Bits(NamedTuple):
    """A condition: some bits of a word are a certain number.

    An array has an entry for each cell of a plane.

    Attributes:
        word: the number of the word.
        first: the lowest of the bits; not read where ``value`` is :data:`NEVER`.
        width: how many they are.
        value: the number, or :data:`NEVER` where the condition does not hold.
    """

    word: int | np.ndarray
    first: int | np.ndarray
    width: int
    value: int | np.ndarray


class Stencil(NamedTuple):
    """The cells of a board as bits of a few words.

    The board is one expression over all cells in the order of memory, of constants and
    of numbers that are the same for all. Whatever reads it (a matrix product, a buffer,
    a sum), XLA makes it one loop without branches, of vector instructions.

    Attributes:
        masks: the bits that each cell reads from each word, uint32 ``[K, 10, 10, C]``.
        values: what these bits are where a cell is set, uint32 ``[10, 10, C]``.
    """

    masks: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, *channels: Sequence[Bits]) -> Self:
        """The stencil of channels, each with the conditions that must hold together.

        Those of a cell must not read the same places of two words. A channel without
        conditions is empty.
        """
        count = 1 + max(np.max(bits.word) for channel in channels for bits in channel)
        masks = np.zeros((count, SIZE, SIZE, len(channels)), np.uint32)
        values = np.zeros((SIZE, SIZE, len(channels)), np.uint32)
        for i, channel in enumerate(channels):
            possible = np.full((SIZE, SIZE), len(channel) > 0)
            for word, first, width, value in channel:
                possible &= np.not_equal(value, NEVER)
                first = np.where(possible, first, 0)
                masks[word, CELL_ROW, CELL_COLUMN, i] |= np.uint32((1 << width) - 1 << first)
                values[..., i] |= np.uint32(np.where(possible, value, 0) << first)
            masks[:, ~possible, i] = 0
            values[~possible, i] = 1
        return cls(masks, values)

    def board(self, *words: jax.Array) -> jax.Array:
        """The board, bool ``[10, 10, C]``.

        Args:
            *words: uint32 ``[]``, or ``[cells]`` where each cell has its own.
        """
        bits = jnp.uint32(0)
        for mask, word in zip(self.masks, words, strict=True):
            bits = bits | word & mask.reshape(-1)
        return (bits == self.values.reshape(-1)).reshape(self.values.shape)


def pack(width: int, *numbers: jax.Array) -> jax.Array:
    """A word with these numbers of ``width`` bits, the first one lowest, uint32.

    The last one may be wider.
    """
    word = jnp.uint32(0)
    for i, number in enumerate(numbers):
        word = word | number.astype(jnp.uint32) << width * i
    return word


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
