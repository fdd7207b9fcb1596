"""Policy gradients on the 2x3 grid: how fast does the exact regret shrink?

    python -m experiments.policy_gradient_grid

The stochastic policy, a softmax over actions, is evaluated exactly after every few
steps. Gradients of a table or of a feed-forward network shrink its regret as one over
the number of steps, natural gradients of a table geometrically. Prints the regret along
the way with the slope of its last two decades of steps, and draws all methods beside
the line of slope -1.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import purerl
from purerl import ExactPolicyGradient
from purerl.figures import plotting
from purerl.figures.curves import bootstrap_band
from purerl.figures.statistics import Band
from purerl.networks import MLP

ENV, DISCOUNT = "Grid2x3-v0", 0.9
NETWORK = MLP((32,), activation=jnp.tanh)
RESOLUTION = 3e-7  # of a regret in float32, from values of about 0.6
MARKS = (100, 1_000, 10_000)  # steps at which the regret is printed


class Method(NamedTuple):
    """A line of the table and of the picture.

    Attributes:
        make: the class of the agent, or a function that makes it.
        fields: of the agent.
        num_steps: of each run.
        every: steps between two evaluations.
        random: whether runs of several seeds differ.
    """

    make: Any
    fields: dict[str, Any]
    num_steps: int = 10_000
    every: int = 10
    random: bool = True


METHODS = {
    "gradient, table": Method(ExactPolicyGradient, {}, random=False),
    "gradient, network": Method(ExactPolicyGradient, {"network": NETWORK}),
    "natural gradient, table": Method(
        ExactPolicyGradient,
        {"natural": True, "learning_rate": 0.1},
        num_steps=100,
        every=1,
        random=False,
    ),
    "natural gradient, network": Method(
        ExactPolicyGradient,
        {"natural": True, "learning_rate": 0.1, "network": NETWORK},
        num_steps=2_000,
        every=2,
    ),
}


def run(name: str, seeds: int, out: Path, resume: bool) -> purerl.SweepResult:
    """Run one of the methods."""
    method = METHODS[name]
    return purerl.sweep(
        method.make(env=purerl.make(ENV), discount=DISCOUNT, **method.fields),
        seeds if method.random else 1,
        num_steps=method.num_steps,
        points=method.num_steps // method.every,
        out=out / name.replace(", ", "-").replace(" ", "-"),
        resume=resume,
        label=name,
    )


def slope(steps: np.ndarray, regret: np.ndarray) -> float:
    """The slope of regret over steps, both in logarithms, in the last two decades."""
    late = (steps >= steps[-1] / 100) & (regret > RESOLUTION)
    if late.sum() < 2:
        return np.nan
    return float(np.polyfit(np.log(steps[late]), np.log(regret[late]), 1)[0])


def table(results: list[purerl.SweepResult]) -> Table:
    """Means over seeds along the way, and their slopes."""
    marks = [f"{mark:,} steps" for mark in MARKS]
    shown = Table("method", "seeds", *marks, "slope", title=f"exact regret on {ENV}, mean")
    for result in results:
        steps, regret = result.steps["policy_regret"], result.curves["policy_regret"][0]
        means = regret.mean(axis=0, dtype=np.float64)
        at = dict(zip(steps.tolist(), means, strict=True))
        cells = [_short(at[mark]) if mark in at else "" for mark in MARKS]
        shown.add_row(result.label, f"{len(regret)}", *cells, f"{slope(steps, means):.2f}")
    return shown


def _short(regret):
    return f"{regret:.2g}" if regret > RESOLUTION else f"< {RESOLUTION:g}"


def figure(results: list[purerl.SweepResult], path: Path) -> Path:
    """Draw the regrets of all methods in logarithms, beside a line of slope -1."""
    picture = plotting.new_figure(plotting.WIDTH, 4.4)
    axes = picture.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="regret of the stochastic policy")
    for result, color in zip(results, plotting.COLORS, strict=False):
        steps, regret = result.steps["policy_regret"], result.curves["policy_regret"][0]
        band = bootstrap_band(np.where(regret > RESOLUTION, regret, np.nan).astype(np.float64))
        plotting.draw_band(axes, steps, Band(*band), color=color, label=result.label)
    first = results[0]
    steps, regret = first.steps["policy_regret"], first.curves["policy_regret"][0, 0]
    late = steps >= steps[-1] / 100
    line = 1.5 * regret[-1] * steps[-1] / steps[late]
    axes.plot(steps[late], line, color=plotting.GRAY, linestyle="--", label="1 / steps")
    axes.grid(color=plotting.PALE)
    axes.spines[["top", "right"]].set_visible(False)
    picture.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return plotting.save(picture, path)


def main(
    seeds: int = 16, out: Path = Path("results/policy_gradient_grid"), resume: bool = False
) -> list[purerl.SweepResult]:
    """Run all methods, and report them.

    Args:
        seeds: how many, of methods in which something is random.
        out: folder of the results.
        resume: continue the runs in that folder.
    """
    results = [run(name, seeds, out, resume) for name in METHODS]
    Console(width=120, markup=False).print(table(results))
    print(f"picture: {figure(results, out / 'policy_regret.png')}")
    return results


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
