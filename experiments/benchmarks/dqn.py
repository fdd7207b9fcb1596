"""DQN on CartPole: steps, replay, updates and keys; and the time of compiling it."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

import purerl
from experiments.benchmarks.gymnax_keys import ABSENT, gymnax
from experiments.benchmarks.report import MICROSECONDS, SECONDS, Table
from experiments.benchmarks.timing import (
    NEXT_TO_NOTHING,
    Case,
    Cases,
    Timing,
    chunks,
    compiled,
    measure,
    measure_in_new_process,
)
from purerl.envs import Transition
from purerl.networks import MLP
from purerl.random import Impl
from purerl.run.evaluation import Episodes, Evaluation

UPDATES, PERIOD = 100, 10  # in a call; steps between two
PEER = "one jit(vmap) loop in the manner of PureJaxRL, written here"
SEEDS = (8, 32)
LANES = (8, 4)
IMPLS: tuple[Impl, ...] = ("threefry", "pcg4d")
GOAL, FIRST_CALL_GOAL = 105, 3


def plain(keys: jax.Array, size=10_000, batch_size=128, target_period=500) -> tuple:
    """DQN of ``[N]`` seeds, one scan of steps each.

    Key, clock and buffer are in the carry, and ``lax.cond`` is around learning. The
    clock starts where the warm-up ends, so that only learning is timed, as with ours.
    """
    if gymnax is None:
        raise ImportError(ABSENT)
    env, params = gymnax.make("CartPole-v1")
    network = MLP((120, 84), 2)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))

    def values(weights, observation) -> jax.Array:
        return jnp.asarray(network.apply(weights, observation))

    def learn(key, weights, target, opt_state, buffer, filled):
        batch = jax.tree.map(
            lambda ring: ring[jax.random.randint(key, (batch_size,), 0, filled)], buffer
        )
        best = jnp.max(values(target, batch.next_observation), axis=-1)

        def loss(weights):
            all_q = values(weights, batch.observation)
            q = jnp.take_along_axis(all_q, batch.action[:, None], axis=-1)[:, 0]
            return jnp.mean((q - batch.reward - 0.99 * (1 - batch.terminated) * best) ** 2)

        gradient = jax.grad(loss)(weights)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(weights, updates), opt_state

    def step(carry, _):
        key, t, observation, env_state, weights, target, opt_state, buffer, total = carry
        key, explore_key, action_key, step_key, learn_key = jax.random.split(key, 5)
        explore = jax.random.uniform(explore_key) < jnp.maximum(0.05, 1 - 0.95 * t / 10_000)
        greedy = jnp.argmax(values(weights, observation))
        action = jnp.where(explore, jax.random.randint(action_key, (), 0, 2), greedy)
        next_observation, env_state, reward, terminated, truncated, info = env.step(
            step_key, env_state, action, params
        )
        item = Transition(
            observation, action, reward, terminated, truncated, info["final_observation"]
        )
        buffer = jax.tree.map(lambda ring, new: ring.at[t % size].set(new), buffer, item)
        t = t + 1
        weights, opt_state = jax.lax.cond(
            t % PERIOD == 0,
            lambda: learn(learn_key, weights, target, opt_state, buffer, jnp.minimum(t, size)),
            lambda: (weights, opt_state),
        )
        target = jax.lax.cond(t % target_period == 0, lambda: weights, lambda: target)
        total = total + reward
        carry = key, t, next_observation, env_state, weights, target, opt_state, buffer, total
        return carry, None

    def train(key):
        key, init_key, reset_key = jax.random.split(key, 3)
        observation, env_state = env.reset(reset_key, params)
        weights = network.init(init_key, observation)
        item = Transition(
            observation,
            action=jnp.int32(0),
            reward=jnp.float32(0),
            terminated=jnp.bool_(False),
            truncated=jnp.bool_(False),
            next_observation=observation,
        )
        buffer = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), item)
        opt_state = optimizer.init(weights)
        carry = key, 1_000, observation, env_state, weights, weights, opt_state, buffer, 0.0
        *_, weights, _, _, _, total = jax.lax.scan(step, carry, length=UPDATES * PERIOD)[0]
        return weights, total

    return jax.vmap(train)(keys)


def plain_case(seeds: int) -> Case:
    return Case(
        partial(compiled, plain, jax.random.split(jax.random.key(0), seeds)), seeds * UPDATES
    )


def case(impl: Impl, seeds: int, lanes: int, evaluation: Evaluation = NEXT_TO_NOTHING) -> Case:
    agent = purerl.DQN(env=purerl.make("CartPole-v1"), train_period=PERIOD)
    return Case(
        partial(chunks, agent, impl, seeds, lanes, UPDATES, threads=2, evaluation=evaluation),
        seeds * UPDATES,
    )


def first_call(row: str) -> Cases:
    """Eight seeds, and the evaluation of a sweep by default; for a new process."""
    if row == PEER:
        return {(row, "8 seeds"): plain_case(8)}
    impl: Impl = "pcg4d" if row.endswith("pcg4d") else "threefry"
    return {(row, "8 seeds"): case(impl, 8, 8, evaluation=Episodes())}


def benchmark() -> list[Table]:
    peer = [PEER] if gymnax else []
    notes = [] if gymnax else [ABSENT]
    ours: dict[str, tuple[Impl, int]] = {
        f"purerl {impl}, chunks of {lanes}": (impl, lanes) for impl in IMPLS for lanes in LANES
    }
    cases = {(row, f"{seeds} seeds"): plain_case(seeds) for row in peer for seeds in SEEDS}
    cases |= {
        (row, f"{n} seeds"): case(impl, n, lanes)
        for row, (impl, lanes) in ours.items()
        for n in SEEDS
    }
    first = {}
    for row in (*peer, *(f"purerl {impl}" for impl in IMPLS)):
        (place, timing), *_ = measure_in_new_process(__name__, "first_call", row).items()
        first[place] = Timing(*[timing.build] * 4)
    return [
        Table(
            title="DQN, CartPole-v1, wall time for an update (and its 10 steps) and a seed",
            unit=MICROSECONDS,
            timings=measure(cases),
            peer=PEER,
            goals={(row, f"{seeds} seeds"): GOAL for row in ours for seeds in SEEDS},
            notes=[
                *notes,
                "Ours: a sweep's chunks on two threads; eight seeds in one chunk use one thread.",
            ],
        ),
        Table(
            title="DQN, tracing and compiling in a new process",
            unit=SECONDS,
            timings=first,
            peer=PEER,
            goals={(f"purerl {impl}", "8 seeds"): FIRST_CALL_GOAL for impl in IMPLS},
            notes=["Ours: all three programs of a sweep, greedy evaluation among them."],
        ),
    ]
