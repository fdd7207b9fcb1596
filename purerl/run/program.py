"""The programs of a chunk: what is compiled, once for all chunks that are alike."""

import concurrent.futures
import functools
import hashlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Learns
from purerl.envs.contract import explained
from purerl.metrics import normalized
from purerl.pytree import Node
from purerl.random import Impl, seed_key
from purerl.run import training
from purerl.run.archive import Place, Shapes
from purerl.run.checkpoint import flat_shapes
from purerl.run.evaluation import Evaluation


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


def lane_axes(task: Task) -> Any:
    """The lane axis of each leaf of a task's agent, None where it has none."""
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
    """The code of the methods of all nodes and networks in a tree."""
    if not isinstance(value, (Node, nn.Module)):
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
        over = jax.vmap if settings.lanes > 1 else _alone
        return jax.jit(over(function, in_axes), donate_argnums=donated)

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


def _alone(function, in_axes):
    """``vmap`` over a single lane, without a batch axis inside.

    XLA multiplies batches of one matrix at up to half the speed of a matrix.
    """

    def only(axis, values):
        return values if axis is None else jax.tree.map(lambda x: x[0], values)

    def alone(*arguments):
        taken = [
            jax.tree.map(only, axes, argument, is_leaf=lambda axis: axis is None)
            for axes, argument in zip(in_axes, arguments, strict=True)
        ]
        return jax.tree.map(lambda x: x[None], function(*taken))

    return alone


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
