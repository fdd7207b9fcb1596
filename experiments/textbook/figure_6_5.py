"""Figure 6.5 and example 6.7: maximization bias

From A, left leads to B, where every action earns a normal reward of mean -0.1, and
right ends the episode with a reward of 0. Step size and epsilon 0.1, no discount,
10,000 runs. The dashed line is exact: the best epsilon-greedy policy goes left in 5% of
episodes.
"""

import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from purerl import DoubleQLearning, QLearning
from purerl.figures.plotting import COLORS

RUNS, EPISODES = 10_000, 300
METHODS = {"Q-learning": QLearning, "Double Q-learning": DoubleQLearning}


def figure():
    env = purerl.make("MaximizationBias-v0")
    picture, (axes,) = canvas(width=7.5)
    axes.axhline(5, label="the best epsilon-greedy policy: 5%", **EXACT)
    numbers = {}
    left = {}
    for (name, cls), color in zip(METHODS.items(), COLORS, strict=False):

        def make(epsilon, cls=cls):
            return cls(env=env, learning_rate=0.1, discount=1.0, epsilon=epsilon)

        runs = purerl.over_episodes(make, np.array([0.1]), RUNS, EPISODES, lanes=512)
        went_left = 100.0 * (runs["length"][0] == 2)
        numbers[name] = band(axes, np.arange(1, EPISODES + 1), went_left, name, color)
        left[name] = went_left.mean(axis=0)
    axes.set(xlabel="episodes", ylabel="% left actions from A", ylim=(0, 100))
    axes.legend()
    q, double = left.values()
    claims = {
        "Q-learning at first takes the left action much more often than the right": (
            q[:60].max() > 70
        ),
        "after 300 episodes it still takes it in more than 5% of episodes": q[-20:].mean() > 7,
        "double Q-learning is essentially unaffected: it never goes left much more than half the "
        "time, and soon rarely does": (
            double.max() < 60 and double[-20:].mean() < 10 and double[-20:].mean() < q[-20:].mean()
        ),
        "both begin at about half": abs(q[0] - 50) < 2 and abs(double[0] - 50) < 2,
    }
    return save("figure_6_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
