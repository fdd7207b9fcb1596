"""What the environments look like: a picture of each after some random steps.

python -m experiments.gallery
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import purerl
from purerl.envs import interact

COLUMNS = 8
ALIKE = (
    "_noise/0",
    "_scale/0",
    "stochastic/0",
    "Slippery-v1",
    "Taxi-v4",
    "CartPole-v0",
    "RandomWalk1000-v0",
    "RandomWalk5-v0",
)


def picture(name: str, num_steps: int) -> np.ndarray:
    """What ``render`` shows after ``num_steps`` uniformly random actions."""
    env = purerl.make(name)

    def step(state, t):
        act_key, env_key = jax.random.split(jax.random.fold_in(purerl.random.key(1), t))
        action = jax.random.randint(act_key, (), 0, env.num_actions)
        return interact(env, env_key, state, action)[0], None

    begin = env.reset(purerl.random.key(0))
    return env.render(jax.jit(lambda: jax.lax.scan(step, begin, jnp.arange(num_steps))[0])())


def main(out: Path = Path("results/gallery/environments.png"), num_steps: int = 60) -> None:
    """Draw them all.

    Args:
        out: the picture.
        num_steps: how many random actions each has taken.
    """
    names = [name for name in purerl.envs.kinds().values() if not name.endswith(ALIKE)]
    names = [name for name in names if not (name.startswith("MinAtar/") and name.endswith("-v0"))]
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(1.7 * COLUMNS, 1.95 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, name in zip(grid, names, strict=False):
        axes.imshow(picture(name, num_steps), interpolation="nearest")
        axes.set_title(name.removesuffix("/0"), fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    print(f"picture: {out}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
