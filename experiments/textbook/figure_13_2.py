"""Figure 13.2: REINFORCE with a baseline

The agent of figure 13.1, 100 runs, with a learned value as the baseline and without it.
Left: the measure of that figure. Right: the exact expected return of the policies, near
the optimum. The book's step sizes with a baseline, 2^-9 and 2^-6 for the value, are too
large for the sum of an episode's updates, which `Reinforce` makes; here both are 2^-10.
This step size is stable without a baseline, too: the second curve.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.textbook.common import EXACT, band, canvas, save
from experiments.textbook.figure_13_1 import EPISODES, OPTIMUM, draw, exact, learn
from purerl.figures.plotting import COLORS

EVERY = 10  # episodes between exact returns


def figure():
    picture, (left, right) = canvas(2)
    with_baseline = learn([2.0**-10], [2.0**-10])
    without = learn([2.0**-10, 2.0**-13])
    names = ("baseline, step size $2^{-10}$", "none, $2^{-10}$", "none, $2^{-13}$, as in the book")
    returns = np.concatenate([with_baseline["return"], without["return"]])
    policies = np.concatenate([with_baseline["right"], without["right"]])[:, :, EVERY - 1 :: EVERY]
    worth = np.asarray(jax.vmap(exact)(jnp.asarray(policies.ravel()))).reshape(policies.shape)
    drawn = draw(left, dict(zip(names, returns, strict=True)))
    episodes = np.arange(EVERY, EPISODES + 1, EVERY)
    worths = {
        name: band(right, episodes, each, name, color)
        for name, each, color in zip(names, worth, COLORS, strict=False)
    }
    right.axhline(OPTIMUM, **EXACT)
    right.set(xlabel="episode", ylabel="expected return, exact", ylim=(-14, -11.5))

    mean = worth.mean(axis=1)
    needed = episodes[np.argmax(mean > OPTIMUM - 5, axis=1)]
    loss = OPTIMUM - mean[:, -10:].mean(axis=1)
    stuck = np.isnan(learn([2.0**-9], [2.0**-6])["return"][0, :, -1])
    claims = {
        f"with a baseline it learns much faster (within 5 of the optimum after {needed[0]} "
        f"episodes) than without one at 2^-13 ({needed[2]})": needed[0] < needed[2] / 3,
        f"that is due to the baseline and not to the step size (without one, 2^-10: {needed[1]})": (
            needed[0] < needed[1] / 2
        ),
        f"with the same step size it comes closer to the optimum (here to {loss[0]:.2f}, without "
        f"a baseline to {loss[1]:.2f})": loss[0] < 0.6 * loss[1],
        f"the book's step sizes, 2^-9 and 2^-6, are stable (here {stuck.sum()} of {len(stuck)} "
        "runs come to a policy that does not end)": not stuck.any(),
    }
    numbers = {
        "total reward": drawn,
        "exact return": worths,
        "exact optimum": OPTIMUM,
        "episodes needed": dict(zip(names, needed, strict=True)),
        "loss, last 100 episodes": dict(zip(names, loss, strict=True)),
    }
    return save("figure_13_2", picture, numbers, claims)


if __name__ == "__main__":
    figure()
