"""Base of all pictures: colors, sizes, bands, and writing figures to files.

A picture is a function of its arguments: matplotlib's global state is neither read nor
changed, and the bootstrap's generator is fixed. Matplotlib is imported only when a
figure is made, so that importing purerl stays fast.
"""

from itertools import cycle, islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.files import write_atomically
from purerl.figures.statistics import Band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito, "Color universal design" (2008), darker colors first, without the yellow,
# which is hardly visible on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", ":", "-.")  # line styles, in the order of use
INK = "#262626"  # of text
GRAY = "#8c8c8c"  # of axes and of lines to compare with
PALE = "#ececec"  # of grids
WIDTH = 6.4  # of a picture of one panel, in inches
_DPI = 150


def default_styles(curves: int) -> list[tuple[int, int]]:
    """Numbers of a color and a line style for each curve, the colors first."""
    pairs = cycle(product(range(len(DASHES)), range(len(COLORS))))
    return [(color, dash) for dash, color in islice(pairs, curves)]


def new_figure(width: float, height: float, dpi: float = _DPI) -> "Figure":
    """An empty figure of a size in inches, outside matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure atomically; the suffix of ``path`` decides the format.

    Returns:
        ``path``.

    Raises:
        ValueError: a suffix that names no format.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in formats:
        allowed = ", ".join(f".{known}" for known in sorted(formats))
        raise ValueError(f"path is {str(path)!r}; its suffix must be one of {allowed}")
    write_atomically(path, lambda file: figure.savefig(file, format=kind))
    return path


def draw_band(
    axes: "Axes", x: ArrayLike, band: Band, *, color: str, label: str | None = None, **line: Any
) -> None:
    """Draw estimates as a line and their intervals as a shaded band.

    Args:
        axes: to draw into.
        x: ``[points]``.
        band: ``[points]`` each.
        color: of line and band.
        label: of the line in a legend.
        **line: options of ``axes.plot``.
    """
    axes.fill_between(x, band.low, band.high, color=color, alpha=0.2, linewidth=0)
    axes.plot(x, band.point, color=color, label=label, **line)


def ink_on(color: ArrayLike) -> str:
    """Black or white, whichever is easier to read on an RGBA color."""
    return "white" if np.dot(np.asarray(color)[:3], (0.299, 0.587, 0.114)) < 0.5 else INK
