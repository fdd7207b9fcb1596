"""Promises about rooms: purity of what learns, and what ``import purerl`` gives."""

import ast
from pathlib import Path

import purerl

ROOT = Path(purerl.__file__).parent
OUTSIDE = {"os", "io", "pathlib", "shutil", "time", "datetime", "socket", "subprocess", "urllib"}
# Rooms that may read and write files, look at the clock and print.
WORLDLY = {"figures", "run", "suites", "cli", "__main__", "__init__"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_what_learns_touches_no_file_clock_or_network():
    pure = [
        path
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0].removesuffix(".py") not in WORLDLY
    ]
    assert len(pure) > 80
    for path in pure:
        assert not imported(path) & OUTSIDE, f"{path} imports {imported(path) & OUTSIDE}"


def test_import_purerl_gives_every_room_and_agent():
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    hidden = {"__init__", "__main__", "__pycache__", "checks", "cli", "README", "py.typed"}
    for name in rooms - hidden:
        assert getattr(purerl, name).__name__ == f"purerl.{name}"
    for name, method in purerl.agents.METHODS.items():
        assert getattr(purerl, name) is method.agent
    assert set(purerl.__all__) <= set(dir(purerl))
    assert purerl.__version__.count(".") == 2
