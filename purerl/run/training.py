"""Training: the step of an agent, scanned over time in segments."""

from typing import Any

import jax
import jax.numpy as jnp

from purerl.agents.base import Agent, check_agent
from purerl.checks import WHOLE, check_values, refusal
from purerl.envs.contract import explained
from purerl.metrics import CompensatedSum, Metrics, averages, normalized
from purerl.random import as_key
from purerl.run.evaluation import Evaluation, check_evaluation
from purerl.timescan import block_length, time_scan

MAX_STEPS = 2_000_000_000  # the rest up to 2**31 is left for warm-ups


def segment(
    agent: Agent, state: Any, start: int | jax.Array, num_iterations: int
) -> tuple[Any, Metrics]:
    """Some iterations of an agent, with their metrics summed.

    Nothing depends on where a segment begins: a run cut into segments anywhere is the
    same run, bit for bit.

    Args:
        agent: the agent.
        state: its state before iteration ``start``.
        start: int32 ``[]``.
        num_iterations: static.

    Returns:
        The state, and the sum of the metrics, which stays exact where a plain float32
        count would not (:class:`~purerl.metrics.CompensatedSum`).
    """
    length = block_length(num_iterations)

    def run(carry, number):
        state, totals = carry
        return block(agent, state, totals, start + number * length, length), None

    carry = state, no_metrics(agent, state)
    numbers = jnp.arange(num_iterations // length, dtype=jnp.int32)
    (state, totals), _ = jax.lax.scan(run, carry, numbers)
    return state, totals.total


def no_metrics(agent: Agent, state: Any) -> CompensatedSum:
    """Sums of an agent's metrics before the first iteration."""
    with explained(agent.env):
        shapes = jax.eval_shape(agent.step, state, jax.ShapeDtypeStruct((), jnp.int32))[1]
    return CompensatedSum.zeros(shapes)


def block(
    agent: Agent, state: Any, totals: CompensatedSum, start: jax.Array, length: int
) -> tuple[Any, CompensatedSum]:
    """``length`` iterations of an agent, their metrics added to ``totals``."""
    none = CompensatedSum.zeros(totals.total)

    def body(carry, t):
        state, sums = carry
        state, metrics = agent.step(state, t)
        return (state, jax.tree.map(jnp.add, sums, metrics)), None

    ts = start + jnp.arange(length, dtype=jnp.int32)
    (state, more), _ = time_scan(body, (state, none.total), ts)
    return state, totals.add(more)


def iterations_per_point(agent: Agent, num_steps: int, points: int) -> int:
    """Iterations between two points of a curve.

    Raises:
        ValueError: ``num_steps`` is not a positive multiple of ``points`` times the
            transitions of one iteration, or more than an int32 time can count.
    """
    given = {"points": points, "num_steps": num_steps}
    check_values("train", given, dict.fromkeys(given, WHOLE))
    per_step = agent.transitions_per_step
    unit = points * per_step
    if num_steps % unit:
        nearest = max(unit, num_steps // unit * unit)
        raise ValueError(
            f"num_steps is {num_steps}; allowed: a positive multiple of {unit} (points={points} "
            f"times the {per_step} transitions of one iteration), such as {nearest}"
        )
    if num_steps > MAX_STEPS:
        allowed = f"at most {MAX_STEPS}, since time is an int32"
        raise refusal("train", "num_steps", num_steps, allowed)
    return int(num_steps // unit)


def run_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of one run.

    Returns:
        The key of ``agent.init``, and that of evaluations, which is folded with the
        number of the evaluation.
    """
    init_key, evaluation_key = jax.random.split(as_key(key))
    return init_key, evaluation_key


def train(
    agent: Agent,
    key: jax.Array,
    num_steps: int,
    points: int = 100,
    evaluation: Evaluation | None = None,
) -> tuple[Any, dict[str, jax.Array]]:
    """Train one agent on one seed.

    A pure function, for ``jit``, ``vmap`` and donation. The bits of a run depend on the
    width of the batch that it is computed in: with the key of a sweep's seed it trains
    another policy than the sweep did. That one is :meth:`purerl.SweepResult.snapshot`,
    and :func:`purerl.rerun` computes a run of a sweep again.

    Args:
        agent: the algorithm with its hyperparameters and environment.
        key: of any JAX implementation; a legacy ``uint32`` key is wrapped. Consumed.
        num_steps: environment transitions after the warm-up that ``agent.init`` does,
            static.
        points: how many points the curves have, static.
        evaluation: made at every point; its measures are curves too.

    Returns:
        The final state, and curves ``{name: [points]}``, each point the mean over the
        segment that ends there.

    Raises:
        ValueError: ``num_steps`` cannot be cut into ``points`` equal segments.

    >>> import jax, purerl
    >>> agent = purerl.QLearning(env=purerl.make("FrozenLake-v1", slip=0.0))
    >>> train = jax.jit(lambda key: purerl.train(agent, key, num_steps=10_000))
    >>> state, curves = train(purerl.random.key(0))
    >>> curves["episode_return"].shape
    (100,)
    """
    check_agent("train", agent)
    length = iterations_per_point(agent, num_steps, points)
    init_key, evaluation_key = run_keys(key)
    if evaluation is not None:
        check_evaluation("train", evaluation)
    prepared = None if evaluation is None else evaluation.prepare(agent)

    def point(state, i):
        state, metrics = segment(agent, state, i * length, length)
        measures = {}
        if evaluation is not None:
            key = jax.random.fold_in(evaluation_key, i)
            measures = evaluation(agent, agent.snapshot(state), key, prepared)
        return state, (normalized(metrics), measures)

    with explained(agent.env):
        state = agent.init(init_key)
    numbers = jnp.arange(points, dtype=jnp.int32)
    state, (metrics, measures) = jax.lax.scan(point, state, numbers)
    return state, averages(metrics) | measures
