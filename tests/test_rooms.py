"""The order of the modules: each imports only from those above it."""

import ast
from pathlib import Path

import pytest

import purerl

ROOT = Path(purerl.__file__).parent
# From the top down. What stands in one row may import each other, in one direction.
ROWS = (
    ("pytree", "checks", "random", "timescan"),
    ("bellman", "schedule", "policy", "metrics"),
    ("mdp",),
    ("envs",),
    ("networks",),
    ("replay", "rollout"),
    ("agents",),
    ("figures",),
    ("run",),
    ("suites",),
    ("cli", "__main__"),
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}
NO_FILES = {room for room, level in LEVEL.items() if level <= LEVEL["agents"]}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names that a module imports from purerl, and the top of those from
    elsewhere."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            if node.module == "purerl":
                names |= {f"purerl.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def test_every_module_has_its_place():
    assert {room(path) for path in MODULES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) != "__init__"], ids=str)
def test_a_module_imports_only_from_rooms_above(path):
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "purerl" and len(parts) > 1 and room(path) not in ("cli", "__main__"):
            assert LEVEL[parts[1]] <= LEVEL[room(path)], f"{path} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) in NO_FILES], ids=str)
def test_what_learns_touches_no_file_clock_or_network(path):
    outside = {
        "os",
        "io",
        "pathlib",
        "shutil",
        "time",
        "datetime",
        "socket",
        "subprocess",
        "urllib",
    }
    found = {name.split(".")[0] for name in imported(path)} & outside
    assert not found, f"{path} imports {found}"


def test_import_purerl_gives_every_room_and_agent():
    for name in LEVEL.keys() - {"checks", "cli", "__main__"}:
        assert hasattr(purerl, name), name
    for name, method in purerl.agents.METHODS.items():
        assert getattr(purerl, name) is method.agent
    assert set(purerl.__all__) <= set(dir(purerl))
    assert purerl.__version__.count(".") == 2
