"""Scores by tag, around a center."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.plotting import COLORS, GRAY, INK, PALE, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes


def radar_figure(scores: Mapping[str, Mapping[str, ArrayLike]]) -> "Figure":
    """Scores by tag as a closed line around a center, for each label.

    Args:
        scores: ``{label: {tag: [N]}}``, all with the same tags. The mean over the seeds
            that have a score is drawn.

    Raises:
        ValueError: no scores, or tags that differ.
    """
    tags = list(next(iter(scores.values()), ()))
    if not scores or any(list(each) != tags for each in scores.values()):
        raise ValueError("scores must have a label, and all labels the same tags")
    angles = np.linspace(0, 2 * np.pi, len(tags) + 1)
    figure = new_figure(6.0, 5.2 + 0.2 * len(scores))
    axes = _polar_axes(figure)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    for (label, each), color in zip(scores.items(), COLORS, strict=False):
        means = [np.nanmean(np.asarray(each[tag], np.float64)) for tag in tags]
        closed = [*means, means[0]]
        axes.plot(
            angles,
            closed,
            color=color,
            linewidth=1.8,
            marker="o",
            markersize=4,
            label=label,
            clip_on=False,
        )
        axes.fill(angles, closed, color=color, alpha=0.12, linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks(
        [0.25, 0.5, 0.75, 1.0], labels=["", "0.5", "", "1"], color=GRAY, fontsize="small"
    )
    axes.set_rlabel_position(math.degrees(angles[1]) / 2)
    axes.set_xticks(angles[:-1], labels=[tag.replace("_", " ") for tag in tags], color=INK)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=False):
        text.set_horizontalalignment(_alignment(round(math.sin(angle), 6)))
    axes.tick_params(axis="x", pad=4)
    axes.grid(color=PALE, linewidth=0.9)
    axes.spines["polar"].set_color(GRAY)
    figure.legend(loc="outside lower center", ncols=min(len(scores), 3), frameon=False)
    return figure


def _polar_axes(figure: "Figure") -> "PolarAxes":
    from matplotlib.projections.polar import PolarAxes

    axes = figure.add_subplot(projection="polar")
    if not isinstance(axes, PolarAxes):
        raise TypeError(f"matplotlib made {type(axes).__name__} for polar axes")
    return axes


def _alignment(side: float) -> Literal["left", "center", "right"]:
    """Alignment of a label, so that it grows away from the center."""
    if side > 0:
        return "left"
    return "right" if side < 0 else "center"


def radar(path: str | Path, scores: Mapping[str, Mapping[str, ArrayLike]]) -> Path:
    """Write :func:`radar_figure` to a file.

    Args:
        path: the file; its suffix decides the format.
        scores: as for the figure.

    Returns:
        ``path``.

    Raises:
        ValueError: as for the figure, or a suffix that names no format.
    """
    return save(radar_figure(scores), path)
