"""Stored runs, read as results and computed again to compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl.checks import shown
from purerl.run import chunk, folder, plain
from purerl.run.gather import gather
from purerl.run.result import SweepResult
from purerl.run.spec import configurations, tasks


def load(out: str | Path, classes: Sequence[Any] = ()) -> SweepResult:
    """Read a run back. Runs that are not finished are NaN, and no failures.

    Curves and tables need no class of the run. Its agents are built when they are asked
    for.

    Args:
        out: the folder.
        classes: classes and functions of the run that cannot be imported under the name
            that they had, such as those of a notebook.

    Raises:
        ValueError: the folder holds no run, or a damaged one.
    """
    manifest = folder.read_manifest(out)
    arrays = folder.read_agents(out, manifest)
    with folder.refused(Path(out) / "manifest.json"):
        over = plain.decode(manifest["identity"]["over"], arrays, plain.finder(classes), True)
        found = configurations(over)
        if len(found) != sum(map(len, manifest["groups"])):
            raise ValueError("groups and over do not agree")
    return gather(
        manifest,
        folder.finished(Path(out), manifest),
        found,
        lambda: folder.read_spec(out, manifest, classes).agents,
    )


class Rerun(NamedTuple):
    """One run computed again.

    Attributes:
        identical: whether everything stored came out bit for bit.
        difference: the largest difference; NaN where a NaN stands on one side alone.
        final: its final scores, as in the result of the sweep.
        changes: what is not as it was where the run was computed, in words.
    """

    identical: bool
    difference: float
    final: dict[str, float]
    changes: list[str]


def rerun(out: str | Path, seed: int, configuration: int = 0, classes: Sequence[Any] = ()) -> Rerun:
    """Compute one run of a stored sweep again, alone, and compare.

    Args:
        out: the folder.
        seed: which seed.
        configuration: which configuration.
        classes: as in :func:`load`.

    Raises:
        ValueError: the folder holds no such run.
    """
    manifest = folder.read_manifest(out)
    spec = folder.read_spec(out, manifest, classes)
    layout = folder.layout_of(manifest)
    places = layout.places()
    if (configuration, seed) not in places:
        raise ValueError(
            f"{out} has no seed {seed} of configuration {configuration}; its seeds are "
            f"{shown(list(spec.seeds))}, its configurations 0 to {len(spec.configurations) - 1}"
        )
    index, lane = places[configuration, seed]
    place, shapes = folder.places(Path(out), manifest)[index]
    found = place.read(shapes)
    if found is None or found[1]["points"] < spec.points:
        raise ValueError(
            f"seed {seed} of configuration {configuration} is not finished; resume the run first"
        )
    stored, about = found
    computed = int(stored["computed"])  # the others of its chunk decided when to stop
    task = tasks(spec, layout)[index]._replace(keep=about["keep"], stop_when=None)
    lanes = task.settings.lanes
    leaves = [
        np.repeat(leaf[lane : lane + 1], lanes, 0) if batched else leaf
        for leaf, batched in zip(jax.tree.leaves(task.agent), task.batched, strict=True)
    ]
    agent = jax.tree.unflatten(jax.tree.structure(task.agent), leaves)
    task = task._replace(agent=agent, seeds=np.full(lanes, seed, np.int32))
    again = chunk.run(task, end=computed)
    names = [name for name in stored if name not in ("seconds", "computed")]
    pairs = [(stored[name][lane], again[name][0]) for name in names]
    here = folder.provenance() | {"programs": chunk.lowered(task).digest()}
    there = next(o for o in manifest["origins"] if about["program"] in o["programs"])
    there = there | {"programs": about["program"]}
    return Rerun(
        identical=all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs),
        difference=float(np.max([_difference(a, b) for a, b in pairs])),
        final=_final(again, manifest),
        changes=list(folder.differences(there, here)),
    )


def _final(arrays, manifest):
    """The final scores of the run in the first lane."""
    parts: dict[str, dict[str, np.ndarray]] = {"curves": {}, "counts": {}}
    for name, array in arrays.items():
        kind, _, short = name.partition(".")
        if kind in parts:
            parts[kind][short] = array[None, :1]
    one = SweepResult(
        configurations=[{}],
        seeds=np.zeros(1, int),
        curves=parts["curves"],
        counts=parts["counts"],
        steps={},
        failures=[],
        manifest=manifest,
        stopped={(0, 0): int(arrays["computed"])},
    )
    return {name: values[0, 0] for name, values in one.final.items()}


def _difference(a, b):
    """The largest difference between two arrays; two NaN do not differ."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.max(np.abs(a - b), where=~equal, initial=0.0)
