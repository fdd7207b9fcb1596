"""Tables of scores over seeds, from runs that can be interrupted.

Scores of training ("online") are means of its last 100 episodes, with its exploration,
as papers have them. After it, 100 episodes give the scores of the greedy policy and,
where the agent learns a stochastic one, of that.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import purerl
from purerl.figures.statistics import improvement_interval, iqm, mean, stratified_bootstrap
from purerl.pytree import Node
from purerl.run.evaluation import Episodes

EPISODES = 100
POINTS = 100
MEASURES = "online", "stochastic", "greedy"


class After(Node):
    """Episodes of the learned policy as it is, and of its most probable actions.

    ``evaluation_return`` of agents without a stochastic policy is that of their greedy
    one; the others have both, it and ``greedy_return``.
    """

    def prepare(self, agent):
        return None

    def __call__(self, agent, snapshot, key, prepared):
        def score(greedy):
            found = Episodes(EPISODES, greedy=greedy)(agent, snapshot, key, prepared)
            return found["evaluation_return"]

        scores = {"evaluation_return": score(False)}
        return scores | ({"greedy_return": score(True)} if hasattr(agent, "greedy") else {})


class Row(NamedTuple):
    """A line of a table.

    Attributes:
        env: what is printed of the environment.
        method: what is printed of the agent.
        make: makes it.
        num_steps: transitions of training, the warm-up included.
        published: the score to compare with, in words.
        lanes: runs side by side; None for the agent's own.
    """

    env: str
    method: str
    make: Callable[[], Any]
    num_steps: int
    published: str = ""
    lanes: int | None = None


def run(row: Row, seeds: int, folder: Path) -> purerl.SweepResult:
    """Train a row's agent, going on where an earlier run was interrupted."""
    agent = row.make()
    learning = row.num_steps - getattr(agent, "warm_up", 0)
    # As near to the transitions asked for as whole iterations and points allow.
    unit = agent.transitions_per_step * POINTS
    return purerl.sweep(
        agent,
        seeds,
        num_steps=unit * max(1, round(learning / unit)),
        points=POINTS,
        lanes=row.lanes,
        impl="pcg4d",
        evaluation=After(),
        evaluations=1,
        out=folder,
        resume=True,
        label=f"{row.method} on {row.env}",
    )


def last_episodes(result: purerl.SweepResult, count: int = EPISODES) -> np.ndarray:
    """Mean return of the last ``count`` training episodes or a few more, ``[N]``.

    Points are taken from the last one backwards until they hold as many.
    """
    means, counts = result.curves["episode_return"][0], result.counts["episode_return"][0]
    since = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # episodes from a point on
    used = since - counts < count
    total = np.sum(np.where(used & (counts > 0), means * counts, 0), axis=1)
    return total / np.sum(np.where(used, counts, 0), axis=1)


def record(row: Row, result: purerl.SweepResult) -> dict[str, Any]:
    """The scores of a row, for a file."""

    def last(name):
        return result.curves[name][0, :, -1]

    scores = {"online": last_episodes(result)}
    if "greedy_return" in result.curves:
        scores["stochastic"] = last("evaluation_return")
        scores["greedy"] = last("greedy_return")
    else:
        scores["greedy"] = last("evaluation_return")
    return {
        "env": row.env,
        "method": row.method,
        "num_steps": row.num_steps,
        "published": row.published,
        **{name: [round(float(x), 3) for x in each] for name, each in scores.items()},
        "agent": repr(result.agents[0]),
    }


def table(title: str, records: Sequence[Mapping[str, Any]], seeds: bool = True) -> Table:
    """The scores of all rows, with intervals.

    Args:
        title: of the table.
        records: of :func:`record`.
        seeds: whether each seed's score of training is shown.
    """
    shown = Table(title=f"{title} [95% stratified bootstrap intervals]")
    for column in ("environment", "method", "transitions", "published"):
        shown.add_column(column)
    measures = [name for name in MEASURES if any(name in each for each in records)]
    for name in measures:
        shown.add_column(f"{name}, mean", no_wrap=True)
        shown.add_column(f"{name}, IQM", no_wrap=True)
    compared = len({each["env"] for each in records}) < len(records)
    if compared:
        shown.add_column("P(better)", no_wrap=True)
    if seeds:
        shown.add_column("online, each seed")
    first = {each["env"]: np.array(each["online"]) for each in reversed(records)}
    generator = np.random.default_rng(0)
    for each in records:
        online = np.array(each["online"])
        cells = [
            _short(stratified_bootstrap(np.array(each[name]), statistic, generator))
            if name in each
            else ""
            for name in measures
            for statistic in (mean, iqm)
        ]
        base = first[each["env"]]
        if compared:
            same = np.array_equal(base, online)
            better = "" if same else _short(improvement_interval(online, base, generator))
            cells.append(better)
        steps = f"{each['num_steps'] / 1e6:g}M"
        line = [each["env"], each["method"], steps, each["published"], *cells]
        if seeds:
            line.append(" ".join(_number(x) for x in sorted(online)))
        shown.add_row(*line)
    return shown


def _short(interval):
    return f"{_number(interval.point)} [{_number(interval.low)}, {_number(interval.high)}]"


def _number(x):
    if not math.isfinite(x):
        return str(x)
    return f"{x:.2f}" if abs(x) < 2 else f"{x:.1f}"


def fill(name: str, rows: Sequence[Row], seeds: int, out: Path, records: Path) -> None:
    """Compute a table row by row, and keep its scores.

    Args:
        name: of the table.
        rows: of the table.
        seeds: how many.
        out: folder of the runs.
        records: folder in which ``name.json`` is written after each row.
    """
    done = []
    for row in rows:
        folder = out / name / f"{row.env}-{row.method}".replace(" ", "").replace("/", "-")
        done.append(record(row, run(row, seeds, folder)))
        records.mkdir(parents=True, exist_ok=True)
        (records / f"{name}.json").write_text(json.dumps(done, indent=1) + "\n")
        Console(width=210, markup=False).print(table(name, done, seeds=seeds <= 10))
