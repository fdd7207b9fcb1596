"""Running the suite, and reading its results."""

import concurrent.futures
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl import timescan
from purerl.agents.base import Agent
from purerl.envs.base import Environment
from purerl.envs.bsuite import EXPERIMENTS, load
from purerl.figures.files import write_atomically
from purerl.random import Impl
from purerl.run.result import SweepResult
from purerl.run.spec import fitting_lanes
from purerl.run.stored import load as load_sweep
from purerl.run.sweep import sweep
from purerl.suites.bsuite.parts import Part, parts
from purerl.suites.bsuite.report import Recorded, Report

POINTS = 100  # of a curve, at most


@dataclasses.dataclass(frozen=True)
class NoEvaluation:
    """No evaluation of learned policies: the suite scores behavior during learning."""

    def prepare(self, agent: Any) -> None:
        """Nothing."""

    def __call__(
        self, agent: Any, snapshot: Any, key: jax.Array, prepared: Any
    ) -> dict[str, jax.Array]:
        """No measures."""
        return {}


class _Plan(NamedTuple):
    """The arguments of a run of the suite, as they are written beside its results."""

    label: str
    experiments: list[str]
    seeds: int
    fraction: float
    most_settings: int | None

    def episodes(self, experiment: str) -> int:
        return max(1, round(EXPERIMENTS[experiment].episodes * self.fraction))

    def indices(self, experiment: str) -> list[int]:
        """The settings that are run, evenly spread."""
        count = len(EXPERIMENTS[experiment].settings)
        chosen = np.linspace(0, count - 1, min(count, self.most_settings or count))
        return np.unique(chosen.round().astype(int)).tolist()

    def report(self, sweep_of: Callable[[str, Part], SweepResult]) -> Report:
        """The report, given the sweep of each part of each experiment."""
        records = {name: self._record(name, sweep_of) for name in self.experiments}
        return Report(self.label, records)

    def _record(self, experiment: str, sweep_of: Callable[[str, Part], SweepResult]) -> Recorded:
        about = EXPERIMENTS[experiment]
        indices = self.indices(experiment)
        episodes = self.episodes(experiment)
        columns = {name: np.full((len(indices), self.seeds), np.nan) for name in about.columns}
        for part in parts(experiment, episodes, indices):
            result = sweep_of(experiment, part)
            for c, members in enumerate(part.members):
                _check_finished(result, c, part)
                for repeat, index in enumerate(members):
                    seeds = slice(repeat, None, part.repeats)
                    for name, values in columns.items():
                        values[indices.index(index)] = result.curves[name][c, seeds, -1]
        # All columns are multiples of a tenth, which means in float32 miss slightly.
        columns = {name: values.round(1) for name, values in columns.items()}
        return Recorded([about.settings[index] for index in indices], columns, episodes)


def _check_finished(result, configuration, part):
    finished = result.curves["finished"][configuration, :, -1]
    unfinished = np.flatnonzero(finished < 1)  # a NaN is a failed run, not an unfinished one
    if unfinished.size:
        raise ValueError(
            f"{part.environments[configuration]}: seed {result.seeds[unfinished[0]]} has not ended "
            "its episodes, or only within the last point of its curve; it has no score"
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
    lanes: int | None = None,
    base_seed: int = 0,
    impl: Impl = "threefry",
    executor: concurrent.futures.Executor | None = None,
    progress: bool = True,
) -> Report:
    """Run an agent through the suite.

    Args:
        make_agent: the agent for an environment. It may step only one environment at a
            time (``num_envs=1``), since a run is a sequence of episodes; episodes of a
            warm-up count, as in bsuite.
        experiments: which; by default all of :data:`~purerl.envs.bsuite.EXPERIMENTS`.
        seeds: how often the suite is run.
        fraction: of bsuite's episodes, for a quick look: scores are then of that many.
        most_settings: how many settings of each experiment, evenly spread, for a quick
            look. By default all.
        label: the agent's name in tables and pictures; by default its class.
        out: a folder for the results, with a folder for each program.
        resume: continue the run in ``out``, computing only what is missing.
        lanes: as in :func:`purerl.sweep`; by default no more than a program has runs.
        base_seed: as in :func:`purerl.sweep`.
        impl: as in :func:`purerl.sweep`.
        executor: as in :func:`purerl.sweep`.
        progress: as in :func:`purerl.sweep`.

    Raises:
        ValueError: an argument out of its range, ``out`` holds something else, or an
            agent that steps several environments.
    """
    names = list(EXPERIMENTS if experiments is None else experiments)
    _check_arguments(names, seeds, fraction, most_settings)
    first = make_agent(load(names[0]))
    num_envs = getattr(first, "num_envs", 1)
    if num_envs != 1:
        raise ValueError(
            f"num_envs is {num_envs}; allowed: 1, since a run is a sequence of episodes"
        )
    plan = _Plan(label or type(first).__name__, names, seeds, fraction, most_settings)
    folder = None if out is None else Path(out)
    if folder is not None:
        _claim(folder, plan, resume)

    def sweep_of(experiment: str, part: Part) -> SweepResult:
        agent = make_agent(part.environments[0])
        runs = len(part.environments) * part.repeats * seeds
        steps = part.environments[-1].longest_episode * plan.episodes(experiment)
        points, length = _grid(steps, agent.transitions_per_step)
        return sweep(
            agent,
            seeds * part.repeats,
            {"env": part.environments},
            num_steps=points * length,
            points=points,
            evaluation=NoEvaluation(),
            evaluations=1,
            out=None if folder is None else folder / part.name,
            resume=folder is not None and resume,
            label=f"{plan.label} on {experiment}",
            lanes=min(fitting_lanes(agent, runs), max(runs, 2)) if lanes is None else lanes,
            base_seed=base_seed,
            impl=impl,
            executor=executor,
            progress=progress,
        )

    return plan.report(sweep_of)


def _check_arguments(experiments, seeds, fraction, most_settings):
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


def _grid(steps, unit):
    """Points, and steps between them: ``steps`` end before the last interval."""
    block = timescan.BLOCK * unit
    points = min(POINTS, math.ceil(steps / block) + 1)
    return points, math.ceil(steps / (points - 1) / block) * block


def _claim(folder, plan, resume):
    """Write the plan into a folder, or check that it holds the same one.

    Raises:
        ValueError: the folder holds another run, or this one and ``resume`` is not set.
    """
    path = folder / "suite.json"
    if path.exists():
        found = _read_plan(folder)
        if found != plan:
            raise ValueError(
                f"{folder} holds another run ({found}, not {plan}); choose another folder"
            )
        if not resume:
            raise ValueError(
                f"{folder} holds this run already; resume it, or choose another folder"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plan._asdict(), indent=1)
        write_atomically(path, lambda file: file.write(text.encode()))


def _read_plan(folder):
    path = Path(folder) / "suite.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no run of the suite: there is no {path.name}")
    return _Plan(**json.loads(path.read_text()))


def read(folder: str | Path) -> Report:
    """Read the results of a run of the suite.

    Raises:
        ValueError: the folder holds no run of the suite, or an incomplete one.
    """
    return _read_plan(folder).report(lambda experiment, part: load_sweep(Path(folder) / part.name))
