"""Figure 6.3: interim and asymptotic performance of TD control

The return of an episode on the cliff against the step size, epsilon = 0.1, no discount:
averaged over the first 100 episodes of 50,000 runs (interim), and over 100,000 episodes
of 10 runs (asymptotic), as in van Seijen et al. (2009) and the book. The gray lines are
exact: the returns of the epsilon-greedy policies that Q-learning and the two Sarsas
learn in the limit of small step sizes. A run is stopped after five million steps, and
then counts with the episodes it has finished: this happens to Sarsa with a step size of
1, which walks in circles.
"""

from typing import Any

import numpy as np

import purerl
from experiments.textbook.common import EXACT, canvas, save
from purerl import SARSA, ExpectedSARSA, QLearning, mdp
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import Band, normal_band

ALPHAS = np.round(np.arange(0.1, 1.01, 0.1), 2)
EPSILON = 0.1
METHODS = {"Expected Sarsa": ExpectedSARSA, "Sarsa": SARSA, "Q-learning": QLearning}
MAX_STEPS = 5_000_000
KINDS = {  # runs, episodes, lanes and the style of the line
    "interim": (50_000, 100, 256, "--"),
    "asymptotic": (10, 100_000, 5, "-"),
}


def online_returns(model: mdp.FiniteMDP, epsilon: float = EPSILON) -> tuple[float, float]:
    """Exact returns of the epsilon-greedy policies of two tables of action values.

    Returns:
        For the optimal values, and for the best epsilon-soft values.
    """

    def online_return(q):
        best = q == q.max(axis=1, keepdims=True)
        soft = epsilon / q.shape[1] + (1 - epsilon) * best / best.sum(axis=1, keepdims=True)
        return float(mdp.expected_return(model, soft, 1.0))

    optimal = mdp.optimal_q(model, 1.0)
    soft_optimal = mdp.epsilon_soft_optimal(model, 1.0, epsilon).q
    return online_return(optimal), online_return(soft_optimal)


def mean_returns(env, cls, runs, num_episodes, lanes):
    """Mean returns of a run, with their intervals, for each step size."""

    def make(alpha):
        return cls(env=env, learning_rate=alpha, discount=1.0, epsilon=EPSILON)

    estimates = []
    for i in range(len(ALPHAS)):
        returns = purerl.over_episodes(
            make, ALPHAS[i : i + 1], runs, num_episodes, lanes=lanes, max_steps=MAX_STEPS
        )["return"][0]
        estimates.append(normal_band(np.nanmean(returns, axis=1)))
    return Band(*np.array(estimates).T)


def figure():
    env = purerl.make("CliffWalking-v1")
    greedy, soft = online_returns(env.mdp)
    picture, (axes,) = canvas(width=8, height=5)
    numbers: dict[str, Any] = {
        "alphas": ALPHAS,
        "exact, Q-learning": greedy,
        "exact, Sarsa": soft,
    }
    mean = {}
    for level, name in ((greedy, "Q-learning"), (soft, "the two Sarsas")):
        axes.axhline(level, **EXACT)
        axes.annotate(
            f"exact limit of {name}: {level:.1f}",
            (0.1, level),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize="small",
            color="0.35",
        )
    for (name, cls), color in zip(METHODS.items(), COLORS, strict=False):
        for kind, (runs, num_episodes, lanes, style) in KINDS.items():
            estimate = mean_returns(env, cls, runs, num_episodes, lanes)
            label = f"{name}, {kind}"
            line = {"linestyle": style, "marker": "o", "markersize": 4}
            draw_band(axes, ALPHAS, estimate, color=color, label=label, **line)
            numbers[label] = estimate
            mean[name, kind] = estimate.point
    axes.set(xlabel="step size", ylabel="sum of rewards per episode", ylim=(-160, 0))
    axes.legend(fontsize="small", ncols=2, loc="lower center")
    expected, sarsa, q = (mean[name, "asymptotic"] for name in METHODS)
    claims = {
        "Expected Sarsa is at least as good as Sarsa at every step size, interim and asymptotic": (
            all((mean["Expected Sarsa", kind] >= mean["Sarsa", kind] - 0.3).all() for kind in KINDS)
        ),
        "asymptotically it does equally well at every step size, where Sarsa deteriorates": (
            np.ptp(expected) < 1 and sarsa[-1] < sarsa[0] - 20
        ),
        "Q-learning's return is lower than Expected Sarsa's at every step size": (
            (q < expected - 15).all()
        ),
        "its asymptotic return is that of the exact model at every step size, since the cliff is "
        "deterministic": np.abs(q - greedy).max() < 2,
        "Expected Sarsa's is too": np.abs(expected - soft).max() < 1,
        "interim, the best step size of Sarsa is neither the smallest nor 1, and Expected Sarsa's "
        "is larger": (
            0 < mean["Sarsa", "interim"].argmax() < mean["Expected Sarsa", "interim"].argmax()
        ),
    }
    return save("figure_6_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
