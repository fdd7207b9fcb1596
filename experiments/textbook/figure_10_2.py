"""Figure 10.2: step sizes of semi-gradient Sarsa on the mountain car

Steps of an episode while learning, 100 runs, of the agent of figure 10.1 with three
step sizes. The dashed line is the shortest way on average, by dynamic programming. Both
axes are those of the book, the vertical one logarithmic.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from experiments.textbook.figure_10_1 import FASTEST, sarsa
from purerl.figures.plotting import COLORS
from purerl.figures.statistics import Band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUNS, EPISODES = 100, 500
ALPHAS = (0.1, 0.2, 0.5)


def lengths(
    alphas: list[float], n: int = 1, runs: int = RUNS, episodes: int = EPISODES
) -> np.ndarray:
    """Steps of each episode, ``[alphas, runs, episodes]``."""

    def make(alpha: jax.Array):
        return sarsa(alpha, n)

    found = purerl.over_episodes(make, jnp.array(alphas), runs, episodes, lanes=50)
    return found["length"]


def draw(axes: "Axes", curves: Mapping[str, np.ndarray]) -> dict[str, Band]:
    """Draw steps against episodes, for curves ``{label: [runs, episodes]}``."""
    numbers = np.arange(1, EPISODES + 1)
    drawn = {
        label: band(axes, numbers, found, label, COLORS[i])
        for i, (label, found) in enumerate(curves.items())
    }
    axes.axhline(FASTEST, label="shortest", **EXACT)
    axes.set_yscale("log")
    axes.set_yticks([100, 200, 400, 1000], labels=["100", "200", "400", "1000"])
    axes.minorticks_off()
    axes.set(xlabel="episode", ylabel="steps per episode", ylim=(90, 1000))
    axes.legend()
    return drawn


def figure():
    picture, (axes,) = canvas()
    found = lengths(list(ALPHAS))
    curves = {f"step size {alpha}/8": each for alpha, each in zip(ALPHAS, found, strict=True)}
    drawn = draw(axes, curves)
    early, late = found[:, :, 10:50].mean((1, 2)), found[:, :, -50:].mean((1, 2))
    claims = {
        "the larger of these step sizes, the faster the learning": (early[0] > early[1] > early[2]),
        "in the end all three take between 100 and 200 steps": bool(
            np.all((late > 100) & (late < 200))
        ),
        "none is below the shortest way": bool(np.all(late > FASTEST)),
    }
    numbers = {**drawn, "episodes 11 to 50": early, "last 50 episodes": late}
    return save("figure_10_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
