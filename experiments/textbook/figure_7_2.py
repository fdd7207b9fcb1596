"""Figure 7.2: n-step TD on a random walk

Nineteen states, initial values of 0, no discount: the root mean square error over the
states at the end of an episode, averaged over the first 10 episodes of 100 runs,
against the step size and for several n.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import canvas, save
from purerl.agents import Agent, NStepTD
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import Band, normal_band

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS, EPISODES = 100, 10
STATES = np.arange(1, 20)
TRUE = STATES / 10 - 1
ALPHAS = np.concatenate([[0.0, 0.02, 0.04, 0.06, 0.08], np.arange(0.1, 1.01, 0.1)])
NS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SHOWN = 0.55


def error(agent, state):
    """The root mean square error of the values."""
    return {"error": jnp.sqrt(jnp.mean((state.weights[1:20] - TRUE) ** 2))}


def mean_error(make: Callable[[jax.Array], Agent], runs: int = RUNS) -> Band:
    """The error averaged over the first episodes, for each step size."""
    found = purerl.over_episodes(make, ALPHAS, runs, EPISODES, error, lanes=750)
    return normal_band(found["error"].mean(axis=2).T)


def draw(picture: "Figure", axes: np.ndarray, panels: Iterable[Mapping[str, Band]]) -> None:
    """Draw errors against step sizes, a line for each parameter.

    All panels have the same parameters, which one legend shows.
    """
    for one, curves in zip(axes, panels, strict=True):
        for i, (label, estimate) in enumerate(curves.items()):
            # Divergent estimates are far outside the picture, and their intervals would
            # hide others.
            inside = estimate.point < 2 * SHOWN
            shown = Band(*(np.where(inside, x, np.nan) for x in estimate))
            style = "-" if i < len(COLORS) else "--"
            color = COLORS[i % len(COLORS)]
            draw_band(one, ALPHAS, shown, color=color, label=label, linestyle=style)
        one.set(xlabel="step size", ylim=(0.24, SHOWN))
    axes[0].set_ylabel("RMS error, first 10 episodes")
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")


def figure():
    env = purerl.make("RandomWalk-v0")
    curves = {
        f"n = {n}": mean_error(
            lambda alpha, n=n: NStepTD(env=env, n=n, learning_rate=alpha, discount=1.0)
        )
        for n in NS
    }
    picture, axes = canvas(width=8, height=5)
    draw(picture, axes, [curves])
    best = {n: float(curves[f"n = {n}"].point.min()) for n in NS}
    where = {n: ALPHAS[curves[f"n = {n}"].point.argmin()] for n in NS}
    claims = {
        "an intermediate n is best, 4": min(best, key=lambda n: best[n]) == 4,
        "the best error of all is about 0.27, at a step size of about 0.4": (
            abs(best[4] - 0.27) < 0.015 and abs(where[4] - 0.4) < 0.11
        ),
        "both TD(0), about 0.32 at best, and Monte Carlo, n = 512, are worse": (
            best[1] > best[4] + 0.03 < best[512]
        ),
        "the larger n, the smaller the best step size": all(
            where[a] >= where[b] for a, b in itertools.pairwise(NS)
        ),
        "without learning the error is the root mean square of the true values, 0.548": (
            abs(curves["n = 1"].point[0] - 0.5477) < 1e-3
        ),
    }
    return save("figure_7_2", picture, {"alphas": ALPHAS, **curves}, claims)


if __name__ == "__main__":
    figure()
