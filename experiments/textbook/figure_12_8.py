"""Figure 12.8: the on-line lambda-return algorithm

The task and the measure of figure 7.2. True online TD(lambda), with dutch traces,
computes the on-line lambda-return algorithm exactly; replacing traces for comparison.
500 runs.
"""

import numpy as np

import purerl
from experiments.textbook.common import canvas, save
from experiments.textbook.figure_7_2 import ALPHAS, draw, mean_error
from experiments.textbook.figure_12_6 import LAMBDAS, RUNS
from purerl.agents import TDLambda

TITLES = {"dutch": "true online TD(lambda)", "replacing": "replacing traces"}


def figure():
    env = purerl.make("RandomWalk-v0")

    def make(alpha, lambda_, trace):
        return TDLambda(env=env, lambda_=lambda_, trace=trace, learning_rate=alpha, discount=1.0)

    picture, axes = canvas(2, width=7, height=5)
    curves = {}
    for (kind, title), one in zip(TITLES.items(), axes, strict=True):
        curves[kind] = {
            f"lambda = {lam:g}": mean_error(
                lambda alpha, lam=lam, kind=kind: make(alpha, lam, kind), RUNS
            )
            for lam in LAMBDAS
        }
        one.set_title(title)
    draw(picture, axes, curves.values())
    best = [curve.point.min() for curve in curves["dutch"].values()]
    claims = {
        "an intermediate lambda is best, at about 0.27 or a little below": (
            0 < int(np.argmin(best)) < 7 and min(best) < 0.275
        ),
        "no step size up to 1 makes it diverge, for any lambda": all(
            curve.point.max() < 1.1 for curve in curves["dutch"].values()
        ),
        "lambda = 1, which is Monte Carlo, has the largest error at its best step size": (
            int(np.argmax(best)) == len(LAMBDAS) - 1
        ),
    }
    return save("figure_12_8", picture, {"alphas": ALPHAS, **curves}, claims)


if __name__ == "__main__":
    figure()
