"""Policy gradients on the 2x3 grid: how fast does the exact regret shrink?

    python -m experiments.policy_gradient_grid

The stochastic policy, a softmax over actions, is evaluated exactly on the way. Exact
gradients of a table or of a feed-forward network shrink its regret as one over the
number of steps, natural gradients of a table geometrically; Reinforce, A2C and PPO
learn the network from transitions. Prints the regrets, draws them beside a line of
slope -1, and draws the learned policies beside the exact one.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import purerl
from purerl import ExactPolicyGradient, mdp
from purerl.envs import MOVES, grid_of
from purerl.figures import gridmap, plotting
from purerl.figures.curves import bootstrap_band
from purerl.figures.statistics import Band
from purerl.networks import MLP, ActorCritic
from purerl.optimizers import Adam
from purerl.schedule import linear

ENV, DISCOUNT = "Grid2x3-v0", 0.9
NETWORK = MLP((32,), activation=jnp.tanh)
RESOLUTION = 3e-7  # of a regret in float32, from values of about 0.6
TRANSITIONS = 51_200


class Method(NamedTuple):
    """A line of a table and of a picture.

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


EXACT = {
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
LEARNER = {"network": ActorCritic((32,))}
ADAM = LEARNER | {"optimizer": Adam(), "learning_rate": linear(0.03, 0.0, TRANSITIONS)}
BATCHES = ADAM | {"max_grad_norm": math.inf, "num_envs": 16}
SAMPLED = {
    "Reinforce": Method(
        purerl.Reinforce,
        LEARNER | {"baseline": "none", "learning_rate": 0.2},
        num_steps=TRANSITIONS,
        every=512,
    ),
    "A2C": Method(purerl.A2C, BATCHES | {"rollout_length": 5}, num_steps=TRANSITIONS, every=640),
    "PPO": Method(
        purerl.PPO,
        BATCHES | {"rollout_length": 16, "lambda_": 0.5, "minibatches": 1, "normalize": "none"},
        num_steps=TRANSITIONS,
        every=512,
    ),
}


METHODS = EXACT | SAMPLED
# Steps at which the regret is printed.
MARKS = {"steps": (100, 1_000, 10_000), "transitions": (5_120, 25_600, TRANSITIONS)}


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
        label=f"{name} on {ENV}",
    )


def slope(steps: np.ndarray, regret: np.ndarray) -> float:
    """The slope of regret over steps, both in logarithms, in the last two decades."""
    late = (steps >= steps[-1] / 100) & (regret > RESOLUTION)
    if late.sum() < 2:
        return np.nan
    return float(np.polyfit(np.log(steps[late]), np.log(regret[late]), 1)[0])


def table(results: list[purerl.SweepResult], marks: tuple[int, ...], unit: str) -> Table:
    """Means over seeds along the way, their slopes, and the worst seed at the end."""
    at_marks = [f"{mark:,} {unit}" for mark in marks]
    columns = "method", "seeds", *at_marks, "slope", "largest at the end"
    shown = Table(*columns, title=f"exact regret on {ENV}, mean over seeds")
    for result in results:
        steps, regret = result.steps["policy_regret"], result.curves["policy_regret"][0]
        means = regret.mean(axis=0, dtype=np.float64)
        at = dict(zip(steps.tolist(), means, strict=True))
        cells = [_short(at[mark]) if mark in at else "" for mark in marks]
        last = _short(regret[:, -1].max())
        shown.add_row(_name(result), f"{len(regret)}", *cells, f"{slope(steps, means):.2f}", last)
    return shown


def _name(result):
    return result.label.removesuffix(f" on {ENV}")


def _short(regret):
    return f"{regret:.2g}" if regret > RESOLUTION else f"< {RESOLUTION:g}"


def figure(kinds: dict[str, list[purerl.SweepResult]], path: Path) -> Path:
    """Draw all regrets in logarithms, those of a unit beside a line of slope -1.

    Args:
        kinds: results by the unit of their steps.
        path: of the picture.
    """
    picture = plotting.new_figure(len(kinds) * plotting.WIDTH, 4.4)
    panels = picture.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (unit, results) in zip(panels, kinds.items(), strict=True):
        axes.set(xscale="log", yscale="log", xlabel=unit)
        for result, color in zip(results, plotting.COLORS, strict=False):
            steps, regret = result.steps["policy_regret"], result.curves["policy_regret"][0]
            band = bootstrap_band(np.where(regret > RESOLUTION, regret, np.nan).astype(np.float64))
            plotting.draw_band(axes, steps, Band(*band), color=color, label=_name(result))
        steps = results[0].steps["policy_regret"]
        late = steps >= steps[-1] / 100
        final = results[0].curves["policy_regret"][0][:, -1].mean()
        line = 1.5 * final * steps[-1] / steps[late]
        axes.plot(steps[late], line, color=plotting.GRAY, linestyle="--", label=f"1 / {unit}")
        axes.grid(color=plotting.PALE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    panels[0].set_ylabel("regret of the stochastic policy")
    return plotting.save(picture, path)


def policies(results: list[purerl.SweepResult], path: Path) -> Path:
    """Draw the policies of seed 0, with their values, beside the exact one."""
    env = grid_of(purerl.make(ENV))
    assert env is not None
    best = mdp.optimal_q(env.mdp, DISCOUNT)
    maps = {"exact": (best.max(1), best >= best.max(1, keepdims=True) - 1e-6)}
    for result in results:
        agent, snapshot = result.agents[0], result.snapshot(0)
        probabilities = jax.vmap(agent.probabilities, (None, 0))(snapshot, env.states())
        values = mdp.evaluate_policy(env.mdp, probabilities, DISCOUNT).values
        maps[_name(result)] = values, probabilities
    moves = [MOVES[name] for name in env.directions]
    return gridmap.gridworld(path, maps, env.rows, moves)


def main(
    seeds: int = 16,
    methods: tuple[str, ...] = tuple(METHODS),
    out: Path = Path("results/policy_gradient_grid"),
    resume: bool = False,
) -> list[purerl.SweepResult]:
    """Run methods, and report them.

    Args:
        seeds: how many, of methods in which something is random.
        methods: those to run, as the tables call them.
        out: folder of the results.
        resume: continue the runs in that folder.
    """
    chosen = {
        unit: [name for name in known if name in methods]
        for unit, known in (("steps", EXACT), ("transitions", SAMPLED))
    }
    kinds = {
        unit: [run(name, seeds, out, resume) for name in names]
        for unit, names in chosen.items()
        if names
    }
    console = Console(width=120, markup=False)
    for unit, results in kinds.items():
        console.print(table(results, MARKS[unit], unit))
    everything = [result for results in kinds.values() for result in results]
    print(
        f"pictures: {figure(kinds, out / 'policy_regret.png')}, "
        f"{policies(everything, out / 'policies.png')}"
    )
    return everything


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
