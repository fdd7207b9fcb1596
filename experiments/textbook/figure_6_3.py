"""Figure 6.3: interim and asymptotic performance of TD control

The return of an episode on the cliff against the step size, epsilon = 0.1, no discount: averaged over the first 100 episodes of
50,000 runs (interim), and over 100,000 episodes of 10 runs (asymptotic), as van Seijen et al. (2009) and the book do. The
dashed lines are exact: what the epsilon-greedy policies earn that Q-learning and the Sarsas find in the limit of small step
sizes. A run is given up after five million steps, and then counts with the episodes it has finished: that happens to Sarsa with
a step size of 1, which walks in circles.
"""

import numpy as np

import purerl
from experiments.textbook.common import EXACT, ColorS, canvas, episodes, interval, save
from purerl import SARSA, ExpectedSARSA, QLearning, mdp

ALPHAS = np.round(np.arange(0.1, 1.01, 0.1), 2)
EPSILON = 0.1
METHODS = {"Expected Sarsa": ExpectedSARSA, "Sarsa": SARSA, "Q-learning": QLearning}
MAX_STEPS = 5_000_000
INTERIM, ASYMPTOTIC = (50_000, 100), (10, 100_000)


def online_returns(model, epsilon=EPSILON):
    """The exact return of an episode of who acts epsilon-greedily on the optimum, and on the best epsilon-soft values."""

    def of(q):
        best = q == q.max(axis=1, keepdims=True)
        soft = epsilon / q.shape[1] + (1 - epsilon) * best / best.sum(axis=1, keepdims=True)
        return float(mdp.expected_return(model, soft, 1.0))

    return of(mdp.optimal_q(model, 1.0)), of(mdp.epsilon_soft_optimal(model, 1.0, epsilon).q)


def figure():
    env = purerl.make("CliffWalking-v1")
    greedy, soft = online_returns(env.mdp)
    picture, (axes,) = canvas(width=8, height=5)
    numbers, mean = {"alphas": ALPHAS, "exact, Q-learning": greedy, "exact, Sarsa": soft}, {}
    for level, name in ((greedy, "Q-learning"), (soft, "Sarsa")):
        axes.axhline(level, **EXACT)
        axes.annotate(
            f"exact limit of {name}: {level:.1f}", (0.1, level + 1), fontsize="small", color="0.35"
        )
    for (name, cls), color in zip(METHODS.items(), ColorS, strict=False):
        for kind, (runs, number), style in (
            ("interim", INTERIM, "--"),
            ("asymptotic", ASYMPTOTIC, "-"),
        ):

            def make(alpha, cls=cls):
                return cls(env=env, learning_rate=alpha, discount=1.0, epsilon=EPSILON)

            width = 256 if kind == "interim" else 5
            estimate = []
            for i in range(len(ALPHAS)):
                returns = episodes(
                    make, ALPHAS[i : i + 1], runs, number, width=width, max_steps=MAX_STEPS
                )["return"][0]
                estimate.append(interval(np.nanmean(returns, axis=1)))
            points = np.array([[e.mean, e.low, e.high] for e in estimate]).T
            axes.plot(
                ALPHAS,
                points[0],
                style,
                color=color,
                marker="o",
                markersize=4,
                label=f"{name}, {kind}",
            )
            axes.fill_between(ALPHAS, points[1], points[2], color=color, alpha=0.2, linewidth=0)
            numbers[f"{name}, {kind}"] = {"mean": points[0], "low": points[1], "high": points[2]}
            mean[name, kind] = points[0]
    axes.set(xlabel="step size", ylabel="sum of rewards per episode", ylim=(-160, 0))
    axes.legend(fontsize="small", ncols=2, loc="lower center")
    expected, sarsa, q = (mean[name, "asymptotic"] for name in METHODS)
    claims = {
        "Expected Sarsa is at least as good as Sarsa at every step size, interim and asymptotic": (
            all(
                (mean["Expected Sarsa", kind] >= mean["Sarsa", kind] - 0.3).all()
                for kind in ("interim", "asymptotic")
            )
        ),
        "asymptotically it does equally well at every step size, where Sarsa deteriorates": (
            np.ptp(expected) < 1 and sarsa[-1] < sarsa[0] - 20
        ),
        "Q-learning's return is lower than Expected Sarsa's, whatever the step size": (
            q < expected - 15
        ).all(),
        "its asymptotic return is what the exact model says, at every step size: nothing is random there": (
            np.abs(q - greedy).max() < 2
        ),
        "Expected Sarsa's is too": np.abs(expected - soft).max() < 1,
        "interim, the best step size of Sarsa is neither the smallest nor 1, and Expected Sarsa's is larger": (
            0 < mean["Sarsa", "interim"].argmax() < mean["Expected Sarsa", "interim"].argmax()
        ),
    }
    return save("figure_6_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
