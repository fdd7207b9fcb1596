"""Seeds by hyperparameters, in chunks of a fixed width, on an executor."""

import collections
import functools
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from purerl.agents.base import Agent
from purerl.checks import shown
from purerl.random import Impl
from purerl.run import chunk, folder, plain
from purerl.run.archive import Arrays, values_at
from purerl.run.evaluation import Evaluation
from purerl.run.gather import gather
from purerl.run.over_seeds import Workers, check_executor, execute
from purerl.run.progress import bar
from purerl.run.result import SweepResult, describe
from purerl.run.spec import Keep, Layout, Over, Spec, StopWhen, groups, tasks

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
    chunks = {} if out is None else folder.finished(out, manifest)
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
    result = gather(manifest, chunks, spec.configurations, lambda: spec.agents)
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
