"""Figure 11.2: instability in Baird's counterexample, and its cure

The weights of off-policy semi-gradient TD(0) (left; step size 0.01, discount 0.99), of dynamic programming with the same
approximation (middle), which is not even random, and of TD with gradient correction (right; step sizes 0.005 and 0.05, as in
figure 11.5). All values are 0, which the features can represent. The curves are single runs, as in the book, and the claims
about medians of 100.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.textbook.common import ColorS, canvas, over_runs, save
from purerl import mdp, policy
from purerl.agents import TD, TDC
from purerl.envs import FiniteEnvironment
from purerl.envs.diagnostic import baird_star

START = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 10.0, 1.0)
STEPS, RUNS, DISCOUNT = 1_000, 100, 0.99


def dynamic_programming(star, sweeps):
    """Semi-gradient DP: the expected update of all states alike, summed over them as the book's is over its mean of seven."""
    target = jnp.asarray(star.target)

    def sweep(weights, _):
        values = star.features @ weights
        expected = mdp.backup(star.mdp, values, DISCOUNT)
        error = jnp.sum(target * expected, axis=1) - values
        weights = weights + 0.01 / len(values) * error @ star.features
        return weights, weights

    return jax.lax.scan(sweep, jnp.array(START), None, length=sweeps)[1]


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

    def learn(agent, key):
        def step(state, t):
            state, _ = agent.step(state, t)
            return state, state.weights

        return jax.lax.scan(step, agent.init(key), jnp.arange(STEPS, dtype=jnp.int32))[1]

    td = over_runs(lambda key: learn(TD(learning_rate=0.01, **shared), key), RUNS)
    tdc = over_runs(
        lambda key: learn(TDC(learning_rate=0.005, second_rate=0.05, **shared), key), RUNS
    )
    dp = np.asarray(dynamic_programming(star, STEPS))
    picture, axes = canvas(3, width=5)
    titles = {
        "semi-gradient off-policy TD(0)": td[0],
        "semi-gradient DP": dp,
        "TD with gradient correction": tdc[0],
    }
    for one, (title, weights) in zip(axes, titles.items(), strict=True):
        for i in range(8):
            color = ColorS[0] if i < 6 else ColorS[1 + i - 6]
            label = {0: "weights 1 to 6", 6: "weight 7", 7: "weight 8"}.get(i)
            one.plot(np.r_[START[i], weights[:, i]], color=color, label=label, linewidth=1)
        one.set(title=title, xlabel="sweeps" if "DP" in title else "steps")
    axes[0].legend()
    axes[0].set_ylabel("weight")
    size = {
        name: np.median(np.abs(w).max(axis=-1), axis=0)
        for name, w in {"td": td, "tdc": tdc}.items()
    }
    values = np.sqrt(((tdc @ np.asarray(star.features).T) ** 2).mean(axis=-1))
    claims = {
        "TD's weights diverge to infinity: ten times as large and growing": size["td"][-1] > 100
        and size["td"][-1] > 1.5 * size["td"][-200],
        "so do those of dynamic programming": np.abs(dp[-1]).max() > 100
        and np.abs(dp[-1]).max() > 1.5 * np.abs(dp[-200]).max(),
        "with gradient correction they do not, and the values come nearer to 0": (
            size["tdc"].max() < 12 and np.median(values[:, -1]) < np.median(values[:, 0])
        ),
    }
    return save(
        "figure_11_2",
        picture,
        {"TD": td[0][::10], "DP": dp[::10], "TDC": tdc[0][::10], "size": size},
        claims,
    )


if __name__ == "__main__":
    figure()
