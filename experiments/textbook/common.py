"""Tools of the textbook scripts: steps of a run, axes, a picture with its numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from purerl import mdp, timescan
from purerl.agents import Agent
from purerl.figures import plotting
from purerl.figures.files import write_atomically
from purerl.figures.statistics import Band, normal_band
from purerl.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUT = Path("results/textbook")
EXACT: dict[str, Any] = {"color": "0.35", "linestyle": "--", "linewidth": 1}  # exact results


def steps(agent: Agent, key: jax.Array, num_steps: int) -> Metrics:
    """Metrics of each step of one run, ``[num_steps]`` each."""
    times = jnp.arange(num_steps, dtype=jnp.int32)
    _, metrics = timescan.time_scan(agent.step, agent.init(key), times)
    return metrics


def step_totals(
    agent: Agent, names: Sequence[str], seeds: int, num_steps: int
) -> dict[str, np.ndarray]:
    """Metrics of each step over seeds, ``{name: [seeds, num_steps]}``."""

    def run(key):
        metrics = steps(agent, key, num_steps)
        return {name: metrics[name].total for name in names}

    return purerl.over_seeds(run, seeds)


def episode_length(model: mdp.FiniteMDP, policy: Any) -> float:
    """The exact mean length of an episode: the sum of undiscounted visits to states."""
    return float(mdp.expected_visits(model, policy).sum())


def canvas(
    columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 4.2
) -> tuple["Figure", np.ndarray]:
    """A figure and its axes ``[rows * columns]``; width and height are of one panel."""
    figure = plotting.new_figure(width * columns, height * rows, dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return figure, axes


def band(
    axes: "Axes", x: np.ndarray, samples: np.ndarray, label: str, color: str, **line: Any
) -> Band:
    """Draw means of ``samples [runs, points]`` with their 95% intervals."""
    estimate = normal_band(samples)
    plotting.draw_band(axes, x, estimate, color=color, label=label, **line)
    return estimate


def save(
    name: str,
    figure: "Figure",
    numbers: Mapping[str, Any],
    claims: Mapping[str, bool],
    out: Path = OUT,
) -> dict[str, Any]:
    """Write ``name.png`` and ``name.json`` into a folder, and print the claims.

    Args:
        name: of both files, such as ``figure_6_2``.
        figure: the picture.
        numbers: everything that is drawn: numbers, arrays, bands.
        claims: statements of the book about its figure, and whether the numbers agree.
        out: the folder.

    Returns:
        The contents of ``name.json``.
    """
    record = {
        "command": f"python -m experiments.textbook.{name}",
        "claims": {claim: bool(holds) for claim, holds in claims.items()},
        "numbers": _plain(numbers),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = plotting.save(figure, out / f"{name}.png")
    write_record(name, record, out)
    print(path)
    for claim, holds in record["claims"].items():
        print(f"  {'agrees' if holds else 'DISAGREES'}: {claim}")
    return record


def write_record(name: str, record: Mapping[str, Any], out: Path = OUT) -> None:
    """Write the record of a figure as ``name.json``."""
    text = json.dumps(record, indent=1, allow_nan=False)
    write_atomically(out / f"{name}.json", lambda file: file.write(text.encode()))


def _plain(value):
    """A value as JSON, numbers to six digits.

    Numbers that are not finite, such as the error of a run that diverged, become None.
    """
    if isinstance(value, Band):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, jax.Array)):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
