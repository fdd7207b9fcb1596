"""Scores on MinAtar, beside the published ones.

    python -m experiments.minatar dqn

``dqn`` is DQN as Young & Tian (2019) had it, on the five games, and ``dqn-5m`` the
same with five million frames on Breakout; ``ablation`` is DQN with each of its
extensions on Breakout; ``pqn`` is PQN with five million frames on the five games, and
``pqn-10m`` with ten million on Breakout; ``ppo-1m`` and ``ppo`` are PPO with one and
five million on the five games; ``ac`` is actor-critic with traces as Young & Tian had
it, with five million on two games. A run that was interrupted goes on.
``README.md`` shows what came out; ``--records`` is where it is kept.
"""

from pathlib import Path
from typing import Literal

import tyro

from experiments.minatar.agents import (
    COMPONENTS,
    GAMES,
    ppo,
    pqn,
    published_ac,
    published_dqn,
    sparse_dqn,
)
from experiments.scores import Row, fill

MILLION = 1_000_000
DQN_1M = "9.2", "6.9", "48", "1.0 (old rules)", "33"
DQN_5M = "10.1", "16.6", "50.3", "20.0 (old rules)", "44"
AC_5M = "AC 17.3", "AC 18.5", "AC 47.5", "AC 14.8 (old rules)", "AC 183"


def _dqn(game: str, num_steps: int, published: str) -> Row:
    return Row(game, "DQN", lambda: published_dqn(game), num_steps, published, lanes=2)


def _pqn(game: str, num_steps: int, published: str = "") -> Row:
    return Row(game, "PQN", lambda: pqn(game, num_steps), num_steps, published, lanes=2)


def _ppo(game: str, num_steps: int, published: str = "") -> Row:
    return Row(game, "PPO", lambda: ppo(game, num_steps), num_steps, published, lanes=2)


def _ac(game: str, published: str) -> Row:
    return Row(game, "AC", lambda: published_ac(game), 5 * MILLION, published, lanes=2)


def _component(name: str) -> Row:
    parts = COMPONENTS[name]
    return Row("Breakout", name, lambda: sparse_dqn("Breakout", **parts), MILLION, lanes=2)


TABLES = {
    "dqn": [_dqn(game, MILLION, score) for game, score in zip(GAMES, DQN_1M, strict=True)],
    "dqn-5m": [_dqn("Breakout", 5 * MILLION, DQN_5M[0])],
    "ablation": [_component(name) for name in COMPONENTS],
    "pqn": [_pqn(game, 5 * MILLION, score) for game, score in zip(GAMES, AC_5M, strict=True)],
    "pqn-10m": [_pqn("Breakout", 10 * MILLION)],
    "ppo-1m": [_ppo(game, MILLION) for game in GAMES],
    "ppo": [_ppo(game, 5 * MILLION, score) for game, score in zip(GAMES, AC_5M, strict=True)],
    "ac": [_ac(game, score) for game, score in zip(GAMES[:2], AC_5M[:2], strict=True)],
}


def main(
    name: Literal["dqn", "dqn-5m", "ablation", "pqn", "pqn-10m", "ppo-1m", "ppo", "ac"],
    /,
    seeds: int = 6,
    games: tuple[str, ...] = GAMES,
    out: Path = Path("results/minatar"),
    records: Path = Path("results/minatar/records"),
) -> None:
    """Fill one table.

    Args:
        name: of the table.
        seeds: how many; two are computed side by side.
        games: those to run.
        out: folder of the runs.
        records: folder of the scores.
    """
    rows = [row for row in TABLES[name] if row.env in games]
    fill(name, rows, seeds, out, records)


if __name__ == "__main__":
    tyro.cli(main)
