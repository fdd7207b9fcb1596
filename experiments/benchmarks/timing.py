"""Timing: cases side by side in a process, without compilation, medians of repeats."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Agent
from purerl.random import Impl
from purerl.run import program
from purerl.run.evaluation import Episodes, Evaluation
from purerl.timescan import block_length

REPEATS = 5  # timed runs of a case
AT_LEAST = 0.2  # seconds of each
NEXT_TO_NOTHING = Episodes(episodes=1, max_steps=1)


class Case(NamedTuple):
    """Something to be timed.

    Attributes:
        build: compiles, and returns a call that waits for its result.
        amount: what the call does: steps, updates and so on.
    """

    build: Callable[[], Callable[[], Any]]
    amount: int


class Timing(NamedTuple):
    """Seconds for one of a case's ``amount``.

    Attributes:
        seconds: the median of the timed runs.
        least: the fastest.
        most: the slowest.
        build: seconds to compile.
    """

    seconds: float
    least: float
    most: float
    build: float


# By row and column of a table.
Cases = Mapping[tuple[str, str], Case]
Timings = dict[tuple[str, str], Timing]


def measure(cases: Cases, clock: Callable[[], float] = time.perf_counter) -> Timings:
    """Build all cases, then time them in turns, ``REPEATS`` times.

    Disturbances of the machine then affect all cases alike.

    Args:
        cases: what to time.
        clock: seconds, of the wall by default; ``time.process_time`` counts those that
            this process computes, whatever else is running.
    """
    calls = {}
    numbers = {}
    built = {}
    for name, case in cases.items():
        began = clock()
        calls[name] = case.build()
        built[name] = clock() - began
        calls[name]()
        numbers[name] = math.ceil(AT_LEAST / _seconds(calls[name], 1, clock))
    samples = {name: [] for name in cases}
    for _ in range(REPEATS):
        for name, call in calls.items():
            samples[name].append(_seconds(call, numbers[name], clock) / cases[name].amount)
    return {
        name: Timing(statistics.median(s), min(s), max(s), built[name])
        for name, s in samples.items()
    }


def _seconds(call, number, clock):
    began = clock()
    for _ in range(number):
        call()
    return (clock() - began) / number


_NEW_PROCESS = """
import os, sys
module, function, cores, *args = sys.argv[1:]
if cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores):])
import importlib, json, time
from experiments.benchmarks.timing import measure
cases = getattr(importlib.import_module(module), function)(*args)
clock = time.process_time if cores == "1" else time.perf_counter
print(json.dumps([(*name, timing) for name, timing in measure(cases, clock).items()]))
"""


def measure_in_new_process(
    module: str, function: str, *args: str, cores: int | None = None
) -> Timings:
    """:func:`measure` the cases that a module's function returns, in a new process.

    It compiles everything anew. Bound to one core it is timed in CPU seconds.

    Args:
        module: the function's module.
        function: its name.
        *args: its arguments.
        cores: the number of cores that the process is bound to before it imports jax
            (on Linux); a matrix product then gets one thread. By default any.
    """
    command = [sys.executable, "-c", _NEW_PROCESS, module, function, str(cores or ""), *args]
    flags = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    if cores:
        flags["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        command, env=os.environ | flags, stdout=subprocess.PIPE, text=True, check=True
    )
    return {(row, column): Timing(*timing) for row, column, timing in json.loads(done.stdout)}


def compiled(function: Callable, *args: Any) -> Callable[[], Any]:
    """``function(*args)``, compiled, as a call that waits for its result."""
    program = jax.jit(function).lower(*args).compile()
    return lambda: jax.block_until_ready(program(*args))


def chunks(
    agent: Agent,
    impl: Impl,
    seeds: int,
    lanes: int,
    iterations: int,
    threads: int,
    evaluation: Evaluation = NEXT_TO_NOTHING,
) -> Callable[[], Any]:
    """A call that continues ``seeds`` runs by ``iterations``, in chunks of a sweep.

    The call does not include ``init`` and evaluation.
    """
    block = block_length(iterations)
    settings = program.Settings(
        lanes=lanes,
        impl=impl,
        block=block,
        evaluation=evaluation,
        evaluate_one_by_one=not getattr(agent, "bits_depend_on_lanes", True),
    )
    leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, agent))
    batched = tuple(leaf.ndim == 0 for leaf in leaves)  # in a sweep each lane has its numbers
    agent = treedef.unflatten(
        jnp.full(lanes, leaf) if own else leaf for leaf, own in zip(leaves, batched, strict=True)
    )
    ids = np.arange(seeds, dtype=np.int32).reshape(-1, lanes)
    blocks = np.int32(iterations // block)
    task = program.Task(settings, agent, batched, 0, ids[0], 0, int(blocks), 1, 1, "nothing")
    compiled = program.program(task)
    carries = [compiled.init(agent, np.int32(0), lane_ids) for lane_ids in ids]
    starts = iter(range(0, 2**31, iterations))
    pool = ThreadPoolExecutor(threads)

    def call():
        start = np.int32(next(starts))

        def advance(i):
            anew = np.bool_(True)
            carry, _ = compiled.advance(agent, carries[i], start, blocks, anew)
            carries[i] = jax.block_until_ready(carry)

        list(pool.map(advance, range(len(carries))))

    return call
