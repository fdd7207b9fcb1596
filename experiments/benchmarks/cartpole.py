"""Our CartPole against gymnax's, both with a random policy and resetting by themselves."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

import purerl
from experiments.benchmarks import gymnax_keys
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import Case, compiled, measure
from purerl import loop
from purerl.envs import interact

ROWS = {
    "purerl threefry": ("threefry", loop.scan),
    "purerl pcg4d": ("pcg4d", loop.scan),
    "purerl pcg4d, blocks of 8": ("pcg4d", partial(loop.scan, block=8)),
    "purerl pcg4d, lax.scan": ("pcg4d", jax.lax.scan),
}
GOALS = {row: (40, 10, 10, 8) for row in ROWS if "pcg4d" in row}
NOTE = f"purerl.loop.scan draws for a block of steps at once, of {loop.BLOCK} where the row says nothing else."


def rollout(keys: jax.Array, num_steps: int, scan: Callable) -> jax.Array:
    """Uniformly random actions in ``[N]`` environments: the sum of rewards and observations of each, ``[N]``."""
    env = purerl.make("CartPole-v1")

    def one(key):
        key, reset_key = jax.random.split(key)

        def step(carry, t):
            key, state, total = carry
            act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(act_key, (), 0, env.num_actions)
            state, transition = interact(env, env_key, state, action)
            return (key, state, total + transition.reward + jnp.sum(transition.observation)), None

        ts = jnp.arange(num_steps, dtype=jnp.int32)
        return scan(step, (key, env.reset(reset_key), jnp.float32(0)), ts)[0][2]

    return jax.vmap(one)(keys)


def benchmark() -> list[Table]:
    cases = gymnax_keys.cases({gymnax_keys.DEFAULT: jax.random.key}) if gymnax_keys.gymnax else {}
    for row, (impl, scan) in ROWS.items():
        for n, length in gymnax_keys.SIZES.items():
            keys = jax.random.split(purerl.random.key(0, impl), n)
            cases[row, f"{n} envs"] = Case(partial(compiled, partial(rollout, num_steps=length, scan=scan), keys), n * length)
    notes = [NOTE] if gymnax_keys.gymnax else [NOTE, gymnax_keys.ABSENT]
    timings = measure(cases)
    goals = gymnax_keys.columns(GOALS)
    return [Table("CartPole-v1, random policy, steps", MILLIONS, timings, gymnax_keys.DEFAULT, goals, True, notes)]
