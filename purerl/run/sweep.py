"""Seeds by hyperparameters, in chunks of a fixed width, on an executor."""

import collections
import concurrent.futures
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl.agents.base import Agent
from purerl.random import Impl
from purerl.run import chunk, folder
from purerl.run.checkpoint import read_arrays, unflatten, write_arrays
from purerl.run.evaluation import Evaluation
from purerl.run.over_seeds import execute
from purerl.run.progress import bar
from purerl.run.result import SweepResult
from purerl.run.spec import Plan, Spec, plan, state_shapes


def sweep(
    agent: Agent,
    seeds: int | Sequence[int],
    over: Mapping[str, Sequence[Any]] | None = None,
    *,
    num_steps: int,
    points: int = 100,
    evaluation: Evaluation | None = None,
    evaluations: int | None = None,
    lanes: int | None = None,
    base_seed: int = 0,
    impl: Impl = "threefry",
    keep_state: bool = False,
    executor: concurrent.futures.Executor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    label: str | None = None,
    progress: bool = True,
) -> SweepResult:
    """Train an agent on every seed under every configuration of a grid.

    Args:
        agent: the algorithm with its hyperparameters and environment.
        seeds: how many (``0, 1, ...``), or which.
        over: lists of values by field, ``{"learning_rate": [1e-4, 1e-3]}``; all
            combinations are run. A dotted name reaches inside, ``"env.limit"``. Values
            of leaves share one compiled program, static fields compile one for each
            value.
        num_steps: environment transitions of each run after the agent's warm-up.
        points: points of each curve.
        evaluation: how learned policies are evaluated; by default exactly where the
            environment is a finite MDP (at every point), by episodes elsewhere (at the
            end).
        evaluations: at how many of the points, evenly spread, the last one included. A
            divisor of ``points``.
        lanes: ``W``, runs side by side in one program; by default the agent's, or fewer
            where its bits do not depend on ``W``. Recorded, and kept on resumption.
        base_seed: the run of seed ``i`` starts from ``seed_key(base_seed, i, impl)``.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        keep_state: whether to keep the final states of all agents.
        executor: where chunks run; by default one thread a core on a CPU, one a device
            elsewhere.
        out: a folder for the results. Finished chunks are written at once.
        resume: continue the run in ``out``, computing only what is missing.
        label: the name of the run in tables and pictures; by default the agent and its
            environment.
        progress: whether to show a progress bar where standard error is a terminal.

    Raises:
        ValueError: an argument out of its range, or ``out`` holds something else.
        TypeError: the agent has a part that ``out`` cannot hold, such as a function.
        NotSaved: a chunk could not be written; the error carries the complete result.
    """
    if resume and out is None:
        raise ValueError("resume is True; allowed: only with out, the folder of the run")
    if resume and out is not None and lanes is None:
        lanes = folder.recorded_lanes(out)
    spec = Spec.new(
        agent,
        seeds,
        over,
        num_steps=num_steps,
        points=points,
        evaluation=evaluation,
        evaluations=evaluations,
        lanes=lanes,
        base_seed=base_seed,
        impl=impl,
        keep_state=keep_state,
    )
    label = label or f"{type(agent).__name__} on {_label(agent.env)}"
    where = None if out is None else Path(out)
    return run(spec, label, executor=executor, out=where, resume=resume, progress=progress)


def run(
    spec: Spec,
    label: str,
    *,
    executor: concurrent.futures.Executor | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> SweepResult:
    """Compute a spec, or what is missing of it. Arguments as in :func:`sweep`."""
    began = time.perf_counter()
    planned = plan(spec)
    arrays: dict[str, np.ndarray] = {}
    manifest = folder.new_manifest(
        spec.to_json(arrays, functions=out is None) | folder.provenance(), label
    )
    chunks: dict[int, dict[str, np.ndarray]] = {}
    if out is not None:
        manifest = folder.claim(out, manifest, arrays, resume)
        chunks = _stored(out, planned)
    tasks = planned.tasks
    todo = [index for index in range(len(tasks)) if index not in chunks]
    unsaved = []
    runs = collections.Counter(index for index, _ in planned.places.values())
    with bar(progress, runs, set(chunks), spec.points, spec.num_steps) as show:
        if executor is None:
            compiling = time.perf_counter()
            for index in todo:
                chunk.program(tasks[index])
            manifest["compile_seconds"] += time.perf_counter() - compiling
        jobs = {index: functools.partial(chunk.run, tasks[index]) for index in todo}
        for index, finished in execute(jobs, executor, lambda index: show(index, 1)):
            chunks[index] = finished
            if executor is not None:
                show(index, spec.points)
            if out is not None and not _written(out, index, finished):
                unsaved.append(index)
    manifest["seconds"] += time.perf_counter() - began
    result = _gather(spec, planned, chunks, manifest)
    if out is not None:
        unsaved = [index for index in unsaved if not _written(out, index, chunks[index])]
        if unsaved:
            raise NotSaved(
                f"{out} could not take {len(unsaved)} of {len(tasks)} chunks (disk full?)", result
            )
        try:
            folder.write_manifest(out, manifest)
        except OSError as error:
            raise NotSaved(f"{out} could not take the manifest: {error}", result) from error
    return result


class NotSaved(OSError):
    """Results could not be written.

    Attributes:
        result: all of them, including those that were written.
    """

    def __init__(self, message: str, result: SweepResult):
        super().__init__(message)
        self.result = result


def load(out: str | Path) -> SweepResult:
    """Read a run back. Runs that are not finished are NaN, and no failures.

    Raises:
        ValueError: the folder holds no run, or a damaged one.
    """
    spec, manifest = folder.read_spec(out)
    planned = plan(spec)
    return _gather(spec, planned, _stored(Path(out), planned), manifest)


class Rerun(NamedTuple):
    """One run computed again.

    Attributes:
        identical: whether everything stored came out bit for bit.
        difference: the largest difference; NaN where a NaN stands on one side alone.
        final: the last point of each curve.
    """

    identical: bool
    difference: float
    final: dict[str, float]


def rerun(out: str | Path, seed: int, configuration: int = 0) -> Rerun:
    """Compute one run of a stored sweep again, alone, and compare.

    Raises:
        ValueError: the folder holds no such run.
    """
    spec, _ = folder.read_spec(out)
    planned = plan(spec)
    if (configuration, seed) not in planned.places:
        raise ValueError(
            f"{out} has no seed {seed} of configuration {configuration}; its seeds are "
            f"{list(spec.seeds)}, its configurations 0 to {len(spec.configurations) - 1}"
        )
    index, lane = planned.places[configuration, seed]
    path = folder.chunk_path(Path(out), index)
    if not path.is_file():
        raise ValueError(
            f"seed {seed} of configuration {configuration} is not finished; resume the run first"
        )
    stored = read_arrays(path)
    task = planned.tasks[index]
    lanes = task.settings.lanes
    leaves = [
        np.repeat(leaf[lane : lane + 1], lanes, 0) if batched else leaf
        for leaf, batched in zip(jax.tree.leaves(task.agent), task.batched, strict=True)
    ]
    agent = jax.tree.unflatten(jax.tree.structure(task.agent), leaves)
    again = chunk.run(task._replace(agent=agent, seeds=np.full(lanes, seed, np.int32)))
    pairs = [(stored[name][lane], again[name][0]) for name in stored if name != "seconds"]
    return Rerun(
        identical=all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs),
        difference=float(np.max([_difference(a, b) for a, b in pairs])),
        final={
            name.removeprefix("curves."): float(curve[0, -1])
            for name, curve in again.items()
            if name.startswith("curves.")
        },
    )


def _difference(a, b):
    """The largest difference between two arrays; two NaN do not differ."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.max(np.abs(a - b), where=~equal, initial=0.0)


def _written(out, index, finished):
    """Write a chunk and return success; on failure it is tried again at the end."""
    try:
        write_arrays(folder.chunk_path(out, index), finished)
    except OSError:
        return False
    return True


def _label(env):
    while hasattr(env, "env"):
        env = env.env
    return type(env).__name__


def _stored(out: Path, planned: Plan) -> dict[int, dict[str, np.ndarray]]:
    """The finished chunks.

    Raises:
        ValueError: one is damaged, or does not belong to this run.
    """
    found = {}
    for index, task in enumerate(planned.tasks):
        path = folder.chunk_path(out, index)
        if path.is_file():
            found[index] = read_arrays(path)
            if found[index].get("failed", np.empty(0)).shape != (task.settings.lanes,):
                raise ValueError(
                    f"{path} is no chunk of this run; move it away to have it computed again"
                )
    return found


def _gather(spec: Spec, planned: Plan, chunks, manifest) -> SweepResult:
    """All runs by configuration and seed; NaN where a chunk is missing."""
    shape = len(spec.configurations), len(spec.seeds)
    columns = {seed: n for n, seed in enumerate(spec.seeds)}
    sizes = {
        name: curve.shape[1]
        for stored in chunks.values()
        for name, curve in sorted(stored.items())
        if name.startswith("curves.")
    }
    curves = {name: np.full((*shape, size), np.nan, np.float32) for name, size in sizes.items()}
    failures = []
    for (c, seed), (index, lane) in planned.places.items():
        stored = chunks.get(index)
        if stored is None:
            continue
        if stored["failed"][lane]:
            reason = "its state became infinite or NaN"
            failures.append({"configuration": c, "seed": seed, "reason": reason})
            continue
        for name in curves:
            if name in stored:
                curves[name][c, columns[seed]] = stored[name][lane]
    short = {name: name.removeprefix("curves.") for name in sorted(sizes)}
    return SweepResult(
        configurations=spec.configurations,
        agents=spec.agents,
        seeds=np.asarray(spec.seeds),
        curves={short[name]: curves[name] for name in short},
        steps={
            short[name]: np.arange(1, sizes[name] + 1) * (spec.num_steps // sizes[name])
            for name in short
        },
        failures=failures,
        manifest=manifest,
        state=_state(spec, planned, chunks, shape) if spec.keep_state else None,
    )


def _state(spec, planned, chunks, shape):
    """The final states with leading axes ``[C, N]``; None while chunks are missing."""
    if len(chunks) < len(planned.tasks):
        return None
    places = [planned.places[c, seed] for c in range(shape[0]) for seed in spec.seeds]
    arrays = {}
    for name, first in chunks[0].items():
        if name.startswith("state."):
            rows = np.stack([chunks[index][name][lane] for index, lane in places])
            arrays[name.removeprefix("state.")] = rows.reshape(*shape, *first.shape[1:])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*shape, *x.shape), x.dtype),
        state_shapes(spec.agents[0], spec.impl),
    )
    return unflatten(arrays, like)
