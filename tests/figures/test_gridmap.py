import numpy as np
import pytest

from purerl.figures import gridmap

pytest.importorskip("matplotlib")

LAKE = ("SFFF", "FHFH", "FFFH", "HFFG")
LEFT_DOWN_RIGHT_UP = ((0, -1), (1, 0), (0, 1), (-1, 0))


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
    figure = gridmap.gridworld_figure(
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
    figure = gridmap.gridworld_figure(maps, LAKE, LEFT_DOWN_RIGHT_UP)
    images = [axes.images[0] for axes in figure.axes[:2]]
    assert [image.get_clim() for image in images] == [(0.0, 0.75)] * 2
    np.testing.assert_array_equal(
        images[0].get_array().mask, [[letter in "HG" for letter in row] for row in LAKE]
    )


def test_walls_cliffs_and_unknown_letters():
    values = np.array([-100.0, -3.0, np.nan, -1.0, -0.4, np.nan])
    figure = gridmap.gridworld_figure(
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
    figure = gridmap.gridworld_figure({"king": ([1.0], np.ones((1, 8), bool))}, ["S"], kings)
    assert triangles(figure.axes[0]) == {(0, 0): set(kings)}
    for patch in figure.axes[0].patches:
        assert np.abs(patch.get_xy()).max() < 0.5  # inside the cell
        tip, left, right = patch.get_xy()[:3]
        assert abs(np.linalg.det([left - tip, right - tip])) / 2 > 0.01  # and large enough to see


def test_areas_are_probabilities():
    policy = np.array([[0.75, 0.25, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    figure = gridmap.gridworld_figure({"a": ([1.0, 2.0], policy)}, ["SF"], LEFT_DOWN_RIGHT_UP)
    areas = []
    for patch in figure.axes[0].patches:
        tip, left, right = patch.get_xy()[:3]
        areas.append(abs(np.linalg.det([left - tip, right - tip])) / 2)
    np.testing.assert_allclose(np.array(areas) / areas[-1], [0.75, 0.25, 1.0])


@pytest.mark.parametrize(("columns", "side_by_side"), [(4, True), (12, False)])
def test_wide_maps_are_stacked(columns, side_by_side):
    values, actions = np.zeros(2 * columns), np.zeros(2 * columns, int)
    figure = gridmap.gridworld_figure(
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
            r"policy of bool \(4, 3\).* bool or float \(4, 4\)",
            {"maps": {"a": (np.zeros(4), np.zeros((4, 3), bool))}},
        ),
        (
            "not one of probabilities: the least is 0.5, the sums are 2.0 to 2.0",
            {"maps": {"a": (np.zeros(4), np.full((4, 4), 0.5))}},
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
        gridmap.gridworld_figure(**good | arguments)
