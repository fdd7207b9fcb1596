"""Chunks of a run put together as a result."""

from collections.abc import Callable
from typing import Any

import numpy as np

from purerl.run import folder
from purerl.run.archive import Arrays
from purerl.run.result import SweepResult


def gather(
    manifest: dict[str, Any],
    chunks: dict[int, Arrays],
    found: list[dict[str, Any]],
    make_agents: Callable[[], list[Any]],
) -> SweepResult:
    """All runs by configuration and seed; NaN where a chunk is missing.

    Args:
        manifest: of the run.
        chunks: the finished ones by index.
        found: the configurations.
        make_agents: builds the agent of each configuration.
    """
    layout = folder.layout_of(manifest)
    seeds = [seed for part in layout.parts for seed in part]
    column = {seed: n for n, seed in enumerate(seeds)}
    shape = len(found), len(seeds)
    every = manifest["identity"]["points_per_evaluation"]
    names = sorted({name for stored in chunks.values() for name in stored})
    arrays = {}
    for name in names:
        if name.startswith(("curves.", "counts.")):
            first = next(stored[name] for stored in chunks.values() if name in stored)
            arrays[name] = np.full((*shape, *first.shape[1:]), np.nan, first.dtype)
    failures, kept, stopped = [], {}, {}
    for (c, seed), (index, lane) in layout.places().items():
        stored = chunks.get(index)
        if stored is None:
            continue
        failed = int(stored["failed"][lane])
        if failed >= 0:
            failures.append(_failure(manifest, c, seed, failed))
        for name, array in arrays.items():
            if name in stored:
                of_training = f"counts.{name.partition('.')[2]}" in stored
                sound = (
                    len(array[c, column[seed]])
                    if failed < 0
                    else (failed if of_training else failed // every)
                )
                array[c, column[seed], :sound] = stored[name][lane][:sound]
        if stored["computed"] < manifest["points"]:
            stopped[c, seed] = int(stored["computed"])
        kept[c, seed] = {
            name: leaf[lane]
            for name, leaf in stored.items()
            if name.startswith(("snapshot.", "state."))
        }
    curves = {n.removeprefix("curves."): x for n, x in arrays.items() if n.startswith("curves.")}
    counts = {n.removeprefix("counts."): x for n, x in arrays.items() if n.startswith("counts.")}
    return SweepResult(
        configurations=found,
        seeds=np.asarray(seeds),
        curves=curves,
        counts=counts,
        steps={
            name: np.arange(1, curve.shape[2] + 1) * (manifest["num_steps"] // curve.shape[2])
            for name, curve in curves.items()
        },
        failures=failures,
        manifest=manifest,
        warm_ups=manifest.get("warm_ups", []),
        kept=kept,
        stopped=stopped,
        make_agents=make_agents,
    )


def _failure(manifest, configuration, seed, point):
    size = manifest["identity"]["steps_per_point"]
    return {
        "configuration": configuration,
        "seed": seed,
        "point": point,
        "reason": f"its state became infinite or NaN by step {(point + 1) * size}",
    }
