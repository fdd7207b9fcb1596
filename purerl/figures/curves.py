"""Learning curves over seeds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.labels import short, wrapped
from purerl.figures.plotting import (
    COLORS,
    DASHES,
    GRAY,
    PALE,
    WIDTH,
    default_styles,
    draw_band,
    new_figure,
    save,
)
from purerl.figures.statistics import FEW, Band, Statistic, bootstrap_curves, iqm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Log = Literal["", "x", "y", "xy"]  # the axes that are logarithmic
_DECADES = 10**1.5  # a range from which a logarithmic axis helps
_FEW_DECADES = 10**3  # a range within which numbers are read more easily than powers
_LABELS, _PANEL_LABELS = 9, 4  # numbers that fit below a picture, and below a panel
_PANEL_TITLE = 34  # characters in a line
_NAMES = {"iqm": "IQM", "mean": "mean", "median": "median"}  # of statistics


def bootstrap_band(
    curves: np.ndarray, statistic: Statistic = iqm, intervals: bool = True
) -> np.ndarray:
    """Point, low, high ``[3, points]``, over the seeds that have a value at each point.

    A point without any such seed is NaN.

    Args:
        curves: ``[N, points]``.
        statistic: ``[..., M, N] -> [...]``.
        intervals: whether to bootstrap low and high, which are NaN otherwise.
    """
    band = np.full((3, curves.shape[1]), np.nan)
    patterns, which = np.unique(~np.isnan(curves), axis=1, return_inverse=True)
    for i, seeds in enumerate(patterns.T):
        if not seeds.any():
            continue
        at = which.reshape(-1) == i
        there = curves[np.ix_(seeds, at)]
        if intervals:
            band[:, at] = bootstrap_curves(there, statistic, np.random.default_rng(0))
        else:
            band[0, at] = statistic(there.T[:, None])
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
    log: Log = "",
    slope: float | None = None,
    styles: Sequence[tuple[int, int]] | None = None,
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
        log: the axes that are logarithmic, where a curve has positive values.
        slope: on two logarithmic axes, a dashed line proportional to
            ``steps ** slope``, just above the end of the first curve.
        styles: for each curve the numbers of its color and of its line style, among
            ``COLORS`` and ``DASHES``; by default the colors first.

    Raises:
        ValueError: no curves, shapes that do not fit together, or a slope on other than
            two logarithmic axes.
    """
    arrays, steps = _checked(curves, steps, log, slope)
    bands = {label: bootstrap_band(values, statistic) for label, values in arrays.items()}
    scales = _possible(log, steps, bands)
    labels = {label: with_seeds(label, values, bands[label]) for label, values in arrays.items()}
    extra = [reference[1]] if reference is not None else []
    longest = max(map(len, [*labels.values(), *extra]))
    columns = max(1, int(WIDTH / (0.65 + 0.062 * longest)))
    entries = len(labels) + (reference is not None) + (slope is not None)
    figure = new_figure(WIDTH, 3.7 + 0.2 * -(-entries // columns))
    axes = figure.add_subplot()
    _scale(axes, steps, scales)
    styles = default_styles(len(bands)) if styles is None else styles
    for (label, band), (color, dash) in zip(bands.items(), styles, strict=True):
        _draw_curve(axes, steps, band, COLORS[color], labels[label], DASHES[dash])
    if reference is not None:
        _draw_reference(axes, reference)
    if slope is not None:
        _draw_slope(axes, slope, steps, next(iter(bands.values()))[0])
    _mark_decades(axes, scales, _LABELS)

    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.annotate(
        about_bands(statistic, list(arrays.values())),
        (0, 1),
        xytext=(0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize="small",
        color=GRAY,
    )
    if title is not None:
        axes.set_title(title, pad=20)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    return figure


def small_multiples_figure(
    curves: Mapping[str, ArrayLike],
    steps: ArrayLike,
    *,
    ylabel: str,
    xlabel: str = "environment steps",
    title: str | None = None,
    statistic: Statistic = iqm,
    reference: tuple[float, str] | None = None,
    log: Log = "",
) -> "Figure":
    """A panel for each label, with its band, and all other curves behind in gray.

    For more curves than one picture can hold. Each panel says how many seeds have a
    value at the end where some have none.

    Args:
        curves: by label, ``[N, points]``; ``N`` may differ.
        steps: ``[points]``.
        ylabel, xlabel, title: texts.
        statistic: ``[..., M, N] -> [...]``, see :mod:`purerl.figures.statistics`.
        reference: a value and its label, drawn as a horizontal dashed line.
        log: the axes that are logarithmic, where a curve has positive values.

    Raises:
        ValueError: no curves, or shapes that do not fit together.
    """
    arrays, steps = _checked(curves, steps, log, None)
    bands = {label: bootstrap_band(values, statistic) for label, values in arrays.items()}
    scales = _possible(log, steps, bands)
    across = min(4, math.ceil(math.sqrt(len(bands))))
    down = -(-len(bands) // across)
    figure = new_figure(2.3 * across + 0.5, 1.75 * down + 0.9)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (label, band) in zip(grid, bands.items(), strict=False):
        for other in bands.values():
            drawn = np.isfinite(other[0])
            axes.plot(steps[drawn], other[0][drawn], color="#d5d5d5", linewidth=0.8, zorder=1)
        _scale(axes, steps, scales)
        _draw_curve(axes, steps, band, COLORS[0], None, "-")
        if reference is not None:
            _draw_reference(axes, reference)
        _mark_decades(axes, scales, _PANEL_LABELS)
        here = with_seeds(label, arrays[label], band) if np.isnan(arrays[label]).any() else label
        axes.set_title(wrapped(here, _PANEL_TITLE), fontsize="small")
        axes.tick_params(labelsize="small")
    for axes in grid[len(bands) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(bands) - across) : len(bands)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    dashed = [] if reference is None else [f"dashed: {reference[1]}"]
    note = "; ".join(
        [about_bands(statistic, list(arrays.values())), *dashed, "gray: the other panels"]
    )
    figure.suptitle(note if title is None else f"{title}\n{note}", fontsize="medium")
    return figure


def log_axes(curves: ArrayLike, steps: ArrayLike) -> Log:
    """The axes on which a measure of error is easier to read if they are logarithmic.

    Both, or the values' alone where the steps span less than 1.5 decades; none unless
    all values are positive and span more than that.

    Args:
        curves: ``[..., points]``; values that are not finite do not count.
        steps: ``[points]``.

    >>> log_axes([0.9, 0.5], [1, 100]), log_axes([0.9, 0.001], [1, 100])
    ('', 'xy')
    """
    values = np.asarray(curves, np.float64)
    if not _spans_decades(values[np.isfinite(values)]):
        return ""
    return "xy" if _spans_decades(np.asarray(steps, np.float64)) else "y"


def _spans_decades(values):
    return values.size > 0 and values.min() > 0 and values.max() > _DECADES * values.min()


def about_bands(statistic: Statistic, curves: Sequence[np.ndarray]) -> str:
    """Lines and bands in words: statistic, interval, and too few seeds.

    Args:
        statistic: of the lines.
        curves: of each label, ``[N, points]``.
    """
    name = getattr(statistic, "__name__", "")
    seeds = [len(values) for values in curves]
    band = "95% stratified bootstrap" if max(seeds) > 1 else "one seed has no interval"
    few = f" (n < {FEW} is too few for 95%)" if 1 < min(seeds) < FEW else ""
    return f"{_NAMES.get(name, 'statistic')}, {band}{few}"


def _scale(axes, steps, log):
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
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


def _mark_decades(axes, log, across):
    """Plain numbers on logarithmic axes of few decades, as many as fit."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for side, axis, room in (("x", axes.xaxis, across), ("y", axes.yaxis, _LABELS)):
        low, high = axis.get_view_interval()
        if side in log and high < _FEW_DECADES * low:
            axis.set_major_locator(_locator(math.log10(high / low), room))
            axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
            axis.set_minor_formatter(NullFormatter())


def _locator(decades, room):
    """Ticks of a logarithmic axis with room for so many numbers."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if decades < 2 / 3:  # it may have no two of 1, 2, 5
        return MaxNLocator(room // 2 + 1, steps=(1, 2, 5, 10))
    for subs in ((1, 2, 5), (1, 3)):
        if len(subs) * decades <= room:
            return LogLocator(subs=subs)
    return LogLocator()


def _draw_curve(axes, steps, band, color, label, dash):
    drawn = np.isfinite(band[0])
    draw_band(
        axes,
        steps[drawn],
        Band(*band[:, drawn]),
        color=color,
        label=label,
        linestyle=dash,
        linewidth=1.6,
        marker="o" if drawn.sum() == 1 else None,  # a line through one point is invisible
    )
    _draw_infinite(axes, steps, band[0], color)


def _draw_reference(axes, reference):
    value, label = reference
    axes.axhline(value, color=GRAY, linestyle=(0, (5, 3)), linewidth=1.1, label=label, zorder=1)


def _possible(log, steps, bands):
    """The logarithmic axes, without those on which no curve has a positive value."""
    values = {"x": steps, "y": np.stack([point for point, _, _ in bands.values()])}
    there = {side: ((x > 0) & (x < np.inf)).any() for side, x in values.items()}
    return "".join(side for side in log if there[side])


def _checked(curves, steps, log, slope):
    """Curves and steps as arrays of float64 whose shapes fit together."""
    steps = np.asarray(steps, dtype=np.float64)
    curves = {label: np.asarray(values, dtype=np.float64) for label, values in curves.items()}
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
    return curves, steps


def with_seeds(label: str, values: np.ndarray, band: np.ndarray) -> str:
    """A label with the number of seeds, ``lr 0.1 (n=62 of 64)``.

    Args:
        label: may be empty.
        values: ``[N, points]``.
        band: of :func:`bootstrap_band`.
    """
    seeds = f"n={_seeds(values, band)}"
    return f"{label} ({seeds})" if label else seeds


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
