import subprocess
import sys

import numpy as np
import pytest

from purerl.figures import curves, gridmap

pytest.importorskip("matplotlib")

STEPS = np.arange(1, 21) * 1000
LAKE = ("SFFF", "FHFH", "FFFH", "HFFG")
LEFT_DOWN_RIGHT_UP = ((0, -1), (1, 0), (0, 1), (-1, 0))


def walks(n, seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.5, size=(n, len(STEPS))).cumsum(axis=1)


def png_size(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


# --- files --------------------------------------------------------------------


def test_pictures_are_written_whole_and_nothing_else(tmp_path):
    import matplotlib.image

    maps = {"learned": (np.arange(16) / 20, np.full(16, 2))}

    drawn = curves.learning_curves(tmp_path / "curves.png", {"a": walks(5)}, STEPS, ylabel="return")
    grid = gridmap.gridworld(str(tmp_path / "grid.png"), maps, LAKE, LEFT_DOWN_RIGHT_UP)
    assert (drawn, grid) == (tmp_path / "curves.png", tmp_path / "grid.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "grid.png"]
    assert png_size(drawn)[0] == 960
    for path in (drawn, grid):
        assert (
            len(np.unique((matplotlib.image.imread(path) * 255).astype(np.uint8).view(np.uint32)))
            > 50
        )
    before = drawn.read_bytes()
    curves.learning_curves(drawn, {"a": walks(5)}, STEPS, ylabel="return")
    assert drawn.read_bytes() == before  # a function of its arguments


@pytest.mark.parametrize(
    ("suffix", "head"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_the_suffix_decides_the_format(tmp_path, suffix, head):
    path = curves.learning_curves(tmp_path / f"a.{suffix}", {"a": walks(3)}, STEPS, ylabel="return")
    assert path.read_bytes().startswith(head)


@pytest.mark.parametrize("name", ["picture", "picture.npz"])
def test_a_suffix_without_a_format_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}'; its suffix must be one of .*\.png"):
        curves.learning_curves(tmp_path / name, {"a": walks(3)}, STEPS, ylabel="return")
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
        curves.learning_curves(path, {"a": walks(3)}, STEPS, ylabel="return")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.png", b"old")]


# --- matplotlib is optional, and its global state is left alone ---------------


def test_importing_does_not_import_matplotlib_and_drawing_does_not_import_pyplot(tmp_path):
    program = """
import sys
import numpy as np
import purerl.figures.curves as figures
assert "matplotlib" not in sys.modules
curves = {"a": np.ones((3, 4))}
figures.learning_curves(sys.argv[1], curves, np.arange(4), ylabel="return")
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.png")], check=True)
