"""DQN on CartPole, with everything that learning takes: steps, replay, updates, keys. And how long a first call compiles."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

import purerl
from experiments.benchmarks.gymnax_keys import ABSENT, gymnax
from experiments.benchmarks.report import MICROSECONDS, SECONDS, Table
from experiments.benchmarks.timing import (
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
from purerl.run.evaluation import Episodes

UPDATES, PERIOD = 100, 10  # in a call; steps between two
PEER = "one jit(vmap) loop in the manner of PureJaxRL, written here"
SEEDS = (8, 32)
LANES = (8, 4)
IMPLS = ("threefry", "pcg4d")
GOAL, FIRST_CALL_GOAL = 105, 3


def plain(keys: jax.Array, size=10_000, batch_size=128, target_period=500) -> tuple:
    """DQN of ``[N]`` seeds, one scan of steps each: key, clock and buffer in the carry, ``lax.cond`` around learning.

    The clock starts where the buffer is warm, so that all that is timed is learning, as it is with ours.
    """
    env, params = gymnax.make("CartPole-v1")
    network, optimizer = (
        MLP((120, 84), 2),
        optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3)),
    )

    def learn(key, weights, target, opt_state, buffer, filled):
        batch = jax.tree.map(
            lambda ring: ring[jax.random.randint(key, (batch_size,), 0, filled)], buffer
        )
        best = jnp.max(network.apply(target, batch.next_observation), axis=-1)

        def loss(weights):
            q = jnp.take_along_axis(
                network.apply(weights, batch.observation), batch.action[:, None], axis=-1
            )[:, 0]
            return jnp.mean((q - batch.reward - 0.99 * (1 - batch.terminated) * best) ** 2)

        gradient = jax.grad(loss)(weights)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(weights, updates), opt_state

    def step(carry, _):
        key, t, observation, env_state, weights, target, opt_state, buffer, total = carry
        key, explore_key, action_key, step_key, learn_key = jax.random.split(key, 5)
        explore = jax.random.uniform(explore_key) < jnp.maximum(0.05, 1 - 0.95 * t / 10_000)
        greedy = jnp.argmax(network.apply(weights, observation))
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
        return (
            key,
            t,
            next_observation,
            env_state,
            weights,
            target,
            opt_state,
            buffer,
            total + reward,
        ), None

    def train(key):
        key, init_key, reset_key = jax.random.split(key, 3)
        observation, env_state = env.reset(reset_key, params)
        weights = network.init(init_key, observation)
        item = Transition(
            observation,
            jnp.int32(0),
            jnp.float32(0),
            jnp.bool_(False),
            jnp.bool_(False),
            observation,
        )
        buffer = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), item)
        carry = (
            key,
            1_000,
            observation,
            env_state,
            weights,
            weights,
            optimizer.init(weights),
            buffer,
            0.0,
        )
        *_, weights, _, _, _, total = jax.lax.scan(step, carry, length=UPDATES * PERIOD)[0]
        return weights, total

    return jax.vmap(train)(keys)


def plain_case(seeds: int) -> Case:
    return Case(
        partial(compiled, plain, jax.random.split(jax.random.key(0), seeds)), seeds * UPDATES
    )


def case(impl: str, seeds: int, lanes: int, **options) -> Case:
    agent = purerl.DQN(env=purerl.make("CartPole-v1"), train_period=PERIOD)
    return Case(
        partial(chunks, agent, impl, seeds, lanes, UPDATES, threads=2, **options), seeds * UPDATES
    )


def first_call(row: str) -> Cases:
    """For a new process: eight seeds, and the evaluation that a sweep has by default."""
    return {
        (row, "8 seeds"): plain_case(8)
        if row == PEER
        else case(row.split()[-1], 8, 8, evaluation=Episodes())
    }


def benchmark() -> list[Table]:
    peer, notes = ([PEER], []) if gymnax else ([], [ABSENT])
    ours = {f"purerl {impl}, chunks of {lanes}": (impl, lanes) for impl in IMPLS for lanes in LANES}
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
                "Ours: a sweep's chunks on two threads; eight seeds in chunks of eight are one thread's work.",
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
