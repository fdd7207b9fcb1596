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
BUSY = 0.1  # cores used by other processes above which figures are doubtful


class Unit(NamedTuple):
    """Units of seconds in a table.

    Attributes:
        label: the name of the unit.
        of: converts seconds.
        more: whether larger values are better.
    """

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
        title: above the table.
        unit: of the values.
        timings: by row and column.
        peer: the row that the others are compared with: a ratio is how many times
            faster they are.
        goals: by row and column, ratios if ``goals_are_ratios``, else values.
        goals_are_ratios: whether goals are ratios.
        notes: shown below the table.
    """

    title: str
    unit: Unit
    timings: Mapping[tuple[str, str], Timing]
    peer: str = ""
    goals: Mapping[tuple[str, str], float] = {}
    goals_are_ratios: bool = False
    notes: Sequence[str] = ()

    def figures(self) -> list[dict[str, Any]]:
        """Place, value, spread, ratio to the peer and goal of each timing.

        None where there is no peer or no goal.
        """
        out = []
        for (row, column), timing in self.timings.items():
            value, *spread = (self.unit.of(seconds) for seconds in timing[:3])
            peer, goal = self.timings.get((self.peer, column)), self.goals.get((row, column))
            ratio = None if peer is None or row == self.peer else peer.seconds / timing.seconds
            reached = ratio if self.goals_are_ratios else value
            met = None
            if goal is not None and reached is not None:
                met = reached >= goal if self._more_is_better else reached <= goal
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

    @property
    def _more_is_better(self):
        return self.goals_are_ratios or self.unit.more

    def grid(self) -> Grid:
        """The table for the terminal."""
        cells = {(figure["row"], figure["column"]): self._cell(figure) for figure in self.figures()}
        rows = dict.fromkeys(row for row, _ in cells)
        columns = dict.fromkeys(column for _, column in cells)
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
            sign = "≥" if self._more_is_better else "≤"
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
    versions = ", ".join(f"{package} {number}" for package, number in record["versions"].items())
    doubtful = ": [red]other processes were busy, the figures are doubtful"
    console.print(
        f"{record['device']}; {versions}\n"
        f"{record['at']}, {record['seconds']:.0f} s; "
        f"load average before {record['load_average']:.2f}, "
        f"cores busy elsewhere meanwhile {record['busy_elsewhere']:.2f}"
        f"{doubtful if record['busy_elsewhere'] > BUSY else ''}\n"
    )
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(path.read_text()) if path.exists() else []
    text = json.dumps([*earlier, record], indent=1)
    write_atomically(path, lambda file: file.write(text.encode()))


def _cpu():
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _busy_elsewhere():
    """Core-seconds since boot used neither by this process nor by its children.

    NaN where there is no ``/proc/stat``.
    """
    path = Path("/proc/stat")
    if not path.exists():
        return float("nan")
    ticks = map(int, path.read_text().splitlines()[0].split()[1:])
    user, nice, system, _, _, irq, softirq, steal, *_ = ticks
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])
