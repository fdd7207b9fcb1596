"""Maps with an agent on them, as text and in colours."""

from collections.abc import Sequence

import numpy as np

from purerl.envs import drawing
from purerl.envs.gridworld import COLOURS as OF_GRIDWORLD

SIZE = 32  # pixels along a side of a cell
COLOURS = OF_GRIDWORLD | {"K": drawing.YELLOW, "D": drawing.BROWN, "'": drawing.WHITE}


def text(rows: Sequence[str], agent: tuple[int, int]) -> str:
    """The map, a line a row, with ``@`` for the agent at (row, column).

    >>> print(text(["S.", "#G"], (0, 1)))
    S@
    #G
    """
    row, column = agent
    return "\n".join(line[:column] + "@" + line[column + 1 :] if i == row else line for i, line in enumerate(rows))


def colours(rows: Sequence[str]) -> np.ndarray:
    """Each cell's colour, uint8 ``[rows, columns, 3]``."""
    return np.array([[COLOURS[letter] for letter in row] for row in rows], np.uint8)


def paint(colours: np.ndarray, agent: tuple[int, int]) -> np.ndarray:
    """Cells of these colours with a blue disc for the agent at (row, column): uint8 ``[32 rows, 32 columns, 3]``."""
    picture = drawing.cells(colours, SIZE)
    disc = drawing.disc(0, 0, 0.34, drawing.BLUE)
    tile = drawing.draw([disc], -0.5, 0.5, -0.5, 0.5, width=SIZE - 1, background=tuple(colours[agent]))
    top, left = SIZE * agent[0], SIZE * agent[1]
    picture[top : top + SIZE - 1, left : left + SIZE - 1] = tile
    return picture
