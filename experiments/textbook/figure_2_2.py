"""Figure 2.2: greedy and epsilon-greedy methods on the 10-armed testbed

Sample averages of 2,000 bandits over 1,000 steps. The dashed line is the expected largest of ten standard normal numbers, which
the best action earns.
"""

import numpy as np

from experiments.textbook.common import EXACT, ColorS, band, canvas, over_runs, save, steps
from purerl import QLearning, schedule
from purerl.envs.diagnostic import Testbed

EPSILONS, RUNS, STEPS = (0.1, 0.01, 0.0), 2_000, 1_000


def best_reward(arms=10):
    """The mean of the largest of so many standard normal numbers."""
    from scipy.stats import norm

    x = np.linspace(-9, 9, 20_001)
    return float(np.trapezoid(x * arms * norm.pdf(x) * norm.cdf(x) ** (arms - 1), x))


def sample_average(**fields):
    """An action-value method: one-step values, each the mean of its rewards."""
    return QLearning(
        env=Testbed(),
        discount=0.0,
        learning_rate=schedule.power(1.0, 1.0),
        count_visits=True,
        **fields,
    )


def figure():
    runs = {
        e: over_runs(lambda key, e=e: steps(sample_average(epsilon=e), key, STEPS), RUNS)
        for e in EPSILONS
    }
    picture, (left, right) = canvas(2)
    x = np.arange(1, STEPS + 1)
    numbers = {"best": best_reward()}
    left.axhline(numbers["best"], **EXACT)
    for e, color in zip(EPSILONS, ColorS, strict=False):
        label = f"epsilon = {e:g}" if e else "greedy"
        numbers[label] = {
            "reward": band(left, x, runs[e]["reward"], label, color),
            "optimal_action": band(right, x, 100 * runs[e]["optimal_action"], label, color),
        }
    left.set(xlabel="steps", ylabel="average reward", ylim=(0, 1.7))
    right.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    left.legend(loc="lower right")
    late = {e: {name: value[:, -100:].mean() for name, value in runs[e].items()} for e in EPSILONS}
    claims = {
        "the greedy method levels off at about 1, having found the best action in a third of the tasks": (
            abs(late[0.0]["reward"] - 1.0) < 0.1 and abs(late[0.0]["optimal_action"] - 1 / 3) < 0.06
        ),
        "epsilon = 0.1 comes to choose the best action about 80% of the time, and never more than 91%": (
            0.75 < late[0.1]["optimal_action"] < 0.91
        ),
        "epsilon = 0.01 improves more slowly, and still does at the end": (
            late[0.0]["reward"] < late[0.01]["reward"] < late[0.1]["reward"]
            and late[0.01]["reward"] > runs[0.01]["reward"][:, 400:500].mean()
        ),
    }
    return save("figure_2_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
