"""Reports of runs: tables in the terminal, pictures in the run's folder."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp

from purerl import envs, mdp
from purerl.agents import TabularControl
from purerl.agents.base import Agent
from purerl.figures import plotting
from purerl.run.result import SweepResult


def show(result: SweepResult, folder: Path) -> None:
    """Print the table of a run and draw its pictures into its folder."""
    print(result.table())
    for failure in result.failures:
        print(
            f"FAILED: seed {failure['seed']} of configuration {failure['configuration']}: {failure['reason']}"
        )
    seconds, compiling = result.manifest["seconds"], result.manifest["compile_seconds"]
    print(
        f"{seconds:.1f} s, of which {compiling:.1f} s compiling; {result.manifest['identity']['lanes']} lanes"
    )
    with contextlib.suppress(ImportError):  # pictures need matplotlib, which is optional
        for path in draw(result, folder):
            print(f"picture: {path}")


def draw(result: SweepResult, folder: Path) -> list[Path]:
    """The learning curves of every measure, and the values and policy of a gridworld beside the exact optimum."""
    paths = []
    for name, curve in result.curves.items():
        if curve.shape[-1] == 1:
            continue
        positive = name in ("q_error", "value_error", "gain_error", "loss")
        paths.append(result.plot(folder / f"{name}.png", name, log="xy" if positive else ""))
    grid = None if result.state is None else envs.grid_of(result.agents[-1].env)
    if grid is not None:
        agent, state = (
            result.agents[-1],
            jax.tree.map(lambda leaf: jnp.asarray(leaf[-1, 0]), result.state),
        )
        learned = jax.vmap(agent.values, (None, 0))(state, grid.states())
        best = mdp.optimal_q(grid.mdp, agent.discount)
        maps = {
            f"learned, seed {result.seeds[0]}": (learned.max(1), mdp.greedy(learned)),
            "exact optimum": (best.max(1), best >= best.max(1, keepdims=True) - 1e-6),
        }
        directions = [envs.MOVES[d] for d in grid.directions]
        paths.append(plotting.gridworld(folder / "policy.png", maps, grid.rows, directions))
    return paths


def has_map(agent: Agent) -> bool:
    """Whether an agent learns discounted action values of the cells of a grid."""
    tabular = isinstance(agent, TabularControl) and hasattr(agent, "discount")
    return tabular and envs.grid_of(agent.env) is not None
