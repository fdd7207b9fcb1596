"""Figure 11.2: instability in Baird's counterexample, and its cure

The weights of off-policy semi-gradient TD(0) (left; step size 0.01, discount 0.99), of
dynamic programming with the same approximation (middle), which is deterministic, and of
TD with gradient correction (right; step sizes 0.005 and 0.05, as in figure 11.5). All
values are 0, which the features can represent. The curves are single runs, as in the
book, and the claims are about medians of 100.
"""

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import canvas, save
from purerl import mdp, policy
from purerl.agents import TD, TDC
from purerl.envs import FiniteEnvironment
from purerl.envs.diagnostic import baird_star
from purerl.figures.plotting import COLORS

START = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 10.0, 1.0)
STEPS, RUNS, DISCOUNT = 1_000, 100, 0.99


def dynamic_programming(star, sweeps):
    """Weights of semi-gradient dynamic programming, ``[sweeps, 8]``.

    Each sweep adds the expected updates of all states, weighted equally as in the
    book's mean over its seven states.
    """
    target = jnp.asarray(star.target)

    def sweep(weights, _):
        values = star.features @ weights
        expected = mdp.backup(star.mdp, values, DISCOUNT)
        error = jnp.sum(target * expected, axis=1) - values
        weights = weights + 0.01 / len(values) * error @ star.features
        return weights, weights

    return jax.lax.scan(sweep, jnp.array(START), None, length=sweeps)[1]


def learned_weights(agent):
    """Weights of each step of many runs, ``[RUNS, STEPS, 8]``."""

    def step(state, t):
        state, _ = agent.step(state, t)
        return state, state.weights

    def run(key):
        return jax.lax.scan(step, agent.init(key), jnp.arange(STEPS, dtype=jnp.int32))[1]

    return purerl.over_seeds(run, RUNS)


def draw(panels):
    """The weights of each title."""
    picture, axes = canvas(3, width=5)
    for one, (title, weights) in zip(axes, panels.items(), strict=True):
        for i in range(8):
            color = COLORS[0] if i < 6 else COLORS[1 + i - 6]
            label = {0: "weights 1 to 6", 6: "weight 7", 7: "weight 8"}.get(i)
            one.plot(np.r_[START[i], weights[:, i]], color=color, label=label, linewidth=1)
        one.set(title=title, xlabel="sweeps" if "DP" in title else "steps")
    axes[0].legend()
    axes[0].set_ylabel("weight")
    return picture


def figure():
    star = baird_star()
    shared = {
        "env": FiniteEnvironment.of(star.mdp),
        "features": star.features,
        "behavior": policy.Fixed(star.behavior),
        "target": policy.Fixed(star.target),
        "discount": DISCOUNT,
        "initial_value": jnp.array(START),
    }
    td = learned_weights(TD(learning_rate=0.01, **shared))
    tdc = learned_weights(TDC(learning_rate=0.005, second_rate=0.05, **shared))
    dp = np.asarray(dynamic_programming(star, STEPS))
    picture = draw(
        {
            "semi-gradient off-policy TD(0)": td[0],
            "semi-gradient DP": dp,
            "TD with gradient correction": tdc[0],
        }
    )
    size = {
        name: np.median(np.abs(weights).max(axis=-1), axis=0)
        for name, weights in {"td": td, "tdc": tdc}.items()
    }
    dp_size = np.abs(dp).max(axis=-1)
    values = np.sqrt(((tdc @ np.asarray(star.features).T) ** 2).mean(axis=-1))
    claims = {
        "TD's weights diverge to infinity: ten times as large and growing": (
            size["td"][-1] > 100 and size["td"][-1] > 1.5 * size["td"][-200]
        ),
        "so do those of dynamic programming": (
            dp_size[-1] > 100 and dp_size[-1] > 1.5 * dp_size[-200]
        ),
        "with gradient correction they do not, and the values come nearer to 0": (
            size["tdc"].max() < 12 and np.median(values[:, -1]) < np.median(values[:, 0])
        ),
    }
    numbers = {"TD": td[0][::10], "DP": dp[::10], "TDC": tdc[0][::10], "size": size}
    return save("figure_11_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
