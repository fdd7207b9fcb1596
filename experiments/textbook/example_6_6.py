"""Example 6.6: the cliff

Sarsa and Q-learning with epsilon = 0.1 and a step size of 0.5, no discount. Left: the
sum of rewards of an episode while learning, 2,000 runs. The dashed lines are exact: the
returns of the epsilon-greedy policies that they learn in the limit. Right: the exact
value (discount 0.999) of the greedy policy learned, which is optimal for Q-learning
only.
"""

from typing import Any

import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from experiments.textbook.figure_6_3 import online_returns
from purerl import SARSA, QLearning, mdp
from purerl.figures.plotting import COLORS
from purerl.run import evaluation

RUNS, EPISODES = 2_000, 500
METHODS = {"Sarsa": SARSA, "Q-learning": QLearning}


def smooth(curves: np.ndarray, window: int = 10) -> np.ndarray:
    """Moving averages along the last axis."""
    weights = np.ones(window) / window
    return np.apply_along_axis(lambda x: np.convolve(x, weights, mode="valid"), -1, curves)


def figure():
    env = purerl.make("CliffWalking-v1")
    q_learning, sarsa = online_returns(env.mdp)
    exact = {"Q-learning": q_learning, "Sarsa": sarsa}
    picture, (left, right) = canvas(2)
    numbers: dict[str, Any] = {f"exact, {name}": level for name, level in exact.items()}
    late = {}
    learned = {}
    for (name, cls), color in zip(METHODS.items(), COLORS, strict=False):

        def make(alpha, cls=cls):
            return cls(env=env, learning_rate=alpha, discount=1.0, epsilon=0.1)

        runs = purerl.over_episodes(make, np.array([0.5]), RUNS, EPISODES, lanes=256)
        returns = runs["return"][0]
        numbers[name] = band(left, np.arange(10, EPISODES + 1), smooth(returns), name, color)
        left.axhline(exact[name], **EXACT)
        left.annotate(
            f"exact limit of {name}: {exact[name]:.1f}",
            (EPISODES, exact[name]),
            xytext=(0, -4 if name == "Q-learning" else 3),
            textcoords="offset points",
            ha="right",
            va="top" if name == "Q-learning" else "bottom",
            fontsize="small",
            color="0.35",
        )
        late[name] = returns[:, -100:].mean()

        def run(key, agent=make(0.5).replace(discount=0.999)):  # noqa: B008 (one a method)
            return purerl.train(agent, key, 20_000, 50, evaluation.Exact())[1]

        learned[name] = np.median(purerl.over_seeds(run, 128)["policy_value"], axis=0)
        numbers[f"{name}, greedy value"] = learned[name]
        time = np.arange(1, 51) * 400
        right.plot(time, learned[name], color=color, label=f"{name}, median of 128 runs")
    best = float(mdp.expected_return(env.mdp, mdp.greedy(mdp.optimal_q(env.mdp, 0.999)), 0.999))
    right.axhline(best, label=f"optimal policy: {best:.1f}", **EXACT)
    left.set(xlabel="episodes", ylabel="sum of rewards during an episode", ylim=(-100, 0))
    right.set(xlabel="steps", ylabel="value of the greedy policy", ylim=(-60, 0))
    left.legend()
    right.legend(loc="lower right")
    claims = {
        "Q-learning's online performance is worse than Sarsa's, though it learns the optimal "
        "policy": (
            late["Q-learning"] < late["Sarsa"] - 10 and abs(learned["Q-learning"][-1] - best) < 0.5
        ),
        "Sarsa learns the longer, safer way": learned["Sarsa"][-1] < best - 1,
        "Q-learning's return converges to that of the exact model": (
            abs(late["Q-learning"] - exact["Q-learning"]) < 4
        ),
        "Sarsa's comes close to its own limit, which it does not reach with a constant step size "
        "of 0.5": exact["Sarsa"] - 12 < late["Sarsa"] < exact["Sarsa"],
    }
    return save("example_6_6", picture, numbers, claims)


if __name__ == "__main__":
    figure()
