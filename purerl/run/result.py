"""The outcome of a sweep as a value."""

import dataclasses
import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from purerl.checks import shown
from purerl.figures import plotting, statistics
from purerl.random import IMPLEMENTATIONS
from purerl.run import checkpoint


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep: ``C`` configurations by ``N`` seeds.

    Attributes:
        configurations: ``C`` dictionaries, the swept hyperparameters of each.
        seeds: int64 ``[N]``.
        curves: ``{name: [C, N, points]}``, each point the mean over the stretch that
            ends there, or an evaluation made there. NaN where there was nothing to
            average, and from the point on at which a seed failed.
        counts: ``{name: [C, N, points]}``, for metrics of training: how many terms,
            such as episodes, each point is the mean of.
        steps: ``{name: [points]}``, the environment transitions at which a curve has
            its points.
        failures: the runs whose state became infinite or NaN:
            ``{"configuration": c, "seed": i, "point": p, "reason": ...}``.
        manifest: what was run, with which versions, on what.
        kept: ``{(configuration, seed): {path: array}}``, what was kept of the final
            states; :meth:`snapshot` and :attr:`state` make use of it.
        make_agents: builds :attr:`agents`.
    """

    configurations: list[dict[str, Any]]
    seeds: np.ndarray
    curves: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    failures: list[dict[str, Any]]
    manifest: dict[str, Any]
    kept: dict[tuple[int, int], dict[str, np.ndarray]] = dataclasses.field(repr=False)
    make_agents: Callable[[], list[Any]] = dataclasses.field(repr=False)

    @functools.cached_property
    def agents(self) -> list[Any]:
        """The agent of each configuration.

        Raises:
            ValueError: a class is not found, see :func:`purerl.load`.
        """
        return self.make_agents()

    def snapshot(self, seed: int, configuration: int = 0) -> Any:
        """The learned policy of one run, for ``agent.act``, evaluations and films.

        Args:
            seed: which seed.
            configuration: which configuration.

        Raises:
            ValueError: there is no such run, it is not finished, or nothing was kept.
        """
        agent = self._agent(configuration)
        arrays = self._kept(seed, configuration)
        like = self._state_shapes(agent)
        kind = next(iter(arrays), "").partition(".")[0]
        leaves = {name.partition(".")[2]: leaf for name, leaf in arrays.items()}
        if kind == "state":
            return agent.snapshot(jax.tree.map(jnp.asarray, checkpoint.unflatten(leaves, like)))
        like = jax.eval_shape(agent.snapshot, like)
        return jax.tree.map(jnp.asarray, checkpoint.unflatten(leaves, like))

    def _agent(self, configuration):
        if not 0 <= configuration < len(self.configurations):
            raise ValueError(
                f"there is no configuration {configuration}; allowed: 0 to "
                f"{len(self.configurations) - 1}"
            )
        return self.agents[configuration]

    def _kept(self, seed, configuration):
        if seed not in self.seeds:
            raise ValueError(f"there is no seed {seed}; the seeds are {shown(self.seeds)}")
        if (configuration, seed) not in self.kept:
            raise ValueError(
                f"seed {seed} of configuration {configuration} is not finished; resume the run"
            )
        arrays = self.kept[configuration, seed]
        if not arrays:
            raise ValueError('nothing was kept of the states; sweep with keep="snapshot"')
        return arrays

    def _state_shapes(self, agent):
        impl = self.manifest["identity"]["impl"]
        return jax.eval_shape(lambda: agent.init(jax.random.key(0, impl=IMPLEMENTATIONS[impl])))

    @property
    def state(self) -> Any:
        """The final states with leading axes ``[C, N]``, where ``keep`` was
        ``"state"``.

        Raises:
            ValueError: they were not kept, or have different shapes.
        """
        rows = [[self._kept(seed, c) for seed in self.seeds.tolist()] for c in self._numbers]
        shapes = [self._state_shapes(self._agent(c)) for c in self._numbers]
        if not all(name.startswith("state.") for name in rows[0][0]):
            raise ValueError('states were not kept; sweep with keep="state"')
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError("the states of the configurations have different shapes")
        arrays = {
            name.removeprefix("state."): np.stack([[kept[name] for kept in row] for row in rows])
            for name in rows[0][0]
        }
        lead = len(rows), len(rows[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype), shapes[0])
        return checkpoint.unflatten(arrays, like)

    @property
    def _numbers(self):
        return range(len(self.configurations))

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
        return ", ".join([interval, *plotting.infinite_counts(self.scores(name, c))])

    def plot(self, path: str | Path, name: str = "episode_return", **options) -> Path:
        """Draw the curves of one measure, one line for each configuration.

        Args:
            path: of the picture; its suffix decides the format.
            name: of the measure.
            **options: of :func:`purerl.figures.plotting.learning_curves`.

        Returns:
            ``path``.
        """
        labels = [describe(configuration) or self.label for configuration in self.configurations]
        curves = dict(zip(labels, self.curves[name], strict=True))
        options = {"ylabel": name.replace("_", " ")} | options
        return plotting.learning_curves(path, curves, self.steps[name], **options)

    @property
    def label(self) -> str:
        """The name of the run in tables and pictures."""
        return self.manifest["label"]


def describe(configuration: dict[str, Any]) -> str:
    """A configuration as text, such as ``learning_rate=0.1, epsilon=0.2``."""
    return ", ".join(f"{name}={value}" for name, value in configuration.items())
