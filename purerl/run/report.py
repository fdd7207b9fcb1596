"""Reports of runs: tables in the terminal, pictures in the run's folder."""

import sys
from pathlib import Path

import jax

from purerl import envs, mdp
from purerl.agents import TabularControl
from purerl.agents.base import Agent
from purerl.figures import plotting
from purerl.run.result import SweepResult

# Curves that are drawn on two logarithmic axes.
_ERRORS = "q_error", "value_error", "gain_error", "loss"


def show(result: SweepResult, folder: Path) -> None:
    """Print the table of a run, and draw its pictures into its folder."""
    print(result.table())
    for failure in result.failures:
        seed, configuration = failure["seed"], failure["configuration"]
        print(f"FAILED: seed {seed} of configuration {configuration}: {failure['reason']}")
    seconds = result.manifest["seconds"]
    compiling = result.manifest["compile_seconds"]
    lanes = result.manifest["identity"]["lanes"]
    print(f"{seconds:.1f} s, of which {compiling:.1f} s compiling; {lanes} lanes")
    for path in draw(result, folder):
        print(f"picture: {path}")


def draw(result: SweepResult, folder: Path) -> list[Path]:
    """Draw the learning curves of every measure into a folder.

    For an agent on a gridworld whose states were kept, also the learned values and
    greedy policy of the first seed beside the exact optimum.
    """
    paths = []
    for name, curve in result.curves.items():
        if curve.shape[-1] > 1:
            log = "xy" if name in _ERRORS else ""
            paths.append(result.plot(folder / f"{name}.png", name, log=log))
    try:
        agents = result.agents if any(result.kept.values()) else []
    except ValueError as error:  # a class of one's own that is not imported
        print(f"the policy is not drawn: {error}", file=sys.stderr)
        agents = []
    if agents and has_map(agents[-1]):
        paths.append(_draw_policy(result, folder / "policy.png"))
    return paths


def _draw_policy(result, path):
    agent = result.agents[-1]
    grid = envs.grid_of(agent.env)
    assert grid is not None  # has_map
    snapshot = result.snapshot(int(result.seeds[0]), len(result.agents) - 1)
    learned = jax.vmap(agent.values, (None, 0))(snapshot, grid.states())
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
