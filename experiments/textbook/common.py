"""What the scripts share: independent runs on every core, means with their intervals, and a picture beside its numbers."""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purerl.random
from purerl.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUT = Path("results/textbook")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe & Ito
EXACT = {"color": "0.35", "linestyle": "--", "linewidth": 1}  # lines of what is known exactly


class Interval(NamedTuple):
    """A mean and the ends of its 95% interval."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_runs(run: Callable[[jax.Array], Any], runs: int, width: int = 128, seed: int = 0) -> Any:
    """``run(key)`` of ``runs`` independent keys, leaves ``[runs, ...]``, in chunks of ``width`` lanes on all cores.

    The key of a run depends on ``seed`` and its number alone.
    """
    width = min(width, runs)
    numbers = np.arange(-(-runs // width) * width, dtype=np.int32).reshape(-1, width)
    program = jax.jit(jax.vmap(lambda i: run(purerl.random.seed_key(seed, i, "pcg4d")))).lower(numbers[0]).compile()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = list(pool.map(lambda i: jax.tree.map(np.asarray, program(jnp.asarray(i))), numbers))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:runs], *chunks)


def interval(samples: np.ndarray) -> Interval:
    """Of the mean over the first axis, by the normal law of a mean of many runs."""
    samples = np.asarray(samples, np.float64)
    mean = samples.mean(axis=0)
    half = 1.96 * samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return Interval(mean, mean - half, mean + half)


def canvas(columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 4.2) -> tuple["Figure", np.ndarray]:
    """A figure and its axes ``[rows * columns]``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return figure, axes


def band(axes: "Axes", x: np.ndarray, samples: np.ndarray, label: str, colour: str, **line) -> Interval:
    """The mean of ``samples [runs, points]`` as a line and its interval as a band."""
    estimate = interval(samples)
    axes.plot(x, estimate.mean, color=colour, label=label, **line)
    axes.fill_between(x, estimate.low, estimate.high, color=colour, alpha=0.2, linewidth=0)
    return estimate


def save(
    name: str, figure: "Figure", numbers: Mapping[str, Any], claims: Mapping[str, bool], out: Path = OUT
) -> dict[str, Any]:
    """Write ``name.png`` and ``name.json`` into a folder, and say which of the book's claims hold.

    Args:
        name: of both files, such as ``figure_6_2``.
        numbers: everything that is drawn: numbers, arrays, intervals.
        claims: what the book says of its figure, each with whether the numbers agree.
    """
    record = {
        "command": f"python -m experiments.textbook.{name}",
        "claims": {claim: bool(holds) for claim, holds in claims.items()},
        "numbers": _plain(numbers),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{name}.png", lambda file: figure.savefig(file, format="png"))
    write_atomically(out / f"{name}.json", lambda file: file.write(json.dumps(record, indent=1, allow_nan=False).encode()))
    print(f"{out / name}.png")
    for claim, holds in record["claims"].items():
        print(f"  {'agrees' if holds else 'DISAGREES'}: {claim}")
    return record


def _plain(value):
    """As JSON has it, to six digits; None for what is not finite, such as the error of a run that diverged."""
    if isinstance(value, Interval):
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
