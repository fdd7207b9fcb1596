"""How all is measured: side by side in one process, compile time apart, medians over repeats."""

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
from purerl.run import chunk
from purerl.run.evaluation import Episodes, Evaluation

REPEATS, AT_LEAST = 5, 0.2  # timed runs of a case, and the seconds that each lasts
NEXT_TO_NOTHING = Episodes(episodes=1, max_steps=1)


class Case(NamedTuple):
    """``build()`` compiles, and returns a call that does ``amount`` (steps, updates...) and waits for the result."""

    build: Callable[[], Callable[[], Any]]
    amount: int


class Timing(NamedTuple):
    """Seconds for one of ``amount``: the median, least and most of the timed runs. And the seconds that building took."""

    seconds: float
    least: float
    most: float
    build: float


Cases = Mapping[tuple[str, str], Case]  # by row and column of a table
Timings = dict[tuple[str, str], Timing]


def measure(cases: Cases) -> Timings:
    """Build every case, then time all in turn, ``REPEATS`` times over: what disturbs the machine meets them alike."""
    calls, numbers, built = {}, {}, {}
    for name, case in cases.items():
        began = time.perf_counter()
        calls[name] = case.build()
        built[name] = time.perf_counter() - began
        calls[name]()
        numbers[name] = math.ceil(AT_LEAST / _seconds(calls[name], 1))
    samples = {name: [] for name in cases}
    for _ in range(REPEATS):
        for name, call in calls.items():
            samples[name].append(_seconds(call, numbers[name]) / cases[name].amount)
    return {
        name: Timing(statistics.median(s), min(s), max(s), built[name])
        for name, s in samples.items()
    }


def _seconds(call, number):
    began = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - began) / number


_NEW_PROCESS = """
import os, sys
module, function, cores, *args = sys.argv[1:]
if cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores):])
import importlib, json
from experiments.benchmarks.timing import measure
cases = getattr(importlib.import_module(module), function)(*args)
print(json.dumps([(*name, timing) for name, timing in measure(cases).items()]))
"""


def measure_in_new_process(
    module: str, function: str, *args: str, cores: int | None = None
) -> Timings:
    """:func:`measure` what a module's function returns, in a process of its own.

    With ``cores`` it is bound to so many before it imports jax (on Linux), and a matrix product gets one thread.
    """
    command = [sys.executable, "-c", _NEW_PROCESS, module, function, str(cores or ""), *args]
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if cores else {}
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
    impl: str,
    seeds: int,
    lanes: int,
    iterations: int,
    threads: int,
    evaluation: Evaluation = NEXT_TO_NOTHING,
) -> Callable[[], Any]:
    """``iterations`` more of ``seeds`` runs as a call, by the compiled chunks of a sweep (``init`` and evaluation untimed)."""
    settings = chunk.Settings(
        lanes, impl, iterations, points=1, evaluation=evaluation, evaluations=1, keep_state=False
    )
    leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, agent))
    batched = tuple(
        leaf.ndim == 0 for leaf in leaves
    )  # as a sweep has it: each lane its own numbers
    agent = treedef.unflatten(
        jnp.full(lanes, leaf) if own else leaf for leaf, own in zip(leaves, batched, strict=True)
    )
    ids = np.arange(seeds, dtype=np.int32).reshape(-1, lanes)
    program = chunk.program(chunk.Task(settings, agent, batched, 0, ids[0], 0))
    states = [program.init(agent, np.int32(0), lane_ids)[0] for lane_ids in ids]
    starts = iter(range(0, 2**31, iterations))
    pool = ThreadPoolExecutor(threads)

    def call():
        start = np.int32(next(starts))

        def advance(i):
            states[i], _ = jax.block_until_ready(program.segment(agent, states[i], start))

        list(pool.map(advance, range(len(states))))

    return call
