"""Figure 12.6: TD(lambda) on the random walk; figure 12.3: off-line lambda-returns

The task and the measure of figure 7.2. The off-line algorithm moves the values at the
end of each episode towards its lambda-returns, in the order of the visits; with lambda
= 1 it is Monte Carlo. 500 runs.
"""

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import canvas, save
from experiments.textbook.figure_7_2 import ALPHAS, EPISODES, TRUE, draw, mean_error
from purerl import bellman, policy
from purerl.agents import TDLambda, collect
from purerl.figures.statistics import normal_band

RUNS = 500
LAMBDAS = (0.0, 0.4, 0.8, 0.9, 0.95, 0.975, 0.99, 1.0)
LENGTH = 4_000  # transitions drawn for a run, of which the first 10 episodes are used


def offline(key: jax.Array, lambda_: float) -> jax.Array:
    """The mean error of the off-line lambda-return algorithm, for every step size."""
    data = collect(purerl.make("RandomWalk-v0"), policy.EpsilonGreedy(1.0), key, LENGTH)
    number = jnp.cumsum(data.terminated) - data.terminated  # of the episode

    def episode(values, i):
        def towards(values, step):
            state, target, due = step
            return values.at[state].add(jnp.where(due, alphas * (target - values[state]), 0)), None

        def returns(values):
            after = values[data.next_observation]
            return bellman.lambda_return(
                data.reward, data.terminated, data.truncated, after, 1.0, lambda_
            )

        targets = jax.vmap(returns, 1, 1)(values)
        values, _ = jax.lax.scan(towards, values, (data.observation, targets, number == i))
        return values, jnp.sqrt(jnp.mean((values[1:20] - TRUE[:, None]) ** 2, axis=0))

    alphas = jnp.asarray(ALPHAS, jnp.float32)
    _, errors = jax.lax.scan(episode, jnp.zeros((21, len(ALPHAS))), jnp.arange(EPISODES))
    return errors.mean(axis=0)


def figure():
    picture, axes = canvas(2, width=7, height=5)
    env = purerl.make("RandomWalk-v0")

    def make(alpha, lambda_):
        return TDLambda(env=env, lambda_=lambda_, learning_rate=alpha, discount=1.0)

    forward = {}
    backward = {}
    for lam in LAMBDAS:
        errors = purerl.over_seeds(lambda key, lam=lam: offline(key, lam), RUNS, lanes=100)
        forward[f"lambda = {lam:g}"] = normal_band(errors)
        backward[f"lambda = {lam:g}"] = mean_error(lambda alpha, lam=lam: make(alpha, lam), RUNS)
    draw(picture, axes, [backward, forward])
    axes[0].set_title("TD(lambda), accumulating traces")
    axes[1].set_title("off-line lambda-return algorithm (figure 12.3)")
    best = {
        name: [curve.point[np.isfinite(curve.point)].min() for curve in side.values()]
        for name, side in {"td": backward, "offline": forward}.items()
    }
    small = ALPHAS <= 0.1
    claims = {
        "an intermediate lambda is best for both algorithms, at about 0.27 to 0.29": all(
            0 < int(np.argmin(b)) < len(LAMBDAS) - 1 and 0.26 < min(b) < 0.3 for b in best.values()
        ),
        "for small step sizes the two perform virtually identically, since one approximates the "
        "other": all(
            np.abs(backward[k].point[small] - forward[k].point[small]).max() < 0.03
            for k in list(backward)[:4]
        ),
        "with larger step sizes TD(lambda) is worse, and much worse with a large lambda": (
            backward["lambda = 0.9"].point[-3] > forward["lambda = 0.9"].point[-3] + 0.2
        ),
        "at lambda = 0 they are TD(0): on-line and off-line differ little": (
            abs(best["td"][0] - best["offline"][0]) < 0.04
        ),
    }
    numbers = {"alphas": ALPHAS, "TD(lambda)": backward, "offline": forward}
    return save("figure_12_6", picture, numbers, claims)


if __name__ == "__main__":
    figure()
