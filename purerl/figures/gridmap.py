"""Values and actions on the map of a gridworld."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from purerl.figures.plotting import GRAY, INK, PALE, ink_on, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.72  # inches
_FLOOR = "F. "
_WALL = "#"
_UNPLAYED = "GHC"
# The least largest magnitude of the values shown, and their decimal places.
_DECIMALS = ((100, 0), (10, 1), (0.1, 2), (0, 3))


def gridworld_figure(
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    layout: Sequence[str],
    directions: Sequence[tuple[int, int]],
    *,
    label: str = "state value",
    title: str | None = None,
) -> "Figure":
    """Values and policies on a map, a panel for each title, with one color scale.

    Every cell of the map is a state, numbered row by row. Of its letters, ``F``, ``.``
    and a space are floor, ``#`` is a wall, and ``G``, ``H`` and ``C`` (goal, hole,
    cliff) are cells without actions: these show the letter, not a value. Any other
    letter, such as ``S`` for the start, is written in a corner beside the value.

    For an environment of :mod:`purerl.envs.grids.gridworld`, ``layout`` is ``env.rows``
    and ``directions`` is ``[MOVES[name] for name in env.directions]``.

    Args:
        maps: by title, the values ``[S]`` and either one action for each state, integer
            ``[S]``, or the set of its greedy actions, bool ``[S, A]``, or the
            probabilities of its actions, float ``[S, A]``. Each action is a triangle
            that points in its direction, of an area in proportion to its probability.
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
    for axes, (name, (values, policy)) in zip(grid, panels.items(), strict=True):
        image = axes.imshow(np.ma.array(values, mask=~acting), cmap="viridis", vmin=low, vmax=high)
        axes.set_title(name, fontsize=11)
        _frame(axes, rows, columns)
        for cell in np.ndindex(rows, columns):
            if acting[cell]:
                ink = ink_on(image.cmap(image.norm(values[cell])))
                number = f"{values[cell]:z.{decimals}f}".replace("-", "\N{MINUS SIGN}")
                _draw_state(axes, cell, number, moves, policy[cell], letters[cell], ink)
            else:
                _draw_letter(axes, cell, letters[cell])
    bar = figure.colorbar(image, ax=grid, label=label, aspect=25)
    bar.outline.set_visible(False)
    if title is not None:
        figure.suptitle(title)
    return figure


def _panel(name, values, policy, acting, num_actions):
    """Values ``[rows, columns]`` and triangles ``[rows, columns, A]``, checked."""
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
        policy = policy[:, None] == np.arange(num_actions)
    elif policy.shape == (acting.size, num_actions) and np.issubdtype(policy.dtype, np.floating):
        shown = policy[acting.ravel()]
        sums = shown.sum(axis=1)
        if not ((shown >= 0).all() and (abs(sums - 1) < 1e-3).all()):
            raise ValueError(
                f"maps[{name!r}] has a policy that is not one of probabilities: "
                f"the least is {shown.min()}, the sums are {sums.min()} to {sums.max()}"
            )
    elif policy.shape != (acting.size, num_actions) or policy.dtype != bool:
        raise ValueError(
            f"maps[{name!r}] has a policy of {policy.dtype} {policy.shape}; it must be "
            f"integer ({acting.size},), or bool or float ({acting.size}, {num_actions})"
        )
    if not np.isfinite(values[acting.ravel()]).all():
        state = np.flatnonzero(acting.ravel() & ~np.isfinite(values))[0]
        raise ValueError(
            f"maps[{name!r}] has the value {values[state]} in state {state}; it must be finite"
        )
    return values.reshape(acting.shape), policy.reshape(*acting.shape, num_actions)


def _frame(axes, rows, columns):
    axes.set_xticks(np.arange(columns + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(rows + 1) - 0.5, labels=[])
    axes.grid(color="white", linewidth=1.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_state(axes, cell, number, directions, areas, letter, ink):
    from matplotlib.patches import Polygon

    row, column = cell
    axes.text(
        column, row, number, color=ink, ha="center", va="center", fontsize=min(9, 45 / len(number))
    )
    for direction, area in zip(directions[:, ::-1], areas, strict=True):
        if area == 0:
            continue
        ahead = np.sqrt(area) * direction / np.hypot(*direction)
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
        Rectangle((column - 0.5, row - 0.5), 1, 1, color=GRAY if wall else PALE, linewidth=0)
    )
    axes.text(
        column,
        row,
        letter,
        color="white" if wall else INK,
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
