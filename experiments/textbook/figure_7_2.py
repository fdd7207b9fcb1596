"""Figure 7.2: n-step TD on a random walk

Nineteen states, first values of 0, no discount: the root mean square error over the states at the end of an episode, averaged
over the first 10 episodes of 100 runs, against the step size and for several n.
"""

import itertools

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import ColorS, canvas, episodes, interval, save
from purerl.agents import NStepTD

RUNS, EPISODES = 100, 10
STATES = np.arange(1, 20)
TRUE = STATES / 10 - 1
ALPHAS = np.concatenate([[0.0, 0.02, 0.04, 0.06, 0.08], np.arange(0.1, 1.01, 0.1)])
NS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SHOWN = 0.55


def error(agent, state):
    """The root mean square error of the values."""
    return {"error": jnp.sqrt(jnp.mean((state.weights[1:20] - TRUE) ** 2))}


def mean_error(make, settings, runs=RUNS):
    """Its average over the first episodes, an interval for each setting."""
    found = episodes(make, settings, runs, EPISODES, error, width=750)["error"].mean(axis=2)
    return interval(found.T)


def draw(picture, axes, panels):
    """A line for each of several parameters, which are the same in all panels, over step sizes."""
    for one, curves in zip(axes, panels, strict=True):
        for i, (label, estimate) in enumerate(curves.items()):
            color = ColorS[i % len(ColorS)]
            # What diverges is far out of sight, and its interval would hide the others.
            mean, low, high = (np.where(estimate.mean < 2 * SHOWN, x, np.nan) for x in estimate)
            one.plot(
                ALPHAS, mean, color=color, label=label, linestyle="-" if i < len(ColorS) else "--"
            )
            one.fill_between(ALPHAS, low, high, color=color, alpha=0.2, linewidth=0)
        one.set(xlabel="step size", ylim=(0.25, SHOWN))
    axes[0].set_ylabel("RMS error, first 10 episodes")
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")


def figure():
    env = purerl.make("RandomWalk-v0")
    curves = {
        f"n = {n}": mean_error(
            lambda alpha, n=n: NStepTD(env=env, n=n, learning_rate=alpha, discount=1.0), ALPHAS
        )
        for n in NS
    }
    picture, axes = canvas(width=8, height=5)
    draw(picture, axes, [curves])
    best = {n: curves[f"n = {n}"].mean.min() for n in NS}
    where = {n: ALPHAS[curves[f"n = {n}"].mean.argmin()] for n in NS}
    claims = {
        "an intermediate n is best, 4": min(best, key=best.get) == 4,
        "the best error of all is about 0.27, at a step size of about 0.4": (
            abs(best[4] - 0.27) < 0.015 and abs(where[4] - 0.4) < 0.11
        ),
        "both TD(0), about 0.32 at best, and Monte Carlo, n = 512, are worse": best[1]
        > best[4] + 0.03
        < best[512],
        "the larger n, the smaller the best step size": all(
            where[a] >= where[b] for a, b in itertools.pairwise(NS)
        ),
        "without learning the error is that of the values themselves, 0.548": abs(
            curves["n = 1"].mean[0] - 0.5477
        )
        < 1e-3,
    }
    return save("figure_7_2", picture, {"alphas": ALPHAS, **curves}, claims)


if __name__ == "__main__":
    figure()
