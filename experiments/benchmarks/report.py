"""Tables of timings: on the screen, and in ``results/benchmarks/``."""

import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table as Grid

from experiments.benchmarks.timing import Timing
from purerl.figures.files import write_atomically

FOLDER = Path("results/benchmarks")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "gymnax")
BUSY = 0.1  # cores in use by others from which figures are doubtful


class Unit(NamedTuple):
    """How seconds are shown, and whether more is better then."""

    label: str
    of: Callable[[float], float]
    more: bool


MILLIONS = Unit("millions a second", lambda seconds: 1e-6 / seconds, True)
NANOSECONDS = Unit("nanoseconds", lambda seconds: 1e9 * seconds, False)
MICROSECONDS = Unit("microseconds", lambda seconds: 1e6 * seconds, False)
SECONDS = Unit("seconds", lambda seconds: seconds, False)


class Table(NamedTuple):
    """Timings by row and column.

    Attributes:
        peer: the row that others are compared with: a ratio is how many times faster they are.
        goals: what should be reached, by row and column: a ratio where ``goals_are_ratios``, else a value.
        notes: what the reader has to know.
    """

    title: str
    unit: Unit
    timings: Mapping[tuple[str, str], Timing]
    peer: str = ""
    goals: Mapping[tuple[str, str], float] = {}
    goals_are_ratios: bool = False
    notes: Sequence[str] = ()

    def figures(self) -> list[dict[str, Any]]:
        """For each timing its place, value, spread, ratio to the peer and goal; None where there is none."""
        out = []
        for (row, column), timing in self.timings.items():
            value, *spread = (self.unit.of(seconds) for seconds in timing[:3])
            peer, goal = self.timings.get((self.peer, column)), self.goals.get((row, column))
            ratio = None if peer is None or row == self.peer else peer.seconds / timing.seconds
            reached = ratio if self.goals_are_ratios else value
            met = None
            if goal is not None and reached is not None:
                met = (
                    reached >= goal if self.goals_are_ratios or self.unit.more else reached <= goal
                )
            figure = {
                "row": row,
                "column": column,
                "value": value,
                "least": min(spread),
                "most": max(spread),
            }
            out.append(
                figure | {"ratio": ratio, "goal": goal, "met": met, "build_seconds": timing.build}
            )
        return out

    def grid(self) -> Grid:
        cells = {(figure["row"], figure["column"]): self._cell(figure) for figure in self.figures()}
        rows, columns = (
            dict.fromkeys(row for row, _ in cells),
            dict.fromkeys(column for _, column in cells),
        )
        grid = Grid(
            "",
            *columns,
            title=f"{self.title}: {self.unit.label}",
            title_justify="left",
            box=None,
            padding=(0, 2, 0, 0),
        )
        for row in rows:
            grid.add_row(row, *(cells.get((row, column), "") for column in columns))
        return grid

    def _cell(self, figure):
        cell = f"{figure['value']:.3g}"
        if figure["ratio"] is not None:
            cell += f" = {figure['ratio']:.3g}x"
        if figure["met"] is not None:
            sign = "≥" if self.goals_are_ratios or self.unit.more else "≤"
            goal = f"{sign} {figure['goal']:g}{'x' * self.goals_are_ratios}"
            cell += f"\n[green]{goal}[/]" if figure["met"] else f"\n[red]not {goal}[/]"
        return cell


def run(name: str, benchmark: Callable[[], list[Table]], console: Console) -> None:
    """Measure, print, and append to ``results/benchmarks/NAME.json``."""
    record = {
        "command": f"python -m experiments.benchmarks {name}",
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": f"{_cpu()}, {os.cpu_count()} cores, JAX on {jax.devices()[0].device_kind}",
        "versions": {
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "load_average": os.getloadavg()[0],
    }
    console.rule(f"[bold]{record['command']}", align="left")
    began, busy = time.perf_counter(), _busy_elsewhere()
    tables = benchmark()
    record["seconds"] = time.perf_counter() - began
    record["busy_elsewhere"] = (_busy_elsewhere() - busy) / record["seconds"]
    record["tables"] = [
        {
            "title": t.title,
            "unit": t.unit.label,
            "peer": t.peer,
            "notes": t.notes,
            "figures": t.figures(),
        }
        for t in tables
    ]
    for table in tables:
        console.print(*([table.grid()] if table.timings else []), *table.notes, "", sep="\n")
    console.print(
        f"{record['device']}; {', '.join(f'{package} {number}' for package, number in record['versions'].items())}\n"
        f"{record['at']}, {record['seconds']:.0f} s; load average before {record['load_average']:.2f}, "
        f"cores busy elsewhere meanwhile {record['busy_elsewhere']:.2f}"
        f"{': [red]others were at work, the figures are doubtful' if record['busy_elsewhere'] > BUSY else ''}\n"
    )
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([*(json.loads(path.read_text()) if path.exists() else []), record], indent=1)
    write_atomically(path, lambda file: file.write(text.encode()))


def _cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _busy_elsewhere():
    """Core-seconds since boot that neither this process nor its children used; NaN where there is no /proc/stat."""
    if not Path("/proc/stat").exists():
        return float("nan")
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - sum(
        os.times()[:4]
    )
