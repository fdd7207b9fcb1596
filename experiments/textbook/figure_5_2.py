"""Figure 5.2: blackjack by Monte Carlo with exploring starts

Episodes start with a sum of 12 to 21, a usable ace or none, a dealer's card and a first
action that are all uniformly random, and continue greedily; values are sample averages,
no discount. Above: the policy of the mean values of 32 runs of 400,000 steps, and the
optimal one, which hits below the dashed line. Below: the values learned.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, canvas, save
from purerl import mdp, policy, timescan
from purerl.agents import MonteCarlo
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.toy_text.blackjack import HIT, STICK, blackjack
from purerl.figures.plotting import COLORS

RUNS, STEPS = 32, 400_000
SUMS = np.arange(12, 22)
CARDS = np.arange(1, 11)
SUM_EDGES = np.arange(11.5, 22)
CARD_EDGES = np.arange(0.5, 11)
ACES = {"usable ace": True, "no usable ace": False}
OPTIMAL = EXACT | {"color": "black", "linewidth": 2}  # visible on colors


class ExploringStarts(MonteCarlo):
    """Monte Carlo control whose first action of every episode is uniformly random."""

    def choose(self, key, state, t):
        first_key, key = jax.random.split(key)
        first = ~state.memory.met.any()
        return jnp.where(
            first,
            jax.random.randint(first_key, (), 0, self.env.num_actions),
            super().choose(key, state, t),
        )


def learned_values(env, places):
    """Mean action values over runs, where episodes start in ``places``."""
    initial = np.zeros(env.num_states)
    num_starts = len(ACES) * len(SUMS) * len(CARDS)
    initial[np.concatenate([place.ravel() for place in places.values()])] = 1 / num_starts
    starts = FiniteEnvironment.of(env.mdp.replace(initial=initial))
    agent = ExploringStarts(env=starts, discount=1.0, behavior=policy.Greedy())

    def step(state, t):
        return agent.step(state, t)[0], None

    def run(key):
        return timescan.time_scan(step, agent.init(key), jnp.arange(STEPS, dtype=jnp.int32))[0].q

    return purerl.over_seeds(run, RUNS, lanes=16).mean(axis=0)


def draw(panels):
    """Policies above, values below.

    Args:
        panels: by title, the values and whether the learned and the optimal policy hit,
            each ``[sums, cards]``.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    picture, axes = canvas(2, 2, width=5.6)
    two_colors = ListedColormap([COLORS[5], COLORS[4]])
    for (name, panel), above, below in zip(panels.items(), axes[:2], axes[2:], strict=True):
        value, hits, optimal = panel
        above.pcolormesh(CARD_EDGES, SUM_EDGES, hits, cmap=two_colors, vmin=0, vmax=1)
        # The optimal policy hits up to some sum, so that a count of sums gives the
        # first it sticks on.
        above.stairs(
            SUM_EDGES[optimal.sum(axis=0)], CARD_EDGES, baseline=None, clip_on=False, **OPTIMAL
        )
        image = below.pcolormesh(CARD_EDGES, SUM_EDGES, value, cmap="RdBu", vmin=-1, vmax=1)
        above.set(title=f"policy, {name}")
        below.set(title=f"value, {name}")
    picture.colorbar(image, ax=axes[2:], label="value: expected return")
    patches = [Patch(color=two_colors(i), label=label) for i, label in enumerate(("stick", "hit"))]
    line = Line2D([], [], label="optimal policy", **OPTIMAL)
    picture.legend(handles=[*patches, line], loc="outside upper center", ncols=3)
    for one in axes:
        one.grid(visible=False)
        one.set(
            xlabel="dealer shows",
            ylabel="player's sum",
            xticks=CARDS,
            xticklabels=["A", *CARDS[1:]],
            yticks=SUMS,
        )
    return picture


def figure():
    env = blackjack()
    places = {name: np.asarray(env.encode(SUMS[:, None], CARDS, ace)) for name, ace in ACES.items()}
    q = learned_values(env, places)
    best = np.asarray(mdp.optimal_q(env.mdp, 1.0))
    numbers: dict[str, Any] = {"player's sum": SUMS, "dealer's card": CARDS}
    panels = {}
    hits = {}
    gap = {}
    error = {}
    for name, place in places.items():
        hits[name] = q[place, HIT] > q[place, STICK]
        optimal = best[place, HIT] > best[place, STICK]
        value = q[place].max(axis=-1)
        exact = best[place].max(axis=-1)
        difference = np.abs(best[place, HIT] - best[place, STICK])
        gap[name] = np.where(hits[name] == optimal, 0, difference)
        error[name] = np.abs(value - exact)
        panels[name] = value, hits[name], optimal
        numbers[name] = {
            "hits": hits[name],
            "optimal policy hits": optimal,
            "value": value,
            "optimal value": exact,
        }
    # The first sum that sticks, by the dealer's card.
    soft, hard = (sums_hit.sum(axis=0) + SUMS[0] for sums_hit in hits.values())
    notch = int(env.encode(18, 1, True))
    claims = {
        "the policy is the optimal one, except where the two actions differ by less than 0.01": (
            max(one.max() for one in gap.values()) < 0.01
        ),
        "all values are within 0.03 of the optimal ones": (
            max(one.max() for one in error.values()) < 0.03
        ),
        "with a usable ace it hits up to 17, and on 18 against a 9 or a 10": (
            (soft[1:8] == 18).all() and (soft[8:] == 19).all()
        ),
        "it also hits on 18 against an ace, the notch on the left that Thorp's strategy lacks": (
            soft[0] == 19
        ),
        "hitting there is better by 0.04 in the exact model: the notch is part of the optimum": (
            abs(best[notch, HIT] - best[notch, STICK] - 0.04) < 0.005
        ),
        "without a usable ace it sticks from 13 against 2 and 3, from 12 against 5 and 6": (
            (hard[1:3] == 13).all() and (hard[4:6] == 12).all()
        ),
        "and it sticks from 17 against 7, 8, 9 and an ace": (hard[[0, 6, 7, 8]] == 17).all(),
    }
    return save("figure_5_2", draw(panels), numbers, claims)


if __name__ == "__main__":
    figure()
