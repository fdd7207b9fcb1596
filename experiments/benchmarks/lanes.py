"""Speed by the width of a chunk on a CPU, from which agents' ``lanes`` are chosen."""

from functools import partial

import purerl
from experiments.benchmarks.report import MICROSECONDS, NANOSECONDS, Table
from experiments.benchmarks.timing import Case, chunks, measure

TIE = 1.05  # the narrowest chunk within this factor of the best is taken
TABLES = (
    (
        "QLearning, FrozenLake-v1, a transition",
        purerl.QLearning(purerl.make("FrozenLake-v1")),
        range(4, 11),
        2**19,
        NANOSECONDS,
    ),
    (
        "DQN, CartPole-v1, an update and its 10 steps",
        purerl.DQN(purerl.make("CartPole-v1")),
        range(1, 6),
        2**10,
        MICROSECONDS,
    ),
)


def _table(title, agent, exponents, work, unit):
    """Time two chunks on two threads, each of ``work`` iterations over all lanes."""
    cases = {
        ("threefry", f"W = {2**e}"): Case(
            partial(chunks, agent, "threefry", 2 * 2**e, 2**e, work >> e, threads=2), 2 * work
        )
        for e in exponents
    }
    timings = measure(cases)
    best = min(timing.seconds for timing in timings.values())
    choice = next(column for (_, column), timing in timings.items() if timing.seconds <= TIE * best)
    notes = [
        "Wall time, two chunks on two threads.",
        f"The narrowest within {TIE - 1:.0%} of the best: {choice}.",
    ]
    return Table(f"{title}, one seed", unit, timings, notes=notes)


def benchmark() -> list[Table]:
    return [_table(*row) for row in TABLES]
