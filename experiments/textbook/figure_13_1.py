"""Figure 13.1: REINFORCE on the short corridor

The return of an episode from the start, `G_0`, while REINFORCE learns one preference
for each action, the same in all states; no discount, 100 runs, three step sizes. At
first right has a probability of 0.05, which the book does not say. The dashed line is
exact, the return of the best probability. The book makes the updates of an episode one
after the other, so that the policy changes between them; `Reinforce` makes their sum,
all with the policy that has acted, which is stable with larger step sizes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, band, canvas, save
from purerl import Reinforce, mdp
from purerl.figures.plotting import COLORS
from purerl.figures.statistics import Band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUNS, EPISODES = 100, 1_000
EXPONENTS = (-12, -13, -14)
CORRIDOR = purerl.make("ShortCorridor-v0")
FIRST = 0.05  # the probability of right
BEST = 2 - 2**0.5  # the best one


class Preferences(nn.Module):
    """A preference for each action and one value, the same for all observations."""

    def setup(self):
        start = jnp.log(jnp.array([1 - FIRST, FIRST], jnp.float32))
        self.preferences = self.param("preferences", lambda key: start)
        self.weight = self.param("weight", lambda key: jnp.float32(0))

    def __call__(self, observation):
        return self.preferences, self.weight

    def policy(self, observation):
        return self.preferences

    def value(self, observation):
        return self.weight


def exact(right: jax.Array) -> jax.Array:
    """The expected return of going right with some probability, ``[]``."""
    policy = jnp.broadcast_to(jnp.array([1 - right, right]), (CORRIDOR.mdp.num_states, 2))
    return mdp.expected_return(CORRIDOR.mdp, policy, 1.0)


OPTIMUM = float(exact(jnp.float32(BEST)))


def learn(step_sizes: list[float], value_steps: list[float] | None = None) -> dict[str, np.ndarray]:
    """Train REINFORCE, with a baseline if its value has step sizes.

    Returns:
        The ``return`` of each episode and the probability of ``right`` after it,
        ``[step sizes, RUNS, EPISODES]``. Both are NaN from the first episode on that
        does not end.
    """

    def make(setting):
        step, ratio = setting
        baseline = "none" if value_steps is None else "learned"
        return Reinforce(
            env=CORRIDOR,
            network=Preferences(),
            learning_rate=step,
            value_weight=ratio,
            discount=1.0,
            baseline=baseline,
        )

    def right(agent, state):
        return {"right": agent.probabilities(agent.snapshot(state), jnp.ones(1, jnp.float32))[1]}

    steps = np.array(step_sizes)
    ratios = np.zeros_like(steps) if value_steps is None else np.array(value_steps) / steps
    # The slowest run takes 31,000 steps for its episodes.
    return purerl.over_episodes(
        make, (steps, ratios), RUNS, EPISODES, right, lanes=RUNS, max_steps=200_000
    )


def draw(axes: "Axes", curves: Mapping[str, np.ndarray]) -> dict[str, Band]:
    """Draw returns against episodes, for curves ``{label: [RUNS, EPISODES]}``."""
    drawn = {
        label: band(axes, np.arange(1, EPISODES + 1), found, label, color, linewidth=1)
        for (label, found), color in zip(curves.items(), COLORS, strict=False)
    }
    axes.axhline(OPTIMUM, label=f"best policy: {OPTIMUM:.2f}", **EXACT)
    axes.set(xlabel="episode", ylabel="total reward of an episode", ylim=(-90, -5))
    axes.legend(loc="lower right")
    return drawn


def figure():
    picture, (axes,) = canvas(width=7.5)
    found = learn([2.0**exponent for exponent in EXPONENTS])["return"]
    names = [f"step size $2^{{{exponent}}}$" for exponent in EXPONENTS]
    drawn = draw(axes, dict(zip(names, found, strict=True)))
    early, late = found[:, :, :200].mean((1, 2)), found[:, :, -100:].mean((1, 2))
    first = float(exact(jnp.float32(FIRST)))
    others = np.array(jax.vmap(exact)(jnp.linspace(0.01, 0.99, 99)))
    claims = {
        "with a good step size the total reward approaches the optimal value of the start": (
            abs(late[0] - OPTIMUM) < 0.5
        ),
        f"that is -11.6, with a probability of right of about 0.59 (exactly {OPTIMUM:.3f})": (
            others.max() <= OPTIMUM and int(others.argmax()) + 1 == 59
        ),
        "learning starts far below, at about -80": abs(found[:, :, 0].mean() - first) < 10,
        "2^-14 is too small: its curve is the lowest": early[2] < early[1] and late[2] < late[1],
        "2^-13 is the best power of two (here 2^-12, of a sum)": (
            early[1] > early[0] and late[1] > late[0]
        ),
    }
    numbers = {
        **drawn,
        "exact optimum": OPTIMUM,
        "exact, first policy": first,
        "episodes 1 to 200": early,
        "last 100 episodes": late,
    }
    return save("figure_13_1", picture, numbers, claims)


if __name__ == "__main__":
    figure()
