"""Our environments against gymnax's: automatic reset, one thread.

With a random policy, each step's observation is produced and consumed by summing it.
For MinAtar's games there is also what an agent does: a linear policy looks at the
board, and a ring buffer stores it.

Environments of gymnax run with JAX's default keys, as its users run them; ours with the
two generators of :mod:`purerl.random`. For CartPole there is also EnvPool, in C++ and
on one thread, where it is installed; its actions are drawn beforehand.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purerl
from experiments.benchmarks.gymnax_keys import consume, gymnax, rollout
from experiments.benchmarks.report import MILLIONS, SECONDS, Table
from experiments.benchmarks.timing import Case, Cases, Timing, compiled, measure_in_new_process
from purerl import replay, timescan
from purerl.envs import Environment, interact
from purerl.envs.bsuite import Catch, DeepSea

try:
    import envpool  # pyright: ignore[reportMissingImports] (optional)
except ImportError:
    envpool = None

SIZES = (1, 16, 256, 4096)
PEER = "gymnax"


class Pair(NamedTuple):
    """An environment of ours and one of gymnax.

    Attributes:
        ours: builds ours.
        theirs: the name of theirs; empty where there is none.
        steps: steps of ours in a timed call at 4,096 environments.
        goal: the least ratios to reach, by size.
    """

    ours: Callable[[], Environment]
    theirs: str
    steps: int
    goal: tuple[float, ...] = (20, 5, 5, 3)


PAIRS = {
    "CartPole": Pair(partial(purerl.make, "CartPole-v1"), "CartPole-v1", 512),
    "MountainCar": Pair(partial(purerl.make, "MountainCar-v0"), "MountainCar-v0", 512),
    "Acrobot": Pair(partial(purerl.make, "Acrobot-v1"), "Acrobot-v1", 128),
    "Breakout": Pair(
        partial(purerl.make, "MinAtar/Breakout-v1"), "Breakout-MinAtar", 128, (4, 5, 4, 3)
    ),
    "Asterix": Pair(
        partial(purerl.make, "MinAtar/Asterix-v1"), "Asterix-MinAtar", 128, (20, 10, 10, 10)
    ),
    "Freeway": Pair(
        partial(purerl.make, "MinAtar/Freeway-v1"), "Freeway-MinAtar", 128, (20, 10, 5, 5)
    ),
    "SpaceInvaders": Pair(
        partial(purerl.make, "MinAtar/SpaceInvaders-v1"), "SpaceInvaders-MinAtar", 128, (5, 7, 7, 7)
    ),
    "Seaquest": Pair(partial(purerl.make, "MinAtar/Seaquest-v1"), "", 128),
    "Catch": Pair(Catch, "Catch-bsuite", 256),
    "DeepSea": Pair(partial(DeepSea.of, 8, mapping_seed=42), "DeepSea-bsuite", 256),
}
THREEFRY_GOAL = (8, 2.5, 2.5, 2)
COMPILE_GOAL = 1.5
MINATAR = ("Breakout", "Asterix", "Freeway", "SpaceInvaders", "Seaquest")
AGENT_SIZES = (16, 256, 1024)
AGENT_STEPS = 512
AGENT_GOAL = 3


def ours(env: Environment, keys: jax.Array, num_steps: int) -> tuple[jax.Array, jax.Array]:
    """Uniformly random actions in ``[N]`` environments.

    Returns:
        The sum of rewards and the sum of observations of each environment, ``[N]``.
    """

    def one(key):
        key, reset_key = jax.random.split(key)

        def step(carry, t):
            key, state, total, seen = carry
            act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(act_key, (), 0, env.num_actions)
            state, transition = interact(env, env_key, state, action)
            total = total + transition.reward
            seen = seen + consume(transition.observation)
            return (key, state, total, seen), None

        nothing = consume(jnp.zeros(env.observation.shape, env.observation.dtype))
        begin = key, env.reset(reset_key), jnp.float32(0), nothing
        return timescan.time_scan(step, begin, jnp.arange(num_steps, dtype=jnp.int32))[0][2:]

    return jax.vmap(one)(keys)


class Item(NamedTuple):
    """The part of a step of ``[N]`` environments that a buffer stores.

    Attributes:
        observation: the board before the step, ``[N, ...]``.
        action: int32 ``[N]``.
        reward: float32 ``[N]``.
        done: whether the episode ended, bool ``[N]``.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    done: jax.Array


def as_agent(
    num_actions: int,
    advance: Callable[[Any, Any, jax.Array], tuple[Any, jax.Array, jax.Array]],
    look: Callable[[Any], jax.Array],
    scan: Callable,
    state: Any,
    key: jax.Array,
) -> tuple[Any, Item]:
    """A linear policy that looks at ``[N]`` boards, and a buffer that stores them.

    Args:
        num_actions: ``A``.
        advance: ``(keys, state, action) -> (state, reward, done)``, for ``[N]``.
        look: ``state -> observation``, for ``[N]``.
        scan: over time.
        state: of all environments.
        key: consumed.

    Returns:
        The last state, and the buffer with the last 32 steps.
    """
    observation = look(state)
    num_envs = observation.shape[0]
    weights = jax.random.normal(jax.random.key(1), (observation[0].size, num_actions))
    nothing = jnp.zeros(num_envs)
    item = Item(observation, nothing.astype(jnp.int32), nothing, nothing.astype(bool))
    buffer = replay.create(jax.tree.map(lambda x: x[0], item), 32 * num_envs)

    def step(carry, t):
        state, buffer = carry
        observation = look(state)
        action = jnp.argmax(observation.reshape(num_envs, -1) @ weights, axis=-1)
        action = action.astype(jnp.int32)
        keys = jax.random.split(jax.random.fold_in(key, t), num_envs)
        state, reward, done = advance(keys, state, action)
        item = Item(observation, action, reward.astype(jnp.float32), done)
        return (state, replay.write(buffer, item, t * num_envs)), None

    return scan(step, (state, buffer), jnp.arange(AGENT_STEPS, dtype=jnp.int32))[0]


def our_agent(env: Environment, keys: jax.Array) -> tuple[Any, Item]:
    """:func:`as_agent` in ours."""

    def advance(keys, state, action):
        state, transition = jax.vmap(interact, (None, 0, 0, 0))(env, keys, state, action)
        return state, transition.reward, transition.done

    state = jax.vmap(env.reset)(keys)
    look = jax.vmap(env.observe)
    return as_agent(env.num_actions, advance, look, timescan.time_scan, state, keys[0])


def their_agent(name: str, keys: jax.Array) -> tuple[Any, Item]:
    """:func:`as_agent` in gymnax's, whose observation is part of the carry."""
    env, params = gymnax.make(name)

    def advance(keys, carry, action):
        state, _ = carry
        step = jax.vmap(env.step, (0, 0, 0, None))
        observation, state, reward, terminated, truncated, _ = step(keys, state, action, params)
        return (state, observation), reward, terminated | truncated

    observation, state = jax.vmap(env.reset, (0, None))(keys, params)
    num_actions = env.action_space(params).n
    carry = state, observation
    return as_agent(num_actions, advance, lambda carry: carry[1], jax.lax.scan, carry, keys[0])


def pool(name: str, num_envs: int, num_steps: int) -> Callable[[], float]:
    """Steps of EnvPool's environments as a call that sums rewards and observations."""
    if envpool is None:
        raise ImportError("EnvPool is not installed")
    envs = envpool.make(name, env_type="gymnasium", num_envs=num_envs, num_threads=1)
    actions = np.random.default_rng(0).integers(0, 2, (num_steps, num_envs), np.int32)
    envs.reset()

    def call():
        total = 0.0
        for row in actions:
            observation, reward, *_ = envs.step(row)
            total += reward.sum() + observation.sum()
        return total

    return call


def cases(name: str) -> Cases:
    """One environment of ours at every size, and gymnax's; for a new process."""
    pair = PAIRS[name]
    out = {}
    for n in SIZES:
        length = pair.steps * min(4096 // n, 128)
        column = f"{n} envs"
        if gymnax and pair.theirs:
            few = max(length // 8, 16)
            keys = jax.random.split(jax.random.key(0), n)
            out[PEER, column] = Case(
                partial(compiled, partial(rollout, pair.theirs, num_steps=few), keys), n * few
            )
        if envpool and name == "CartPole":
            few = max(1024 // n, 16)
            out["EnvPool", column] = Case(partial(pool, pair.theirs, n, few), n * few)
        for impl in ("threefry", "pcg4d"):
            keys = jax.random.split(purerl.random.key(0, impl), n)
            function = partial(ours, pair.ours(), num_steps=length)
            out[f"purerl {impl}", column] = Case(partial(compiled, function, keys), n * length)
    return out


def agent_cases(name: str) -> Cases:
    """The same for :func:`as_agent`."""
    pair = PAIRS[name]
    out = {}
    for n in AGENT_SIZES:
        column = f"{n} envs"
        if gymnax and pair.theirs:
            keys = jax.random.split(jax.random.key(0), n)
            function = partial(their_agent, pair.theirs)
            out[PEER, column] = Case(partial(compiled, function, keys), n * AGENT_STEPS)
        for impl in ("threefry", "pcg4d"):
            keys = jax.random.split(purerl.random.key(0, impl), n)
            function = partial(our_agent, pair.ours())
            out[f"purerl {impl}", column] = Case(partial(compiled, function, keys), n * AGENT_STEPS)
    return out


def benchmark() -> list[Table]:
    tables, builds = [], {}
    for name, pair in PAIRS.items():
        timings = measure_in_new_process(__name__, "cases", name, cores=1)
        goals = {
            ("purerl pcg4d", f"{n} envs"): goal for n, goal in zip(SIZES, pair.goal, strict=True)
        }
        goals |= {
            ("purerl threefry", f"{n} envs"): min(goals)
            for n, *goals in zip(SIZES, THREEFRY_GOAL, pair.goal, strict=True)
        }
        alone = "Nothing to compare with: gymnax does not have it, or is not installed."
        notes = [] if gymnax and pair.theirs else [alone]
        tables.append(
            Table(f"{name}, random policy, steps", MILLIONS, timings, PEER, goals, True, notes)
        )
        if name in MINATAR:
            as_agent = measure_in_new_process(__name__, "agent_cases", name, cores=1)
            goals = {place: AGENT_GOAL for place in as_agent if "purerl" in place[0]}
            title = f"{name}, linear policy that looks and buffer that stores, steps"
            tables.append(Table(title, MILLIONS, as_agent, PEER, goals, True, notes))
            builds |= {
                (f"{name}, {row}", column): Timing(*[timing.build] * 4)
                for (row, column), timing in timings.items()
                if column in ("1 envs", "4096 envs")
            }
    goals = {(row, column): COMPILE_GOAL for row, column in builds if "purerl" in row}
    return [
        *tables,
        Table("MinAtar, tracing and compiling a random rollout", SECONDS, builds, goals=goals),
    ]
