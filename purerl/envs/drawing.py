"""Pictures of states: colored cells and convex shapes, as NumPy arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

Color = tuple[int, int, int]

# A convex polygon: its corners in order, float [N, 2] as (x, y), and its color.
Shape = tuple[np.ndarray, Color]

# Easy to tell apart, also with color-blind eyes (after Okabe & Ito, 2008).
BLACK: Color = (38, 38, 38)
WHITE: Color = (255, 255, 255)
GRAY: Color = (140, 140, 140)
PALE: Color = (236, 236, 236)
BLUE: Color = (0, 114, 178)
ORANGE: Color = (230, 159, 0)
GREEN: Color = (0, 158, 115)
RED: Color = (213, 94, 0)
PINK: Color = (204, 121, 167)
SKY: Color = (86, 180, 233)
YELLOW: Color = (240, 228, 66)
BROWN: Color = (133, 92, 60)

# Characters of three by five dots, row by row; < and > are arrowheads.
_DOTS = {
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# ### ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# ..# ..#",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
    "-": "... ... ### ... ...",
    ".": "... ... ... ... .#.",
    "?": "### ..# .## ... .#.",
    "<": "..# .## ### .## ..#",
    ">": "#.. ##. ### ##. #..",
}


def cells(colors: ArrayLike, size: int = 16) -> np.ndarray:
    """Squares of ``size`` pixels.

    From 8 pixels on, the last row and column of each square are a little darker, so
    that neighboring cells can be told apart.

    Args:
        colors: uint8 ``[rows, columns, 3]``.
        size: pixels along a side of a cell.

    >>> cells([[BLUE, WHITE]], size=4).shape
    (4, 8, 3)
    """
    picture = np.asarray(colors, np.uint8).repeat(size, 0).repeat(size, 1)
    if size >= 8:
        picture[size - 1 :: size] = picture[size - 1 :: size] // 8 * 7
        picture[:, size - 1 :: size] = picture[:, size - 1 :: size] // 8 * 7
    return picture


def text(rows: Sequence[str], agent: tuple[int, int]) -> str:
    """The map, one line per row, with ``@`` for the agent at (row, column).

    >>> print(text(["S.", "#G"], (0, 1)))
    S@
    #G
    """
    row, column = agent
    return "\n".join(
        line[:column] + "@" + line[column + 1 :] if i == row else line
        for i, line in enumerate(rows)
    )


def paint(colors: np.ndarray, agent: tuple[int, int]) -> np.ndarray:
    """Cells of these colors, with a blue disc for the agent at (row, column).

    Returns:
        uint8 ``[32 rows, 32 columns, 3]``.
    """
    size = 32
    picture = cells(colors, size)
    figure = disc(0, 0, 0.34, BLUE)
    red, green, blue = colors[agent]
    tile = draw([figure], -0.5, 0.5, -0.5, 0.5, width=size - 1, background=(red, green, blue))
    top, left = size * agent[0], size * agent[1]
    picture[top : top + size - 1, left : left + size - 1] = tile
    return picture


def number(value: float) -> str:
    """A number to two decimal places, without zeros at their end.

    >>> number(-0.5), number(3000.0), number(-0.001)
    ('-0.5', '3000', '0')
    """
    return f"{value:z.2f}".rstrip("0").rstrip(".")


def write(
    picture: np.ndarray,
    characters: str,
    row: int,
    column: int,
    color: Color = BLACK,
    size: int = 2,
) -> None:
    """Write digits and some signs, ``-.?<>``, into a picture, centered at a pixel.

    Args:
        picture: uint8 ``[height, width, 3]``, in which all of them must lie.
        characters: ``N`` of them take ``[5 * size, (4 * N - 1) * size]`` pixels.
        row, column: the center.
        color: of the ink.
        size: pixels along a side of a dot, of which a character has three by five.
    """
    if not characters:
        return
    rows = [".".join(lines) for lines in zip(*(_DOTS[c].split() for c in characters), strict=True)]
    dots = np.array([list(line) for line in rows]) == "#"
    inked = dots.repeat(size, axis=0).repeat(size, axis=1)
    top = row - len(inked) // 2
    left = column - inked.shape[1] // 2
    picture[top : top + len(inked), left : left + inked.shape[1]][inked] = color


def shades(values: ArrayLike) -> np.ndarray:
    """Finite numbers as colors from dark (the least) to bright (the largest).

    A number or a vector is one row; further axes than two are laid out side by side.

    Returns:
        uint8 ``[rows, columns, 3]``.

    >>> shades([0, 1, 0.5]).tolist()
    [[[24, 36, 64], [250, 236, 170], [137, 136, 117]]]
    """
    values = np.atleast_2d(np.asarray(values, float))
    values = np.concatenate(np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0), axis=1)
    span = values.max() - values.min()
    level = (values - values.min()) / span if span > 0 else np.zeros_like(values)
    dark = np.array([24, 36, 64])
    bright = np.array([250, 236, 170])
    return np.round(dark + level[..., None] * (bright - dark)).astype(np.uint8)


def box(x: float, y: float, width: float, height: float, color: Color) -> Shape:
    """A rectangle with horizontal and vertical sides, by its center."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.array([x, y]) + corners * [width / 2, height / 2], color


def disc(x: float, y: float, radius: float, color: Color) -> Shape:
    """A disc, as a polygon of 24 corners."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.array([x, y]) + radius * np.stack([np.cos(angle), np.sin(angle)], -1), color


def line(start: ArrayLike, end: ArrayLike, width: float, color: Color) -> Shape:
    """A bar from one point to another; empty if they coincide."""
    start = np.asarray(start, float)
    end = np.asarray(end, float)
    ahead = (end - start) / max(np.hypot(*(end - start)), 1e-12)
    aside = width / 2 * np.array([-ahead[1], ahead[0]])
    return np.stack([start - aside, end - aside, end + aside, start + aside]), color


def draw(
    shapes: Sequence[Shape],
    left: float,
    right: float,
    bottom: float,
    top: float,
    width: int = 240,
    background: Color = WHITE,
) -> np.ndarray:
    """Shapes painted over one another in order, the last one on top.

    The window shows x from ``left`` to ``right`` and y, upwards, from ``bottom`` to
    ``top``. How much of a pixel a shape covers follows from the distance of the pixel's
    center to the nearest edge: nothing from half a pixel outside, everything from half
    a pixel inside. So edges between pixels are exact, other edges are smooth, and thin
    lines stay visible. A shape without area, or with a corner that is not finite, is
    left out.

    Args:
        shapes: convex, with corners in either sense of rotation.
        left, right, bottom, top: the window.
        width: of the picture, in pixels; its height follows from the window's.
        background: color where there is no shape.

    Returns:
        uint8 ``[height, width, 3]``.

    Example:
        Red values, which are 0 in blue and 255 in white:

        >>> draw([box(0, 0.5, 1, 1, BLUE)], -1, 1, -1, 1, width=4)[:, :, 0]
        array([[255,   0,   0, 255],
               [255,   0,   0, 255],
               [255, 255, 255, 255],
               [255, 255, 255, 255]], dtype=uint8)
    """
    scale = width / (right - left)
    picture = np.full((round((top - bottom) * scale), width, 3), background, float)
    for corners, color in shapes:
        # In pixels from the upper left corner, y downwards.
        corners = (np.asarray(corners) - [left, top]) * [scale, -scale]
        if not np.isfinite(corners).all():
            continue
        edges = np.roll(corners, -1, axis=0) - corners
        lengths = np.hypot(*edges.T)
        area = np.linalg.det(np.stack([corners - corners[0], edges], axis=1)).sum() / 2
        if abs(area) < 1e-9:
            continue
        # One pixel more on each side for smooth edges; with more, sharp corners grow
        # spikes.
        size = [width, len(picture)]
        lowest = np.floor(corners.min(axis=0)) - 1
        highest = np.ceil(corners.max(axis=0)) + 1
        first_x, first_y = np.clip(lowest, 0, size).astype(int)
        last_x, last_y = np.clip(highest, 0, size).astype(int)
        x = np.arange(first_x, last_x) + 0.5
        y = np.arange(first_y, last_y)[:, None] + 0.5
        cover = np.ones((len(y), len(x)))
        for (corner_x, corner_y), (ahead_x, ahead_y), length in zip(
            corners, edges, lengths, strict=True
        ):
            if length > 0:
                inside = (
                    np.sign(area) * (ahead_x * (y - corner_y) - ahead_y * (x - corner_x)) / length
                )
                cover = np.minimum(cover, np.clip(inside + 0.5, 0, 1))
        part = picture[first_y:last_y, first_x:last_x]
        part += cover[..., None] * (np.array(color) - part)
    return np.round(picture).astype(np.uint8)
