"""The outcome of a sweep as a value."""

import base64
import csv
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import listed, meant, nearest, refusal, shown
from purerl.figures import plotting, statistics, tables
from purerl.figures.files import write_atomically
from purerl.figures.labels import short
from purerl.figures.page import Chart
from purerl.random import IMPLEMENTATIONS
from purerl.run import checkpoint, pictures, points, summary
from purerl.run.points import separated, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclasses.dataclass(frozen=True, repr=False)
class SweepResult:
    """The outcome of a sweep: ``C`` configurations by ``N`` seeds.

    A notebook shows it as a table and a figure.

    Attributes:
        configurations: ``C`` dictionaries, the swept hyperparameters of each.
        seeds: int64 ``[N]``.
        curves: ``{name: [C, N, points, ...]}``, each point the mean over the stretch
            that ends there, or an evaluation made there. NaN where there was nothing to
            average, and from the point on at which a seed failed.
        steps: ``{name: [points]}``, the environment transitions at which a curve has
            its points. They count from the end of the warm-up, as ``num_steps`` and
            schedules do, and so do the steps of tables and files. Pictures add the
            warm-up, see :meth:`figure`.
        failures: the runs whose state became infinite or NaN:
            ``{"configuration": c, "seed": i, "point": p, "reason": ...}``.
        manifest: what was run, with which versions, on what.
        kept: ``{(configuration, seed): {path: array}}``, what was kept of the final
            states; :meth:`snapshot` and :attr:`state` make use of it.
        stopped: ``{(configuration, seed): points}`` of runs that ``stop_when`` ended.
        make_agents: builds :attr:`agents`.
        counts: ``{name: [C, N, points]}`` for metrics of training, not for evaluations:
            how many terms, such as episodes, each point is the mean of.
        warm_ups: transitions that each configuration's agent takes before it learns,
            ``[C]``; empty if there are none.
    """

    configurations: list[dict[str, Any]]
    seeds: np.ndarray
    curves: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    failures: list[dict[str, Any]]
    manifest: dict[str, Any]
    counts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    kept: dict[tuple[int, int], dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    stopped: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    make_agents: Callable[[], list[Any]] = list
    warm_ups: Sequence[int] = ()

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
    def label(self) -> str:
        """The name of the run in tables and pictures."""
        return self.manifest["label"]

    @functools.cached_property
    def final(self) -> dict[str, np.ndarray]:
        """The final score of every run, ``{name: [C, N, ...]}``.

        Of an evaluation it is the last one. Of a metric of training it is the mean over
        the last tenth of training, each point weighted by its count, so that it does
        not depend on the number of points. NaN where there is none, as for a seed that
        failed.
        """
        failed = self._failed
        final = {}
        for name, curve in self.curves.items():
            counts = self.counts.get(name)
            final[name] = _final(curve, counts)
            for (c, seed), computed in self.stopped.items():
                n = self.seeds.tolist().index(seed)
                end = computed * curve.shape[2] // self.manifest["points"]
                part = counts if counts is None else counts[c : c + 1, n : n + 1, :end]
                final[name][c, n] = _final(curve[c : c + 1, n : n + 1, :end], part)[0, 0]
            final[name][failed] = np.nan
        return final

    @property
    def names(self) -> list[str]:
        """Names of all measures, the most telling first.

        Evaluations precede metrics of training, and ``evaluation_return`` is the first.
        A measure of several numbers has a name for each, ``name[0]``.
        """
        return sorted(
            self._final_scores,
            key=lambda name: (whole(name) in self.counts, name != "evaluation_return"),
        )

    @property
    def drawn(self) -> list[str]:
        """The :attr:`names` of measures whose curves have several points."""
        return [name for name in self.names if len(self.steps[whole(name)]) > 1]

    def scores(self, name: str, configuration: int = 0) -> np.ndarray:
        """The final scores of one measure over the seeds that have one, ``[<= N]``.

        They may be infinite: a policy that loses without end has the value ``-inf``.

        Raises:
            ValueError: there is no such measure.
        """
        values = self._final_scores[self._checked(name)][configuration]
        return values[~np.isnan(values)]

    def interval(self, name: str, configuration: int = 0) -> statistics.Interval | None:
        """The interquartile mean of a final score, with its 95% bootstrap interval.

        None where no seed has a value.

        Raises:
            ValueError: there is no such measure.
        """
        scores = self.scores(name, configuration)
        return (
            statistics.stratified_bootstrap(scores, statistics.iqm, np.random.default_rng(0))
            if scores.size
            else None
        )

    # ---- as a table ------------------------------------------------------------------

    def table(self, names: Sequence[str] | None = None, width: int | None = None) -> str:
        """Interquartile means of final scores with their 95% bootstrap intervals.

        One row for each configuration, with its number. Where the measures do not fit
        side by side, there are several tables. Below an interval it is said how many
        seeds have no value, and how many an infinite one; of an interval without width,
        how many seeds have that very score, and how far the others are from it.

        Args:
            names: of the measures; by default all, the most telling first.
            width: in characters; by default that of the terminal.

        Raises:
            ValueError: there is no such measure.
        """
        columns = summary.columns(self, self._measures(names))
        return tables.text_table(self._title, *columns, width)

    def to_html(self, names: Sequence[str] | None = None) -> str:
        """The table in HTML. Arguments as for :meth:`table`."""
        keys, about, measures, notes = summary.columns(self, self._measures(names))
        return tables.html_table(self._title, [*keys, *about, *measures], notes)

    def to_latex(self, names: Sequence[str] | None = None) -> str:
        """The table in LaTeX, for the package ``booktabs``. Arguments as for
        :meth:`table`."""
        keys, about, measures, notes = summary.columns(self, self._measures(names))
        return tables.latex_table([*keys, *about], measures, notes)

    @property
    def _title(self):
        return f"{self.label}: IQM over seeds [95% interval]"

    def _measures(self, names):
        return self.names if names is None else [self._checked(name) for name in names]

    # ---- as data ---------------------------------------------------------------------

    def records(self) -> list[dict[str, Any]]:
        """One dictionary for each configuration, seed and step at which a curve has a
        point.

        Its keys are ``configuration``, the swept fields, ``seed``, ``step``, and the
        curves, which are NaN where they have no point at the step. A swept field with
        the name of another key is called ``agent.name``.
        """
        columns = points.columns(self.configurations, self.seeds, self.curves, self.steps)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_pandas(self) -> "DataFrame":
        """The :meth:`records` as a ``pandas.DataFrame``.

        Fields that are no numbers, words or None are given by short texts, and a curve
        of several numbers a point by a column for each, ``name[0]``.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "SweepResult.to_pandas needs pandas: pip install pandas; "
                "to_csv and records need nothing"
            ) from error
        return pandas.DataFrame(self._plain_columns())

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of :meth:`to_pandas` to a file of comma-separated values.

        Where a curve has no value, the field is empty.

        Args:
            path: of the file.

        Returns:
            ``path``.
        """
        columns = self._plain_columns()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if value != value else value for value in row])
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))
        return Path(path)

    def _plain_columns(self):
        plain = points.in_words(self.configurations)
        return points.columns(plain, self.seeds, separated(self.curves, 3), self.steps)

    # ---- as a picture ----------------------------------------------------------------

    def figure(
        self, name: str | None = None, *, optimum: float | None = None, **options: Any
    ) -> "Figure":
        """The curves of one measure.

        Up to 12 configurations are lines of one picture; where two hyperparameters
        vary, one decides the color and the other the style of the line. More of them
        are a heat map of the final interquartile means if two hyperparameters vary, and
        otherwise a panel each.

        The horizontal axis counts all environment steps, those of the warm-up included.
        Where configurations differ in their warm-ups, it counts the steps after them.

        Args:
            name: of the measure; by default the most telling one with several points.
            optimum: drawn as a line; known by itself beside an exact regret.
            **options: of :func:`purerl.figures.curves.learning_curves_figure`, of
                :func:`~purerl.figures.curves.small_multiples_figure`, or of
                :func:`~purerl.figures.heatmap.heat_map_figure`.

        Raises:
            ValueError: there is no such measure, or it has several numbers a point.
        """
        name = self._default_name() if name is None else self._checked(name)
        return pictures.figure(self, name, optimum, options)

    def plot(self, path: str | Path, name: str | None = None, **options: Any) -> Path:
        """Write the :meth:`figure` of one measure to a file.

        Args:
            path: of the picture; its suffix decides the format.
            name: of the measure; by default as for the figure.
            **options: as for the figure.

        Returns:
            ``path``.

        Raises:
            ValueError: as for the figure, or a suffix that names no format.
        """
        return plotting.save(self.figure(name, **options), path)

    def chart(self, name: str) -> Chart:
        """The curves of one measure for a page, up to 12 of them with their intervals.

        Raises:
            ValueError: there is no such measure.
        """
        return pictures.chart(self, self._checked(name))

    # ---- in a terminal and a notebook ------------------------------------------------

    def __repr__(self):
        size = f"{len(self.seeds)} seeds"
        if len(self.configurations) > 1:
            size = f"{len(self.configurations)} configurations x {size}"
        return f"SweepResult({self.label!r}, {size}, curves: {listed(self.names)})"

    def _repr_html_(self):
        """A table and the default figure."""
        shown = [self.to_html()]
        if self.curves:
            picture = io.BytesIO()
            self.figure().savefig(picture, format="png")
            data = base64.b64encode(picture.getvalue()).decode()
            shown.append(f'<img src="data:image/png;base64,{data}" style="max-width: 100%">')
        return "\n".join(shown)

    # ---- inside ----------------------------------------------------------------------

    @functools.cached_property
    def _final_scores(self) -> dict[str, np.ndarray]:
        """Final scores ``{name: [C, N]}``, a measure of several numbers by each."""
        return separated(self.final, 2)

    @functools.cached_property
    def _failed(self) -> np.ndarray:
        """Whether a run failed, bool ``[C, N]``."""
        failed = np.zeros((len(self.configurations), len(self.seeds)), bool)
        columns = {int(seed): n for n, seed in enumerate(self.seeds)}
        for failure in self.failures:
            failed[failure["configuration"], columns[failure["seed"]]] = True
        return failed

    def _checked(self, name):
        """The name of a measure of one number a point."""
        if name in self._final_scores:
            return name
        inside = [other for other in self._final_scores if whole(other) == name]
        if inside:
            allowed = f"one of its numbers: {listed(inside)}"
            raise refusal("SweepResult", "name", repr(name), allowed)
        near = nearest(name, self.names)
        guess = "" if near is None else meant(repr(near))
        raise refusal("SweepResult", "name", repr(name), f"one of {listed(self.names)}{guess}")

    def _default_name(self):
        if not self.curves:
            raise ValueError(f"{self.label}: no run is finished, so there is nothing to draw")
        return (self.drawn or self.names)[0]


def describe(configuration: Mapping[str, Any]) -> str:
    """A configuration as text, such as ``learning_rate=0.1, epsilon=0.2``."""
    return ", ".join(f"{name}={short(value)}" for name, value in configuration.items())


def _final(curve, counts):
    """The last point of an evaluation, the last tenth of a metric of training."""
    return curve[:, :, -1].copy() if counts is None else _last_tenth(curve, counts)


def _last_tenth(curve, counts):
    """Means of ``[C, N, points, ...]`` over the last tenth, weighted by counts."""
    tenth = -(-curve.shape[2] // 10)
    curve, counts = curve[:, :, -tenth:].astype(np.float64), counts[:, :, -tenth:]
    counts = np.asarray(counts, np.float64)
    counts = counts.reshape(*counts.shape, *(1,) * (curve.ndim - counts.ndim))
    terms = np.where(counts > 0, curve, 0) * counts
    total = counts.sum(axis=2)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, terms.sum(axis=2) / np.where(total > 0, total, 1), np.nan)
