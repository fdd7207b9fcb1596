"""Figure 5.3: ordinary and weighted importance sampling for one state of blackjack

Example 5.4: the dealer shows a deuce, the player has 13 with a usable ace. The behavior hits or sticks with probability 1/2,
the target sticks on 20 and 21 alone. The mean square error of the state's value over 1,000 runs (the book has 100). The
ordinary average is one of independent terms, so its error is known: their variance over the number of episodes (dashed).
"""

import numpy as np

import purerl
from experiments.textbook.common import EXACT, ColorS, band, canvas, episodes, save
from purerl import mdp, policy
from purerl.agents import MonteCarloPrediction
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.toy_text.blackjack import HIT, STICK

RUNS, EPISODES = 1_000, 10_000
POINTS = np.unique(np.geomspace(1, EPISODES, 120).astype(int))
METHODS = {"ordinary importance sampling": False, "weighted importance sampling": True}


def second_moment(model, target, behavior, state):
    """Of the return times its importance ratio, where only the last reward of an episode is not zero."""
    squared, moment = model.replace(reward=model.reward**2), np.zeros(model.num_states, np.float32)
    for _ in range(32):  # a hand has fewer cards
        moment = (target**2 / behavior * np.asarray(mdp.backup(squared, moment, 1.0))).sum(axis=-1)
    return moment[state]


def figure():
    env = purerl.make("Blackjack-v1")
    here = int(env.encode(13, 2, True))
    always = FiniteEnvironment.of(env.mdp.replace(initial=np.eye(env.num_states)[here]))
    sticks = np.asarray(env.decode(env.states()).player) >= 20
    target = np.zeros((env.num_states, env.num_actions), np.float32)
    target[:, STICK], target[:, HIT] = sticks, ~sticks
    true = float(mdp.evaluate_policy(env.mdp, target, 1.0).values[here])
    variance = float(second_moment(env.mdp, target, 0.5, here)) - true**2
    picture, (axes,) = canvas(width=7.5)
    numbers, errors = (
        {"episodes": POINTS, "true value": true, "variance of an ordinary term": variance},
        {},
    )
    for (label, weighted), color in zip(METHODS.items(), ColorS, strict=False):

        def make(discount, weighted=weighted):
            behavior, learned = policy.EpsilonGreedy(1.0), policy.Fixed(target)
            return MonteCarloPrediction(
                env=always, discount=discount, behavior=behavior, target=learned, weighted=weighted
            )

        values = episodes(
            make,
            np.array([1.0]),
            RUNS,
            EPISODES,
            lambda agent, state: {"value": state.weights[here]},
        )
        squares = (values["value"][0, :, POINTS - 1].T - true) ** 2
        numbers[label] = band(axes, POINTS, squares, label, color)
        errors[label] = squares.mean(axis=0)
    axes.plot(POINTS, variance / POINTS, label="ordinary, exactly", **EXACT)
    axes.set(
        xlabel="episodes", ylabel="mean square error", xscale="log", xlim=(1, EPISODES), ylim=0
    )
    axes.legend()
    ordinary, weighted = errors.values()
    claims = {
        "the value of the state is what the book estimates from 100 million episodes, -0.27726, but for 0.0001": (
            abs(true + 0.27726) < 1e-4
        ),
        "weighted importance sampling has much the lower error at the beginning": (
            weighted[POINTS <= 100].mean() < 0.5 * ordinary[POINTS <= 100].mean()
        ),
        "the error of both approaches zero": max(ordinary[-1], weighted[-1]) < 0.01,
        "that of the ordinary average is its variance over the number of episodes": (
            0.8 < (ordinary * POINTS / variance)[POINTS >= 100].mean() < 1.2
        ),
    }
    return save("figure_5_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
