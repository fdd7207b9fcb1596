"""One chunk of a sweep: ``W`` runs side by side in one compiled program."""

import concurrent.futures
import functools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs.contract import explained
from purerl.metrics import averages, normalized
from purerl.random import Impl, seed_key
from purerl.run import training
from purerl.run.checkpoint import flatten
from purerl.run.evaluation import Evaluation


class Settings(NamedTuple):
    """Settings that all chunks of a sweep share, all static.

    Attributes:
        lanes: ``W``.
        impl: the generator.
        length: iterations between two points.
        points: points of each curve.
        evaluation: how policies are evaluated.
        evaluations: at how many of the points.
        keep_state: whether final states are kept.
        evaluate_one_by_one: whether each run is evaluated by a program of its own
            width, so that evaluations do not depend on ``lanes``.
    """

    lanes: int
    impl: Impl
    length: int
    points: int
    evaluation: Evaluation
    evaluations: int
    keep_state: bool
    evaluate_one_by_one: bool


class Task(NamedTuple):
    """One chunk as plain data, which can be sent to another process.

    Attributes:
        settings: those of the sweep.
        agent: its batched leaves have a leading axis ``[W]``.
        batched: which leaves these are.
        base_seed: from which all keys derive.
        seeds: int32 ``[W]``.
        device: index into ``jax.local_devices()``.
    """

    settings: Settings
    agent: Any
    batched: tuple[bool, ...]
    base_seed: int
    seeds: np.ndarray
    device: int


class Program(NamedTuple):
    """The functions of a chunk, all but ``prepare`` compiled.

    What prepares evaluations calls solvers that are compiled by themselves, once for
    all agents on an environment.
    """

    prepare: Callable
    init: Callable
    segment: Callable
    evaluate: Callable


def run(task: Task, advance: Callable[[], None] = lambda: None) -> dict[str, np.ndarray]:
    """Run a chunk.

    Args:
        task: the chunk.
        advance: called after each segment; an exception that it raises ends the chunk.

    Returns:
        ``curves.NAME [W, points]``, ``failed`` bool ``[W]``, ``seconds`` ``[]``, and if
        states are kept ``state.PATH [W, ...]``.
    """
    settings = task.settings
    compiled = program(task)
    began = time.perf_counter()
    device = jax.local_devices()[task.device]

    def put(value):
        return jax.device_put(value, device)

    agent, base_seed, seeds = put(task.agent), put(np.int32(task.base_seed)), put(task.seeds)
    with jax.default_device(device):
        prepared = compiled.prepare(agent)
    state = compiled.init(agent, base_seed, seeds)
    curves: dict[str, list[np.ndarray]] = {}
    for point in range(settings.points):
        start = put(np.int32(point * settings.length))
        state, metrics = compiled.segment(agent, state, start)
        values = averages(metrics)
        if (point + 1) % (settings.points // settings.evaluations) == 0:
            number = put(np.int32(point))
            values |= compiled.evaluate(agent, state, prepared, base_seed, seeds, number)
        for name, value in values.items():
            curves.setdefault(name, []).append(np.asarray(value))
        advance()
    chunk = {f"curves.{name}": np.stack(values, axis=1) for name, values in curves.items()}
    chunk["failed"] = ~_finite(state, settings.lanes)
    if settings.keep_state:
        chunk |= {f"state.{name}": leaf for name, leaf in flatten(state).items()}
    chunk["seconds"] = np.asarray(time.perf_counter() - began)
    return chunk


def program(task: Task) -> Program:
    """The program of a chunk, compiled once a process."""
    leaves, treedef = jax.tree.flatten(task.agent)
    avals = tuple((np.shape(leaf), leaf.dtype.name) for leaf in leaves)
    with _compiling:
        return _compiled(treedef, avals, task.batched, task.settings, task.device)


_compiling = threading.Lock()


@functools.cache
def _compiled(treedef, avals, batched, settings, device):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[device])

    def init(agent, base_seed, seed):
        init_key, _ = training.run_keys(seed_key(base_seed, seed, settings.impl))
        with explained(agent.env):
            return agent.init(init_key)

    def segment(agent, state, start):
        state, metrics = training.segment(agent, state, start, settings.length)
        return state, normalized(metrics)

    def evaluate(agent, state, prepared, base_seed, seed, point):
        _, evaluation_key = training.run_keys(seed_key(base_seed, seed, settings.impl))
        key = jax.random.fold_in(evaluation_key, point)
        return settings.evaluation(agent, agent.snapshot(state), key, prepared)

    def lanes(function, in_axes, *donated):
        return jax.jit(jax.vmap(function, in_axes), donate_argnums=donated)

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    if settings.evaluate_one_by_one:
        evaluate = jax.custom_batching.sequential_vmap(evaluate)
    axes = jax.tree.unflatten(treedef, [0 if is_batched else None for is_batched in batched])
    agent = jax.tree.unflatten(treedef, [array(*aval) for aval in avals])
    number, seeds = array((), jnp.int32), array((settings.lanes,), jnp.int32)
    init_lanes = lanes(init, (axes, None, 0))
    segment_lanes = lanes(segment, (axes, 0, None), 1)
    evaluate_lanes = lanes(evaluate, (axes, 0, 0, None, 0, None))
    prepare = jax.vmap(settings.evaluation.prepare, (axes,), axis_size=settings.lanes)
    shapes = jax.eval_shape(prepare, agent), jax.eval_shape(init_lanes, agent, number, seeds)
    prepared, state = jax.tree.map(lambda x: array(x.shape, x.dtype), shapes)
    # Each is compiled while the next is traced; the one that takes longest comes first.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        lowered = segment_lanes.lower(agent, state, number)
        compiled_segment = pool.submit(lowered.compile)
        lowered = init_lanes.lower(agent, number, seeds)
        compiled_init = pool.submit(lowered.compile, _QUICK)
        lowered = evaluate_lanes.lower(agent, state, prepared, number, seeds, number)
        compiled_evaluate = pool.submit(lowered.compile, _QUICK)
    return Program(
        prepare, compiled_init.result(), compiled_segment.result(), compiled_evaluate.result()
    )


# For programs that run rarely. With wide vectors LLVM can take most of a minute for the
# integer code of random keys, and gains little there.
_QUICK: dict[str, Any] = {"xla_cpu_prefer_vector_width": 128}


def _finite(state: Any, lanes: int) -> np.ndarray:
    """Lanes whose states have only finite floating numbers, bool ``[W]``."""
    finite = np.ones(lanes, bool)
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            finite &= np.isfinite(np.asarray(leaf).reshape(lanes, -1)).all(axis=1)
    return finite
