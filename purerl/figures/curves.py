"""Learning curves over seeds."""

from collections.abc import Mapping
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.plotting import COLORS, DASHES, GRAY, PALE, WIDTH, draw_band, new_figure, save
from purerl.figures.statistics import Band, Statistic, bootstrap_curves, iqm

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _bootstrap_band(curves: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Point, low, high ``[3, points]``, over the seeds that have a value at each point.

    A point without any such seed is nan.
    """
    band = np.full((3, curves.shape[1]), np.nan)
    patterns, which = np.unique(~np.isnan(curves), axis=1, return_inverse=True)
    for i, seeds in enumerate(patterns.T):
        if seeds.any():
            at = which.reshape(-1) == i
            band[:, at] = bootstrap_curves(
                curves[np.ix_(seeds, at)], statistic, np.random.default_rng(0)
            )
    return band


def learning_curves_figure(
    curves: Mapping[str, ArrayLike],
    steps: ArrayLike,
    *,
    ylabel: str,
    xlabel: str = "environment steps",
    title: str | None = None,
    statistic: Statistic = iqm,
    reference: tuple[float, str] | None = None,
    log: Literal["", "x", "y", "xy"] = "",
    slope: float | None = None,
) -> "Figure":
    """A line for each label, with a band of 95% stratified bootstrap intervals.

    NaN is a seed without a value at that point, for example before its first episode
    has ended: there the statistic and the interval are those of the other seeds, and a
    point without any seed is left out. The legend states the number of seeds. If some
    have no value at the last point, for example because they diverged, it states how
    many have one, ``n=62 of 64``. One seed has no band.

    An infinite value, such as that of a policy which loses without end, counts. Where
    the statistic is infinite, a triangle at the edge of the picture points the way, and
    the legend states how many seeds are at the last point, ``n=64, 54 at -inf``.

    Args:
        curves: by label, ``[N, points]``; ``N`` may differ.
        steps: ``[points]``.
        ylabel, xlabel, title: texts.
        statistic: ``[..., M, N] -> [...]``, see :mod:`purerl.figures.statistics`.
        reference: a value and its label, drawn as a horizontal dashed line.
        log: the axes that are logarithmic.
        slope: on two logarithmic axes, a dashed line proportional to
            ``steps ** slope``, just above the end of the first curve.

    Raises:
        ValueError: no curves, shapes that do not fit together, or a slope on other than
            two logarithmic axes.
    """
    steps = np.asarray(steps, dtype=np.float64)
    arrays = {label: np.asarray(values, dtype=np.float64) for label, values in curves.items()}
    _check_curves(arrays, steps, log, slope)

    bands = {label: _bootstrap_band(values, statistic) for label, values in arrays.items()}
    labels = {
        label: f"{label} (n={_seeds(values, bands[label])})" for label, values in arrays.items()
    }
    extra = [reference[1]] if reference is not None else []
    longest = max(map(len, [*labels.values(), *extra]))
    columns = max(1, int(WIDTH / (0.65 + 0.062 * longest)))
    entries = len(labels) + (reference is not None) + (slope is not None)
    figure = new_figure(WIDTH, 3.7 + 0.2 * -(-entries // columns))
    axes = figure.add_subplot()
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    styles = cycle(product(DASHES, COLORS))
    for (label, band), (dash, color) in zip(bands.items(), styles, strict=False):
        drawn = np.isfinite(band[0])
        marker = "o" if drawn.sum() == 1 else None  # a line through one point is invisible
        draw_band(
            axes,
            steps[drawn],
            Band(*band[:, drawn]),
            color=color,
            label=labels[label],
            linestyle=dash,
            linewidth=1.6,
            marker=marker,
        )
        _draw_infinite(axes, steps, band[0], color)
    if reference is not None:
        value, label = reference
        axes.axhline(value, color=GRAY, linestyle=(0, (5, 3)), linewidth=1.1, label=label, zorder=1)
    if slope is not None:
        _draw_slope(axes, slope, steps, next(iter(bands.values()))[0])

    axes.set(xlabel=xlabel, ylabel=ylabel)
    if title is not None:
        axes.set_title(title)
    if "x" not in log:
        axes.margins(x=0.02)
        if steps.max() >= 1e4:
            from matplotlib.ticker import EngFormatter

            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRAY)
    axes.tick_params(which="both", color=GRAY)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    return figure


def _check_curves(
    curves: Mapping[str, np.ndarray], steps: np.ndarray, log: str, slope: float | None
) -> None:
    if not curves:
        raise ValueError("curves is empty; it needs at least one label")
    if steps.ndim != 1 or not steps.size:
        raise ValueError(f"steps has shape {steps.shape}; it must be [points]")
    for label, values in curves.items():
        if values.ndim != 2 or not len(values) or values.shape[1] != len(steps):
            raise ValueError(
                f"curves[{label!r}] has shape {values.shape}; "
                f"it must be [N, {len(steps)}], since steps has {len(steps)} points"
            )
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log is {log!r}; allowed: '', 'x', 'y', 'xy'")
    if slope is not None and log != "xy":
        raise ValueError(
            f"slope is {slope} and log is {log!r}; allowed: a slope only with log='xy', "
            "where it is a straight line"
        )


def _seeds(values, band):
    """``n``, or ``n of N`` if some seeds have no value at the last point that has any.

    Followed by the numbers of infinite ones there.
    """
    points = np.flatnonzero(~np.isnan(band[0]))
    last = values[:, points[-1]] if points.size else np.full(len(values), np.nan)
    n = np.count_nonzero(~np.isnan(last))
    count = f"{n}" if n == len(values) else f"{n} of {len(values)}"
    return ", ".join([count, *infinite_counts(last)])


def infinite_counts(scores: ArrayLike) -> list[str]:
    """Numbers of infinite scores in words, such as ``["54 at -inf"]``."""
    scores = np.asarray(scores)
    counts = {
        "-inf": np.count_nonzero(scores == -np.inf),
        "inf": np.count_nonzero(scores == np.inf),
    }
    return [f"{count} at {name}" for name, count in counts.items() if count]


def _draw_infinite(axes, steps, point, color):
    """Triangles at the edges of the picture where a curve is infinite."""
    for value, edge, marker in ((-np.inf, 0, "v"), (np.inf, 1, "^")):
        at = steps[point == value]
        if not at.size:
            continue
        axes.plot(
            at,
            np.full_like(at, edge),
            color=color,
            linestyle="",
            marker=marker,
            markersize=4,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _draw_slope(axes, slope, steps, point):
    """A line of a slope over the last two decades, just above the curve in the last."""
    last = (steps > 0.1 * steps.max()) & (point > 0)
    if last.any():
        constant = 1.5 * (point[last] / steps[last] ** slope).max()
        t = np.array([max(steps[steps > 0].min(), steps.max() / 100), steps.max()])
        axes.plot(
            t,
            constant * t**slope,
            "--",
            color=GRAY,
            linewidth=1.1,
            label=rf"$\propto t^{{\,{slope:g}}}$",
        )


def learning_curves(
    path: str | Path, curves: Mapping[str, ArrayLike], steps: ArrayLike, **options
) -> Path:
    """Write :func:`learning_curves_figure` to a file.

    Args:
        path: the file; its suffix decides the format.
        curves, steps: as for the figure.
        **options: as for the figure.

    Returns:
        ``path``.

    Raises:
        ValueError: as for the figure, or a suffix that names no format.
    """
    return save(learning_curves_figure(curves, steps, **options), path)
