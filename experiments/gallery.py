"""A picture of all environments, each after some random steps.

python -m experiments.gallery
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from purerl.envs.base import can_render
from purerl.figures import plotting
from purerl.rollout import Actors, rollout

COLUMNS = 8
LOOK_ALIKE = (
    "_noise/0",
    "_scale/0",
    "stochastic/0",
    "Slippery-v1",
    "Taxi-v4",
    "CartPole-v0",
    "RandomWalk1000-v0",
    "RandomWalk5-v0",
)


def names() -> list[str]:
    """Names of the environments that are drawn, without those that look like others."""
    kinds = [name for name in purerl.envs.kinds().values() if not name.endswith(LOOK_ALIKE)]
    return [name for name in kinds if not (name.startswith("MinAtar/") and name.endswith("-v0"))]


def picture(name: str, num_steps: int) -> np.ndarray:
    """A picture of an environment after uniformly random actions."""
    env = purerl.make(name)
    if not can_render(env):
        raise TypeError(f"{name} does not draw its states")

    def uniform(key, observation):
        return jax.random.randint(key, (), 0, env.num_actions)

    @jax.jit
    def final_state():
        actors = Actors.start(env, purerl.random.key(0), num_envs=1)
        times = jnp.arange(num_steps, dtype=jnp.int32)
        actors, _, _ = rollout(env, uniform, actors, purerl.random.key(1), times)
        return jax.tree.map(lambda x: x[0], actors.env_state)

    return env.render(final_state())


def main(out: Path = Path("results/gallery/environments.png"), num_steps: int = 60) -> None:
    """Draw all environments.

    Args:
        out: the picture.
        num_steps: how many random actions each has taken.
    """
    drawn = names()
    rows = -(-len(drawn) // COLUMNS)
    figure = plotting.new_figure(1.7 * COLUMNS, 1.95 * rows, dpi=110)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, name in zip(grid, drawn, strict=False):
        axes.imshow(picture(name, num_steps), interpolation="nearest")
        axes.set_title(name.removesuffix("/0"), fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"picture: {plotting.save(figure, out)}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
