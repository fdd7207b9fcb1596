"""Scans over time, plain and in blocks, by lanes: how ``timescan`` chooses."""

import math
from functools import partial
from unittest import mock

import jax

import purerl
from experiments.benchmarks import environments
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import Case, Cases, compiled, measure_in_new_process
from purerl import timescan

LANES = {1: 2**15, 16: 2**13, 64: 2**12, 256: 2**11, 4096: 2**9}  # and steps of each
NAMES = ("CartPole", "Breakout")
ROWS = {"in blocks": math.inf, "plain": 0, "as chosen": timescan.WIDE}
LEAST = 0.9  # times the faster one of the two


def build(env: purerl.envs.Environment, keys: jax.Array, num_steps: int, wide: float):
    """A rollout, scanned plainly from a width of ``wide`` on."""
    with mock.patch.object(timescan, "WIDE", wide):
        return compiled(partial(environments.ours, env, num_steps=num_steps), keys)


def cases(name: str, impl: purerl.random.Impl) -> Cases:
    """Random rollouts of an environment; for a new process."""
    env = environments.PAIRS[name].ours()
    return {
        (row, f"{n} lanes"): Case(
            partial(build, env, jax.random.split(purerl.random.key(0, impl), n), steps, wide),
            n * steps,
        )
        for row, wide in ROWS.items()
        for n, steps in LANES.items()
    }


def benchmark() -> list[Table]:
    tables = []
    for name in NAMES:
        for impl in ("threefry", "pcg4d"):
            timings = measure_in_new_process(__name__, "cases", name, impl, cores=1)
            goals = {}
            for n in LANES:
                column = f"{n} lanes"
                seconds = {row: timings[row, column].seconds for row in ROWS}
                best = min(seconds["in blocks"], seconds["plain"])
                goals["as chosen", column] = LEAST * seconds["in blocks"] / best
            title = f"{name}, {impl}, random rollouts, steps"
            tables.append(Table(title, MILLIONS, timings, "in blocks", goals, True))
    return tables
