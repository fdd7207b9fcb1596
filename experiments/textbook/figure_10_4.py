"""Figure 10.4: n and the step size of n-step semi-gradient Sarsa

Steps of an episode of the mountain car, averaged over the first 50 episodes of 50 runs
(the book has 100), of the agent of figure 10.1. The horizontal axis is the step size
times the number of tilings.
"""

import numpy as np

from experiments.textbook.common import canvas, save
from experiments.textbook.figure_10_2 import lengths
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import normal_band

RUNS, EPISODES = 50, 50
# As far as the book's curves go.
ALPHAS = {
    1: [0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6],
    2: [0.3, 0.5, 0.7, 0.9, 1.1, 1.3],
    4: [0.2, 0.35, 0.5, 0.65, 0.8, 1.0],
    8: [0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    16: [0.15, 0.2, 0.3, 0.4, 0.5],
}


def figure():
    picture, (axes,) = canvas()
    curves = {}
    for i, (n, alphas) in enumerate(ALPHAS.items()):
        found = lengths(alphas, n, RUNS, EPISODES).mean(axis=2)
        curves[n] = normal_band(found.T)
        draw_band(axes, alphas, curves[n], color=COLORS[i], label=f"n = {n}")
    axes.set(
        xlabel="step size x 8",
        ylabel="steps per episode, first 50",
        xlim=(0, 1.8),
        ylim=(210, 300),
    )
    axes.legend()
    best = {n: float(np.min(curve.point)) for n, curve in curves.items()}
    where = {n: ALPHAS[n][int(np.argmin(curve.point))] for n, curve in curves.items()}
    claims = {
        "an intermediate n is best, 4": min(best, key=lambda n: best[n]) == 4,
        "the best of all takes about 220 steps": abs(min(best.values()) - 220) < 10,
        "n = 1 and n = 16 are worse": best[4] < min(best[1], best[16]),
        "the larger n, the smaller the best step size": (where[1] > where[4] > where[16]),
    }
    numbers = {f"n = {n}": {"alphas": ALPHAS[n], **curves[n]._asdict()} for n in ALPHAS}
    return save("figure_10_4", picture, numbers, claims)


if __name__ == "__main__":
    figure()
