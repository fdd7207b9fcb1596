"""Pictures: learning curves, values and actions of a gridworld, scores by tag.

For each picture there is a function that makes the figure and one that writes it to a
file. A picture is a function of its arguments: matplotlib's global state is neither
read nor changed, and the bootstrap's generator is fixed.

Matplotlib is imported only when a figure is made, so that importing purerl stays fast.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.files import write_atomically
from purerl.figures.statistics import Band, Statistic, bootstrap_curves, iqm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes

# Okabe & Ito, "Color universal design" (2008), darker colors first, without the yellow,
# which is hardly visible on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_INK = "#262626"
_GRAY = "#8c8c8c"
_PALE = "#ececec"
_DPI = 150
_WIDTH = 6.4  # inches
_CELL = 0.72  # inches

_FLOOR = "F. "
_WALL = "#"
_UNPLAYED = "GHC"
# The least largest magnitude of the values shown, and their decimal places.
_DECIMALS = ((100, 0), (10, 1), (0.1, 2), (0, 3))


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
    columns = max(1, int(_WIDTH / (0.65 + 0.062 * longest)))
    entries = len(labels) + (reference is not None) + (slope is not None)
    figure = new_figure(_WIDTH, 3.7 + 0.2 * -(-entries // columns))
    axes = figure.add_subplot()
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    styles = cycle(product(_DASHES, COLORS))
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
        axes.axhline(
            value, color=_GRAY, linestyle=(0, (5, 3)), linewidth=1.1, label=label, zorder=1
        )
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
    axes.grid(color=_PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRAY)
    axes.tick_params(which="both", color=_GRAY)
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
            color=_GRAY,
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


def gridworld_figure(
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    layout: Sequence[str],
    directions: Sequence[tuple[int, int]],
    *,
    label: str = "state value",
    title: str | None = None,
) -> "Figure":
    """Values and greedy actions on a map, a panel for each title, with one color scale.

    Every cell of the map is a state, numbered row by row. Of its letters, ``F``, ``.``
    and a space are floor, ``#`` is a wall, and ``G``, ``H`` and ``C`` (goal, hole,
    cliff) are cells without actions: these show the letter, not a value. Any other
    letter, such as ``S`` for the start, is written in a corner beside the value.

    For an environment of :mod:`purerl.envs.grids.gridworld`, ``layout`` is ``env.rows``
    and ``directions`` is ``[MOVES[name] for name in env.directions]``.

    Args:
        maps: by title, the values ``[S]`` and either one action for each state, integer
            ``[S]``, or the set of its greedy actions, bool ``[S, A]``. Each action is a
            triangle that points in its direction.
        layout: the map, one string a row, ``S = rows * columns``.
        directions: for each action its ``(row, column)`` displacement: for FrozenLake
            ``((0, -1), (1, 0), (0, 1), (-1, 0))``.
        label: of the color bar.
        title: above all panels.

    Raises:
        ValueError: no maps, a ragged layout, a layout without a cell to act in, a
            direction of length zero, shapes that do not fit together, an action out of
            range, or a value shown that is not finite.
    """
    rectangular = len({len(row) for row in layout}) == 1
    letters = np.array([list(row) for row in layout]) if rectangular else np.empty((0, 0))
    acting = ~np.isin(letters, list(_WALL + _UNPLAYED))
    if not acting.any():
        raise ValueError(
            f"layout is {list(layout)}; it needs rows of one length, "
            f"with a cell that is none of {_WALL + _UNPLAYED!r}"
        )
    moves = np.asarray(directions, dtype=np.float64)
    if moves.ndim != 2 or moves.shape[1] != 2 or not moves.any(axis=1).all():
        raise ValueError(
            f"directions is {moves.tolist()}; "
            "it must have a (row, column) other than (0, 0) for each action"
        )
    if not maps:
        raise ValueError("maps is empty; it needs at least one title")
    panels = {name: _panel(name, *content, acting, len(moves)) for name, content in maps.items()}
    shown = np.concatenate([values[acting] for values, _ in panels.values()])
    low, high = float(shown.min()), float(shown.max())
    decimals = next(places for bound, places in _DECIMALS if max(-low, high) >= bound)

    rows, columns = letters.shape
    across, down = (1, len(panels)) if columns > 2 * rows else (len(panels), 1)
    figure = new_figure(
        across * (columns * _CELL + 0.2) + 0.9,
        down * (rows * _CELL + 0.4) + (0.4 if title else 0.1),
    )
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, (values, greedy)) in zip(grid, panels.items(), strict=True):
        image = axes.imshow(np.ma.array(values, mask=~acting), cmap="viridis", vmin=low, vmax=high)
        axes.set_title(name, fontsize=11)
        _frame(axes, rows, columns)
        for cell in np.ndindex(rows, columns):
            if acting[cell]:
                ink = _ink_on(image.cmap(image.norm(values[cell])))
                number = f"{values[cell]:z.{decimals}f}".replace("-", "\N{MINUS SIGN}")
                _draw_state(axes, cell, number, moves[greedy[cell]], letters[cell], ink)
            else:
                _draw_letter(axes, cell, letters[cell])
    bar = figure.colorbar(image, ax=grid, label=label, aspect=25)
    bar.outline.set_visible(False)
    if title is not None:
        figure.suptitle(title)
    return figure


def _panel(name, values, policy, acting, num_actions):
    """Values ``[rows, columns]`` and greedy actions ``[rows, columns, A]``, checked."""
    values, policy = np.asarray(values, dtype=np.float64), np.asarray(policy)
    if values.shape != (acting.size,):
        raise ValueError(
            f"maps[{name!r}] has values of shape {values.shape}; the layout has {acting.size} cells"
        )
    if policy.shape == values.shape and np.issubdtype(policy.dtype, np.integer):
        outside = acting.ravel() & ((policy < 0) | (policy >= num_actions))
        if outside.any():
            raise ValueError(
                f"maps[{name!r}] has action {policy[outside][0]}; "
                f"directions allow 0 to {num_actions - 1}"
            )
        greedy = policy[:, None] == np.arange(num_actions)
    elif policy.shape == (acting.size, num_actions) and policy.dtype == bool:
        greedy = policy
    else:
        raise ValueError(
            f"maps[{name!r}] has a policy of {policy.dtype} {policy.shape}; "
            f"it must be integer ({acting.size},) or bool ({acting.size}, {num_actions})"
        )
    if not np.isfinite(values[acting.ravel()]).all():
        state = np.flatnonzero(acting.ravel() & ~np.isfinite(values))[0]
        raise ValueError(
            f"maps[{name!r}] has the value {values[state]} in state {state}; it must be finite"
        )
    return values.reshape(acting.shape), greedy.reshape(*acting.shape, num_actions)


def _frame(axes, rows, columns):
    axes.set_xticks(np.arange(columns + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(rows + 1) - 0.5, labels=[])
    axes.grid(color="white", linewidth=1.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _ink_on(color):
    """Black or white, whichever is easier to read on an RGBA color."""
    return "white" if np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.5 else _INK


def _draw_state(axes, cell, number, directions, letter, ink):
    from matplotlib.patches import Polygon

    row, column = cell
    axes.text(
        column, row, number, color=ink, ha="center", va="center", fontsize=min(9, 45 / len(number))
    )
    for direction in directions[:, ::-1]:
        ahead = direction / np.hypot(*direction)
        aside = np.array([-ahead[1], ahead[0]])
        center = np.array([column, row]) + 0.29 * direction / np.abs(direction).max()
        corners = [center + 0.14 * ahead, center + 0.11 * aside, center - 0.11 * aside]
        axes.add_patch(Polygon(corners, color=ink, linewidth=0))
    if letter not in _FLOOR:
        axes.text(
            column - 0.42,
            row - 0.4,
            letter,
            color=ink,
            ha="left",
            va="top",
            fontsize=8,
            fontweight="bold",
        )


def _draw_letter(axes, cell, letter):
    from matplotlib.patches import Rectangle

    row, column = cell
    wall = letter in _WALL
    axes.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, color=_GRAY if wall else _PALE, linewidth=0)
    )
    axes.text(
        column,
        row,
        letter,
        color="white" if wall else _INK,
        ha="center",
        va="center",
        fontsize=13,
        fontweight="bold",
    )


def gridworld(
    path: str | Path,
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    layout: Sequence[str],
    directions: Sequence[tuple[int, int]],
    **options,
) -> Path:
    """Write :func:`gridworld_figure` to a file.

    Args:
        path: the file; its suffix decides the format.
        maps, layout, directions: as for the figure.
        **options: as for the figure.

    Returns:
        ``path``.

    Raises:
        ValueError: as for the figure, or a suffix that names no format.
    """
    return save(gridworld_figure(maps, layout, directions, **options), path)


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
        [0.25, 0.5, 0.75, 1.0], labels=["", "0.5", "", "1"], color=_GRAY, fontsize="small"
    )
    axes.set_rlabel_position(math.degrees(angles[1]) / 2)
    axes.set_xticks(angles[:-1], labels=[tag.replace("_", " ") for tag in tags], color=_INK)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=False):
        text.set_horizontalalignment(_alignment(round(math.sin(angle), 6)))
    axes.tick_params(axis="x", pad=4)
    axes.grid(color=_PALE, linewidth=0.9)
    axes.spines["polar"].set_color(_GRAY)
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
