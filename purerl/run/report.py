"""Reports of runs: tables in the terminal, pictures in the run's folder."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from purerl import envs, mdp
from purerl.agents import TabularControl
from purerl.agents.base import Agent
from purerl.figures import plotting
from purerl.run.result import SweepResult

# Curves that are drawn on two logarithmic axes.
_ERRORS = "q_error", "value_error", "gain_error", "loss"


def show(result: SweepResult, folder: Path, names: Sequence[str] | None = None) -> None:
    """Print the table of a run, and draw its pictures into its folder.

    Args:
        result: the run.
        folder: of the pictures.
        names: of the measures; by default all.
    """
    print(result.table(names))
    for failure in result.failures:
        seed, configuration = failure["seed"], failure["configuration"]
        print(f"FAILED: seed {seed} of configuration {configuration}: {failure['reason']}")
    seconds = result.manifest["seconds"]
    compiling = result.manifest["compile_seconds"]
    lanes = result.manifest["identity"]["lanes"]
    print(f"{seconds:.1f} s, of which {compiling:.1f} s compiling; {lanes} lanes")
    for path in draw(result, folder, names):
        print(f"picture: {path}")


def draw(result: SweepResult, folder: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Draw the learning curves of measures into a folder, but for single points.

    For an agent on a gridworld whose states were kept, also the learned values and
    greedy policy of the first seed next to the exact optimum.

    Args:
        result: the run.
        folder: of the pictures.
        names: of the measures; by default all.

    Returns:
        The pictures.
    """
    paths = []
    for name in result.curves if names is None else names:
        if result.curves[name].shape[-1] > 1:
            log = "xy" if name in _ERRORS else ""
            paths.append(result.plot(folder / f"{name}.png", name, log=log))
    if result.state is not None and has_map(result.agents[-1]):
        paths.append(_draw_policy(result, folder / "policy.png"))
    return paths


def _draw_policy(result, path):
    agent = result.agents[-1]
    grid = envs.grid_of(agent.env)
    assert grid is not None  # has_map
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[-1, 0]), result.state)
    learned = jax.vmap(agent.values, (None, 0))(agent.snapshot(state), grid.states())
    best = mdp.optimal_q(grid.mdp, agent.discount)
    maps = {
        f"learned, seed {result.seeds[0]}": (learned.max(1), mdp.greedy(learned)),
        "exact optimum": (best.max(1), best >= best.max(1, keepdims=True) - 1e-6),
    }
    directions = [envs.MOVES[direction] for direction in grid.directions]
    return plotting.gridworld(path, maps, grid.rows, directions)


def has_map(agent: Agent) -> bool:
    """Test for an agent that learns discounted action values of cells of a grid."""
    tabular = isinstance(agent, TabularControl) and hasattr(agent, "discount")
    return tabular and envs.grid_of(agent.env) is not None
