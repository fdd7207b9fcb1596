"""The Behaviour Suite: an agent run through all of it, and scored.

Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020). Experiments, episodes, tags and scores are those of
bsuite 0.3.6, without the three on MNIST; the averages by tag are over the other twenty.

An experiment is a sweep whose lanes are its settings and seeds: settings of one structure are lanes of one program, equal
settings (independent runs in bsuite) are further seeds of one. As bsuite counts episodes and a sweep counts steps, a run goes
on for as many steps as its episodes can take at most, and what is recorded stands still once they have ended.
"""

import dataclasses
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from purerl import timescan
from purerl.agents.base import Agent
from purerl.envs.base import Environment, interact
from purerl.envs.bsuite import EXPERIMENTS, Setting, load
from purerl.figures import plotting, statistics
from purerl.figures.files import write_atomically
from purerl.pytree import Node
from purerl.random import as_key
from purerl.rollout import Episode
from purerl.run.result import SweepResult
from purerl.run.spec import fitting_lanes
from purerl.run.sweep import load as load_sweep
from purerl.run.sweep import sweep

TAGS = ("basic", "credit_assignment", "exploration", "generalization", "memory", "noise", "scale")
POINTS = 100  # of a curve, at most

Columns = Mapping[str, np.ndarray]


# ---- scores ---------------------------------------------------------------------------------------------------------


def score(
    experiment: str,
    settings: Sequence[Mapping[str, Any]],
    columns: Mapping[str, ArrayLike],
    episodes: int,
) -> np.ndarray:
    """bsuite's score of an experiment, in ``[0, 1]``: float64 ``[N]``.

    Args:
        experiment: its name.
        settings: which of its settings were run, ``I``.
        columns: what was recorded of each: ``[I, N]``, see :class:`~purerl.envs.bsuite.Record`.
        episodes: after how many episodes.

    Example:
        >>> score("catch", [{}], {"total_regret": [[0.0, 800.0, 1600.0]]}, episodes=1_000)
        array([1. , 0.5, 0. ])
    """
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    name, _, form = experiment.rpartition("_")
    if form not in ("noise", "scale"):
        return _SCORES[experiment](columns, settings, episodes)
    sizes = np.array(
        [setting["noise_scale" if form == "noise" else "reward_scale"] for setting in settings]
    )
    each = [
        _SCORES[name]({c: v[sizes == size] for c, v in columns.items()}, settings, episodes)
        for size in np.unique(sizes)
    ]
    mean, spread = np.mean(each, axis=0), np.std(each, axis=0)
    return (np.clip(mean, 0, 1) + np.clip(mean - spread, 0, 1)) / 2


def _little(regret, worst):
    """1 for no regret an episode, 0 for the worst and beyond, ``[...]``."""
    return np.clip((worst - regret) / worst, 0, 1)


def _balance(columns, settings, episodes):
    regret = 1000 - columns["total_return"].mean(axis=0) / episodes
    return (_little(regret, 1000) + (columns["best_episode"] > 500).mean(axis=0)) / 2


def _swing(columns, settings, episodes):
    regret = 700 - columns["total_return"] / episodes
    return ((_little(regret, 700) + (columns["best_episode"] > 100)) / 2).mean(axis=0)


def _dive(columns, settings, episodes):
    solved, size = columns["solved_episode"], np.array([setting["size"] for setting in settings])
    return ((solved > 0) & (solved < 2.0 ** size[:, None] + 100)).mean(axis=0)


_SCORES: dict[str, Callable[[Columns, Sequence[Mapping[str, Any]], int], np.ndarray]] = {
    "bandit": lambda c, s, n: _little(c["total_regret"].mean(axis=0) / n, 0.5),
    "catch": lambda c, s, n: _little(c["total_regret"].mean(axis=0) / n, 1.6),
    "mountain_car": lambda c, s, n: _little(-100 - c["total_return"].mean(axis=0) / n, 1000),
    "cartpole": _balance,
    "cartpole_swingup": _swing,
    "deep_sea": _dive,
    "deep_sea_stochastic": _dive,
    "discounting_chain": lambda c, s, n: np.clip(
        1 - 10 * (1.1 - c["total_return"].mean(axis=0) / n), 0, 1
    ),
    "memory_len": lambda c, s, n: ((n - c["total_perfect"]) / 0.5 / n < 0.75).mean(axis=0),
    "memory_size": lambda c, s, n: ((n - c["total_perfect"]) / 0.5 / n < 0.75).mean(axis=0),
    "umbrella_length": lambda c, s, n: (c["total_regret"] / n < 0.5).mean(axis=0),
    "umbrella_distract": lambda c, s, n: (c["total_regret"] / n < 0.5).mean(axis=0),
}


# ---- the report -----------------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """What runs of one experiment left: the ``columns``, ``{name: [I, N]}``, of ``I`` settings after ``episodes``."""

    settings: list[dict[str, Any]]
    columns: dict[str, np.ndarray]
    episodes: int


@dataclasses.dataclass(frozen=True)
class Report:
    """An agent's scores over ``N`` seeds, each of which is a run of the suite.

    Attributes:
        label: what tables and pictures call the agent.
        records: by experiment. NaN where a run became infinite or NaN; its seed then has no score in that experiment.
    """

    label: str
    records: dict[str, Recorded]

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """By experiment, ``[N]``."""
        scores = {}
        for name, record in self.records.items():
            failed = np.any(
                [np.isnan(values).any(axis=0) for values in record.columns.values()], axis=0
            )
            scores[name] = np.where(
                failed, np.nan, score(name, record.settings, record.columns, record.episodes)
            )
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
        """The mean scores with their 95% bootstrap intervals, by tag and by experiment."""
        table = Table(title=f"{self.label}: mean score over seeds [95% interval]")
        for column in ("", "score", "settings", "episodes", "tags"):
            table.add_column(
                column, justify="right" if column in ("score", "settings", "episodes") else "left"
            )
        for tag, scores in self.tags.items():
            table.add_row(tag.replace("_", " "), _mean(scores), "", "", "")
        table.add_section()
        for name, scores in self.scores.items():
            record = self.records[name]
            of = len(EXPERIMENTS[name].settings), EXPERIMENTS[name].episodes
            done = len(record.settings), record.episodes
            counts = [
                f"{n:,}" if n == full else f"{n:,} of {full:,}"
                for n, full in zip(done, of, strict=True)
            ]
            table.add_row(
                name, _mean(scores), *counts, ", ".join(EXPERIMENTS[name].tags).replace("_", " ")
            )
        text = io.StringIO()
        Console(file=text, width=128, markup=False).print(table)
        return text.getvalue()

    def radar(self, path: str | Path) -> Path:
        """Draw the scores by tag; see :func:`purerl.figures.plotting.radar`."""
        return plotting.radar(path, {self.label: self.tags})


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


# ---- running --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Unjudged:
    """No evaluation: the suite scores what happens while an agent learns."""

    def prepare(self, agent):
        return None

    def __call__(self, agent, state, key, prepared):
        return {}


class _Part(NamedTuple):
    """Settings that share one program. ``members``: for each of its environments, the settings it stands for."""

    name: str
    environments: list[Setting]
    members: list[list[int]]
    repeats: int


def _parts(experiment, episodes, indices):
    """Of the settings of one structure, those whose episodes last less than twice as long as the others'."""
    settings = EXPERIMENTS[experiment].settings
    members: dict[str, list[int]] = {}
    for index in indices:
        members.setdefault(repr(settings[index]), []).append(index)
    groups: dict[Any, list[tuple[Setting, list[int]]]] = {}
    for equal in members.values():
        env = load(experiment, equal[0], episodes)
        leaves, structure = jax.tree.flatten(env)
        groups.setdefault((structure, *map(np.shape, leaves)), []).append((env, equal))
    for group in groups.values():
        rest = sorted(group, key=lambda one: one[0].longest_episode)
        while rest:
            longest = rest[-1][0].longest_episode
            part = [one for one in rest if 2 * one[0].longest_episode > longest]
            rest = rest[: -len(part)]
            environments, equals = zip(*part, strict=True)
            name = f"{experiment}-{min(map(min, equals))}"
            yield _Part(name, list(environments), list(equals), max(map(len, equals)))


class _Plan(NamedTuple):
    """What a run of the suite is, as it is written beside its results."""

    label: str
    experiments: list[str]
    seeds: int
    fraction: float
    most_settings: int | None

    def episodes(self, experiment):
        return max(1, round(EXPERIMENTS[experiment].episodes * self.fraction))

    def indices(self, experiment):
        count = len(EXPERIMENTS[experiment].settings)
        return np.unique(
            np.linspace(0, count - 1, min(count, self.most_settings or count)).round().astype(int)
        ).tolist()

    def report(self, sweep_of: Callable[[str, _Part], SweepResult]) -> Report:
        records = {}
        for experiment in self.experiments:
            indices, episodes = self.indices(experiment), self.episodes(experiment)
            columns = {
                name: np.full((len(indices), self.seeds), np.nan)
                for name in EXPERIMENTS[experiment].columns
            }
            for part in _parts(experiment, episodes, indices):
                result = sweep_of(experiment, part)
                for c, members in enumerate(part.members):
                    _check_finished(result, c, part)
                    for repeat, index in enumerate(members):
                        for name, values in columns.items():
                            values[indices.index(index)] = result.final[name][
                                c, repeat :: part.repeats
                            ]
            settings = [EXPERIMENTS[experiment].settings[index] for index in indices]
            # Every column counts in tenths, which means of float32 miss by a little.
            columns = {name: values.round(1) for name, values in columns.items()}
            records[experiment] = Recorded(settings, columns, episodes)
        return Report(self.label, records)


def _check_finished(result, configuration, part):
    finished = result.final["finished"][configuration]
    short = np.flatnonzero(finished < 1)  # and not NaN, which is a failure
    if short.size:
        raise ValueError(
            f"{part.environments[configuration]}: seed {result.seeds[short[0]]} has not ended its episodes, or only within "
            "the last point of its curve; it has no score"
        )


def run(
    make_agent: Callable[[Environment], Agent],
    experiments: Sequence[str] | None = None,
    *,
    seeds: int = 1,
    fraction: float = 1.0,
    most_settings: int | None = None,
    label: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **options,
) -> Report:
    """Run an agent through the suite.

    Args:
        make_agent: the agent for an environment. Only one environment may be stepped at a time (``num_envs=1``), for a run is
            its episodes in order; those of a warm-up count, as in bsuite.
        experiments: which; by default all of :data:`~purerl.envs.bsuite.EXPERIMENTS`.
        seeds: how often the suite is run.
        fraction: of bsuite's episodes, for a quick look: scores are then of that many.
        most_settings: how many settings of each experiment, evenly spread, for a quick look. By default all.
        label: what tables and pictures call the agent; by default its class.
        out: a folder for the results, a folder within it for each program.
        resume: go on with the run in ``out``, computing only what it lacks.
        **options: of :func:`purerl.sweep`: ``lanes`` (by default no more than a program has runs), ``base_seed``, ``impl``,
            ``executor``, ``progress``.

    Raises:
        ValueError: an argument out of its range, ``out`` holds something else, or an agent that steps several environments.
    """
    experiments = list(EXPERIMENTS if experiments is None else experiments)
    unknown = [name for name in experiments if name not in EXPERIMENTS]
    if unknown or not experiments:
        raise ValueError(
            f"experiments has {', '.join(unknown) or 'nothing'}; allowed: {', '.join(EXPERIMENTS)}"
        )
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; allowed: a number in (0, 1]")
    if most_settings is not None and most_settings < 1:
        raise ValueError(f"most_settings is {most_settings}; allowed: at least 1")
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; allowed: at least 1")
    first = make_agent(load(experiments[0]))
    if getattr(first, "num_envs", 1) != 1:
        raise ValueError(
            f"num_envs is {first.num_envs}; allowed: 1, for a run is its episodes in order"
        )
    plan = _Plan(label or type(first).__name__, experiments, seeds, fraction, most_settings)
    folder = None if out is None else Path(out)
    if folder is not None:
        _claim(folder, plan, resume)

    def sweep_of(experiment, part):
        agent = make_agent(part.environments[0])
        runs = len(part.environments) * part.repeats * seeds
        lanes = min(fitting_lanes(agent, runs), runs)
        steps = part.environments[-1].longest_episode * plan.episodes(experiment)
        points, length = _grid(steps, agent.transitions_per_step)
        return sweep(
            agent,
            seeds * part.repeats,
            {"env": part.environments},
            num_steps=points * length,
            points=points,
            evaluation=Unjudged(),
            evaluations=1,
            out=None if folder is None else folder / part.name,
            resume=folder is not None and resume,
            label=f"{plan.label} on {experiment}",
            **({"lanes": lanes} | options),
        )

    return plan.report(sweep_of)


def _grid(steps, unit):
    """Points and steps between them, so that ``steps`` have passed before the last point's stretch begins."""
    block = timescan.BLOCK * unit
    points = min(POINTS, math.ceil(steps / block) + 1)
    return points, math.ceil(steps / (points - 1) / block) * block


def _claim(folder, plan, resume):
    """Write down what the run is, or find the same there.

    Raises:
        ValueError: there is another run, or the same one and ``resume`` is not set.
    """
    path = folder / "suite.json"
    if path.exists():
        there = _read_plan(folder)
        if there != plan:
            raise ValueError(
                f"{folder} holds another run ({there}, not {plan}); choose another folder"
            )
        if not resume:
            raise ValueError(
                f"{folder} holds this run already; resume it, or choose another folder"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(
            path, lambda file: file.write(json.dumps(plan._asdict(), indent=1).encode())
        )


def _read_plan(folder):
    path = Path(folder) / "suite.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no run of the suite: there is no {path.name}")
    return _Plan(**json.loads(path.read_text()))


def read(folder: str | Path) -> Report:
    """Read a run of the suite back.

    Raises:
        ValueError: the folder holds no run of the suite, or one that is not complete.
    """
    return _read_plan(folder).report(lambda experiment, part: load_sweep(Path(folder) / part.name))


# ---- something to compare with --------------------------------------------------------------------------------------


class UniformState(NamedTuple):
    key: jax.Array
    env_state: Any
    episode: Episode


class Uniform(Node):
    """Actions drawn uniformly: what is scored without learning anything."""

    env: Environment

    transitions_per_step = 1

    def init(self, key: jax.Array) -> UniformState:
        reset_key, key = jax.random.split(as_key(key))
        return UniformState(key, self.env.reset(reset_key), Episode.new())

    def step(self, state: UniformState, t: jax.Array):
        act_key, env_key = jax.random.split(jax.random.fold_in(state.key, t))
        env_state, transition = interact(
            self.env, env_key, state.env_state, self.act(state, act_key, None)
        )
        episode, metrics = state.episode.update(transition)
        return UniformState(state.key, env_state, episode), metrics

    def act(self, state: UniformState, key: jax.Array, observation: jax.Array) -> jax.Array:
        del state, observation
        return jax.random.randint(key, (), 0, self.env.num_actions, jnp.int32)
