"""Tabular Q-learning on FrozenLake, against the loop that one writes first."""

from functools import partial

import jax
import jax.numpy as jnp

import purerl
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import Case, Cases, chunks, compiled, measure, measure_on_one_core

SEEDS = {1: 2**17, 64: 2**14, 1024: 2**10}  # iterations that each takes in a call
WIDTHS = (64, 128, 256, 512)
NAIVE = "naive JAX loop, default key"
ONE_CORE = {"threefry": (15, 22.5, 22.5), "pcg4d": (30, 45, 45)}
TWO_THREADS = {"threefry": 50, "pcg4d": 100}


def naive(keys: jax.Array, num_steps: int, discount=0.99, learning_rate=0.1, epsilon=0.1, limit=100) -> jax.Array:
    """Q-learning of ``[N]`` seeds: a key carried and split, a dense matrix ``[S, A, S]``, whole rows gathered and set."""
    mdp = purerl.make("FrozenLake-v1").mdp
    arrival = jax.nn.one_hot(mdp.next_state, mdp.num_states)
    logits = jnp.log(jnp.sum(mdp.probability[..., None] * arrival, axis=2))
    rewards = jnp.max(mdp.reward[..., None] * arrival, axis=2)
    terminal = jnp.any(mdp.terminated[..., None] & (arrival > 0), axis=2)

    def one(key):
        def step(carry, _):
            key, state, elapsed, q, total = carry
            key, explore_key, action_key, step_key = jax.random.split(key, 4)
            explore = jax.random.uniform(explore_key) < epsilon
            action = jnp.where(explore, jax.random.randint(action_key, (), 0, mdp.num_actions), jnp.argmax(q[state]))
            next_state = jax.random.categorical(step_key, logits[state, action])
            reward, terminated = rewards[state, action, next_state], terminal[state, action, next_state]
            target = reward + discount * jnp.where(terminated, 0, jnp.max(q[next_state]))
            q = q.at[state, action].set(q[state, action] + learning_rate * (target - q[state, action]))
            done = terminated | (elapsed + 1 >= limit)
            return (key, jnp.where(done, 0, next_state), jnp.where(done, 0, elapsed + 1), q, total + reward), None

        q = jnp.zeros((mdp.num_states, mdp.num_actions))
        return jax.lax.scan(step, (key, 0, 0, q, 0.0), length=num_steps)[0][3:]

    return jax.vmap(one)(keys)


def _naive_case(seeds):
    keys = jax.random.split(jax.random.key(0), seeds)
    return Case(partial(compiled, partial(naive, num_steps=SEEDS[seeds] // 4), keys), seeds * SEEDS[seeds] // 4)


def _case(impl, seeds, lanes, threads):
    agent = purerl.QLearning(env=purerl.make("FrozenLake-v1"))
    return Case(partial(chunks, agent, impl, seeds, lanes, SEEDS[seeds], threads), seeds * SEEDS[seeds])


def one_core() -> Cases:
    cases = {(NAIVE, f"{seeds} seeds"): _naive_case(seeds) for seeds in SEEDS}
    return cases | {(f"purerl {impl}", f"{seeds} seeds"): _case(impl, seeds, seeds, 1) for impl in ONE_CORE for seeds in SEEDS}


def two_threads() -> Cases:
    cases = {(NAIVE, f"chunks of {lanes}"): _naive_case(1024) for lanes in WIDTHS[:1]}
    return cases | {
        (f"purerl {impl}", f"chunks of {lanes}"): _case(impl, 1024, lanes, 2) for impl in TWO_THREADS for lanes in WIDTHS
    }


def benchmark() -> list[Table]:
    title = "Q-learning, FrozenLake-v1, transitions"
    one = {(f"purerl {i}", f"{n} seeds"): goal for i, goals in ONE_CORE.items() for n, goal in zip(SEEDS, goals, strict=True)}
    two = {(f"purerl {impl}", f"chunks of {lanes}"): goal for impl, goal in TWO_THREADS.items() for lanes in WIDTHS}
    return [
        Table(
            f"{title}, one thread",
            MILLIONS,
            measure_on_one_core(__name__, "one_core"),
            NAIVE,
            one,
            notes=["In a process bound to one core (sched_setaffinity), with --xla_cpu_multi_thread_eigen=false."],
        ),
        Table(
            f"{title}, 1024 seeds in two threads",
            MILLIONS,
            measure(two_threads()),
            NAIVE,
            two,
            notes=[
                "Chunks of one compiled program in a ThreadPoolExecutor, as sweep runs them. The naive loop is one program."
            ],
        ),
    ]
