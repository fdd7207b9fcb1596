"""Reports of runs: tables in the terminal, pictures in the run's folder, a page."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from purerl import envs, mdp
from purerl.agents import TabularControl
from purerl.agents.base import Agent
from purerl.figures import gridmap
from purerl.figures.files import write_atomically
from purerl.figures.page import page
from purerl.run.result import SweepResult, describe

_PICTURES = (".png", ".gif")


def show(
    result: SweepResult, folder: Path, names: Sequence[str] | None = None, html: bool = False
) -> None:
    """Print the table of a run, and draw its pictures into its folder.

    There is a picture of the learning curves of each measure. For an agent on a
    gridworld whose states were kept, there is also one of the learned values and greedy
    policy of the first seed beside the exact optimum. A file that cannot be written is
    reported on standard error, with the reason, and the others are written.

    Args:
        result: the run.
        folder: for the pictures.
        names: of the measures; by default all.
        html: whether to write ``report.html``, too: all of it in one page.
    """
    print(result.table(names))
    for text in _failures(result):
        print(f"FAILED: {text}")
    print(_timing(result.manifest))
    for name, write in _pictures(result, names):
        _write("picture", folder / name, write)
    if html:
        _write("page", folder / "report.html", lambda path: _write_page(result, path))


def _write(kind: str, path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"{kind} not written: {path}: {reason}", file=sys.stderr)
    else:
        print(f"{kind}: {path}")


def _failures(result: SweepResult) -> list[str]:
    texts = []
    for failure in result.failures:
        number = failure["configuration"]
        text = f"seed {failure['seed']} of configuration {number}"
        if description := describe(result.configurations[number]):
            text += f" ({description})"
        if "point" in failure:
            text += f" at point {failure['point']}"
        texts.append(f"{text}: {failure['reason']}")
    return texts


def _timing(manifest: dict[str, Any]) -> str:
    seconds, compiling = (manifest.get(name, 0.0) for name in ("seconds", "compile_seconds"))
    lanes = manifest.get("identity", {}).get("lanes", "?")
    return f"{seconds:.1f} s, of which {compiling:.1f} s compiling; {lanes} lanes"


def _pictures(
    result: SweepResult, names: Sequence[str] | None
) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Names of pictures, with functions that write them."""
    for name in result.drawn if names is None else [n for n in result.drawn if n in names]:
        yield f"{name}.png", lambda path, name=name: result.plot(path, name)
    if any(result.kept.values()) and _is_on_a_map(result):
        yield "policy.png", lambda path: _draw_policy(result, path)


def _is_on_a_map(result):
    try:
        return has_map(result.agents[-1])
    except ValueError as error:  # its class is not there
        print(f"policy not drawn: {error}", file=sys.stderr)
        return False


def _draw_policy(result, path):
    agent = result.agents[-1]
    grid = envs.grid_of(agent.env)
    assert grid is not None  # has_map
    snapshot = result.snapshot(int(result.seeds[0]), len(result.agents) - 1)
    learned = jax.vmap(agent.values, (None, 0))(snapshot, grid.states())
    best = mdp.optimal_q(grid.mdp, agent.discount)
    maps = {
        f"learned, seed {result.seeds[0]}": (learned.max(1), mdp.greedy(learned)),
        "exact optimum": (best.max(1), best >= best.max(1, keepdims=True) - 1e-6),
    }
    directions = [envs.MOVES[direction] for direction in grid.directions]
    return gridmap.gridworld(path, maps, grid.rows, directions)


def _write_page(result: SweepResult, path: Path) -> None:
    """Write a page of a run, with the films and pictures of its folder.

    Pictures of curves are left out, since the page has the curves themselves.
    """
    manifest = result.manifest
    curves = {f"{name}.png" for name in result.names}
    pictures = [
        file
        for file in sorted(path.parent.glob("*"))
        if file.suffix.lower() in _PICTURES and file.name not in curves
    ]
    git = manifest.get("git") or {}
    origins = manifest.get("origins") or [manifest.get("identity", {})]
    facts = {
        "command": shlex.join(manifest.get("command", [])),
        "created": manifest.get("created", ""),
        "commit": git.get("commit", "") + (" with changes" if git.get("dirty") else ""),
        "versions": _each(origins, "versions"),
        "machine": "; ".join(filter(None, (_each(origins, "cpu"), _each(origins, "device")))),
        "time": _timing(manifest),
    }
    text = page(
        result.label,
        result.to_html(),
        [result.chart(name) for name in result.drawn],
        pictures,
        facts={name: text for name, text in facts.items() if text},
        details={"Manifest": json.dumps(manifest, indent=2, default=str)},
        warnings=[f"FAILED: {text}" for text in _failures(result)],
    )
    write_atomically(path, lambda file: file.write(text.encode()))


def _each(origins: list[dict[str, Any]], field: str) -> str:
    """What a field says about each of the processes that computed a run."""
    texts = []
    for origin in origins:
        value = origin.get(field, "")
        if isinstance(value, dict):
            value = ", ".join(f"{name} {version}" for name, version in value.items())
        if value and value not in texts:
            texts.append(value)
    return "; ".join(texts)


def has_map(agent: Agent) -> bool:
    """Test for an agent that learns discounted action values of cells of a grid."""
    tabular = isinstance(agent, TabularControl) and hasattr(agent, "discount")
    return tabular and envs.grid_of(agent.env) is not None
