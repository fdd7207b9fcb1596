"""Figure 5.3: ordinary and weighted importance sampling for one state of blackjack

Example 5.4: the dealer shows a deuce, the player has 13 with a usable ace. The behavior
policy hits or sticks with probability 1/2, the target policy sticks on 20 and 21 only.
The mean square error of the state's value over 1,000 runs (the book has 100). The
ordinary average is a mean of independent terms, so its error is known: their variance
divided by the number of episodes (dashed).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from purerl import mdp, policy
from purerl.agents import MonteCarloPrediction
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.toy_text.blackjack import HIT, STICK, blackjack
from purerl.figures.plotting import COLORS

RUNS, EPISODES = 1_000, 10_000
POINTS = np.unique(np.geomspace(1, EPISODES, 120).astype(int))
METHODS = {"ordinary importance sampling": False, "weighted importance sampling": True}


def second_moment(model, target, behavior, state):
    """The second moment of the return multiplied by its importance ratio.

    Only the last reward of an episode may be different from zero.
    """
    squared = model.replace(reward=model.reward**2)
    moment = np.zeros(model.num_states, np.float32)
    for _ in range(32):  # a hand has fewer cards
        expected = np.asarray(mdp.backup(squared, jnp.asarray(moment), 1.0))
        moment = (target**2 / behavior * expected).sum(axis=-1)
    return moment[state]


def figure():
    env = blackjack()
    here = int(env.encode(13, 2, True))
    always = FiniteEnvironment.of(env.mdp.replace(initial=np.eye(env.num_states)[here]))
    sticks = np.asarray(env.decode(env.states()).player) >= 20
    target = np.zeros((env.num_states, env.num_actions), np.float32)
    target[:, STICK] = sticks
    target[:, HIT] = ~sticks
    true = float(mdp.evaluate_policy(env.mdp, jnp.asarray(target), 1.0).values[here])
    variance = float(second_moment(env.mdp, target, 0.5, here)) - true**2
    picture, (axes,) = canvas(width=7.5)
    numbers: dict[str, Any] = {
        "episodes": POINTS,
        "true value": true,
        "variance of an ordinary term": variance,
    }
    errors = {}
    for (label, weighted), color in zip(METHODS.items(), COLORS, strict=False):

        def make(discount, weighted=weighted):
            return MonteCarloPrediction(
                env=always,
                discount=discount,
                behavior=policy.EpsilonGreedy(1.0),
                target=policy.Fixed(jnp.asarray(target)),
                weighted=weighted,
            )

        values = purerl.over_episodes(
            make,
            np.array([1.0]),
            RUNS,
            EPISODES,
            lambda agent, state: {"value": state.weights[here]},
        )
        squares = (values["value"][0, :, POINTS - 1].T - true) ** 2
        numbers[label] = band(axes, POINTS, squares, label, color)
        errors[label] = squares.mean(axis=0)
    axes.plot(POINTS, variance / POINTS, label="ordinary, exact: variance / episodes", **EXACT)
    axes.set(
        xlabel="episodes", ylabel="mean square error", xscale="log", xlim=(1, EPISODES), ylim=0
    )
    axes.legend()
    ordinary, weighted = errors.values()
    claims = {
        "the state's value is the book's estimate from 100 million episodes, -0.27726, within "
        "0.0001": abs(true + 0.27726) < 1e-4,
        "weighted importance sampling has a much lower error at the beginning": (
            weighted[POINTS <= 100].mean() < 0.5 * ordinary[POINTS <= 100].mean()
        ),
        "the error of both approaches zero": max(ordinary[-1], weighted[-1]) < 0.01,
        "the error of the ordinary average is its variance divided by the number of episodes": (
            0.8 < (ordinary * POINTS / variance)[POINTS >= 100].mean() < 1.2
        ),
    }
    return save("figure_5_3", picture, numbers, claims)


if __name__ == "__main__":
    figure()
