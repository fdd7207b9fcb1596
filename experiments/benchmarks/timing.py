"""How everything here is measured: side by side in one process, compile time apart, medians of interleaved repeats."""

import importlib
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

from purerl import chunk
from purerl.agents.base import Agent
from purerl.evaluation import GreedyEpisodes

REPEATS, AT_LEAST = 5, 0.2  # timed runs of a case, and the seconds that each lasts


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
    return {name: Timing(statistics.median(s), min(s), max(s), built[name]) for name, s in samples.items()}


def _seconds(call, number):
    began = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - began) / number


def measure_on_one_core(module: str, cases: str) -> Timings:
    """:func:`measure` what a function of a module returns, in a process bound to one core before it imports jax (Linux)."""
    program = (
        "import os, json, importlib; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}); "
        f"from experiments.benchmarks import timing; module = importlib.import_module({module!r}); "
        f"print(json.dumps([(*name, timing) for name, timing in timing.measure(module.{cases}()).items()]))"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {(row, column): Timing(*timing) for row, column, timing in json.loads(done.stdout)}


def compiled(function: Callable, *args: Any) -> Callable[[], Any]:
    """``function(*args)``, compiled, as a call that waits for its result."""
    program = jax.jit(function).lower(*args).compile()
    return lambda: jax.block_until_ready(program(*args))


def chunks(agent: Agent, impl: str, seeds: int, lanes: int, iterations: int, threads: int = 1) -> Callable[[], Any]:
    """``iterations`` more of ``seeds`` runs as a call, in the programs, chunks and threads of a sweep. Init is not timed."""
    settings = chunk.Settings(lanes, impl, iterations, points=1, evaluation=GreedyEpisodes(), evaluations=1, keep_state=False)
    leaves, treedef = jax.tree.flatten(jax.tree.map(jnp.asarray, agent))
    batched = tuple(leaf.ndim == 0 for leaf in leaves)  # as a sweep has it: each lane its own numbers
    leaves = [jnp.full(lanes, leaf) if own else leaf for leaf, own in zip(leaves, batched, strict=True)]
    agent = jax.tree.unflatten(treedef, leaves)
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
