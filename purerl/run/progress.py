"""The progress of sweeps, on standard error: a bar in a terminal, lines elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set

from rich.console import Console
from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

# Seconds until the first line, and between two lines: a short sweep prints none.
FIRST, EVERY = 10.0, 30.0


@contextlib.contextmanager
def bar(
    show: bool,
    runs: Mapping[int, int],
    stored: Set[int],
    points: int,
    num_steps: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Callable[[int, float], None]]:
    """Show the progress of all runs: runs done, speed, time taken and time left.

    It says that it compiles until a chunk says how far it is.

    Where standard error is no terminal, as in notebooks and in the logs of a cluster, a
    line is written now and then: ``purerl: 12/64 runs, 3.1 M steps/s, 40 s left``.

    Yields ``advance(chunk, points)``, which any thread may call with the number of
    points that a chunk has, parts of one included.

    Args:
        show: whether to show anything.
        runs: how many runs each chunk has.
        stored: chunks that were there before.
        points: how many points a run has.
        num_steps: its transitions.
        clock: the time in seconds.
    """
    console = Console(stderr=True)
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.fields[seeds]}",
        "{task.fields[speed]}",
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    lines = show and not console.is_terminal
    lock = threading.Lock()
    with Progress(*columns, console=console, disable=lines or not show) as progress:
        total = sum(runs.values())
        done: dict[int, float] = dict.fromkeys(stored, points)
        skipped = sum(runs[index] for index in stored)
        task = progress.add_task(
            "compiling", total=total * points, seeds=f"{skipped}/{total} runs", speed=""
        )
        began = clock()
        # For the speed: what there was at what time.
        since, base, due = began, float(skipped * points), began + FIRST

        def advance(index, reached):
            nonlocal since, base, due
            with lock:
                if done.get(index) == reached:
                    return
                now = clock()
                if index not in done and reached < points:
                    base += runs[index] * reached  # that was saved on the way
                    if len(done) == len(stored):  # before it was mostly the compiler
                        since, due = now, now + FIRST
                done[index] = reached
                passed = sum(runs[i] * n for i, n in done.items())
                finished = sum(runs[i] for i, n in done.items() if n == points)
                complete = passed == total * points
                rate = (passed - base) / max(now - since, 1e-9)  # points a second
                line = lines and passed > base and now >= (began + FIRST if complete else due)
                if line:
                    due = now + EVERY
            seeds = f"{finished}/{total} runs"
            speed = f"{_count(rate * num_steps / points)} steps/s" if rate else ""
            progress.update(
                task, completed=passed, description="training", seeds=seeds, speed=speed
            )
            if line:
                if complete:
                    when = f"done in {_duration(now - began)}"
                else:
                    when = f"{_duration((total * points - passed) / rate)} left"
                _write(f"purerl: {seeds}, {speed}, {when}")

        progress.update(task, completed=skipped * points)
        yield advance


def _write(line):
    # A log that cannot be written must not end a run.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _count(number):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _duration(seconds):
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h"
