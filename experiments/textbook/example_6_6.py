"""Example 6.6: the cliff

Sarsa and Q-learning with epsilon = 0.1 and a step size of 0.5, no discount: the rewards of an episode while learning, 2,000
runs. The dashed lines are exact: what their epsilon-greedy policies earn in the end. Right: the value of the greedy policy of
what they have learned, which is the optimum for Q-learning alone.
"""

import numpy as np

import purerl
from experiments.textbook.common import EXACT, ColorS, band, canvas, episodes, over_runs, save
from experiments.textbook.figure_6_3 import online_returns
from purerl import SARSA, QLearning, mdp
from purerl.run import evaluation

RUNS, EPISODES = 2_000, 500


def smooth(curve, window=10):
    return np.apply_along_axis(
        lambda x: np.convolve(x, np.ones(window) / window, mode="valid"), -1, curve
    )


def figure():
    env = purerl.make("CliffWalking-v1")
    exact = dict(zip(("Q-learning", "Sarsa"), online_returns(env.mdp), strict=True))
    picture, (left, right) = canvas(2)
    numbers, late, learned = {f"exact, {name}": level for name, level in exact.items()}, {}, {}
    for (name, cls), color in zip(
        {"Sarsa": SARSA, "Q-learning": QLearning}.items(), ColorS, strict=False
    ):

        def make(alpha, cls=cls):
            return cls(env=env, learning_rate=alpha, discount=1.0, epsilon=0.1)

        returns = episodes(make, np.array([0.5]), RUNS, EPISODES, width=256)["return"][0]
        numbers[name] = band(left, np.arange(10, EPISODES + 1), smooth(returns), name, color)
        left.axhline(exact[name], **EXACT)
        late[name] = returns[:, -100:].mean()

        agent = make(0.5).replace(discount=0.999)
        judged = over_runs(
            lambda key, agent=agent: purerl.train(agent, key, 20_000, 50, evaluation.Exact())[1],
            128,
        )
        learned[name] = np.median(judged["policy_value"], axis=0)
        numbers[f"{name}, greedy value"] = learned[name]
        right.plot(
            np.arange(1, 51) * 400, learned[name], color=color, label=f"{name}, median of 128 runs"
        )
    best = float(mdp.expected_return(env.mdp, mdp.greedy(mdp.optimal_q(env.mdp, 0.999)), 0.999))
    right.axhline(best, **EXACT)
    left.set(xlabel="episodes", ylabel="sum of rewards during an episode", ylim=(-100, 0))
    right.set(
        xlabel="steps", ylabel="exact value of the greedy policy (discount 0.999)", ylim=(-60, 0)
    )
    left.legend()
    right.legend()
    claims = {
        "Q-learning's online performance is worse than Sarsa's, though it learns the optimal policy": (
            late["Q-learning"] < late["Sarsa"] - 10 and abs(learned["Q-learning"][-1] - best) < 0.5
        ),
        "Sarsa learns the longer, safer way": learned["Sarsa"][-1] < best - 1,
        "Q-learning's return comes to what the exact model says": abs(
            late["Q-learning"] - exact["Q-learning"]
        )
        < 4,
        "Sarsa's comes near to its own limit, from which a constant step size of 0.5 keeps it": (
            exact["Sarsa"] - 12 < late["Sarsa"] < exact["Sarsa"]
        ),
    }
    return save("example_6_6", picture, numbers, claims)


if __name__ == "__main__":
    figure()
