"""Pictures: learning curves with their intervals, and the values and greedy actions of a gridworld.

For each picture there is a function that makes the figure and one that writes it to a file. A picture is a function of its
arguments: nothing is read from or left in matplotlib's global state, and the bootstrap's generator is fixed.

Matplotlib is an optional extra, imported only when a figure is made: ``pip install "purerl[experiments]"``.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.statistics import Statistic, bootstrap_curves, iqm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito, "Color universal design" (2008), without the yellow, which is hardly seen on white; darker ones first.
_ColorS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_INK, _GRAY, _PALE = "#262626", "#8c8c8c", "#ececec"
_DPI, _WIDTH = 150, 6.4
_CELL = 0.72  # inches

_FLOOR, _WALL, _UNPLAYED = "F. ", "#", "GHC"
_DECIMALS = (
    (100, 0),
    (10, 1),
    (0.1, 2),
    (0, 3),
)  # of values whose largest magnitude is at least that


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "purerl[experiments]"') from error
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: "Figure", path: str | Path) -> Path:
    """Write under a temporary name beside ``path``, then rename: a reader sees the whole picture or none."""
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in formats:
        raise ValueError(
            f"path is {str(path)!r}; its suffix must be one of {', '.join('.' + f for f in sorted(formats))}"
        )
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        figure.savefig(temporary, format=kind)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _band(curves: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Point, low and high, ``[3, points]``: at each point over the seeds that are finite there, nan where there are none."""
    band = np.full((3, curves.shape[1]), np.nan)
    patterns, which = np.unique(np.isfinite(curves), axis=1, return_inverse=True)
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
    """A line for each label, with its 95% stratified bootstrap interval at each point as a band.

    A number that is not finite is a seed with nothing to show at that point, as before its first episode has ended: there
    the statistic and the interval are those of the other seeds, and a point without any seed is left out. The legend states
    the number of seeds; where the last point drawn lacks some of them, as when a seed has diverged, it says so:
    ``n=62 of 64``. One seed has no band.

    Args:
        curves: by label, ``[N, points]``; ``N`` may differ.
        steps: ``[points]``.
        ylabel, xlabel, title: texts.
        statistic: ``[..., M, N] -> [...]``, see :mod:`purerl.figures.statistics`.
        reference: a value and its label, drawn as a horizontal dashed line.
        log: the axes that are logarithmic.
        slope: on two logarithmic axes, a dashed line proportional to ``steps ** slope``, just above the end of the first curve.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no curves, shapes that do not fit together, or a slope on other than two logarithmic axes.
    """
    steps = np.asarray(steps, dtype=np.float64)
    curves = {label: np.asarray(values, dtype=np.float64) for label, values in curves.items()}
    if not curves:
        raise ValueError("curves is empty; it needs at least one label")
    if steps.ndim != 1 or not steps.size:
        raise ValueError(f"steps has shape {steps.shape}; it must be [points]")
    for label, values in curves.items():
        if values.ndim != 2 or not len(values) or values.shape[1] != len(steps):
            raise ValueError(
                f"curves[{label!r}] has shape {values.shape}; it must be [N, {len(steps)}], as steps has that many"
            )
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log is {log!r}; allowed: '', 'x', 'y', 'xy'")
    if slope is not None and log != "xy":
        raise ValueError(
            f"slope is {slope} and log is {log!r}; only on two logarithmic axes (log='xy') is a slope a straight line"
        )

    bands = {label: _band(values, statistic) for label, values in curves.items()}
    labels = {
        label: f"{label} (n={_seeds(values, bands[label])})" for label, values in curves.items()
    }
    extra = [reference[1]] if reference is not None else []
    columns = max(1, int(_WIDTH / (0.65 + 0.062 * max(map(len, [*labels.values(), *extra])))))
    figure = _figure(
        _WIDTH,
        3.7 + 0.2 * -(-(len(labels) + (reference is not None) + (slope is not None)) // columns),
    )
    axes = figure.add_subplot()
    axes.set_xscale("log" if "x" in log else "linear")
    axes.set_yscale("log" if "y" in log else "linear")
    for (label, band), (dash, color) in zip(
        bands.items(), cycle(product(_DASHES, _ColorS)), strict=False
    ):
        drawn = np.isfinite(band[0])
        t, (point, low, high) = steps[drawn], band[:, drawn]
        marker = "o" if len(t) == 1 else None  # a line through one point is invisible
        axes.fill_between(t, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(t, point, dash, color=color, linewidth=1.6, marker=marker, label=labels[label])
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


def _seeds(values, band):
    """How many seeds the last point drawn stands for, and of how many where some are missing."""
    drawn = np.flatnonzero(np.isfinite(band[0]))
    n = np.isfinite(values[:, drawn[-1]]).sum() if drawn.size else 0
    return f"{n}" if n == len(values) else f"{n} of {len(values)}"


def _draw_slope(axes, slope, steps, point):
    """A line of the given slope over the last two decades, a little above the curve in the last one."""
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
    """Write :func:`learning_curves_figure`, which has the same arguments, to ``path``; its suffix decides the format.

    Returns:
        ``path``.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: as for the figure, or a suffix that names no format.
    """
    return _write(learning_curves_figure(curves, steps, **options), path)


def gridworld_figure(
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    layout: Sequence[str],
    directions: Sequence[tuple[int, int]],
    *,
    label: str = "state value",
    title: str | None = None,
) -> "Figure":
    """Values and greedy actions over a map, a panel for each title, all with one color scale.

    Every cell of the map is a state, numbered row by row. Of its letters, ``F``, ``.`` and a space are floor, ``#`` is a wall,
    and ``G``, ``H`` and ``C`` (goal, hole, cliff) are cells in which nobody acts: these show the letter, not a value. Any
    other letter, as ``S`` for the start, stands in a corner beside the value.

    For an environment of :mod:`purerl.envs.grids.gridworld`, ``layout`` is ``env.rows`` and ``directions`` is
    ``[MOVES[name] for name in env.directions]``.

    Args:
        maps: by title, the values ``[S]`` and either one action for each state, integer ``[S]``, or the set of its greedy
            actions, bool ``[S, A]``. Each action is a triangle that points where it leads.
        layout: the map, one string a row, ``S = rows * columns``.
        directions: for each action its ``(row, column)`` displacement: for FrozenLake
            ``((0, -1), (1, 0), (0, 1), (-1, 0))``.
        label: the color bar's.
        title: above all panels.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no maps, a ragged layout, one without a cell to act in, a direction to nowhere, shapes that do not fit
            together, an action out of range, or a value shown that is not finite.
    """
    letters = (
        np.array([list(row) for row in layout])
        if len({len(row) for row in layout}) == 1
        else np.empty((0, 0))
    )
    acting = ~np.isin(letters, list(_WALL + _UNPLAYED))
    if not acting.any():
        raise ValueError(
            f"layout is {list(layout)}; it needs rows of one length, with a cell that is none of {_WALL + _UNPLAYED!r}"
        )
    directions = np.asarray(directions, dtype=np.float64)
    if directions.ndim != 2 or directions.shape[1] != 2 or not directions.any(axis=1).all():
        raise ValueError(
            f"directions is {directions.tolist()}; it must have a (row, column) other than (0, 0) for each action"
        )
    if not maps:
        raise ValueError("maps is empty; it needs at least one title")
    panels = {
        name: _panel(name, *content, acting, len(directions)) for name, content in maps.items()
    }
    shown = np.concatenate([values[acting] for values, _ in panels.values()])
    low, high = float(shown.min()), float(shown.max())
    decimals = next(places for bound, places in _DECIMALS if max(-low, high) >= bound)

    rows, columns = letters.shape
    across, down = (1, len(panels)) if columns > 2 * rows else (len(panels), 1)
    figure = _figure(
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
                _draw_state(axes, cell, number, directions[greedy[cell]], letters[cell], ink)
            else:
                _draw_letter(axes, cell, letters[cell])
    bar = figure.colorbar(image, ax=grid, label=label, aspect=25)
    bar.outline.set_visible(False)
    if title is not None:
        figure.suptitle(title)
    return figure


def _panel(name, values, policy, acting, num_actions):
    """Values ``[rows, columns]`` and greedy sets ``[rows, columns, A]``, checked."""
    values, policy = np.asarray(values, dtype=np.float64), np.asarray(policy)
    if values.shape != (acting.size,):
        raise ValueError(
            f"maps[{name!r}] has values of shape {values.shape}; the layout has {acting.size} cells"
        )
    if policy.shape == values.shape and np.issubdtype(policy.dtype, np.integer):
        outside = acting.ravel() & ((policy < 0) | (policy >= num_actions))
        if outside.any():
            raise ValueError(
                f"maps[{name!r}] has action {policy[outside][0]}; directions allow 0 to {num_actions - 1}"
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
    """Black or white, whichever is read better on an RGBA color."""
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
    """Write :func:`gridworld_figure`, which has the same arguments, to ``path``; its suffix decides the format.

    Returns:
        ``path``.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: as for the figure, or a suffix that names no format.
    """
    return _write(gridworld_figure(maps, layout, directions, **options), path)


def radar_figure(scores: Mapping[str, Mapping[str, ArrayLike]]) -> "Figure":
    """Scores by tag as a closed line around a center, for each label.

    Args:
        scores: ``{label: {tag: [N]}}``, all with the same tags; what is drawn is the mean over seeds that have one.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no scores, or tags that differ.
    """
    if not scores or any(
        list(each) != list(next(iter(scores.values()))) for each in scores.values()
    ):
        raise ValueError("scores must have a label, and all labels the same tags")
    tags = list(next(iter(scores.values())))
    angles = np.linspace(0, 2 * np.pi, len(tags) + 1)
    figure = _figure(6.0, 5.2 + 0.2 * len(scores))
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    for (label, each), color in zip(scores.items(), _ColorS, strict=False):
        means = [np.nanmean(each[tag]) for tag in tags]
        axes.plot(
            angles,
            [*means, means[0]],
            color=color,
            linewidth=1.8,
            marker="o",
            markersize=4,
            label=label,
            clip_on=False,
        )
        axes.fill(angles, [*means, means[0]], color=color, alpha=0.12, linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks(
        [0.25, 0.5, 0.75, 1.0], labels=["", "0.5", "", "1"], color=_GRAY, fontsize="small"
    )
    axes.set_rlabel_position(math.degrees(angles[1]) / 2)
    axes.set_xticks(angles[:-1], labels=[tag.replace("_", " ") for tag in tags], color=_INK)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=False):
        side = round(math.sin(angle), 6)
        text.set_horizontalalignment("left" if side > 0 else "right" if side < 0 else "center")
    axes.tick_params(axis="x", pad=4)
    axes.grid(color=_PALE, linewidth=0.9)
    axes.spines["polar"].set_color(_GRAY)
    figure.legend(loc="outside lower center", ncols=min(len(scores), 3), frameon=False)
    return figure


def radar(path: str | Path, scores: Mapping[str, Mapping[str, ArrayLike]]) -> Path:
    """Write :func:`radar_figure`, which has the same arguments, to ``path``; its suffix decides the format.

    Returns:
        ``path``.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: as for the figure, or a suffix that names no format.
    """
    return _write(radar_figure(scores), path)
