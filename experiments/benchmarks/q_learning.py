"""Tabular Q-learning on FrozenLake, against a straightforward loop in JAX."""

from functools import partial

import jax
import jax.numpy as jnp

import purerl
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import (
    Case,
    Cases,
    chunks,
    compiled,
    measure,
    measure_in_new_process,
)
from purerl.random import Impl

ITERATIONS = {1: 2**17, 64: 2**14, 1024: 2**10}  # by seeds: of one call; naive: a quarter
WIDTHS = (64, 128, 256, 512)
NAIVE = "naive JAX loop, default key"
ONE_THREAD: dict[Impl, tuple[float, float, float]] = {
    "threefry": (15, 22.5, 22.5),
    "pcg4d": (30, 45, 45),
}
TWO_THREADS: dict[Impl, float] = {"threefry": 50, "pcg4d": 100}


def naive(
    keys: jax.Array, num_steps: int, discount=0.99, learning_rate=0.1, epsilon=0.1, limit=100
) -> tuple:
    """Q-learning of ``[N]`` seeds, written in the plainest way.

    The key is carried and split, and the model is dense, ``[S, A, S]``.
    """
    mdp = purerl.make("FrozenLake-v1").mdp
    arrival = jax.nn.one_hot(mdp.next_state, mdp.num_states)
    logits = jnp.log(jnp.sum(mdp.probability[..., None] * arrival, axis=2))
    rewards = jnp.max(mdp.reward[..., None] * arrival, axis=2)
    terminal = jnp.any(mdp.terminated[..., None] & (arrival > 0), axis=2)

    def step(carry, _):
        key, state, elapsed, q, total = carry
        key, explore_key, action_key, step_key = jax.random.split(key, 4)
        explore = jax.random.uniform(explore_key) < epsilon
        action = jnp.where(
            explore, jax.random.randint(action_key, (), 0, mdp.num_actions), jnp.argmax(q[state])
        )
        next_state = jax.random.categorical(step_key, logits[state, action])
        reward = rewards[state, action, next_state]
        terminated = terminal[state, action, next_state]
        target = reward + discount * jnp.where(terminated, 0, jnp.max(q[next_state]))
        q = q.at[state, action].set(q[state, action] + learning_rate * (target - q[state, action]))
        done = terminated | (elapsed + 1 >= limit)
        return (
            key,
            jnp.where(done, 0, next_state),
            jnp.where(done, 0, elapsed + 1),
            q,
            total + reward,
        ), None

    def one(key):
        q = jnp.zeros((mdp.num_states, mdp.num_actions))
        return jax.lax.scan(step, (key, 0, 0, q, 0.0), length=num_steps)[0][3:]

    return jax.vmap(one)(keys)


def _naive_case(seeds):
    keys, num_steps = jax.random.split(jax.random.key(0), seeds), ITERATIONS[seeds] // 4
    return Case(partial(compiled, partial(naive, num_steps=num_steps), keys), seeds * num_steps)


def _case(impl, seeds, lanes, threads):
    agent, iterations = purerl.QLearning(env=purerl.make("FrozenLake-v1")), ITERATIONS[seeds]
    return Case(partial(chunks, agent, impl, seeds, lanes, iterations, threads), seeds * iterations)


def one_thread() -> Cases:
    cases = {(NAIVE, f"{seeds} seeds"): _naive_case(seeds) for seeds in ITERATIONS}
    return cases | {
        (f"purerl {i}", f"{n} seeds"): _case(i, n, n, threads=1)
        for i in ONE_THREAD
        for n in ITERATIONS
    }


def two_threads() -> Cases:
    cases = {(NAIVE, "1024 seeds"): _naive_case(1024)}
    return cases | {
        (f"purerl {i}, chunks of {w}", "1024 seeds"): _case(i, 1024, w, 2)
        for i in TWO_THREADS
        for w in WIDTHS
    }


def benchmark() -> list[Table]:
    return [
        Table(
            title="Q-learning, FrozenLake-v1, transitions, one thread",
            unit=MILLIONS,
            timings=measure_in_new_process(__name__, "one_thread", cores=1),
            peer=NAIVE,
            goals={
                (f"purerl {impl}", f"{seeds} seeds"): goal
                for impl, goals in ONE_THREAD.items()
                for seeds, goal in zip(ITERATIONS, goals, strict=True)
            },
            notes=[
                "In a process bound to one core (sched_setaffinity), with "
                "--xla_cpu_multi_thread_eigen=false."
            ],
        ),
        Table(
            title="Q-learning, FrozenLake-v1, transitions, two threads",
            unit=MILLIONS,
            timings=measure(two_threads()),
            peer=NAIVE,
            goals={
                (f"purerl {i}, chunks of {w}", "1024 seeds"): goal
                for i, goal in TWO_THREADS.items()
                for w in WIDTHS
            },
            notes=[
                "Ours: the chunks of a sweep in a ThreadPoolExecutor. "
                "The naive loop: one program, any core it can use."
            ],
        ),
    ]
