"""The map of rooms is true, and a fault in the API reference stops its build."""

import ast
import importlib.util
from pathlib import Path

import pytest

import purerl

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "purerl"


@pytest.fixture(scope="module")
def reference():
    path = ROOT / ".github" / "docs" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported_rooms(path):
    """The rooms that a file imports from, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("purerl."))


def test_the_map_has_every_room(reference):
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(reference.rooms()) == {name for name in found if not name.startswith("_")}


def test_rooms_import_only_from_rooms_above(reference):
    rooms = reference.rooms()
    for place, room in enumerate(rooms):
        folder = PACKAGE / room
        files = folder.rglob("*.py") if folder.is_dir() else [PACKAGE / f"{room}.py"]
        for path in files:
            below = set(imported_rooms(path)) - set(rooms[: place + 1])
            assert not below, f"{path.relative_to(ROOT)} imports from {sorted(below)}"


@pytest.fixture
def small(reference, monkeypatch, tmp_path):
    """Build the reference of two modules, one of them with the docstring given."""
    for module in ("sphinx", "furo", "ziamath"):
        pytest.importorskip(module, reason="needs the docs extra")
    monkeypatch.setattr(reference, "modules", lambda: ("purerl", "purerl.metrics"))
    monkeypatch.setattr(purerl, "__all__", ["metrics"])

    def build(docstring):
        monkeypatch.setattr(purerl.metrics, "__doc__", docstring)
        return reference.build(tmp_path), (tmp_path / "purerl.metrics.html").read_text()

    return build


def test_references_lead_to_their_targets_by_any_name(small):
    problems, page = small(
        "Title.\n\nSee :class:`Mean`, :class:`purerl.rollout.Mean`, "
        ":func:`purerl.metrics.averages`, :class:`int`, :class:`jax.Array` and :math:`\\alpha`."
    )
    assert problems == []
    text = page.split("<p>See ")[1].split("</p>")[0]
    assert text.count('href="#purerl.metrics.Mean"') == 2
    assert text.count('href="#purerl.metrics.averages"') == 1
    assert "<mi>α</mi>" in page


@pytest.mark.parametrize(
    "fault",
    [
        ":func:`no_such_function`",
        ":class:`purerl.metrics.NoSuchClass`",
        ":math:`\\nosuchcommand`",
        "``an open literal",
    ],
)
def test_a_fault_in_a_docstring_stops_the_build(small, fault, capsys):
    assert small(f"Title.\n\nSee {fault}.")[0] == ["Sphinx warns, see above"]
    assert capsys.readouterr().err.count("WARNING") == 1


def test_a_name_without_an_entry_stops_the_build(small, reference, monkeypatch):
    monkeypatch.setattr(reference, "page", lambda module: f"{module}\n{'=' * 40}\n")
    problems, _ = small("Title.")
    assert "purerl.metrics.Mean has no entry" in problems
