"""Finite Markov decision processes from dense arrays, from Gymnasium, and at random."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.mdp.model import FiniteMDP
from purerl.random import as_key


def from_dense(transition: Any, reward: Any, initial: Any, terminal: Any = None) -> FiniteMDP:
    """The model of dense arrays.

    The outcomes of a state and action are its successors in ascending order, ``K`` the largest number of them. Where there are
    fewer, outcomes of probability and reward zero fill the row.

    Args:
        transition: ``P(s' | s, a)``, float ``[S, A, S]``.
        reward: ``R(s, a)``, float ``[S, A]``, or ``R(s, a, s')``, float ``[S, A, S]`` (of which only what can happen is read).
        initial: the law of the first state, float ``[S]``.
        terminal: the states that end an episode when reached, bool ``[S]``; none by default. Their own rows are kept.

    Raises:
        ValueError: shapes disagree, or the result is no model (see :class:`FiniteMDP`).

    Example:
        >>> chain = from_dense(transition=[[[0, 1]], [[0, 1]]], reward=[[1], [0]], initial=[1, 0], terminal=[False, True])
        >>> chain.next_state.tolist(), chain.terminated.tolist()
        ([[[1]], [[1]]], [[[True]], [[True]]])
    """
    transition, reward = np.asarray(transition), np.asarray(reward)
    shape = transition.shape
    if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
        raise ValueError(f"transition has shape {shape}; allowed: [S, A, S], none of them zero")
    if reward.shape not in (shape, shape[:2]):
        raise ValueError(f"reward has shape {reward.shape}; allowed: {shape[:2]} or {shape}")
    terminal = np.zeros(shape[0], bool) if terminal is None else np.asarray(terminal)
    if terminal.shape != shape[:1] or terminal.dtype != bool:
        raise ValueError(
            f"terminal has dtype {terminal.dtype} and shape {terminal.shape}; allowed: bool and {shape[:1]}"
        )

    possible = transition != 0
    num_outcomes = max(1, possible.sum(axis=-1).max())
    next_state = np.argsort(~possible, axis=-1, kind="stable")[..., :num_outcomes]
    real = np.take_along_axis(possible, next_state, axis=-1)
    reward = np.take_along_axis(
        np.broadcast_to(reward[..., None] if reward.ndim == 2 else reward, shape),
        next_state,
        axis=-1,
    )
    return FiniteMDP(
        probability=np.take_along_axis(transition, next_state, axis=-1),
        next_state=next_state,
        reward=np.where(real, reward, np.zeros_like(reward)),
        terminated=real & terminal[next_state],
        initial=initial,
    )


def from_gymnasium(env: Any) -> FiniteMDP:
    """The model of a Gymnasium environment that shows its own: FrozenLake, CliffWalking, Taxi and their like.

    Outcomes are the tuples ``(probability, next state, reward, terminated)`` of ``P[state][action]``, in their order and with
    duplicates kept. Where there are fewer than elsewhere, outcomes of probability zero fill the row. As in Gymnasium, what
    follows a tuple with ``terminated`` does not count, and time limits are no part of the model.

    Args:
        env: has, maybe under wrappers, the dictionary ``P`` and ``initial_state_distrib`` (or ``isd``).

    Raises:
        ValueError: ``env`` has none of these, its states or actions are not numbered from zero or differ between states, or
            the result is no model (see :class:`FiniteMDP`).
    """
    inner = getattr(env, "unwrapped", env)
    table = getattr(inner, "P", None)
    initial = getattr(inner, "initial_state_distrib", getattr(inner, "isd", None))
    if table is None or initial is None:
        raise ValueError(
            f"{type(inner).__name__} shows no model; allowed: an environment with P and initial_state_distrib (or isd)"
        )
    states = range(len(table))
    if set(table) != set(states):
        raise ValueError(
            f"P has states {list(table)}; allowed: 0, ..., {len(table) - 1}, each once"
        )
    actions = range(len(table[0]))
    for state in states:
        if set(table[state]) != set(actions):
            raise ValueError(
                f"P at state {state} has actions {list(table[state])}; allowed: {list(actions)}"
            )
    rows = [[table[state][action] for action in actions] for state in states]
    num_outcomes = max(len(outcomes) for row in rows for outcomes in row)
    padded = [
        [
            [*outcomes, *[(0.0, state, 0.0, False)] * (num_outcomes - len(outcomes))]
            for outcomes in row
        ]
        for state, row in enumerate(rows)
    ]
    table = np.array(padded, float)
    return FiniteMDP(
        probability=table[..., 0],
        next_state=table[..., 1].astype(int),
        reward=table[..., 2],
        terminated=table[..., 3].astype(bool),
        initial=initial,
    )


@functools.partial(jax.jit, static_argnames=("num_states", "num_actions", "branching"))
def garnet(key: jax.Array, num_states: int, num_actions: int, branching: int) -> FiniteMDP:
    """A random model: "Generic Average Reward Non-stationary Environment Testbed", here stationary and without an end.

    From each state and action ``branching`` distinct states can follow, every such set being as likely. Their probabilities
    are the gaps between ``branching - 1`` independent uniform cuts of ``[0, 1]``; each outcome's reward is standard normal;
    episodes start anywhere with equal probability. (Archibald, McKinnon & Thomas, "On the generation of Markov decision
    processes", Journal of the Operational Research Society 46, 1995; Bhatnagar, Sutton, Ghavamzadeh & Lee, "Natural
    actor-critic algorithms", Automatica 45, 2009.) The sets are drawn by Floyd's method (Bentley & Floyd, "Programming
    pearls: a sample of brilliance", Communications of the ACM 30, 1987), whose cost for each does not depend on ``S``.

    Works under ``jit`` and ``vmap`` over ``key``; sizes are static.

    Args:
        key: a JAX key.
        num_states: ``S``.
        num_actions: ``A``.
        branching: ``K``, in ``[1, S]``.

    Raises:
        ValueError: a size is less than one, or ``branching`` exceeds ``num_states``.

    Example:
        >>> import purerl.random
        >>> garnet(purerl.random.key(0, "pcg4d"), num_states=10, num_actions=3, branching=2).probability.shape
        (10, 3, 2)
    """
    if num_states < 1 or num_actions < 1:
        raise ValueError(
            f"num_states is {num_states} and num_actions is {num_actions}; allowed: 1 or more"
        )
    if not 1 <= branching <= num_states:
        raise ValueError(
            f"branching is {branching}; allowed: an integer in [1, {num_states}], up to num_states"
        )
    shape = (num_states, num_actions, branching)
    state_key, cut_key, reward_key = jax.random.split(as_key(key), 3)

    # For n = S - K + 1, ..., S draw one of the first n states; where it has been taken, take the n-th, which cannot have been.
    counts = jnp.arange(num_states - branching, num_states) + 1
    draws = jax.random.randint(state_key, shape, 0, counts)

    def take(k, taken):
        draw = draws[..., k]
        again = jnp.any(taken == draw[..., None], axis=-1)
        return taken.at[..., k].set(jnp.where(again, counts[k] - 1, draw))

    cuts = jnp.sort(jax.random.uniform(cut_key, (*shape[:2], branching - 1)), axis=-1)
    return FiniteMDP(
        probability=jnp.diff(cuts, axis=-1, prepend=0, append=1),
        next_state=lax.fori_loop(0, branching, take, jnp.full(shape, -1)),
        reward=jax.random.normal(reward_key, shape),
        terminated=jnp.zeros(shape, bool),
        initial=jnp.full(num_states, 1 / num_states),
    )


def time_expanded(mdp: FiniteMDP, horizon: int) -> FiniteMDP:
    """The model in which time is part of the state: state ``h * S + s`` is ``s`` after ``h`` steps, and the ``horizon``-th
    step ends the episode. A policy that depends on time becomes an ordinary one, and the best within ``horizon`` steps
    (:func:`~purerl.mdp.optimal.finite_horizon`) an ordinary optimum.

    Args:
        mdp: the model, ``S`` states.
        horizon: steps of an episode, at least 1. Static.

    Returns:
        A model of ``horizon * S`` states.

    Raises:
        ValueError: ``horizon`` is less than one.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}; allowed: 1 or more")
    size = mdp.num_states
    stage = np.arange(horizon)[:, None, None, None]
    last = stage == horizon - 1

    def every(table):
        return jnp.broadcast_to(table, (horizon, *table.shape))

    tables = {
        "probability": every(mdp.probability),
        "next_state": every(mdp.next_state) + size * np.minimum(stage + 1, horizon - 1),
        "reward": every(mdp.reward),
        "terminated": every(mdp.terminated) | last,
    }
    initial = jnp.concatenate([mdp.initial, jnp.zeros((horizon - 1) * size, mdp.initial.dtype)])
    return FiniteMDP(
        **{name: table.reshape(-1, *table.shape[2:]) for name, table in tables.items()},
        initial=initial,
    )
