"""One number for each pair of values of two hyperparameters."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from purerl.checks import refusal
from purerl.figures.plotting import INK, ink_on, new_figure
from purerl.figures.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat_map_figure(
    scores: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_name: str,
    column_name: str,
    label: str,
    title: str | None = None,
    notes: Sequence[Sequence[str]] | None = None,
) -> "Figure":
    """A colored cell with its number for each pair of values.

    A cell whose number is infinite or NaN is gray.

    Args:
        scores: ``[R, K]``.
        rows: ``R`` texts, from the top.
        columns: ``K`` texts.
        row_name, column_name: of the two hyperparameters.
        label: of the color bar.
        title: of the picture.
        notes: a text below each number, such as ``"2 failed"``; empty for none.

    Raises:
        ValueError: shapes that do not fit together.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(rows), len(columns)):
        allowed = f"({len(rows)}, {len(columns)}), a number for each pair"
        raise refusal("heat_map_figure", "scores", scores.shape, allowed, "has shape")
    masked = np.ma.masked_invalid(scores)
    width = max(max(map(len, columns)) * 0.085, 0.85)
    margin = 1.8 + 0.07 * max(map(len, rows))
    figure = new_figure(width * len(columns) + margin, 0.5 * len(rows) + 1.5)
    axes = figure.add_subplot()
    image = axes.imshow(masked, cmap="viridis", aspect="auto")
    axes.set_facecolor("#d5d5d5")
    axes.set_xticks(range(len(columns)), labels=columns)
    axes.set_yticks(range(len(rows)), labels=rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel=column_name, ylabel=row_name)
    for row, column in np.ndindex(scores.shape):
        score = float(scores[row, column])
        ink = ink_on(image.to_rgba(np.asarray(score))) if math.isfinite(score) else INK
        number = "-" if math.isnan(score) else str(Interval(score, score, score, 1)).split()[0]
        note = "" if notes is None else notes[row][column]
        text = f"{number}\n{note}".strip()
        axes.text(column, row, text, color=ink, ha="center", va="center", fontsize="small")
    bar = figure.colorbar(image, ax=axes, label=label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if title is not None:
        axes.set_title(title)
    return figure
