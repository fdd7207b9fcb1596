"""The table of a result: final scores with their intervals, and remarks on them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from purerl.figures import statistics
from purerl.figures.curves import infinite_counts
from purerl.figures.labels import factors
from purerl.figures.tables import Column
from purerl.run.points import whole

if TYPE_CHECKING:
    from purerl.run.result import SweepResult

_EPISODIC = "episode_"  # training metrics that average ended episodes
_FEW = (
    f"* n < {statistics.FEW}: too few seeds for a 95% interval, which covers less: "
    "about 70% with n=3, 84% with n=5"
)
_LAST_TENTH = "Metrics of training are means over its last tenth, evaluations those made last."


class Columns(NamedTuple):
    """Columns with a row for each configuration.

    Attributes:
        keys: numbers of the configurations, if there are several.
        about: what the configurations are, how many seeds ran and how many failed.
        measures: the final scores of each measure.
        notes: what the marks in the columns mean.
    """

    keys: list[Column]
    about: list[Column]
    measures: list[Column]
    notes: list[str]


def columns(result: "SweepResult", names: Sequence[str]) -> Columns:
    """The columns of a result's table.

    Args:
        result: the run.
        names: of the measures.
    """
    every = range(len(result.configurations))
    keys = [("#", list(map(str, every)))] if len(every) > 1 else []
    about = []
    varied = factors(result.configurations)
    if varied:
        texts = [", ".join(f"{f.name}={f.texts[f.index[c]]}" for f in varied) for c in every]
        about.append(("configuration", texts))
    few = statistics.FEW
    total = len(result.seeds)
    failed = [sum(f["configuration"] == c for f in result.failures) for c in every]
    ran = _ran(result).sum(axis=1)
    counts = [str(n) if n == total else f"{n} of {total}" for n in ran]
    counts = [f"{text}*" if n < few else text for text, n in zip(counts, ran, strict=True)]
    about.append(("seeds", counts))
    about.append(("failed", list(map(str, failed))))
    measures = [
        (name, [_cell(result, name, c, ran[c], failed[c]) for c in every]) for name in names
    ]
    notes = []
    if any("*" in cell for _, cells in [*about, *measures] for cell in cells):
        notes.append(_FEW)
    if any(whole(name) in result.counts for name in names):
        notes.append(_LAST_TENTH)
    return Columns(keys, about, measures, notes)


def _ran(result):
    """Whether a run has begun, bool ``[C, N]``."""
    ran = np.zeros((len(result.configurations), len(result.seeds)), bool)
    seeds = result.seeds.tolist()
    for failure in result.failures:
        ran[failure["configuration"], seeds.index(failure["seed"])] = True
    for curve in result.curves.values():
        ran |= ~np.isnan(curve).reshape(*ran.shape, -1).all(axis=2)
    return ran


def _cell(result, name, c, ran, failed):
    """The interval, and what else there is to say, each in a line of its own."""
    interval = result.interval(name, c)
    scores = result.scores(name, c)
    lines = ["-"]
    if interval is not None:
        lines = [str(interval).partition(" (")[0]]
        if interval.n < ran:
            few = "*" if interval.n < statistics.FEW else ""
            lines[0] += f" (n={interval.n}{few})"
        lines += _beside_a_cap(interval, scores)
    lines += infinite_counts(scores)
    without = ran - failed - len(scores)
    if without:
        none = "no episode ended" if name.startswith(_EPISODIC) else "no value"
        lines.append(f"{none} in {without}")
    return "\n".join(lines)


def _beside_a_cap(interval, scores):
    """What an interval without width conceals: how many scores are the same, and the
    lowest and the highest of the others."""
    others = scores[scores != interval.point]
    if interval.low != interval.high or not others.size:
        return []

    def number(value):
        return str(statistics.Interval(value, *interval[1:3], n=1)).split()[0]

    at = len(scores) - len(others)
    lines = [f"{at} of {len(scores)} at {number(interval.point)}"]
    if others.min() < interval.point:
        lines.append(f"lowest {number(others.min())}")
    if others.max() > interval.point:
        lines.append(f"highest {number(others.max())}")
    return lines
