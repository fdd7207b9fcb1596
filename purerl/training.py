"""Training: an agent's step, scanned over time, in segments."""

from typing import Any

import jax
import jax.numpy as jnp

from purerl import loop
from purerl.agents.base import Agent, Metrics
from purerl.evaluation import Evaluation
from purerl.random import as_key

MAX_STEPS = 2_000_000_000  # what remains up to 2**31 is for warm-ups


def segment(agent: Agent, state: Any, start: int | jax.Array, num_iterations: int) -> tuple[Any, Metrics]:
    """``num_iterations`` steps of an agent from iteration ``start`` on, and their metrics added up.

    A run cut into segments at any iterations is the run: nothing depends on where a segment begins.

    Metrics are summed by blocks of iterations, and the blocks' sums with what rounding takes from them (Kahan, "Further remarks
    on reducing truncation errors", CACM 8(1), 1965), because a plain float32 count stands still at :math:`2^{24}`.
    """

    def body(carry, t):
        state, totals = carry
        state, metrics = agent.step(state, t)
        return (state, jax.tree.map(jnp.add, totals, metrics)), None

    def block(carry, ts):
        state, totals, lost = carry
        (state, sums), _ = loop.scan(body, (state, zeros), ts)
        rest = jax.tree.map(jnp.subtract, sums, lost)
        added = jax.tree.map(jnp.add, totals, rest)
        lost = jax.tree.map(lambda new, old, more: (new - old) - more, added, totals, rest)
        return (state, added, lost), None

    shapes = jax.eval_shape(agent.step, state, jax.ShapeDtypeStruct((), jnp.int32))[1]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    ts = start + jnp.arange(num_iterations, dtype=jnp.int32)
    (state, totals, _), _ = jax.lax.scan(block, (state, zeros, zeros), ts.reshape(-1, loop.divisor(num_iterations)))
    return state, totals


def averages(metrics: Metrics) -> dict[str, jax.Array]:
    """Each mean as a number: NaN where nothing was counted, such as the return before the first episode has ended."""
    return {name: mean.total / mean.count for name, mean in metrics.items()}


def iterations_per_point(agent: Agent, num_steps: int, points: int) -> int:
    """The number of iterations between two points of a curve.

    Raises:
        ValueError: ``num_steps`` is not a positive multiple of ``points`` times the transitions of one iteration, or more
            than time, an int32, can count.
    """
    unit = points * agent.transitions_per_step
    if points < 1:
        raise ValueError(f"points is {points}; allowed: at least 1")
    if num_steps < 1 or num_steps % unit:
        raise ValueError(
            f"num_steps is {num_steps}; allowed: a positive multiple of {unit} (points={points} times the "
            f"{agent.transitions_per_step} transitions of one iteration), such as {max(unit, num_steps // unit * unit)}"
        )
    if num_steps > MAX_STEPS:
        raise ValueError(f"num_steps is {num_steps}; allowed: at most {MAX_STEPS}, for time is counted in int32")
    return num_steps // unit


def run_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of one run: for ``agent.init``, and for evaluations (folded with the number of the evaluation)."""
    init_key, evaluation_key = jax.random.split(as_key(key))
    return init_key, evaluation_key


def train(
    agent: Agent,
    key: jax.Array,
    num_steps: int,
    points: int = 100,
    evaluation: Evaluation | None = None,
) -> tuple[Any, dict[str, jax.Array]]:
    """Train one agent on one seed. Pure: ``jit``, ``vmap`` and donate it as you like.

    Args:
        agent: the algorithm with its hyperparameters and environment.
        key: of any JAX implementation; a legacy raw ``uint32`` key is wrapped.
        num_steps: environment transitions after the warm-up that ``agent.init`` does, static.
        points: how many points the curves have, static.
        evaluation: made at every point; its measures are curves too.

    Returns:
        The final state, and curves ``{name: [points]}``, each point the mean over the segment that ends there.

    Raises:
        ValueError: ``num_steps`` cannot be cut into ``points`` equal segments.

    >>> import jax, purerl
    >>> agent = purerl.QLearning(env=purerl.make("FrozenLake-v1", slip=0.0))
    >>> state, curves = jax.jit(lambda key: purerl.train(agent, key, 10_000))(purerl.random.key(0))
    >>> curves["episode_return"].shape
    (100,)
    """
    length = iterations_per_point(agent, num_steps, points)
    init_key, evaluation_key = run_keys(key)
    prepared = None if evaluation is None else evaluation.prepare(agent)

    def point(state, i):
        state, metrics = segment(agent, state, i * length, length)
        values = averages(metrics)
        if evaluation is not None:
            values |= evaluation(agent, state, jax.random.fold_in(evaluation_key, i), prepared)
        return state, values

    return jax.lax.scan(point, agent.init(init_key), jnp.arange(points, dtype=jnp.int32))
