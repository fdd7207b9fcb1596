"""Seeds by hyperparameters, in chunks of a fixed width, on an executor.

XLA gives the same seed other bits when it stands in a wider or narrower batch, but not when it moves to another lane, chunk,
thread or device of the same program. So a sweep always runs one program of ``W`` lanes, pads the last chunk, and hands whole
chunks to a ``concurrent.futures.Executor``: a run alone, in company, after an interruption or on more threads is the same run.
"""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl import chunk, results, training
from purerl.agents import AGENTS
from purerl.agents.base import Agent, replace
from purerl.checkpoint import read_arrays, unflatten, write_arrays
from purerl.chunk import Settings, Task
from purerl.evaluation import Evaluation, Exact
from purerl.evaluation import default as default_evaluation
from purerl.progress import bar
from purerl.random import IMPLEMENTATIONS
from purerl.results import SweepResult

# (algorithm, backend): lanes of a chunk, by `python -m experiments.benchmarks lanes`: within a fifth of the fastest width, and
# no wider, for a sweep of few seeds pays for lanes that stand empty. Measured for Q-learning, whose shape all tables share, and
# for DQN; those that solve a model of S * A * S numbers want fewer. Others: _LANES_ELSE.
LANES = dict.fromkeys(((name, "cpu") for name in AGENTS), 128) | {(name, "cpu"): 4 for name in ("DQN", "RMax", "PSRL")}
_LANES_ELSE = {"cpu": 8, "gpu": 256, "tpu": 256}


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
    impl: str = "threefry",
    executor: concurrent.futures.Executor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    keep_state: bool = False,
    label: str | None = None,
    progress: bool = True,
) -> SweepResult:
    """Train an agent on every seed under every configuration of a grid.

    Args:
        agent: the algorithm with its hyperparameters and environment.
        seeds: how many (``0, 1, ...``), or which.
        over: lists of values by field, ``{"learning_rate": [1e-4, 1e-3]}``; all combinations are run. A dotted name reaches
            inside, ``"env.limit"``. Values of leaves share one compiled program, static fields make one for each.
        num_steps: environment transitions of each run after the agent's warm-up.
        points: how many points each curve has.
        evaluation: how learnt policies are judged; by default exactly where the environment is a finite MDP (at every point)
            and by greedy episodes elsewhere (at the end).
        evaluations: at how many points, evenly spread, the last always being the end. A divisor of ``points``.
        lanes: ``W``, runs to a chunk; by default from :data:`LANES`. Part of a run's identity.
        base_seed: the run of seed ``i`` starts from ``seed_key(base_seed, i, impl)``.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        executor: where chunks run. By default a thread for each core on CPU, for each device on accelerators.
        out: a folder for the results. Finished chunks are there at once, and survive whatever happens to the others.
        resume: go on with the run in ``out``, computing only what it lacks.
        keep_state: keep the final states of all agents.
        label: what tables and pictures call the run; by default the agent and its environment.
        progress: show a progress bar, where standard error is a terminal.

    Raises:
        ValueError: an argument out of its range, or ``out`` holds something else.
        NotSaved: a chunk could not be written; the error carries the complete result.
    """
    began = time.perf_counter()
    seeds = np.arange(seeds) if isinstance(seeds, (int, np.integer)) else np.asarray(seeds)
    _check(seeds, base_seed, points, lanes, impl, resume, out)
    over = {name: list(values) for name, values in (over or {}).items()}
    evaluation = evaluation or default_evaluation(agent)
    if evaluations is None:
        evaluations = points if isinstance(evaluation, Exact) else 1
    if evaluations < 1 or points % evaluations:
        raise ValueError(f"evaluations is {evaluations}; allowed: a divisor of points, {points}")
    for name, values in over.items():
        if not values:
            raise ValueError(f"over[{name!r}] is empty; allowed: at least one value")
    if lanes is None:
        backend = jax.default_backend()
        lanes = LANES.get((type(agent).__name__, backend), _LANES_ELSE[backend])
    shared = {"lanes": lanes, "impl": impl, "points": points, "evaluations": evaluations, "keep_state": keep_state}
    plan = _plan(agent, over, seeds, num_steps, base_seed, shared | {"evaluation": evaluation})

    arrays: dict[str, np.ndarray] = {}
    identity = {
        "agent": results.encode(agent, arrays),
        "over": results.encode({"over": over}, arrays),
        "seeds": seeds.tolist(),
        "num_steps": num_steps,
        "base_seed": base_seed,
        "evaluation": results.encode(evaluation, arrays),
        **shared,
        **results.environment(),
    }
    folder = None if out is None else Path(out)
    manifest = results.new_manifest(identity, label or f"{type(agent).__name__} on {_label(agent.env)}")
    if folder is not None:
        manifest = results.begin(folder, manifest, arrays, resume)
    chunks = {} if folder is None else _stored(folder, plan)
    todo = [index for index in range(len(plan.tasks)) if index not in chunks]
    unsaved = []
    runs = collections.Counter(index for index, _ in plan.places.values())
    with bar(progress, runs, set(chunks), points, num_steps) as show:
        if executor is None:
            compiling = time.perf_counter()
            for index in todo:
                chunk.program(plan.tasks[index])
            manifest["compile_seconds"] += time.perf_counter() - compiling
        for index, finished in _run(plan, todo, executor, show):
            chunks[index] = finished
            if folder is not None and not _written(folder, index, finished):
                unsaved.append(index)
    manifest["seconds"] += time.perf_counter() - began
    result = _gather(plan, chunks, manifest)
    if folder is not None:
        unsaved = [index for index in unsaved if not _written(folder, index, chunks[index])]
        if unsaved:
            raise NotSaved(f"{folder} could not take {len(unsaved)} of {len(plan.tasks)} chunks (disk full?)", result)
        try:
            results.write_manifest(folder, manifest)
        except OSError as error:
            raise NotSaved(f"{folder} could not take the manifest: {error}", result) from error
    return result


class NotSaved(OSError):
    """Results could not be written. ``result`` has them all, the ones written earlier included."""

    def __init__(self, message: str, result: SweepResult):
        super().__init__(message)
        self.result = result


def load(folder: str | Path) -> SweepResult:
    """Read a run back. Runs that are not there yet are NaN, and no failures.

    Raises:
        ValueError: the folder holds no run, or a damaged one.
    """
    folder = Path(folder)
    manifest = results.read_manifest(folder)
    plan = _recorded(folder, manifest["identity"])
    return _gather(plan, _stored(folder, plan), manifest)


class Rerun(NamedTuple):
    """A run computed again: whether all that was stored came out bit for bit, and by how much it differs at most.

    The difference is NaN where a NaN stands on one side alone.
    """

    identical: bool
    difference: float
    final: dict[str, float]


def rerun(folder: str | Path, seed: int, configuration: int = 0) -> Rerun:
    """Compute one run of a stored sweep again, alone, and compare.

    Raises:
        ValueError: the folder holds no such run.
    """
    folder = Path(folder)
    identity = results.read_manifest(folder)["identity"]
    plan = _recorded(folder, identity)
    if (configuration, seed) not in plan.places:
        raise ValueError(
            f"{folder} has no seed {seed} of configuration {configuration}; "
            f"its seeds are {plan.seeds.tolist()}, its configurations 0 to {len(plan.configurations) - 1}"
        )
    index, lane = plan.places[configuration, seed]
    if not results.chunk_path(folder, index).is_file():
        raise ValueError(f"seed {seed} of configuration {configuration} is not finished; resume the run first")
    stored = read_arrays(results.chunk_path(folder, index))
    task = plan.tasks[index]
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
        difference=float(np.max([_apart(a, b) for a, b in pairs])),
        final={name.removeprefix("curves."): float(again[name][0, -1]) for name in again if name.startswith("curves.")},
    )


def _apart(a, b):
    """The largest difference between two arrays; two NaN do not differ."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.max(np.abs(a - b), where=~((a == b) | (np.isnan(a) & np.isnan(b))), initial=0.0)


def _written(folder, index, finished):
    """Whether a chunk could be written. What could not stays in memory and is tried once more at the end."""
    try:
        write_arrays(results.chunk_path(folder, index), finished)
    except OSError:
        return False
    return True


def _label(env):
    while hasattr(env, "env"):
        env = env.env
    return type(env).__name__


# ---- planning -------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    configurations: list[dict[str, Any]]
    agents: list[Agent]
    seeds: np.ndarray
    tasks: list[Task]
    places: dict[tuple[int, int], tuple[int, int]]  # (configuration, seed): (chunk, lane)


def _plan(agent, over, seeds, num_steps, base_seed, shared):
    """Tasks of full width, those of one structure together, and where each run stands in them."""
    configurations = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    agents = [functools.reduce(lambda one, item: replace(one, *item), c.items(), agent) for c in configurations]
    groups: dict[Any, list[int]] = {}
    for c, one in enumerate(agents):
        groups.setdefault(_structure(one), []).append(c)
    if shared["keep_state"] and any(
        _states(agents[c], shared["impl"]) != _states(agents[0], shared["impl"]) for c, *_ in groups.values()
    ):
        raise ValueError("keep_state is True; allowed: only where the states of all configurations have the same shapes")
    tasks, places = [], {}
    for (treedef, _), members in groups.items():
        length = training.iterations_per_point(agents[members[0]], num_steps, shared["points"])
        settings = Settings(length=length, **shared)
        columns = list(zip(*(map(_array, jax.tree.leaves(agents[c])) for c in members), strict=True))
        # Numbers always have a lane axis, so that a run is the same program in a grid and on its own.
        batched = tuple(column[0].ndim == 0 or any(x.tobytes() != column[0].tobytes() for x in column) for column in columns)
        runs = [(m, int(seed)) for m in range(len(members)) for seed in seeds]
        for start in range(0, len(runs), settings.lanes):
            chunk = runs[start : start + settings.lanes]
            places |= {(members[m], seed): (len(tasks), lane) for lane, (m, seed) in enumerate(chunk)}
            padded = chunk + chunk[:1] * (settings.lanes - len(chunk))
            leaves = [
                np.stack([column[m] for m, _ in padded]) if has_lanes else column[0]
                for column, has_lanes in zip(columns, batched, strict=True)
            ]
            tasks.append(
                Task(
                    settings=settings,
                    agent=jax.tree.unflatten(treedef, leaves),
                    batched=batched,
                    base_seed=base_seed,
                    seeds=np.array([seed for _, seed in padded], np.int32),
                    device=len(tasks) % jax.local_device_count(),
                )
            )
    return _Plan(configurations, agents, seeds, tasks, places)


def _recorded(folder, identity):
    """The plan of a stored run."""
    arrays = results.read_agents(folder)
    shared = {name: identity[name] for name in ("lanes", "impl", "points", "evaluations", "keep_state")}
    shared["evaluation"] = results.decode(identity["evaluation"], arrays)
    agent, over = results.decode(identity["agent"], arrays), results.decode(identity["over"], arrays)["over"]
    return _plan(agent, over, np.asarray(identity["seeds"]), identity["num_steps"], identity["base_seed"], shared)


def _check(seeds, base_seed, points, lanes, impl, resume, out):
    distinct = seeds.ndim == 1 and 0 < len(seeds) == len(set(seeds.tolist())) and seeds.dtype.kind in "iu"
    if not distinct or seeds.min() < 0 or seeds.max() >= 2**31:
        raise ValueError(f"seeds is {seeds.tolist()}; allowed: a number of at least 1, or distinct integers in [0, 2**31)")
    if not 0 <= base_seed < 2**31:
        raise ValueError(f"base_seed is {base_seed}; allowed: an integer in [0, 2**31)")
    if points < 1:
        raise ValueError(f"points is {points}; allowed: at least 1")
    if lanes is not None and lanes < 1:
        raise ValueError(f"lanes is {lanes}; allowed: at least 1")
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl is {impl!r}; allowed: {', '.join(map(repr, IMPLEMENTATIONS))}")
    if resume and out is None:
        raise ValueError("resume is True; allowed: only with out, the folder of the run")


def _states(agent, impl):
    return jax.eval_shape(lambda: agent.init(jax.random.key(0, impl=IMPLEMENTATIONS[impl])))


def _array(leaf):
    return np.asarray(leaf, jnp.result_type(leaf))


def _structure(agent):
    leaves, treedef = jax.tree.flatten(agent)
    return treedef, tuple((x.shape, x.dtype.name) for x in map(_array, leaves))


# ---- running --------------------------------------------------------------------------------------------------------


def _run(plan, todo, executor, progress):
    """Yield ``(index, chunk)`` as chunks finish. On any error the chunks under way are told to stop, and waited for."""
    stop = threading.Event()

    def advance(index):
        if stop.is_set():
            raise concurrent.futures.CancelledError
        progress(index, 1)

    if executor is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        pool = concurrent.futures.ThreadPoolExecutor(cores if jax.default_backend() == "cpu" else jax.local_device_count())
        jobs = {i: functools.partial(chunk.run, plan.tasks[i], functools.partial(advance, i)) for i in todo}
    else:
        pool = contextlib.nullcontext(executor)  # not ours to shut down
        jobs = {i: functools.partial(chunk.run, plan.tasks[i]) for i in todo}
    with pool as workers:
        futures = {workers.submit(job): i for i, job in jobs.items()}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
                if executor is not None:
                    progress(futures[future], plan.tasks[futures[future]].settings.points)
        finally:
            stop.set()
            for future in futures:
                future.cancel()


# ---- gathering ------------------------------------------------------------------------------------------------------


def _stored(folder, plan):
    """The chunks that are finished.

    Raises:
        ValueError: one is damaged, or does not belong to this run.
    """
    found = {}
    for index, task in enumerate(plan.tasks):
        path = results.chunk_path(folder, index)
        if path.is_file():
            found[index] = read_arrays(path)
            if found[index].get("failed", np.empty(0)).shape != (task.settings.lanes,):
                raise ValueError(f"{path} is no chunk of this run; move it away to have it computed again")
    return found


def _gather(plan, chunks, manifest):
    """The runs of all chunks by configuration and seed. Those of chunks that are not there are NaN."""
    settings = plan.tasks[0].settings
    shape = len(plan.configurations), len(plan.seeds)
    columns = {int(seed): n for n, seed in enumerate(plan.seeds)}
    names = sorted({name for stored in chunks.values() for name in stored if name.startswith("curves.")})
    sizes = {name: stored[name].shape[1] for stored in chunks.values() for name in names if name in stored}
    curves = {name: np.full((*shape, sizes[name]), np.nan, np.float32) for name in names}
    failures = []
    for (c, seed), (index, lane) in plan.places.items():
        stored = chunks.get(index)
        if stored is None:
            continue
        if stored["failed"][lane]:
            failures.append({"configuration": c, "seed": seed, "reason": "its state became infinite or NaN"})
            continue
        for name in names:
            if name in stored:
                curves[name][c, columns[seed]] = stored[name][lane]
    num_steps = manifest["identity"]["num_steps"]
    return SweepResult(
        configurations=plan.configurations,
        agents=plan.agents,
        seeds=plan.seeds,
        curves={name.removeprefix("curves."): curve for name, curve in curves.items()},
        steps={name.removeprefix("curves."): np.arange(1, size + 1) * (num_steps // size) for name, size in sizes.items()},
        failures=failures,
        manifest=manifest,
        state=_state(plan, chunks, shape, columns) if settings.keep_state else None,
    )


def _state(plan, chunks, shape, columns):
    """The final states with leading axes ``[C, N]``; None while chunks are missing."""
    if len(chunks) < len(plan.tasks):
        return None
    where = {(c, columns[seed]): place for (c, seed), place in plan.places.items()}
    places = [where[c, n] for c in range(shape[0]) for n in range(shape[1])]
    names = [name for name in chunks[0] if name.startswith("state.")]
    arrays = {
        name.removeprefix("state."): np.stack([chunks[i][name][lane] for i, lane in places]).reshape(
            *shape, *chunks[0][name].shape[1:]
        )
        for name in names
    }
    init = _states(plan.agents[0], plan.tasks[0].settings.impl)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*shape, *x.shape), x.dtype), init)
    return unflatten(arrays, like)
