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
WIDE = 5.0  # least ratio of width to height of pictures that get half a row each
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


def _show(axes, name, image):
    axes.imshow(image)
    axes.set_axis_off()
    axes.set_title(name, fontsize=8)


def main(out: Path = Path("results/gallery/environments.png"), num_steps: int = 60) -> None:
    """Draw all environments.

    Args:
        out: the picture.
        num_steps: how many random actions each has taken.
    """
    pictures = {name.removesuffix("/0"): picture(name, num_steps) for name in names()}
    wide = {k: image for k, image in pictures.items() if image.shape[1] > WIDE * len(image)}
    other = {k: image for k, image in pictures.items() if k not in wide}
    rows = -(-len(other) // COLUMNS)
    wide_rows = -(-len(wide) // 2)
    figure = plotting.new_figure(1.7 * COLUMNS, 1.95 * rows + 0.9 * wide_rows, dpi=110)
    grid = figure.add_gridspec(
        rows + wide_rows, COLUMNS, height_ratios=[1.95] * rows + [0.9] * wide_rows
    )
    for i, name in enumerate(other):
        _show(figure.add_subplot(grid[i // COLUMNS, i % COLUMNS]), name, other[name])
    for i, name in enumerate(wide):
        left = i % 2 * COLUMNS // 2
        place = grid[rows + i // 2, left : left + COLUMNS // 2]
        _show(figure.add_subplot(place), name, wide[name])
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"picture: {plotting.save(figure, out)}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
