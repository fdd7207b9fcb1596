"""Tables of scores on MinAtar, each in runs that can be interrupted.

    python -m experiments.minatar dqn

Scores are means of the last 100 training episodes, with the exploration of training, as
the papers have them; and of 100 greedy episodes after it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import purerl
from experiments.minatar.agents import (
    COMPONENTS,
    GAMES,
    pqn,
    published_dqn,
    sparse_dqn,
)
from purerl.figures.statistics import improvement_interval, iqm, mean, stratified_bootstrap
from purerl.run.evaluation import Episodes

OUT = Path("results/minatar")
RECORDS = Path(__file__).parent / "records"
MILLION = 1_000_000
EPISODES = 100


class Row(NamedTuple):
    """A line of a table.

    Attributes:
        game: one of the five.
        method: what is printed of the agent.
        make: makes it.
        num_steps: frames of training, the warm-up included.
        anchor: the published score.
    """

    game: str
    method: str
    make: Callable[[], Any]
    num_steps: int
    anchor: str


def _games(method, make, num_steps, anchors):
    return [
        Row(game, method, lambda game=game: make(game), num_steps, anchor)
        for game, anchor in zip(GAMES, anchors, strict=True)
    ]


ANCHORS_1M = "9.2", "6.9", "48", "1.0 (old rules)", "33"
ANCHORS_5M = "10.1", "16.6", "50.3", "20.0 (old rules)", "44"
TABLES: dict[str, list[Row]] = {
    "dqn": _games("DQN", published_dqn, MILLION, ANCHORS_1M),
    "dqn-5m": _games("DQN", published_dqn, 5 * MILLION, ANCHORS_5M)[:1],
    "ablation": [
        Row("Breakout", name, lambda parts=parts: sparse_dqn("Breakout", **parts), MILLION, "")
        for name, parts in COMPONENTS.items()
    ],
    "pqn": [Row("Breakout", "PQN", lambda: pqn("Breakout", 10 * MILLION), 10 * MILLION, "")],
}
Name = Literal["dqn", "dqn-5m", "ablation", "pqn"]


def run(row: Row, seeds: int, folder: Path) -> purerl.SweepResult:
    """Train a row's agent, going on where an earlier run was interrupted."""
    agent = row.make()
    warm_up = getattr(agent, "learning_starts", 0)
    per_step = agent.transitions_per_step
    points = 100
    # As near to the frames asked for as whole iterations and points allow.
    num_steps = round((row.num_steps - warm_up) / (per_step * points)) * per_step * points
    return purerl.sweep(
        agent,
        seeds,
        num_steps=num_steps,
        points=points,
        lanes=2,
        impl="pcg4d",
        evaluation=Episodes(EPISODES),
        out=folder,
        resume=True,
        label=f"{row.method} on {row.game}",
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
    return {
        "game": row.game,
        "method": row.method,
        "num_steps": row.num_steps,
        "anchor": row.anchor,
        "online": [round(float(x), 3) for x in last_episodes(result)],
        "greedy": [round(float(x), 3) for x in result.curves["evaluation_return"][0, :, -1]],
        "agent": repr(result.agents[0]),
        "versions": result.manifest.get("versions", {}),
    }


def table(name: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """The scores of all rows, with intervals and all seeds."""
    shown = Table(title=f"{name}: online and greedy returns [95% stratified bootstrap interval]")
    columns = "game", "method", "frames", "published", "online, mean", "online, IQM", "greedy, mean"
    for column in (*columns, "P(better than the first)", "all seeds online"):
        shown.add_column(column)
    first = np.array(records[0]["online"])
    generator = np.random.default_rng(0)
    for each in records:
        online, greedy = np.array(each["online"]), np.array(each["greedy"])
        cells = [
            f"{stratified_bootstrap(scores, statistic, generator):.1f}"
            for scores, statistic in ((online, mean), (online, iqm), (greedy, mean))
        ]
        same_game = each is not records[0] and each["game"] == records[0]["game"]
        better = f"{improvement_interval(online, first, generator):.2f}" if same_game else ""
        frames = f"{each['num_steps'] / MILLION:g}M"
        seeds = " ".join(f"{x:.1f}" for x in sorted(online))
        shown.add_row(each["game"], each["method"], frames, each["anchor"], *cells, better, seeds)
    return shown


def main(
    name: Name,
    /,
    seeds: int = 6,
    games: tuple[str, ...] = GAMES,
    out: Path = OUT,
) -> None:
    """Fill one table.

    Args:
        name: of the table.
        seeds: how many; two are computed side by side.
        games: those to run.
        out: folder of the runs.
    """
    records = []
    for row in TABLES[name]:
        if row.game in games:
            folder = out / name / f"{row.game}-{row.method}".replace(" ", "")
            records.append(record(row, run(row, seeds, folder)))
            RECORDS.mkdir(exist_ok=True)
            (RECORDS / f"{name}.json").write_text(json.dumps(records, indent=1) + "\n")
            Console(width=160, markup=False).print(table(name, records))


if __name__ == "__main__":
    tyro.cli(main)
