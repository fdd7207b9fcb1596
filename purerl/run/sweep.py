"""Seeds by hyperparameters, in chunks of a fixed width, on an executor."""

import collections
import functools
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl.agents.base import Agent
from purerl.checks import shown
from purerl.random import Impl
from purerl.run import chunk, folder, plain
from purerl.run.archive import Arrays, values_at
from purerl.run.evaluation import Evaluation
from purerl.run.over_seeds import Workers, check_executor, execute
from purerl.run.progress import bar
from purerl.run.result import SweepResult, describe
from purerl.run.spec import Keep, Layout, Over, Spec, StopWhen, configurations, groups, tasks

# Called with configuration, seed, step and values at each point of each run.
OnPoint = Callable[[int, int, int, dict[str, Any]], Any]


def sweep(
    agent: Agent,
    seeds: int | Sequence[int],
    over: Over | None = None,
    *,
    num_steps: int,
    points: int = 100,
    evaluation: Evaluation | None = None,
    evaluations: int | None = None,
    lanes: int | None = None,
    base_seed: int = 0,
    impl: Impl = "threefry",
    keep: Keep = "snapshot",
    executor: Workers | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    save_every: float = 60.0,
    label: str | None = None,
    on_point: OnPoint | None = None,
    stop_when: StopWhen | None = None,
    progress: bool = True,
) -> SweepResult:
    """Train an agent on every seed under every configuration of a grid.

    Args:
        agent: the algorithm with its hyperparameters and environment.
        seeds: how many (``0, 1, ...``), or which.
        over: lists of values by field, ``{"learning_rate": [1e-4, 1e-3]}``; all
            combinations are run. Or a list of configurations, ``[{"learning_rate":
            1e-4, "discount": 0.9}, ...]``. A dotted name reaches inside,
            ``"env.limit"``. Values of leaves share one compiled program, static fields
            compile one for each value.
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
        keep: what is kept of the final states: ``"snapshot"``, the learned policies,
            for :meth:`~purerl.SweepResult.snapshot`; ``"state"``, everything, from
            which a run can go on; or ``"nothing"``.
        executor: where chunks run; by default one thread a core on a CPU, one a device
            elsewhere. A function that makes an executor may replace one that broke.
        out: a folder for the results. Finished chunks are written at once, and the
            states of long ones on the way.
        resume: continue the run in ``out``, computing only what is missing. It may have
            more seeds than before; and more ``num_steps``, with as many steps between
            two points, if ``keep`` was ``"state"``.
        accept_changes: continue a run that was begun with other versions, on another
            machine, or by a program that has changed since. This is recorded.
        save_every: seconds between two states that are saved of a chunk. Saving takes
            at most 2% of the time.
        label: the name of the run in tables and pictures; by default the agent and its
            environment.
        on_point: called with ``(configuration, seed, step, values)`` at each point of
            each run, for loggers; ``step`` counts as ``num_steps``; by one thread at a
            time. Where chunks run in other processes it is called for all points of a
            chunk when that is finished.
        stop_when: ends training early. A chunk ends at the first evaluation up to which
            ``stop_when(values)`` has been true for each of its runs; ``values`` are the
            numbers of one run at a point with an evaluation. What would have come later
            is NaN, and final scores are those at the end. Part of the run's identity;
            for other processes a function that can be imported.
        progress: whether to show progress on standard error. Where chunks run in other
            processes it is that of whole chunks.

    Raises:
        ValueError: an argument out of its range, or ``out`` holds something else.
        TypeError: the agent has a part that cannot be recorded.
        NotSaved: something could not be written; the error carries the complete result.
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
        keep=keep,
        stop_when=stop_when,
    )
    return run(
        spec,
        label or f"{type(agent).__name__} on {_label(agent.env)}",
        executor=executor,
        out=None if out is None else Path(out),
        resume=resume,
        accept_changes=accept_changes,
        save_every=save_every,
        on_point=on_point,
        progress=progress,
    )


def run(
    spec: Spec,
    label: str,
    *,
    executor: Workers | None = None,
    out: Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    save_every: float = 60.0,
    on_point: OnPoint | None = None,
    progress: bool = False,
) -> SweepResult:
    """Compute a spec, or what is missing of it. Arguments as in :func:`sweep`."""
    check_executor(executor)
    layout = Layout(spec.lanes, groups(spec), [list(spec.seeds)])
    planned = tasks(spec, layout)
    arrays: Arrays = {}
    manifest = folder.new_manifest(spec, layout, label, arrays)
    if out is None:
        manifest = json.loads(json.dumps(manifest))
        return _compute(spec, planned, manifest, executor, None, on_point, progress)
    for name in plain.fleeting(manifest["identity"]):
        warnings.warn(
            f"{name} is not found by importing a module: the curves of this run can be read "
            "anywhere, its agents only with load(..., classes=[...])",
            stacklevel=3,
        )
    with folder.locked(out):
        for group in range(len(layout.groups)):
            first = next(n for n, (number, _) in enumerate(layout.chunks()) if number == group)
            low = chunk.lowered(planned[first])
            manifest["shapes"].append(low.shapes._asdict())
            manifest["origins"][0]["programs"].append(low.digest())
        manifest = json.loads(json.dumps(manifest))  # as it is read back
        manifest = folder.claim(out, manifest, arrays, resume, accept_changes)
        placed = [
            task._replace(place=place, save_every=save_every)
            for task, (place, _) in zip(
                tasks(spec, folder.layout_of(manifest)), folder.places(out, manifest), strict=True
            )
        ]
        return _compute(spec, placed, manifest, executor, out, on_point, progress)


def _compute(spec, planned, manifest, executor, out, on_point, progress):
    """Compute the chunks that are missing, and gather all of them."""
    began = time.perf_counter()
    runs_of = [_real(runs) for _, runs in folder.layout_of(manifest).chunks()]
    chunks = {} if out is None else _finished(out, manifest)
    todo = [index for index in range(len(planned)) if index not in chunks]
    unsaved: dict[int, OSError] = {}
    logged: collections.Counter[int] = collections.Counter()

    def log(index, point, values):
        step = (point + 1) * manifest["identity"]["steps_per_point"]
        for lane, (configuration, seed) in enumerate(runs_of[index]):
            mine = {name: value[lane] for name, value in values.items()}
            on_point(configuration, seed, step, mine)

    def advance(index, at, values=None):
        """Take what a chunk reports: how many points it has, or the values of one."""
        if values is None:
            show(index, at)
        elif on_point is not None:
            log(index, at, values)
            logged[index] = at + 1

    sizes = {index: len(runs) for index, runs in enumerate(runs_of)}
    with bar(progress, sizes, set(chunks), spec.points, spec.num_steps) as show:
        if executor is None:
            compiling = time.perf_counter()
            for index in todo:
                chunk.program(planned[index])
            manifest["compile_seconds"] += time.perf_counter() - compiling
        jobs = {}
        for index in todo:
            described = _described(index, runs_of[index], spec)
            jobs[index] = functools.partial(_run, planned[index], described)
        for index, finished in execute(jobs, executor, advance):
            chunks[index] = finished
            show(index, spec.points)
            if executor is not None and on_point is not None:
                for point in range(logged[index], int(finished["computed"])):
                    log(index, point, values_at(finished, point, planned[index].every))
            if out is not None:
                error = _written(planned[index], finished)
                unsaved |= {index: error} if error else {}
    manifest["seconds"] += time.perf_counter() - began
    result = _gather(manifest, chunks, spec.configurations, lambda: spec.agents)
    if out is not None:
        _finish(out, manifest, planned, chunks, unsaved, result)
    return result


def _finish(out, manifest, planned, chunks, unsaved, result):
    """Try again what could not be written, and write the manifest."""
    errors = {index: _written(planned[index], chunks[index]) for index in unsaved}
    errors = {index: error for index, error in errors.items() if error}
    if errors:
        reason = next(iter(errors.values()))
        raise NotSaved(
            f"{out} could not take {len(errors)} of {len(planned)} chunks: {reason}", result
        )
    try:
        folder.write_manifest(out, manifest)
    except OSError as error:
        raise NotSaved(f"{out} could not take the manifest: {error}", result) from error


def _run(task, described, report=lambda *point: None):
    """Run a chunk; an exception says which one."""
    try:
        return chunk.run(task, report)
    except Exception as error:
        error.add_note(f"in {described}")
        raise


def _described(index, runs, spec):
    seeds = collections.defaultdict(list)
    for configuration, seed in runs:
        seeds[configuration].append(seed)
    words = []
    for configuration, numbers in seeds.items():
        text = describe(spec.configurations[configuration])
        named = f"configuration {configuration}" + (f" ({text})" if text else "")
        words.append(f"{named}, seeds {shown(numbers)}")
    return f"chunk {index}: {'; '.join(words)}"


def _real(runs):
    """The runs of a chunk without those that fill it up."""
    return list(dict.fromkeys(runs))


class NotSaved(OSError):
    """Results could not be written.

    Attributes:
        result: all of them, including those that were written.
    """

    def __init__(self, message: str, result: SweepResult):
        super().__init__(message)
        self.result = result


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
    return _gather(
        manifest,
        _finished(Path(out), manifest),
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


def _written(task, finished):
    """Write a chunk, and return the error if it fails: it is tried again at the end."""
    try:
        task.place.write(finished, task.points, task.every, task.keep)
    except OSError as error:
        return error
    return None


def _label(env):
    while hasattr(env, "env"):
        env = env.env
    return type(env).__name__


def _finished(out: Path, manifest) -> dict[int, Arrays]:
    """The chunks with all points.

    Raises:
        ValueError: one is damaged, or does not belong to this run.
    """
    finished = {}
    for index, (place, shapes) in enumerate(folder.places(out, manifest)):
        found = place.read(shapes)
        if found is not None and found[1]["points"] == manifest["points"]:
            finished[index] = found[0]
    return finished


def _gather(manifest, chunks, found, make_agents) -> SweepResult:
    """All runs by configuration and seed; NaN where a chunk is missing."""
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
