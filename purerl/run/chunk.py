"""One chunk of a sweep: ``W`` runs side by side in one compiled program.

A chunk is computed in slices of a fraction of a second. Between two of them it can be
told to stop, and its whole state can be saved, wherever the points of its curves are.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Learns
from purerl.envs.contract import explained
from purerl.metrics import averages, normalized
from purerl.pytree import Node
from purerl.random import Impl, seed_key
from purerl.run import training
from purerl.run.archive import Arrays, Part, Place, Shapes, values_at
from purerl.run.checkpoint import flat_shapes, flatten, unflatten
from purerl.run.evaluation import Evaluation

SLICE = 0.25  # seconds
AHEAD = 8  # points that an accelerator may be ahead of what was read from it
SHARE = 50  # computing takes at least so many times as long as saving


class Settings(NamedTuple):
    """The part of a chunk that decides its program, all static.

    Attributes:
        lanes: ``W``.
        impl: the generator.
        block: iterations that are prepared at once.
        evaluation: how policies are evaluated.
        evaluate_one_by_one: whether each run is evaluated by a program of its own
            width, so that evaluations do not depend on ``lanes``.
    """

    lanes: int
    impl: Impl
    block: int
    evaluation: Evaluation
    evaluate_one_by_one: bool


class Task(NamedTuple):
    """One chunk as plain data, which can be sent to another process.

    Attributes:
        settings: those that decide the program.
        agent: its batched leaves have a leading axis ``[W]``.
        batched: which leaves these are.
        base_seed: from which all keys derive.
        seeds: int32 ``[W]``.
        device: index into ``jax.local_devices()``.
        blocks: between two points of a curve.
        points: of each curve.
        every: points between two evaluations.
        keep: what is kept of the final states: ``"snapshot"``, ``"state"`` or
            ``"nothing"``.
        stop_when: ends the chunk early, see :func:`purerl.sweep`.
        place: where the chunk is stored; None if it is not.
        save_every: seconds between two states that are saved on the way.
    """

    settings: Settings
    agent: Any
    batched: tuple[bool, ...]
    base_seed: int
    seeds: np.ndarray
    device: int
    blocks: int
    points: int
    every: int
    keep: str
    stop_when: Callable[[dict[str, float]], bool] | None = None
    place: Place | None = None
    save_every: float = 60.0


class Lowered(NamedTuple):
    """The functions of a chunk before they are compiled.

    What prepares evaluations calls solvers that are compiled by themselves, once for
    all agents on an environment; it is not lowered.

    Attributes:
        prepare: makes what evaluations need.
        init: makes the carry of the first slice, a state and sums of metrics.
        advance: computes a slice.
        evaluate: evaluates.
        carry: the shapes of the carry.
        shapes: of everything that a chunk stores.
    """

    prepare: Callable
    init: Any
    advance: Any
    evaluate: Any
    carry: Any
    shapes: Shapes

    def digest(self) -> str:
        """A digest of the programs: equal as long as they compute the same."""
        digest = hashlib.sha256()
        for part in (self.init, self.advance, self.evaluate):
            digest.update(part.as_text().encode())
        return digest.hexdigest()[:16]


class Program(NamedTuple):
    """The functions of a chunk, all but ``prepare`` compiled."""

    prepare: Callable
    init: Callable
    advance: Callable
    evaluate: Callable


Report = Callable[..., Any]


def run(task: Task, report: Report = lambda *point: None, end: int | None = None) -> Arrays:
    """Run a chunk, or what is missing of one that was saved on the way.

    Args:
        task: the chunk.
        report: called before the first slice and after each with the number of points
            that are computed, parts of one included; and at each point with its number
            and its values, ``{name: [W, ...]}``. An exception that it raises ends the
            chunk.
        end: the point after which to stop; by default the last one.

    Returns:
        ``curves.NAME [W, points, ...]``; for metrics of training ``counts.NAME [W,
        points]``, the number of terms that each value is the mean of; ``failed`` int32
        ``[W]``, the point at which a state was first found infinite or NaN, or -1;
        ``seconds []``; ``computed`` int32 ``[]``, the number of points before it was
        stopped, the others being NaN; and what is kept of the states,
        ``snapshot.PATH [W, ...]`` or ``state.PATH [W, ...]``.
    """
    lowering, compiled = lowered(task), program(task)
    began = time.perf_counter()
    device = jax.local_devices()[task.device]

    def put(value):
        return jax.device_put(value, device)

    agent, base_seed, seeds = put(task.agent), put(np.int32(task.base_seed)), put(task.seeds)
    with jax.default_device(device):
        prepared = compiled.prepare(agent)
    part = _stored(task, lowering.shapes)
    if part is None:
        carry, done = compiled.init(agent, base_seed, seeds), 0
        before = _begin(lowering.shapes, task.settings.lanes, task.every)
    else:
        carry, done, before = put(_carry(part, lowering.carry)), part.blocks, part.arrays
    began -= float(before["seconds"])
    first = done // task.blocks
    rows: list[dict[str, Any]] = []  # one a point since then, on the device at first
    last = task.blocks * (task.points if end is None else end)
    on_cpu = device.platform == "cpu"
    ahead = 0 if on_cpu or task.stop_when is not None else AHEAD
    satisfied = np.zeros(task.settings.lanes, bool)
    for point in range(first if task.stop_when is not None else 0):
        satisfied |= _satisfied(task, point, values_at(before, point, task.every))
    pace, read, saved = _Pace(), 0, time.perf_counter()
    report(done / task.blocks if on_cpu else first)
    pause = task.save_every
    while done < last:
        point, within = divmod(done, task.blocks)
        left = task.blocks - within
        blocks = pace.fit(left) if on_cpu else left
        start = put(np.int32(done * task.settings.block))
        sliced = time.perf_counter()
        carry, values = compiled.advance(
            agent, carry, start, put(np.int32(blocks)), put(np.bool_(within == 0))
        )
        done += blocks
        if on_cpu:
            jax.block_until_ready(values)
            pace.took(blocks, time.perf_counter() - sliced)
        if blocks == left:
            if (point + 1) % task.every == 0:
                number = put(np.int32(point))
                state, _ = carry
                measures = compiled.evaluate(agent, state, prepared, base_seed, seeds, number)
                values = values | {"measures": measures}
            rows.append(values)
        # An accelerator computes on while the host does not look at the last points.
        while read < len(rows) - (0 if done == last else ahead):
            rows[read] = _on_host(rows[read])
            report(first + read, rows[read]["curves"])
            satisfied |= _satisfied(task, first + read, rows[read]["curves"])
            if satisfied.all() and (first + read + 1) % task.every == 0:
                last = done
            read += 1
        report(done / task.blocks if on_cpu else first + read)
        now = time.perf_counter()
        if task.place is not None and done < last and now - saved > pause:
            rows[read:] = map(_on_host, rows[read:])
            arrays = _stacked(rows, before, first) | {"seconds": np.asarray(now - began)}
            arrays |= {f"carry.{name}": leaf for name, leaf in flatten(carry).items()}
            # A full disk is no reason to stop: the part before is still there.
            with contextlib.suppress(OSError):
                task.place.write_part(Part(arrays, done), done // task.blocks, task.every)
            saved = time.perf_counter()
            pause = max(task.save_every, SHARE * (saved - now))
    computed = last // task.blocks
    chunk = _filled(_stacked(rows, before, first), task.points, task.every)
    chunk["computed"] = np.asarray(computed, np.int32)
    chunk |= _kept(task, agent, carry[0])
    chunk["seconds"] = np.asarray(time.perf_counter() - began)
    return chunk


class _Pace:
    """Number of blocks of iterations in a slice: as many as take :data:`SLICE`."""

    def __init__(self):
        self.most = 16

    def fit(self, left):
        return min(self.most, left)

    def took(self, blocks, seconds):
        fitting = int(blocks * SLICE / max(seconds, 1e-6))
        self.most = max(1, min(fitting, 8 * max(blocks, self.most)))


def _on_host(values):
    """The values of a point as NumPy arrays, by kind; unchanged if they are already."""
    if "curves" in values:
        return values
    curves = averages(values["metrics"]) | values.get("measures", {})
    counts = values["counts"]
    return jax.tree.map(
        np.asarray, {"curves": curves, "counts": counts, "finite": values["finite"]}
    )


def _stacked(rows, before, first):
    """Arrays that were stored before, with the values of the points since then."""
    arrays = {name: x for name, x in before.items() if name.split(".")[0] in ("curves", "counts")}
    failed = before["failed"]
    for name, old in arrays.items():
        kind, _, short = name.partition(".")
        new = [row[kind][short] for row in rows if short in row[kind]]
        if new:
            arrays[name] = np.concatenate([old, np.stack(new, axis=1)], axis=1)
    for point, row in enumerate(rows, start=first):
        failed = np.where((failed < 0) & ~row["finite"], np.int32(point), failed)
    return arrays | {"failed": failed}


def _satisfied(task, point, values):
    """Runs that may stop at a point, bool ``[W]``."""
    if task.stop_when is None or (point + 1) % task.every:
        return np.zeros(task.settings.lanes, bool)
    lanes = ({n: x[lane] for n, x in values.items()} for lane in range(task.settings.lanes))
    return np.array([bool(task.stop_when(mine)) for mine in lanes])


def _filled(arrays, points, every):
    """Curves with NaN for the points after a chunk was stopped."""
    filled = {}
    for name, array in arrays.items():
        kind, _, short = name.partition(".")
        if kind in ("curves", "counts"):
            length = points if f"counts.{short}" in arrays else points // every
            missing = [(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
            value = np.nan if kind == "curves" else 0
            array = np.pad(array, missing, constant_values=value)
        filled[name] = array
    return filled


def _begin(shapes, lanes, every):
    """The arrays of a chunk that has no point yet."""
    arrays = {n: np.empty(*shape) for n, shape in shapes.curves(lanes, 0, every).items()}
    return arrays | {"failed": np.full(lanes, -1, np.int32), "seconds": np.float64(0)}


def _stored(task: Task, shapes: Shapes) -> Part | None:
    """What is stored of a chunk that is not finished."""
    if task.place is None:
        return None
    part = task.place.read_part(shapes)
    finished = task.place.read(shapes)
    if finished is not None:  # with fewer points
        arrays, about = finished
        blocks = about["points"] * task.blocks
        whole = arrays["computed"] == about["points"]
        if about["keep"] == "state" and whole and (part is None or part.blocks < blocks):
            return Part(arrays, blocks)
    return part


def _carry(part, like):
    """The carry of a part. Sums of metrics begin anew at a point."""
    state, totals = like
    names = {name.partition(".")[0] for name in part.arrays}
    kind = "carry" if "carry" in names else "state"
    arrays = {
        name.removeprefix(f"{kind}."): x
        for name, x in part.arrays.items()
        if name.startswith(f"{kind}.")
    }
    if kind == "carry":
        return unflatten(arrays, like)
    return unflatten(arrays, state), jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), totals)


def _kept(task, agent, state):
    """What is kept of the final states, by path."""
    if task.keep == "nothing":
        return {}
    if task.keep == "snapshot":
        axes = _axes(task)
        state = jax.vmap(lambda agent, state: agent.snapshot(state), (axes, 0))(agent, state)
    return {f"{task.keep}.{name}": leaf for name, leaf in flatten(state).items()}


def _axes(task):
    treedef = jax.tree.structure(task.agent)
    return jax.tree.unflatten(treedef, [0 if batched else None for batched in task.batched])


def lowered(task: Task) -> Lowered:
    """The functions of a chunk, traced once a process."""
    with _tracing:
        return _lowered(*_identity(task))


def program(task: Task) -> Program:
    """The program of a chunk, compiled once a process."""
    with _compiling:
        return _compiled(*_identity(task))


_tracing, _compiling = threading.Lock(), threading.Lock()


def _identity(task):
    """Everything that decides a program, the code of the agent's classes included.

    So a method that is replaced in a notebook is not answered with the old program.
    """
    leaves, treedef = jax.tree.flatten(task.agent)
    avals = tuple((np.shape(leaf), leaf.dtype.name) for leaf in leaves)
    code = frozenset(_code(task.agent) | _code(task.settings.evaluation))
    floats = jnp.result_type(float).name  # of JAX, which jax_enable_x64 changes
    return treedef, avals, task.batched, task.settings, task.device, (code, floats)


def _code(value):
    """The code of the methods of all nodes in a tree."""
    if not isinstance(value, Node):
        return set()
    methods = (x for kind in type(value).__mro__ for x in vars(kind).values())
    functions = (getattr(method, "fget", method) for method in methods)
    code = {function.__code__ for function in functions if hasattr(function, "__code__")}
    return code.union(*(_code(inner) for inner in vars(value).values()))


@functools.cache
def _lowered(treedef, avals, batched, settings, device, code):
    del code  # part of the key
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[device])

    def init(agent, base_seed, seed):
        init_key, _ = training.run_keys(seed_key(base_seed, seed, settings.impl))
        with explained(agent.env):
            state = agent.init(init_key)
        return state, training.no_metrics(agent, state)

    def advance(agent, carry, start, blocks, anew):
        state, totals = carry
        totals = jax.tree.map(lambda x: jnp.where(anew, 0, x), totals)

        def one(number, carry):
            state, totals = carry
            first = start + number * settings.block
            return training.block(agent, state, totals, first, settings.block)

        state, totals = jax.lax.fori_loop(0, blocks, one, (state, totals))
        counts = {name: mean.count for name, mean in totals.total.items()}
        values = {
            "metrics": normalized(totals.total),
            "counts": counts,
            "finite": _finite(agent, state),
        }
        return (state, totals), values

    def evaluate(agent, state, prepared, base_seed, seed, point):
        _, evaluation_key = training.run_keys(seed_key(base_seed, seed, settings.impl))
        key = jax.random.fold_in(evaluation_key, point)
        return settings.evaluation(agent, agent.snapshot(state), key, prepared)

    def lanes(function, in_axes, *donated):
        return jax.jit(jax.vmap(function, in_axes), donate_argnums=donated)

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def placed(shapes):
        return jax.tree.map(lambda x: array(x.shape, x.dtype), shapes)

    if settings.evaluate_one_by_one:
        evaluate = jax.custom_batching.sequential_vmap(evaluate)
    axes = jax.tree.unflatten(treedef, [0 if is_batched else None for is_batched in batched])
    agent = jax.tree.unflatten(treedef, [array(*aval) for aval in avals])
    number, seeds = array((), jnp.int32), array((settings.lanes,), jnp.int32)
    prepare = jax.vmap(settings.evaluation.prepare, (axes,), axis_size=settings.lanes)
    prepared = placed(jax.eval_shape(prepare, agent))
    lowered_init = lanes(init, (axes, None, 0)).lower(agent, number, seeds)
    carry = placed(lowered_init.out_info)
    lowered_advance = lanes(advance, (axes, 0, None, None, None), 1).lower(
        agent, carry, number, number, array((), jnp.bool_)
    )
    lowered_evaluate = lanes(evaluate, (axes, 0, 0, None, 0, None)).lower(
        agent, carry[0], prepared, number, seeds, number
    )
    leaves = [
        array(shape[1:] if is_batched else shape, dtype)
        for (shape, dtype), is_batched in zip(avals, batched, strict=True)
    ]
    one = jax.tree.unflatten(treedef, leaves)
    state, _ = jax.eval_shape(init, one, number, number)
    _, values = lowered_advance.out_info
    metrics = {name: mean.total for name, mean in values["metrics"].items()}
    shapes = Shapes(
        metrics=_per_lane(metrics),
        measures=_per_lane(lowered_evaluate.out_info),
        snapshot=flat_shapes(jax.eval_shape(lambda agent, x: agent.snapshot(x), one, state)),
        state=flat_shapes(state),
        carry=flat_shapes(carry),
    )
    return Lowered(prepare, lowered_init, lowered_advance, lowered_evaluate, carry, shapes)


def _per_lane(values):
    return {name: (list(x.shape[1:]), np.dtype(x.dtype).str) for name, x in values.items()}


def _finite(agent, state):
    """Whether what an agent learns is finite, bool ``[]``.

    That is ``agent.learned(state)``, or else the snapshot without the environment.
    """
    if isinstance(agent, Learns):
        learned = agent.learned(state)
    else:
        snapshot = agent.snapshot(state)
        learned = snapshot._asdict() if hasattr(snapshot, "_asdict") else {"": snapshot}
        learned = {name: part for name, part in learned.items() if name != "env_state"}
    floats = [x for x in jax.tree.leaves(learned) if jnp.issubdtype(x.dtype, jnp.floating)]
    return functools.reduce(jnp.logical_and, [jnp.isfinite(x).all() for x in floats], jnp.bool_(1))


@functools.cache
def _compiled(*identity):
    low = _lowered(*identity)
    device = jax.local_devices()[identity[4]]
    # With wide vectors LLVM can take most of a minute for the integer code of random
    # keys, and gains little there: not for programs that run rarely.
    quick: dict[str, Any] = {"xla_cpu_prefer_vector_width": 128} if device.platform == "cpu" else {}
    pool = concurrent.futures.ThreadPoolExecutor(3)
    advance = pool.submit(low.advance.compile)
    init = pool.submit(low.init.compile, quick)
    evaluate = pool.submit(low.evaluate.compile, quick)
    pool.shutdown(wait=False)  # an interruption does not wait for the compiler
    return Program(low.prepare, init.result(), advance.result(), evaluate.result())
