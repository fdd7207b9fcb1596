"""One-step control: methods on FrozenLake, and Q-learning on a grid of 100 states."""

from functools import partial

import purerl
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import Case, Cases, chunks, measure, measure_in_new_process
from purerl.agents import DifferentialQLearning, RLearning
from purerl.envs.grids.gridworld import gridworld
from purerl.random import Impl

METHODS = (
    purerl.QLearning,
    purerl.DoubleQLearning,
    purerl.SARSA,
    purerl.ExpectedSARSA,
    DifferentialQLearning,
    RLearning,
)
PEER = "QLearning"
IMPLS: tuple[Impl, ...] = ("threefry", "pcg4d")
ITERATIONS = {1: 2**18, 64: 2**16, 1024: 2**14}  # by seeds: of one call, a sweep's segment
WIDTH = 128
SHARE = 0.5
SIZE = 10
GRID_GOALS = {1: 30, 2: 60}  # by threads


def _case(agent, impl, seeds, lanes, threads):
    iterations = ITERATIONS[seeds]
    return Case(partial(chunks, agent, impl, seeds, lanes, iterations, threads), seeds * iterations)


def methods(impl: Impl) -> Cases:
    """Every method on FrozenLake, in the chunks of a sweep."""
    env = purerl.make("FrozenLake-v1")
    return {
        (method.__name__, f"{n} seeds"): _case(method(env=env), impl, n, min(n, WIDTH), threads=2)
        for method in METHODS
        for n in ITERATIONS
    }


def grid(threads: int | str) -> Cases:
    """Q-learning on an open grid, from one corner to the other.

    In chunks of ``WIDTH`` lanes, or narrower ones where these would be fewer than the
    threads.
    """
    threads = int(threads)
    rows = ["S" + "." * (SIZE - 1), *["." * SIZE] * (SIZE - 2), "." * (SIZE - 1) + "G"]
    agent = purerl.QLearning(env=gridworld(rows))
    return {
        (f"purerl {impl}", f"{n} seeds"): _case(agent, impl, n, min(n // threads, WIDTH), threads)
        for impl in IMPLS
        for n in (64, 1024)
    }


def benchmark() -> list[Table]:
    goals = {(method.__name__, f"{n} seeds"): SHARE for method in METHODS[1:] for n in ITERATIONS}
    note = f"Chunks of at most {WIDTH} lanes: 1 and 64 seeds are one chunk, which one thread runs."
    tables = [
        Table(
            title=f"One-step control, FrozenLake-v1, {impl}, transitions, two threads",
            unit=MILLIONS,
            timings=measure(methods(impl)),
            peer=PEER,
            goals=goals,
            goals_are_ratios=True,
            notes=[note],
        )
        for impl in IMPLS
    ]
    for threads, goal in GRID_GOALS.items():
        if threads == 1:
            timings = measure_in_new_process(__name__, "grid", str(threads), cores=1)
        else:
            timings = measure(grid(threads))
        words = "one thread" if threads == 1 else "two threads"
        title = f"Q-learning, open {SIZE} x {SIZE} grid, transitions, {words}"
        goals = {name: goal for name in timings if "pcg4d" in name[0]}
        tables.append(Table(title, MILLIONS, timings, goals=goals))
    return tables
