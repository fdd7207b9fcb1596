"""gymnax's CartPole as it is, stepped with random keys of three generators."""

from functools import partial

import jax
import jax.numpy as jnp

import purerl
from experiments.benchmarks.report import MILLIONS, Table
from experiments.benchmarks.timing import Case, compiled, measure

try:
    import gymnax
except ImportError:
    gymnax = None

ABSENT = "gymnax is not installed (1.0.1 requires jax < 0.12): nothing to compare with"
SIZES = {1: 2**16, 16: 2**14, 256: 2**12, 4096: 2**9}  # environments: steps of each in a call
DEFAULT = "gymnax, default key"
KEYS = {
    DEFAULT: jax.random.key,
    "gymnax, purerl threefry": purerl.random.key,
    "gymnax, purerl pcg4d": partial(purerl.random.key, impl="pcg4d"),
}
# Older versions lower the default generator to a loop on a CPU; newer ones do not.
ROLLED = jax.__version_info__ < (0, 12)
GOALS = {
    "gymnax, purerl threefry": (10, 3, 3, 4) if ROLLED else (1.5,) * 4,
    "gymnax, purerl pcg4d": (25, 6, 6, 5) if ROLLED else (6,) * 4,
}


def columns(goals: dict[str, tuple[float, ...]]) -> dict[tuple[str, str], float]:
    """Goals by row and column, given those of each row."""
    return {
        (row, f"{n} envs"): goal
        for row, values in goals.items()
        for n, goal in zip(SIZES, values, strict=True)
    }


def consume(observation: jax.Array) -> jax.Array:
    """Sum an observation; boards as integers, since sums of floats are sequential."""
    return jnp.sum(observation.astype(jnp.int32)) if observation.ndim > 1 else jnp.sum(observation)


def rollout(name: str, keys: jax.Array, num_steps: int) -> tuple[jax.Array, jax.Array]:
    """Uniformly random actions in ``[N]`` environments of gymnax, as in its examples.

    Returns:
        The sum of rewards and the sum of observations of each environment, ``[N]``.
    """
    if gymnax is None:
        raise ImportError(ABSENT)
    env, params = gymnax.make(name)

    def one(key):
        key, reset_key = jax.random.split(key)
        observation, state = env.reset(reset_key, params)

        def step(carry, _):
            key, state, total, seen = carry
            key, act_key, step_key = jax.random.split(key, 3)
            action = env.action_space(params).sample(act_key)
            observation, state, reward, *_ = env.step(step_key, state, action, params)
            return (key, state, total + reward, seen + consume(observation)), None

        begin = key, state, jnp.float32(0), consume(jnp.zeros_like(observation))
        return jax.lax.scan(step, begin, length=num_steps)[0][2:]

    return jax.vmap(one)(keys)


def cases(keys: dict) -> dict[tuple[str, str], Case]:
    """:func:`rollout` with the keys of each generator, at every size."""
    return {
        (row, f"{n} envs"): _case(jax.random.split(key(0), n), n, length)
        for row, key in keys.items()
        for n, length in SIZES.items()
    }


def _case(keys, num_envs, num_steps):
    function = partial(rollout, "CartPole-v1", num_steps=num_steps)
    return Case(partial(compiled, function, keys), num_envs * num_steps)


def benchmark() -> list[Table]:
    title = "Unmodified gymnax CartPole, random policy, steps"
    if gymnax is None:
        return [Table(title, MILLIONS, {}, notes=[ABSENT])]
    timings = measure(cases(KEYS))
    goals = columns(GOALS)
    return [Table(title, MILLIONS, timings, peer=DEFAULT, goals=goals, goals_are_ratios=True)]
