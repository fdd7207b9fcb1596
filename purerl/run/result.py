"""The outcome of a sweep as a value."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from purerl.figures import curves as drawing
from purerl.figures import statistics


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep: ``C`` configurations by ``N`` seeds.

    Attributes:
        configurations: ``C`` dictionaries, the swept hyperparameters of each.
        agents: the agent of each configuration.
        seeds: int64 ``[N]``.
        curves: ``{name: [C, N, points]}``, each point the mean over the stretch that
            ends there, or an evaluation made there. NaN where there was nothing to
            average, or a seed failed.
        steps: ``{name: [points]}``, the environment transitions at which a curve has
            its points.
        final: ``{name: [C, N]}``, the last point of each curve.
        failures: the runs whose state became infinite or NaN:
            ``{"configuration": c, "seed": i, "reason": ...}``.
        manifest: what was run, with which versions, on what.
        state: the agents' final states with leading axes ``[C, N]``, where
            ``keep_state`` was set.
    """

    configurations: list[dict[str, Any]]
    agents: list[Any]
    seeds: np.ndarray
    curves: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    failures: list[dict[str, Any]]
    manifest: dict[str, Any]
    state: Any = None

    @property
    def final(self) -> dict[str, np.ndarray]:
        """The last point of each curve, ``{name: [C, N]}``."""
        return {name: curve[..., -1] for name, curve in self.curves.items()}

    def scores(self, name: str, configuration: int = 0) -> np.ndarray:
        """The final values of one measure over the seeds that have one, ``[<= N]``.

        They may be infinite: a policy that loses without end has the value ``-inf``.
        """
        values = self.final[name][configuration]
        return values[~np.isnan(values)]

    def interval(self, name: str, configuration: int = 0) -> statistics.Interval | None:
        """The interquartile mean of a final measure, with its 95% bootstrap interval.

        None where no seed has a value.
        """
        scores = self.scores(name, configuration)
        return (
            statistics.stratified_bootstrap(scores, statistics.iqm, np.random.default_rng(0))
            if scores.size
            else None
        )

    def table(self, names: Sequence[str] | None = None) -> str:
        """Interquartile means of all final measures with their 95% bootstrap intervals.

        One row for each configuration.

        Args:
            names: of the measures; by default all.
        """
        names = list(self.curves) if names is None else list(names)
        table = Table(title=f"{self.label}: IQM over seeds [95% interval]")
        for column in ("configuration", "seeds", "failed", *names):
            table.add_column(column, overflow="fold")
        for c, configuration in enumerate(self.configurations):
            failed = sum(failure["configuration"] == c for failure in self.failures)
            cells = [self._cell(name, c) for name in names]
            table.add_row(describe(configuration) or "-", str(len(self.seeds)), str(failed), *cells)
        text = io.StringIO()
        Console(file=text, width=60 + 34 * len(names), markup=False).print(table)
        return text.getvalue()

    def _cell(self, name, c):
        interval = str(self.interval(name, c) or "-").removesuffix(f" (n={len(self.seeds)})")
        return ", ".join([interval, *drawing.infinite_counts(self.scores(name, c))])

    def plot(self, path: str | Path, name: str = "episode_return", **options) -> Path:
        """Draw the curves of one measure, one line for each configuration.

        Args:
            path: of the picture; its suffix decides the format.
            name: of the measure.
            **options: of :func:`purerl.figures.drawing.learning_curves`.

        Returns:
            ``path``.
        """
        labels = [describe(configuration) or self.label for configuration in self.configurations]
        curves = dict(zip(labels, self.curves[name], strict=True))
        options = {"ylabel": name.replace("_", " ")} | options
        return drawing.learning_curves(path, curves, self.steps[name], **options)

    @property
    def label(self) -> str:
        """The name of the run in tables and pictures."""
        return self.manifest["label"]


def describe(configuration: dict[str, Any]) -> str:
    """A configuration as text, such as ``learning_rate=0.1, epsilon=0.2``."""
    return ", ".join(f"{name}={value}" for name, value in configuration.items())
