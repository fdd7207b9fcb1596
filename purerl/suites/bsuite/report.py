"""Scores of an agent over seeds, as tables and pictures."""

import dataclasses
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from purerl.envs.bsuite import EXPERIMENTS
from purerl.figures import radar, statistics
from purerl.suites.bsuite.scores import score

TAGS = ("basic", "credit_assignment", "exploration", "generalization", "memory", "noise", "scale")


class Recorded(NamedTuple):
    """The recorded numbers of one experiment.

    Attributes:
        settings: the ``I`` settings that were run.
        columns: by name, float64 ``[I, N]``.
        episodes: the number of episodes of each run.
    """

    settings: list[dict[str, Any]]
    columns: dict[str, np.ndarray]
    episodes: int


@dataclasses.dataclass(frozen=True)
class Report:
    """An agent's scores over ``N`` seeds, each of which is a run of the suite.

    Attributes:
        label: the agent's name in tables and pictures.
        records: by experiment. NaN where a run diverged to infinity or NaN; its seed
            then has no score in that experiment.
    """

    label: str
    records: dict[str, Recorded]

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """By experiment, ``[N]``."""
        scores = {}
        for name, (settings, columns, episodes) in self.records.items():
            failed = np.any([np.isnan(values).any(axis=0) for values in columns.values()], axis=0)
            scores[name] = np.where(failed, np.nan, score(name, settings, columns, episodes))
        return scores

    @property
    def tags(self) -> dict[str, np.ndarray]:
        """By tag, the mean over its experiments that were run, ``[N]``."""
        scores = self.scores
        members = {tag: [name for name in scores if tag in EXPERIMENTS[name].tags] for tag in TAGS}
        return {
            tag: np.mean([scores[name] for name in names], axis=0)
            for tag, names in members.items()
            if names
        }

    def table(self) -> str:
        """The mean scores with 95% bootstrap intervals, by tag and by experiment."""
        table = Table(title=f"{self.label}: mean score over seeds [95% interval]")
        table.add_column("")
        for column in ("score", "settings", "episodes"):
            table.add_column(column, justify="right")
        table.add_column("tags")
        for tag, scores in self.tags.items():
            table.add_row(tag.replace("_", " "), _mean(scores), "", "", "")
        table.add_section()
        for name, scores in self.scores.items():
            about, record = EXPERIMENTS[name], self.records[name]
            settings = _part_of(len(record.settings), len(about.settings))
            episodes = _part_of(record.episodes, about.episodes)
            tags = ", ".join(about.tags).replace("_", " ")
            table.add_row(name, _mean(scores), settings, episodes, tags)
        text = io.StringIO()
        Console(file=text, width=128, markup=False, force_jupyter=False).print(table)
        return text.getvalue()

    def radar(self, path: str | Path) -> Path:
        """Draw the scores by tag; see :func:`purerl.figures.radar.radar`."""
        return radar.radar(path, {self.label: self.tags})


def _part_of(number, full):
    return f"{number:,}" if number == full else f"{number:,} of {full:,}"


def _mean(scores):
    known = scores[np.isfinite(scores)]
    if not known.size:
        return "- (all failed)"
    missing = f" ({len(scores) - len(known)} failed)" if len(known) < len(scores) else ""
    if len(known) == 1:
        return f"{known[0]:.3f}{missing}"
    point, low, high, _ = statistics.stratified_bootstrap(
        known, statistics.mean, np.random.default_rng(0)
    )
    return f"{point:.3f} [{low:.3f}, {high:.3f}]{missing}"
