"""Figure 2.2: greedy and epsilon-greedy methods on the 10-armed testbed

Sample averages of 2,000 bandits over 1,000 steps. The dashed line is the expected
largest of ten standard normal numbers, which is the mean reward of the best action.
"""

from typing import Any

import jax
import numpy as np

from experiments.textbook.common import EXACT, band, canvas, save, step_totals
from purerl import QLearning, schedule
from purerl.envs.diagnostic import Testbed
from purerl.figures.plotting import COLORS
from purerl.policy import Policy

EPSILONS = (0.1, 0.01, 0.0)
RUNS, STEPS = 2_000, 1_000


def best_reward(arms: int = 10) -> float:
    """The expected largest of so many standard normal numbers."""
    from scipy.stats import norm

    x = np.linspace(-9, 9, 20_001)
    return float(np.trapezoid(x * arms * norm.pdf(x) * norm.cdf(x) ** (arms - 1), x))


def sample_average(
    *, epsilon: float | jax.Array = 0.1, behavior: Policy | None = None
) -> QLearning:
    """An action-value method whose values are the mean rewards of the actions."""
    return QLearning(
        env=Testbed(),
        discount=0.0,
        learning_rate=schedule.power(1.0, 1.0),
        epsilon=epsilon,
        behavior=behavior,
        count_visits=True,
    )


def figure():
    runs = {
        e: step_totals(sample_average(epsilon=e), ("reward", "optimal_action"), RUNS, STEPS)
        for e in EPSILONS
    }
    picture, (left, right) = canvas(2)
    x = np.arange(1, STEPS + 1)
    best = best_reward()
    numbers: dict[str, Any] = {"best": best}
    left.axhline(best, label=f"the best action: {best:.2f}", **EXACT)
    for e, color in zip(EPSILONS, COLORS, strict=False):
        label = f"epsilon = {e:g}" if e else "greedy"
        numbers[label] = {
            "reward": band(left, x, runs[e]["reward"], label, color),
            "optimal_action": band(right, x, 100 * runs[e]["optimal_action"], label, color),
        }
    left.set(xlabel="steps", ylabel="average reward", ylim=(0, 1.7))
    right.set(xlabel="steps", ylabel="% optimal action", ylim=(0, 100))
    left.legend(loc="lower right")
    late = {e: {name: value[:, -100:].mean() for name, value in runs[e].items()} for e in EPSILONS}
    reward = {e: late[e]["reward"] for e in EPSILONS}
    optimal = {e: late[e]["optimal_action"] for e in EPSILONS}
    claims = {
        "the greedy method levels off at about 1, having found the best action in a third of the "
        "tasks": abs(reward[0.0] - 1.0) < 0.1 and abs(optimal[0.0] - 1 / 3) < 0.06,
        "epsilon = 0.1 comes to choose the best action about 80% of the time, and never more than "
        "91%": 0.75 < optimal[0.1] < 0.91,
        "epsilon = 0.01 improves more slowly, and still improves at the end": (
            reward[0.0] < reward[0.01] < reward[0.1]
            and reward[0.01] > runs[0.01]["reward"][:, 400:500].mean()
        ),
    }
    return save("figure_2_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
