"""Figure 10.5 and example 10.2: the access-control queuing task

Differential semi-gradient Sarsa with a table, step sizes of 0.01 for values and for the
average reward, epsilon = 0.1, 2 million steps, 16 runs (the book shows one). Left: the
share of the runs whose greedy policy serves the customer; crosses mark where the best
epsilon-greedy policy differs from most of them. Right: the differential value of the
better action, and the exact one of the best epsilon-greedy policy (dashed), shifted so
that the mean of both is zero under that policy.
"""

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.textbook.common import EXACT, canvas, save
from purerl import mdp, timescan
from purerl.agents import DifferentialSARSA
from purerl.envs.diagnostic.access_control import PAYMENTS
from purerl.figures.plotting import COLORS, draw_band
from purerl.figures.statistics import normal_band

RUNS, STEPS, EPSILON = 16, 2_000_000, 0.1
WATCHED = 1_000  # average rewards kept, one every so many steps


def explored(model: mdp.FiniteMDP, epsilon: float) -> mdp.FiniteMDP:
    """The model in which each action is taken with exploration: its best policy is the
    best epsilon-greedy one."""
    available = np.asarray(model.available)
    others = available / available.sum(axis=1, keepdims=True)
    taken = epsilon * others[:, None] + (1 - epsilon) * np.eye(model.num_actions)
    shape = model.num_states, model.num_actions, -1

    def repeated(table):
        tables = np.broadcast_to(np.asarray(table)[:, None], taken.shape + table.shape[2:])
        return tables.reshape(shape)

    probability = taken[..., None] * np.asarray(model.probability)[:, None]
    return mdp.FiniteMDP(
        probability=probability.reshape(shape),
        next_state=repeated(model.next_state),
        reward=repeated(model.reward),
        terminated=repeated(model.terminated),
        initial=model.initial,
        available=available,
    )


def learned(agent: DifferentialSARSA, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Action values ``[S, A]`` after all steps, and average rewards ``[WATCHED]``."""

    def block(state, i):
        times = i * (STEPS // WATCHED) + jnp.arange(STEPS // WATCHED, dtype=jnp.int32)
        state, _ = timescan.time_scan(
            lambda state, t: (agent.step(state, t)[0], None), state, times
        )
        return state, state.memory.gain

    state, gains = jax.lax.scan(block, agent.init(key), jnp.arange(WATCHED, dtype=jnp.int32))
    snapshot = agent.snapshot(state)
    observations = jnp.arange(agent.num_features, dtype=jnp.int32)
    return jax.vmap(agent.values, (None, 0))(snapshot, observations), gains


def figure():
    env = purerl.make("AccessControl-v0")
    agent = DifferentialSARSA(env=env, learning_rate=0.01, gain_rate=1.0, epsilon=EPSILON)
    q, gains = purerl.over_seeds(lambda key: learned(agent, key), RUNS, lanes=8)
    best = mdp.optimal_average_reward(explored(env.mdp, EPSILON))
    gain = float(best.gain)
    weights = np.asarray(mdp.stationary(explored(env.mdp, EPSILON), best.policy))
    weights = weights / weights.sum()

    def by_free(table):
        """``[..., S]`` as ``[..., priority, free servers]``."""
        table = np.asarray(table)
        return np.swapaxes(
            table.reshape(*table.shape[:-1], -1, len(PAYMENTS))[..., ::-1, :], -1, -2
        )

    served = by_free(q.argmax(axis=2).mean(axis=0))
    exact = by_free(best.policy)
    values = q.max(axis=2)
    values = by_free(values - (values @ weights)[:, None])
    optimal = by_free(best.bias - weights @ best.bias)
    picture, axes = canvas(2, width=6.6)
    image = axes[0].imshow(served[:, 1:], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    picture.colorbar(image, ax=axes[0], label="share of runs that serve")
    wrong = (served[:, 1:] >= 0.5) != exact[:, 1:]
    axes[0].plot(*np.nonzero(wrong)[::-1], "x", color=COLORS[1], markersize=12)
    axes[0].grid(False)
    axes[0].set_xticks(range(10), labels=[f"{free}" for free in range(1, 11)])
    axes[0].set_yticks(range(4), labels=[f"{payment:g}" for payment in PAYMENTS])
    axes[0].set(xlabel="free servers", ylabel="payment")
    free = np.arange(11)
    curves = {}
    for i, payment in enumerate(PAYMENTS):
        label = f"payment {payment:g}"
        curves[label] = normal_band(values[:, i])
        draw_band(axes[1], free, curves[label], color=COLORS[i], label=label)
        axes[1].plot(free, optimal[i], **EXACT)
    axes[1].set(xlabel="free servers", ylabel="differential value of the better action")
    axes[1].legend()
    late = gains[:, -WATCHED // 2 :]
    frequent = by_free(weights).sum(axis=0) > 0.01
    off = np.abs(values.mean(axis=0) - optimal)[:, frequent].max()
    claims = {
        "the average reward learned is about 2.31": abs(late.mean() - 2.31) < 0.1,
        f"it is {gain:.3f} of the best epsilon-greedy policy, about which the estimates vary": (
            abs(late.mean() - gain) < 0.02
        ),
        "their standard deviation is 0.2, so that 2.31 may be read off a single run": (
            abs(late.std() - 0.2) < 0.05 and late.min() < 2.31
        ),
        "customers who pay 8 or 4 are served while a server is free": bool(
            np.all(served[2:, 1:7] > 0.5)
        ),
        "up to 9 free servers most runs have the exact policy for all who pay 2 or more": not (
            wrong[1:, :9].any()
        ),
        "with fewer servers free, customers who pay little are sent away": bool(
            np.all(served[:2, 1:4] < 0.5)
        ),
        "values rise with the free servers, and drop at the right, where states are rare": bool(
            np.all(np.diff(values.mean(axis=0)[:, :7]) > 0)
            and values.mean(axis=0)[:, 10].max() < optimal[:, 10].max()
        ),
        "where the system is more than 1% of the time, values are exact within 1": off < 1,
    }
    numbers = {
        **curves,
        "served": served,
        "exact": {"gain": gain, "policy": exact, "values": optimal},
        "gain": {"mean": late.mean(), "std": late.std(), "least": late.min()},
        "off": off,
    }
    return save("figure_10_5", picture, numbers, claims)


if __name__ == "__main__":
    figure()
