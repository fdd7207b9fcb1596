"""A progress bar for sweeps."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set

from rich.console import Console
from rich.progress import BarColumn, Progress, TimeRemainingColumn


@contextlib.contextmanager
def bar(
    show: bool, runs: Mapping[int, int], stored: Set[int], points: int, num_steps: int
) -> Iterator[Callable[[int, int], None]]:
    """A bar over the points of all runs, on standard error if that is a terminal: runs
    done, transitions a second, time left.

    Yields ``advance(chunk, points)``, which any thread may call.

    Args:
        show: whether to show it at all.
        runs: how many runs each chunk has.
        stored: chunks that were there before.
        points: how many points a run has.
        num_steps: its transitions.
    """
    console = Console(stderr=True)
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.fields[seeds]}",
        "{task.fields[speed]}",
        TimeRemainingColumn(),
    )
    lock = threading.Lock()
    with Progress(
        *columns, console=console, disable=not (show and console.is_terminal)
    ) as progress:
        total, began = sum(runs.values()), time.perf_counter()
        done = collections.Counter(dict.fromkeys(stored, points))
        skipped = sum(runs[index] for index in stored)
        task = progress.add_task(
            "compiling", total=total * points, seeds=f"{skipped}/{total} runs", speed=""
        )

        def advance(index, more):
            with lock:
                done[index] += more
                passed = sum(runs[i] * n for i, n in done.items())
                finished = sum(runs[i] for i, n in done.items() if n == points)
            speed = (passed - skipped * points) * num_steps / points / (time.perf_counter() - began)
            progress.update(
                task,
                completed=passed,
                description="training",
                seeds=f"{finished}/{total} runs",
                speed=f"{_count(speed)} steps/s",
            )

        progress.update(task, completed=skipped * points)
        yield advance


def _count(number):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
