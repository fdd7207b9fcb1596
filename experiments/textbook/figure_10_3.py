"""Figure 10.3: one-step and 8-step semi-gradient Sarsa on the mountain car

Steps of an episode while learning, 100 runs, of the agent of figure 10.1 with the
book's good step sizes: 0.5/8 for one step and 0.3/8 for eight. The dashed line is the
shortest way on average, by dynamic programming.
"""

from experiments.textbook.common import canvas, save
from experiments.textbook.figure_10_1 import FASTEST
from experiments.textbook.figure_10_2 import draw, lengths


def figure():
    picture, (axes,) = canvas()
    curves = {"n = 1": lengths([0.5])[0], "n = 8": lengths([0.3], n=8)[0]}
    drawn = draw(axes, curves)
    early = {name: found[:, :50].mean() for name, found in curves.items()}
    late = {name: found[:, -50:].mean() for name, found in curves.items()}
    claims = {
        "with n = 8 it learns faster": early["n = 8"] < early["n = 1"],
        "and its performance in the end is better": late["n = 8"] < late["n = 1"],
        "neither is below the shortest way": min(late.values()) > FASTEST,
    }
    numbers = {**drawn, "first 50 episodes": early, "last 50 episodes": late}
    return save("figure_10_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
