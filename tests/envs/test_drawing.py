"""Pictures pixel by pixel: what covers how much of what, which way is up, and shapes
that are hardly any."""

import numpy as np
import pytest

from purerl.envs import drawing
from purerl.envs.drawing import BLACK, BLUE, RED, WHITE, box, cells, disc, draw, line, shades


def cover(shapes, width=8, window=(0, 8, 0, 8)):
    """How much of each pixel black covers, by what is left of white, in [0, 1]."""
    picture = draw(shapes, *window, width=width)
    return (255 - picture[..., 0].astype(float)) / (255 - BLACK[0])


def test_a_box_between_pixels_is_exact():
    expected = np.zeros((8, 8))
    expected[1:4, 2:7] = 1  # y from 4 to 7 upwards is rows 1 to 3 downwards
    np.testing.assert_array_equal(cover([box(4.5, 5.5, 5, 3, BLACK)]), expected)


def test_up_is_up_and_right_is_right():
    picture = draw([box(7.5, 7.5, 1, 1, BLUE), box(0.5, 0.5, 1, 1, RED)], 0, 8, 0, 8, width=8)
    assert tuple(picture[0, 7]) == BLUE and tuple(picture[7, 0]) == RED
    assert tuple(picture[0, 0]) == tuple(picture[7, 7]) == WHITE


def test_edges_within_pixels_cover_a_part():
    """From 1.25 to 5.5: a quarter less of the first, half of the last."""
    np.testing.assert_allclose(
        cover([box(3.375, 4, 4.25, 8, BLACK)])[4], [0, 0.75, 1, 1, 1, 0.5, 0, 0], atol=0.01
    )


@pytest.mark.parametrize("sense", [1, -1])
def test_corners_may_go_round_either_way(sense):
    corners = np.array([[1, 1], [7, 1], [1, 7]])[::sense]
    seen = cover([(corners, BLACK)])
    assert seen[6, 1] == seen[4, 2] == 1 and seen[1, 6] == seen[2, 5] == 0
    assert 0.3 < seen[4, 4] < 0.7  # on the slope


def test_areas_are_the_shapes():
    for shape, area in [
        (disc(4, 4, 3, BLACK), 12 * 9 * np.sin(np.pi / 12)),  # of 24 corners
        (line((1, 1), (7, 5), 1.5, BLACK), 1.5 * np.hypot(6, 4)),
        (box(4, 4, 5.5, 2.5, BLACK), 5.5 * 2.5),
    ]:
        assert cover([shape], width=400).sum() / 50**2 == pytest.approx(area, rel=2e-3)


def test_a_disc_is_round():
    y, x = (np.indices((200, 200)) + 0.5) / 25
    distance = np.hypot(x - 5, (8 - y) - 3)
    seen = cover([disc(5, 3, 2, BLACK)], width=200)
    assert (seen[distance < 1.93] == 1).all() and (seen[distance > 2.05] == 0).all()


def test_lines_go_from_point_to_point():
    assert (cover([line((1, 2.5), (6, 2.5), 1, BLACK)])[5] == [0, 1, 1, 1, 1, 1, 0, 0]).all()
    assert (cover([line((2.5, 7), (2.5, 4), 1, BLACK)])[:, 2] == [0, 1, 1, 1, 0, 0, 0, 0]).all()
    np.testing.assert_array_equal(
        cover([line((1, 2), (6, 5), 1, BLACK)]), cover([line((6, 5), (1, 2), 1, BLACK)])
    )


def test_a_thin_line_is_seen():
    thin = cover([line((1, 2.5), (6, 2.5), 1e-3, BLACK)])
    assert (thin[5, 1:6] > 0.45).all() and thin.sum() < 4


NOTHING = [
    line((3, 3), (3, 3), 2, BLACK),
    line((1, 1), (6, 5), 0, BLACK),
    box(4, 4, 0, 3, BLACK),
    box(4, 4, 3, 0, BLACK),
    disc(4, 4, 0, BLACK),
    line((1, 1), (np.nan, 5), 1, BLACK),
    box(np.inf, 4, 1, 1, BLACK),
    (np.array([[1, 1], [3, 3], [5, 5]]), BLACK),
]


@pytest.mark.parametrize("shape", NOTHING)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_shapes_without_an_area_or_an_end_are_nothing(shape):
    """Not half of everything, as when each edge of no length covers a half."""
    assert not cover([shape]).any()


def test_a_corner_twice_is_one_corner():
    corners = np.array([[1, 1], [7, 1], [7, 1], [7, 7], [1, 7], [1, 7]])
    np.testing.assert_array_equal(cover([(corners, BLACK)]), cover([box(4, 4, 6, 6, BLACK)]))


@pytest.mark.parametrize("at", [(-50, 4), (4, 99), (1e9, 1e9), (-1e300, 0)])
def test_what_lies_outside_of_the_window_is_not_seen(at):
    assert not cover([box(*at, 2, 2, BLACK)]).any()


def test_what_lies_across_the_border_is_cut_off():
    expected = np.zeros((8, 8))
    expected[6:, :3] = 1
    np.testing.assert_array_equal(cover([box(0, 0, 6, 4, BLACK)]), expected)
    assert (cover([box(0, 0, 1e6, 1e6, BLACK)]) == 1).all()


def test_a_sharp_corner_grows_no_spike():
    needle = np.array([[5, 4.5], [60, 4.4], [60, 4.6]])
    seen = cover([(needle, BLACK)], width=64, window=(0, 64, 0, 8))
    assert seen[3, 10] > 0.4 and not seen[:, :4].any()


def test_the_last_shape_is_on_top_and_half_a_cover_blends():
    picture = draw([box(4, 4, 8, 8, RED), box(4, 4, 3, 2, BLUE)], 0, 8, 0, 8, width=8)
    assert tuple(picture[4, 4]) == BLUE and tuple(picture[1, 1]) == RED
    np.testing.assert_array_equal(picture[4, 2], np.round((np.array(RED) + BLUE) / 2))


def test_background_and_size():
    picture = draw([], -1, 3, 0, 1, width=40, background=BLUE)
    assert (picture.shape, picture.dtype) == ((10, 40, 3), np.uint8)
    assert (picture == BLUE).all()
    assert draw([], 0, 1, 0, 1).shape == (240, 240, 3)
    assert (draw([], 0, 1, 0, 1, width=3) == WHITE).all()


def test_cells():
    colors = np.array([[BLUE, RED, WHITE], [WHITE, BLUE, RED]])
    picture = cells(colors, size=10)
    assert (picture.shape, picture.dtype) == ((20, 30, 3), np.uint8)
    for i in range(2):
        for j in range(3):
            cell = picture[10 * i : 10 * i + 10, 10 * j : 10 * j + 10]
            assert (cell[:9, :9] == colors[i, j]).all()
            for edge in (cell[9], cell[:, 9]):
                assert (edge <= colors[i, j]).all() and (
                    edge.sum(axis=-1) < colors[i, j].sum()
                ).all()
    np.testing.assert_array_equal(cells(colors, size=3)[1::3, 1::3], colors)
    np.testing.assert_array_equal(cells(colors, size=3), colors.repeat(3, 0).repeat(3, 1))


def test_characters_dot_by_dot():
    """An arrowhead and a two, with one dot between them, once also magnified."""
    picture = np.full((9, 9, 3), WHITE, np.uint8)
    drawing.write(picture, ">2", 4, 4, RED, size=1)
    expected = [
        ".........",
        ".........",
        ".#...###.",
        ".##....#.",
        ".###.###.",
        ".##..#...",
        ".#...###.",
        ".........",
        ".........",
    ]
    dots = np.array([list(line) for line in expected]) == "#"
    assert (picture[dots] == RED).all() and (picture[~dots] == WHITE).all()
    larger = np.full((27, 27, 3), WHITE, np.uint8)
    drawing.write(larger, ">2", 13, 13, RED, size=3)
    np.testing.assert_array_equal(larger, picture.repeat(3, 0).repeat(3, 1))


def test_nothing_is_written_of_no_characters():
    picture = np.full((4, 4, 3), WHITE, np.uint8)
    drawing.write(picture, "", 2, 2)
    assert (picture == WHITE).all()


def test_characters_differ():
    seen = set()
    for character in "0123456789-.?<>":
        picture = np.full((6, 4, 3), WHITE, np.uint8)
        drawing.write(picture, character, 3, 2, size=1)
        assert (picture == BLACK).any()
        seen.add(picture.tobytes())
    assert len(seen) == 15


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.004, "0"),
        (1, "1"),
        (-0.1, "-0.1"),
        (0.125, "0.12"),
        (100, "100"),
        (10.5, "10.5"),
    ],
)
def test_numbers_have_two_decimals_at_most(value, text):
    assert drawing.number(value) == text


def test_shades():
    dark, middle, bright = [24, 36, 64], [137, 136, 117], [250, 236, 170]
    np.testing.assert_array_equal(shades([[-3, 1], [5, -3]]), [[dark, middle], [bright, dark]])
    np.testing.assert_array_equal(shades([False, True]), [[dark, bright]])
    np.testing.assert_array_equal(shades(7.0), [[dark]])
    assert shades(np.zeros((2, 3))).tolist() == [[dark] * 3] * 2
    assert shades([0.0]).dtype == np.uint8


def test_shades_lay_planes_side_by_side():
    planes = np.arange(12).reshape(2, 3, 2)
    seen = shades(planes)
    assert seen.shape == (2, 6, 3)
    np.testing.assert_array_equal(seen, shades(np.hstack([planes[..., 0], planes[..., 1]])))
    assert shades(np.zeros((2, 3, 4, 5))).shape == (2, 60, 3)


def test_colors_differ():
    colors = [value for name, value in vars(drawing).items() if name.isupper() and name[0] != "_"]
    assert len(set(colors)) == len(colors) == 12
