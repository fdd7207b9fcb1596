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
from purerl import mdp, timescan
from purerl.agents import Agent
from purerl.figures.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUT = Path("results/textbook")
ColorS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)  # Okabe & Ito
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
    program = (
        jax.jit(jax.vmap(lambda i: run(purerl.random.seed_key(seed, i, "pcg4d"))))
        .lower(numbers[0])
        .compile()
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = list(
            pool.map(lambda i: jax.tree.map(np.asarray, program(jnp.asarray(i))), numbers)
        )
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:runs], *chunks)


def steps(agent: Agent, key: jax.Array, num_steps: int) -> dict[str, jax.Array]:
    """What an agent's metrics say at each step of one run, ``{name: [num_steps]}``."""

    def step(state, t):
        state, metrics = agent.step(state, t)
        return state, {name: mean.total for name, mean in metrics.items()}

    return timescan.time_scan(step, agent.init(key), jnp.arange(num_steps, dtype=jnp.int32))[1]


def episodes(
    make: Callable[[Any], Agent],
    settings: Any,
    runs: int,
    num_episodes: int,
    measure: Callable[[Agent, Any], dict[str, jax.Array]] = lambda agent, state: {},
    width: int = 128,
    max_steps: int = 10_000_000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Every setting over the same ``runs`` seeds, each for a number of episodes.

    Lanes of one program go on until the last of them is done, and what they do beyond is not looked at.

    Args:
        make: the agent of a setting.
        settings: leaves ``[P, ...]``.
        runs: seeds.
        num_episodes: of each run.
        measure: of the state at the end of an episode.
        width: lanes of a program.
        max_steps: after which a run is given up: what it lacks is NaN.
        seed: of all.

    Returns:
        ``length`` and ``return`` of every episode and what was measured after it, ``[P, runs, num_episodes]``.
    """
    count = jax.tree.leaves(settings)[0].shape[0] * runs
    width = min(width, count)

    def program(numbers):
        setting = jax.tree.map(lambda x: jnp.asarray(x)[numbers // runs], settings)
        keys = jax.vmap(lambda i: purerl.random.seed_key(seed, i, "pcg4d"))(numbers % runs)
        lane = jnp.arange(width)

        def step(setting, state, t):
            agent = make(setting)
            state, metrics = agent.step(state, t)
            ended = metrics["episode_return"]
            return state, ended.count > 0, {"return": ended.total, **measure(agent, state)}

        def body(carry):
            states, t, number, length, records = carry
            states, done, row = jax.vmap(step, (0, 0, None))(setting, states, t)
            row["length"] = length + 1
            place = jnp.where(done, number, num_episodes)
            records = {
                name: table.at[lane, place].set(row[name], mode="drop")
                for name, table in records.items()
            }
            return states, t + 1, number + done, jnp.where(done, 0, length + 1), records

        states = jax.vmap(lambda setting, key: make(setting).init(key))(setting, keys)
        shapes = jax.eval_shape(jax.vmap(step, (0, 0, None)), setting, states, jnp.int32(0))[2]
        records = {name: jnp.full((width, num_episodes), jnp.nan) for name in (*shapes, "length")}
        zeros = jnp.zeros(width, jnp.int32)
        carry = states, jnp.int32(0), zeros, zeros, records
        return jax.lax.while_loop(
            lambda c: jnp.any(c[2] < num_episodes) & (c[1] < max_steps), body, carry
        )[4]

    numbers = np.minimum(np.arange(-(-count // width) * width, dtype=np.int32), count - 1).reshape(
        -1, width
    )
    compiled = jax.jit(program).lower(numbers[0]).compile()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = list(
            pool.map(lambda i: jax.tree.map(np.asarray, compiled(jnp.asarray(i))), numbers)
        )
    whole = jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)
    return {name: table.reshape(-1, runs, num_episodes) for name, table in whole.items()}


def length_of_episodes(model: mdp.FiniteMDP, policy: Any) -> float:
    """The exact mean under a policy: without a discount, visits to states sum to it."""
    return float(mdp.expected_visits(model, policy).sum())


def interval(samples: np.ndarray) -> Interval:
    """Of the mean over the first axis, by the normal law of a mean of many runs."""
    samples = np.asarray(samples, np.float64)
    mean = samples.mean(axis=0)
    half = 1.96 * samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return Interval(mean, mean - half, mean + half)


def canvas(
    columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 4.2
) -> tuple["Figure", np.ndarray]:
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


def band(
    axes: "Axes", x: np.ndarray, samples: np.ndarray, label: str, color: str, **line
) -> Interval:
    """The mean of ``samples [runs, points]`` as a line and its interval as a band."""
    estimate = interval(samples)
    axes.plot(x, estimate.mean, color=color, label=label, **line)
    axes.fill_between(x, estimate.low, estimate.high, color=color, alpha=0.2, linewidth=0)
    return estimate


def save(
    name: str,
    figure: "Figure",
    numbers: Mapping[str, Any],
    claims: Mapping[str, bool],
    out: Path = OUT,
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
    write_record(name, record, out)
    print(f"{out / name}.png")
    for claim, holds in record["claims"].items():
        print(f"  {'agrees' if holds else 'DISAGREES'}: {claim}")
    return record


def write_record(name: str, record: Mapping[str, Any], out: Path = OUT) -> None:
    """What is known of a figure, as ``name.json``."""
    write_atomically(
        out / f"{name}.json",
        lambda file: file.write(json.dumps(record, indent=1, allow_nan=False).encode()),
    )


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
