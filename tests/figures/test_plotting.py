import subprocess
import sys

import numpy as np
import pytest

from purerl.figures import plotting
from purerl.figures.statistics import bootstrap_curves, iqm, mean

pytest.importorskip("matplotlib")

STEPS = np.arange(1, 21) * 1000
LAKE = ("SFFF", "FHFH", "FFFH", "HFFG")
LEFT_DOWN_RIGHT_UP = ((0, -1), (1, 0), (0, 1), (-1, 0))


def walks(n, seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.5, size=(n, len(STEPS))).cumsum(axis=1)


def curve_axes(*args, **options):
    figure = plotting.learning_curves_figure(*args, **{"ylabel": "return"} | options)
    (axes,) = figure.axes
    return figure, axes


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def band_of(axes, i=0):
    """Lower and upper edge of a filled band, by step."""
    (polygon,) = axes.collections[i].get_paths()
    edges = {}
    for step, value in polygon.vertices:
        edges.setdefault(step, []).append(value)
    steps = sorted(edges)
    return (
        np.array(steps),
        np.array([min(edges[s]) for s in steps]),
        np.array([max(edges[s]) for s in steps]),
    )


def png_size(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


# --- learning curves ----------------------------------------------------------


def test_each_label_has_its_line_and_its_bootstrap_band():
    curves = {"a": walks(16), "b": walks(9, seed=1) + 5}
    figure, axes = curve_axes(curves, STEPS, title="walks")
    assert legend(figure) == ["a (n=16)", "b (n=9)"]
    assert len(axes.get_lines()) == len(axes.collections) == 2
    for i, values in enumerate(curves.values()):
        point, low, high = bootstrap_curves(values, iqm, np.random.default_rng(0))
        np.testing.assert_array_equal(
            axes.get_lines()[i].get_xydata(), np.stack([STEPS, point], axis=1)
        )
        for drawn, expected in zip(band_of(axes, i), (STEPS, low, high), strict=True):
            np.testing.assert_array_equal(drawn, expected)
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "walks",
        "environment steps",
        "return",
    )
    first, second = axes.get_lines()
    assert first.get_color() != second.get_color()


def test_the_statistic_is_the_callers():
    values = walks(8)
    values[0] += 1000
    _, axes = curve_axes({"a": values}, STEPS, statistic=mean)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), values.mean(axis=0))


def test_points_use_the_seeds_that_are_there():
    values = walks(8)
    values[:, :3] = np.nan  # no episode has ended yet
    values[2:, 3] = np.nan  # two seeds are there
    values[1:, 4] = np.nan  # one is
    figure, axes = curve_axes({"a": values}, STEPS)
    assert legend(figure) == ["a (n=8)"]
    line = axes.get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), STEPS[3:])
    assert line.get_ydata()[0] == pytest.approx(values[:2, 3].mean())
    assert line.get_ydata()[1] == values[0, 4]
    point, low, high = bootstrap_curves(values[:, 5:], iqm, np.random.default_rng(0))
    np.testing.assert_array_equal(line.get_ydata()[2:], point)
    # The band is broken where a single seed has no spread.
    first, rest = axes.collections[0].get_paths()
    assert set(first.vertices[:, 0]) == {STEPS[3]}
    assert first.vertices[:, 1].max() == values[:2, 3].max()
    assert set(rest.vertices[:, 0]) == set(STEPS[5:])
    assert rest.vertices[:, 1].min() == low.min() and rest.vertices[:, 1].max() == high.max()


def test_seeds_missing_at_the_end_are_told():
    values = walks(8)
    values[5, 12:], values[6, 15:] = np.nan, np.nan
    figure, axes = curve_axes(
        {"diverged": values, "never": np.full((3, len(STEPS)), np.nan)}, STEPS
    )
    assert legend(figure) == ["diverged (n=6 of 8)", "never (n=0 of 3)"]
    assert axes.get_lines()[0].get_ydata()[-1] == pytest.approx(
        iqm(np.delete(values[:, -1], [5, 6]))
    )
    assert len(axes.get_lines()[1].get_xdata()) == 0


def test_infinite_values_count_and_are_shown():
    values = walks(8)
    values[:6, 15:], values[6, 15:] = -np.inf, np.nan  # at most points most are infinite
    values[0, 3] = -np.inf  # one in eight is not in the middle half
    figure, axes = curve_axes({"lost": values}, STEPS)
    assert legend(figure) == ["lost (n=7 of 8, 6 at -inf)"]
    line, triangles = axes.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), STEPS[:15])
    assert line.get_ydata()[3] == pytest.approx(np.sort(values[:, 3])[2:6].mean())
    np.testing.assert_array_equal(triangles.get_xdata(), STEPS[15:])
    assert set(triangles.get_ydata()) == {0.0} and triangles.get_marker() == "v"


def test_one_seed_is_a_line_without_a_band():
    figure, axes = curve_axes({"a": walks(1)}, STEPS)
    assert legend(figure) == ["a (n=1)"]
    assert axes.collections[0].get_paths() == []
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), walks(1)[0])


def test_one_point_is_a_dot():
    _, axes = curve_axes({"a": walks(4)[:, :1]}, STEPS[:1])
    assert axes.get_lines()[0].get_marker() == "o"


def test_the_reference_is_a_labeled_horizontal_line():
    figure, axes = curve_axes({"a": walks(4)}, STEPS, reference=(500.0, "optimum"))
    assert legend(figure) == ["a (n=4)", "optimum"]
    np.testing.assert_array_equal(axes.get_lines()[1].get_ydata(), [500.0, 500.0])
    assert axes.get_ylim()[1] > 500


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_scales(log):
    _, axes = curve_axes({"a": walks(4)}, STEPS, log=log)
    assert (axes.get_xscale(), axes.get_yscale()) == tuple(
        "log" if side in log else "linear" for side in "xy"
    )


def test_the_slope_lies_just_above_a_curve_of_that_slope():
    steps = np.logspace(1, 6, 51)
    figure, axes = curve_axes(
        {"error": np.tile(3 * steps**-0.5, (4, 1))}, steps, log="xy", slope=-0.5
    )
    assert len(legend(figure)) == 2 and "-0.5" in legend(figure)[1]
    t, value = axes.get_lines()[1].get_data()
    np.testing.assert_allclose(t, [1e4, 1e6])
    np.testing.assert_allclose(value, 4.5 * t**-0.5)


def test_a_curve_that_ends_at_zero_has_no_slope_beside_it():
    figure, _ = curve_axes({"exact": np.zeros((4, len(STEPS)))}, STEPS, log="xy", slope=-0.5)
    assert legend(figure) == ["exact (n=4)"]


def test_many_labels_are_told_apart_and_all_in_the_picture():
    figure, axes = curve_axes(
        {f"learning_rate={i}, epsilon=0.1": walks(2, i) for i in range(20)}, STEPS
    )
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 20
    figure.canvas.draw()
    box, area = figure.legends[0].get_window_extent(), figure.bbox
    assert area.x0 <= box.x0 and box.x1 <= area.x1 and area.y0 <= box.y0 and box.y1 <= area.y1
    assert not box.overlaps(axes.get_tightbbox())
    assert axes.get_position().height * figure.get_figheight() > 2


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("curves is empty", {"curves": {}}),
        (r"steps has shape \(4, 5\)", {"steps": STEPS.reshape(4, 5)}),
        (r"curves\['a'\] has shape \(20,\); it must be \[N, 20\]", {"curves": {"a": STEPS}}),
        (r"curves\['a'\] has shape \(3, 7\)", {"curves": {"a": np.zeros((3, 7))}}),
        (r"curves\['a'\] has shape \(0, 20\)", {"curves": {"a": np.zeros((0, 20))}}),
        ("log is 'z'", {"log": "z"}),
        ("slope is -0.5 and log is 'y'", {"log": "y", "slope": -0.5}),
    ],
)
def test_bad_arguments_of_learning_curves(match, arguments):
    with pytest.raises(ValueError, match=match):
        plotting.learning_curves_figure(
            **{"curves": {"a": walks(3)}, "steps": STEPS, "ylabel": "return"} | arguments
        )


# --- gridworlds ---------------------------------------------------------------


def lake_maps():
    values = np.arange(16) / 20
    sets = np.zeros((16, 4), bool)
    sets[:, 1] = True
    sets[0, 2] = True
    return {"learned": (values + 0.05, np.full(16, 2)), "optimum": (values, sets)}


def triangles(axes):
    """By cell, the directions of its triangles, from the base's middle to the tip."""
    from matplotlib.patches import Polygon

    found = {}
    for patch in axes.patches:
        if isinstance(patch, Polygon):
            tip, *base = patch.get_xy()[:3]
            cell = tuple(int(i) for i in np.round(patch.get_xy()[:3].mean(axis=0)[::-1]))
            ahead = (tip - np.mean(base, axis=0))[::-1]
            found.setdefault(cell, set()).add(tuple(int(i) for i in np.sign(np.round(ahead, 6))))
    return found


def test_values_actions_and_letters_are_in_their_cells():
    figure = plotting.gridworld_figure(
        lake_maps(), LAKE, LEFT_DOWN_RIGHT_UP, title="lake", label="value"
    )
    learned, optimum, bar = figure.axes
    assert [learned.get_title(), optimum.get_title(), bar.get_ylabel()] == [
        "learned",
        "optimum",
        "value",
    ]
    acting = {(r, c) for r in range(4) for c in range(4) if LAKE[r][c] in "SF"}
    assert triangles(learned) == {cell: {(0, 1)} for cell in acting}
    assert triangles(optimum) == {cell: {(1, 0)} for cell in acting - {(0, 0)}} | {
        (0, 0): {(1, 0), (0, 1)}
    }

    texts = {
        (*np.round(text.get_position()[::-1]).astype(int).tolist(), text.get_text())
        for text in optimum.texts
    }
    numbers = {(r, c, f"{(4 * r + c) / 20:.2f}") for r, c in acting}
    letters = {(r, c, LAKE[r][c]) for r in range(4) for c in range(4) if LAKE[r][c] != "F"}
    assert texts == numbers | letters


def test_panels_share_one_scale_over_the_cells_acted_in():
    maps = lake_maps()
    maps["learned"][0][15] = 1e9  # the goal, which is not shown
    figure = plotting.gridworld_figure(maps, LAKE, LEFT_DOWN_RIGHT_UP)
    images = [axes.images[0] for axes in figure.axes[:2]]
    assert [image.get_clim() for image in images] == [(0.0, 0.75)] * 2
    np.testing.assert_array_equal(
        images[0].get_array().mask, [[letter in "HG" for letter in row] for row in LAKE]
    )


def test_walls_cliffs_and_unknown_letters():
    values = np.array([-100.0, -3.0, np.nan, -1.0, -0.4, np.nan])
    figure = plotting.gridworld_figure(
        {"grid": (values, [0, 1, 9, 2, 3, -1])}, ["A.C", "S #"], LEFT_DOWN_RIGHT_UP
    )
    axes = figure.axes[0]
    assert triangles(axes) == {
        (0, 0): {(0, -1)},
        (0, 1): {(1, 0)},
        (1, 0): {(0, 1)},
        (1, 1): {(-1, 0)},
    }
    assert sorted(text.get_text() for text in axes.texts) == sorted(
        ["−100", "A", "−3", "C", "−1", "S", "0", "#"]
    )


def test_actions_may_be_diagonal():
    kings = [(dr, dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if (dr, dc) != (0, 0)]
    figure = plotting.gridworld_figure({"king": ([1.0], np.ones((1, 8), bool))}, ["S"], kings)
    assert triangles(figure.axes[0]) == {(0, 0): set(kings)}
    for patch in figure.axes[0].patches:
        assert np.abs(patch.get_xy()).max() < 0.5  # inside the cell
        tip, left, right = patch.get_xy()[:3]
        assert abs(np.linalg.det([left - tip, right - tip])) / 2 > 0.01  # and large enough to see


@pytest.mark.parametrize(("columns", "side_by_side"), [(4, True), (12, False)])
def test_wide_maps_are_stacked(columns, side_by_side):
    values, actions = np.zeros(2 * columns), np.zeros(2 * columns, int)
    figure = plotting.gridworld_figure(
        {"a": (values, actions), "b": (values, actions)}, ["." * columns] * 2, LEFT_DOWN_RIGHT_UP
    )
    first, second = (axes.get_subplotspec() for axes in figure.axes[:2])
    assert (first.rowspan == second.rowspan, first.colspan == second.colspan) == (
        side_by_side,
        not side_by_side,
    )


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("maps is empty", {"maps": {}}),
        ("layout is .* rows of one length", {"layout": ("SF", "F")}),
        ("layout is .* with a cell that is none of", {"layout": ("HG", "##")}),
        ("layout is", {"layout": ()}),
        (r"directions is .* other than \(0, 0\)", {"directions": ((0, 0), (0, 1))}),
        ("directions is", {"directions": (0, 1)}),
        (
            r"values of shape \(3,\); the layout has 4 cells",
            {"maps": {"a": (np.zeros(3), np.zeros(4, int))}},
        ),
        (r"policy of float64 \(4,\)", {"maps": {"a": (np.zeros(4), np.zeros(4))}}),
        (
            r"policy of bool \(4, 3\).* bool \(4, 4\)",
            {"maps": {"a": (np.zeros(4), np.zeros((4, 3), bool))}},
        ),
        (
            "has action 4; directions allow 0 to 3",
            {"maps": {"a": (np.zeros(4), np.array([0, 1, 4, 0]))}},
        ),
        (
            "has the value nan in state 1",
            {"maps": {"a": (np.array([0, np.nan, 0, 0]), np.zeros(4, int))}},
        ),
    ],
)
def test_bad_arguments_of_gridworlds(match, arguments):
    good = {
        "maps": {"a": (np.zeros(4), np.zeros(4, int))},
        "layout": ("SF", "FG"),
        "directions": LEFT_DOWN_RIGHT_UP,
    }
    with pytest.raises(ValueError, match=match):
        plotting.gridworld_figure(**good | arguments)


# --- files --------------------------------------------------------------------


def test_pictures_are_written_whole_and_nothing_else(tmp_path):
    import matplotlib.image

    curves = plotting.learning_curves(
        tmp_path / "curves.png", {"a": walks(5)}, STEPS, ylabel="return"
    )
    grid = plotting.gridworld(str(tmp_path / "grid.png"), lake_maps(), LAKE, LEFT_DOWN_RIGHT_UP)
    assert (curves, grid) == (tmp_path / "curves.png", tmp_path / "grid.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "grid.png"]
    assert png_size(curves)[0] == 960
    for path in (curves, grid):
        assert (
            len(np.unique((matplotlib.image.imread(path) * 255).astype(np.uint8).view(np.uint32)))
            > 50
        )
    before = curves.read_bytes()
    plotting.learning_curves(curves, {"a": walks(5)}, STEPS, ylabel="return")
    assert curves.read_bytes() == before  # a function of its arguments


@pytest.mark.parametrize(
    ("suffix", "head"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_the_suffix_decides_the_format(tmp_path, suffix, head):
    path = plotting.learning_curves(
        tmp_path / f"a.{suffix}", {"a": walks(3)}, STEPS, ylabel="return"
    )
    assert path.read_bytes().startswith(head)


@pytest.mark.parametrize("name", ["picture", "picture.npz"])
def test_a_suffix_without_a_format_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}'; its suffix must be one of .*\.png"):
        plotting.learning_curves(tmp_path / name, {"a": walks(3)}, STEPS, ylabel="return")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def half(self, file, **_):
        file.write(b"half a picture")
        raise OSError("disk full")

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plotting.learning_curves(path, {"a": walks(3)}, STEPS, ylabel="return")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.png", b"old")]


# --- matplotlib is optional, and its global state is left alone ---------------


def test_importing_does_not_import_matplotlib_and_drawing_does_not_import_pyplot(tmp_path):
    program = """
import sys
import numpy as np
import purerl.figures.plotting
assert "matplotlib" not in sys.modules
curves = {"a": np.ones((3, 4))}
purerl.figures.plotting.learning_curves(sys.argv[1], curves, np.arange(4), ylabel="return")
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.png")], check=True)
