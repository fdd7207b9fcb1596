import itertools

import numpy as np
import pytest

from purerl.figures import curves as figures
from purerl.figures.statistics import bootstrap_curves, iqm, mean

pytest.importorskip("matplotlib")

STEPS = np.arange(1, 21) * 1000


def walks(n, seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.5, size=(n, len(STEPS))).cumsum(axis=1)


def curve_axes(*args, **options):
    figure = figures.learning_curves_figure(*args, **{"ylabel": "return"} | options)
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
    figure, axes = curve_axes({"exact": np.zeros((4, len(STEPS)))}, STEPS, log="xy", slope=-0.5)
    assert legend(figure) == ["exact (n=4)"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")  # zero is seen


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_nothing_to_show_on_a_logarithmic_axis_is_no_warning(value):
    nothing = {"a": np.full((4, len(STEPS)), value)}
    _, axes = curve_axes(nothing, STEPS, log="xy")
    assert axes.get_yscale() == "linear"
    figure = figures.small_multiples_figure(nothing, STEPS, ylabel="error", log="xy")
    assert figure.axes[0].get_yscale() == "linear"


def numbers_below(axes):
    """Boxes and texts of the numbers below a picture, within its axis."""
    low, high = axes.get_xlim()
    labels = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    labels = [label for label in labels if label.get_visible()]
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
    return [(label.get_window_extent(), label.get_text()) for label in labels]


@pytest.mark.parametrize("decades", [0.1, 0.3, 0.6, 1, 1.2, 1.7, 2, 2.7])
@pytest.mark.parametrize("labels", [1, 10])
def test_numbers_below_a_logarithmic_axis_do_not_overlap(labels, decades):
    steps = 50_000 * np.logspace(0, decades, 20)
    curves = {f"{i}": np.ones((1, 20)) for i in range(labels)}
    draw = figures.learning_curves_figure if labels == 1 else figures.small_multiples_figure
    figure = draw(curves, steps, ylabel="error", log="x")
    figure.canvas.draw()
    shown = numbers_below(figure.axes[labels - 1])
    assert 2 <= len(shown) <= 12
    for (box, _), (other, _) in itertools.pairwise(shown):
        assert other.x0 > box.x1
    assert {text[-1] for _, text in shown} <= {"k", "M", "G"}  # no powers


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
        figures.learning_curves_figure(
            **{"curves": {"a": walks(3)}, "steps": STEPS, "ylabel": "return"} | arguments
        )
