"""One chunk of a sweep: ``W`` runs side by side in one compiled program.

A chunk is computed in slices of a fraction of a second. Between two of them it can be
told to stop, and its whole state can be saved, wherever the points of its curves are.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from purerl.metrics import averages
from purerl.run.archive import Arrays, Part, Shapes, values_at
from purerl.run.checkpoint import flatten, unflatten
from purerl.run.program import Task, lane_axes, lowered, program

SLICE = 0.25  # seconds
AHEAD = 8  # points that an accelerator may be ahead of what was read from it
SHARE = 50  # computing takes at least so many times as long as saving

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
        axes = lane_axes(task)
        state = jax.vmap(lambda agent, state: agent.snapshot(state), (axes, 0))(agent, state)
    return {f"{task.keep}.{name}": leaf for name, leaf in flatten(state).items()}
