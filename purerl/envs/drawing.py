"""Pictures of states: colored cells and convex shapes, as arrays uint8 ``[H, W, 3]``. NumPy, and nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# Readable beside each other, also for color-blind eyes (after Okabe & Ito, 2008).
BLACK, WHITE, GRAY, PALE = (38, 38, 38), (255, 255, 255), (140, 140, 140), (236, 236, 236)
BLUE, ORANGE, GREEN, RED = (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0)
PINK, SKY, YELLOW, BROWN = (204, 121, 167), (86, 180, 233), (240, 228, 66), (133, 92, 60)

Color = tuple[int, int, int]
Shape = tuple[
    np.ndarray, Color
]  # the corners of a convex polygon in order, float [N, 2] as (x, y), and what fills it


def cells(colors: ArrayLike, size: int = 16) -> np.ndarray:
    """Squares of ``size`` pixels; from 8 pixels on, the last row and column of each are a little darker, so that cells are
    told apart.

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
    """The map, a line a row, with ``@`` for the agent at (row, column).

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
    """Cells of these colors with a blue disc for the agent at (row, column): uint8 ``[32 rows, 32 columns, 3]``."""
    size = 32
    picture = cells(colors, size)
    figure = disc(0, 0, 0.34, BLUE)
    tile = draw([figure], -0.5, 0.5, -0.5, 0.5, width=size - 1, background=tuple(colors[agent]))
    top, left = size * agent[0], size * agent[1]
    picture[top : top + size - 1, left : left + size - 1] = tile
    return picture


def shades(values: ArrayLike) -> np.ndarray:
    """Finite numbers as colors from dark (the least) to bright (the largest), uint8 ``[rows, columns, 3]``.

    A number or a vector is one row, and what has more axes than two is laid out side by side.

    >>> shades([0, 1, 0.5]).tolist()
    [[[24, 36, 64], [250, 236, 170], [137, 136, 117]]]
    """
    values = np.atleast_2d(np.asarray(values, float))
    values = np.concatenate(np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0), axis=1)
    span = values.max() - values.min()
    level = (values - values.min()) / span if span > 0 else np.zeros_like(values)
    dark, bright = np.array([24, 36, 64]), np.array([250, 236, 170])
    return np.round(dark + level[..., None] * (bright - dark)).astype(np.uint8)


def box(x: float, y: float, width: float, height: float, color: Color) -> Shape:
    """An upright rectangle around its center."""
    return np.array([x, y]) + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [
        width / 2,
        height / 2,
    ], color


def disc(x: float, y: float, radius: float, color: Color) -> Shape:
    """A disc, as a polygon of 24 corners."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.array([x, y]) + radius * np.stack([np.cos(angle), np.sin(angle)], -1), color


def line(start: Sequence[float], end: Sequence[float], width: float, color: Color) -> Shape:
    """A bar from one point to another; from a point to itself it is nothing."""
    start, end = np.asarray(start, float), np.asarray(end, float)
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
    """Shapes over one another, the last on top, seen through a window: x from ``left`` to ``right``, y upwards.

    How much of a pixel a shape covers is told by the distance of the pixel's center from the nearest edge: nothing half a pixel
    outside, all half a pixel inside. So edges between pixels are exact, others are smooth, and thin lines are still seen. A
    shape without an area, or with a corner that is not finite, is left out.

    Args:
        shapes: convex; their corners go round in either sense.
        left, right, bottom, top: the window.
        width: of the picture, in pixels; its height follows from the window's.
        background: what is seen where there is no shape.

    Returns:
        uint8 ``[height, width, 3]``.

    >>> draw([box(0, 0.5, 1, 1, BLUE)], -1, 1, -1, 1, width=4)[:, :, 0]  # red: 0 in blue, 255 in white
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
        # A pixel more on each side for the smooth edges; beyond, sharp corners would grow spikes.
        (first_x, first_y), (last_x, last_y) = (
            np.clip(at, 0, [width, len(picture)]).astype(int)
            for at in (np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 1)
        )
        x, y = np.arange(first_x, last_x) + 0.5, np.arange(first_y, last_y)[:, None] + 0.5
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
