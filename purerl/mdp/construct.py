"""Construction of finite models: from dense arrays, from Gymnasium, at random."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.checks import refusal
from purerl.mdp.model import ArrayLike, FiniteMDP
from purerl.random import as_key

TINY = 1e-8  # a negative probability that is no more than rounding


def _pick_successors(transition):
    """The possible successors of each state and action, in ascending order.

    Returns:
        ``next_state``, int ``[S, A, K]``, and whether each outcome is possible, bool
        ``[S, A, K]``: false where it is padding.
    """
    possible = transition != 0
    num_outcomes = max(1, possible.sum(axis=-1).max())
    next_state = np.argsort(~possible, axis=-1, kind="stable")[..., :num_outcomes]
    return next_state, np.take_along_axis(possible, next_state, axis=-1)


def _completed(model, possible):
    """A model in which actions without outcomes are not available.

    Args:
        model: the arrays of a :class:`FiniteMDP`, by name.
        possible: whether an outcome is one, bool ``[S, A, K]``. A state without any
            action ends an episode when it is reached.
    """
    probability = np.asarray(model["probability"])
    if not np.issubdtype(probability.dtype, np.floating):
        probability = probability.astype(float)
    probability = np.where((probability < 0) & (probability >= -TINY), 0.0, probability)
    available = possible.any(axis=-1)
    over = ~available.any(axis=-1)
    missing = ~available[..., None]
    here = np.arange(len(available))[:, None, None]
    first = np.arange(probability.shape[-1]) == 0
    next_state = np.where(missing, here, model["next_state"])
    ends = possible & (model["terminated"] | over[next_state])
    return FiniteMDP(
        probability=np.where(missing, first.astype(probability.dtype), probability),
        next_state=next_state,
        reward=np.where(missing, 0.0, model["reward"]),
        terminated=np.where(missing, over[:, None, None], ends),
        initial=model["initial"],
        available=available | over[:, None],
    )


def _padded(rows, width):
    """Nested lists of unequal length as an array, with zeros where they end.

    Args:
        rows: ``[S][<= A]`` or ``[S][<= A][width]``; None is an empty list.
        width: of the last axis; None if there is none.
    """
    rows = [[] if row is None else list(row) for row in rows]
    num_actions = max([len(row) for row in rows], default=0)
    empty = 0.0 if width is None else np.zeros(width)

    def entry(value):
        is_empty = value is None or (np.ndim(value) > 0 and len(value) == 0)
        return empty if is_empty else value

    filled = [[*map(entry, row), *[empty] * (num_actions - len(row))] for row in rows]
    return np.array(filled, float)


def _as_table(value, width=None):
    """Numbers as an array, also if rows of states have unequal lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        return _padded(value, width)


def _is_sparse(transition):
    """Test for a list of sparse matrices, one for each action."""
    return isinstance(transition, (list, tuple)) and all(
        hasattr(matrix, "tocsr") for matrix in transition
    )


def _from_sparse(matrices, reward):
    """Outcomes of sparse ``P_a(s' | s)``.

    Returns:
        ``probability``, ``next_state``, ``reward`` and whether each outcome is
        possible, all ``[S, A, K]``.
    """
    rows = [matrix.tocsr().sorted_indices() for matrix in matrices]
    for matrix in rows:
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    counts = np.stack([np.diff(matrix.indptr) for matrix in rows], axis=1)
    shape = (*counts.shape, max(1, counts.max()))
    probability, paid = np.zeros(shape), np.zeros(shape)
    next_state = np.zeros(shape, int)
    by_successor = _is_sparse(reward)
    for action, matrix in enumerate(rows):
        state = np.repeat(np.arange(shape[0]), counts[:, action])
        place = np.arange(len(state)) - np.repeat(matrix.indptr[:-1], counts[:, action])
        at = state, action, place
        probability[at] = matrix.data
        next_state[at] = matrix.indices
        if by_successor:
            paid[at] = np.asarray(reward[action].tocsr()[state, matrix.indices]).ravel()
        else:
            paid[at] = np.asarray(reward)[state, action]
    return probability, next_state, paid, np.arange(shape[2]) < counts[..., None]


def _from_array(transition, reward):
    """Outcomes of ``P(s' | s, a)`` as an array: as :func:`_from_sparse`."""
    shape = transition.shape
    if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
        allowed = "[S, A, S], none of them zero"
        raise refusal("from_dense", "transition", shape, allowed, "has shape")
    if reward.shape not in (shape, shape[:2]):
        allowed = f"{shape[:2]} or {shape}"
        raise refusal("from_dense", "reward", reward.shape, allowed, "has shape")
    next_state, possible = _pick_successors(transition)
    if reward.ndim == 2:
        reward = reward[..., None]
    paid = np.take_along_axis(np.broadcast_to(reward, shape), next_state, axis=-1)
    probability = np.take_along_axis(transition, next_state, axis=-1)
    return probability, next_state, np.where(possible, paid, 0), possible


def from_dense(
    transition: Any,
    reward: Any,
    initial: ArrayLike,
    terminal: ArrayLike | None = None,
) -> FiniteMDP:
    """A model from the matrices of its transitions.

    The outcomes of a state and action are its successors in ascending order, and ``K``
    is the largest number of successors. Rows with fewer are padded with outcomes of
    probability and reward zero. An action whose row is empty, or zero everywhere, is
    not available; a state without any action, such as the terminal states of textbooks,
    ends an episode when reached. A probability of ``-TINY`` or more counts as zero.

    Args:
        transition: ``P(s' | s, a)``: an array ``[S, A, S]``; lists ``[S][A][S]``, in
            which states may have fewer actions than others, or none; or a list of ``A``
            sparse matrices of SciPy, ``[S, S]`` each.
        reward: ``R(s, a)``, ``[S, A]``, or ``R(s, a, s')``, ``[S, A, S]``, of which
            only the entries of possible transitions are read; in the form of
            ``transition``, or an array.
        initial: the distribution of the first state, float ``[S]``.
        terminal: the states that end an episode when reached, bool ``[S]``; by default
            those without any action. Their own rows are kept.

    Raises:
        ValueError: shapes disagree, or the result is not a valid model (see
            :class:`FiniteMDP`).

    Example:
        >>> chain = from_dense(
        ...     transition=[[[0, 1]], [[0, 1]]],
        ...     reward=[[1], [0]],
        ...     initial=[1, 0],
        ...     terminal=[False, True],
        ... )
        >>> chain.next_state.tolist(), chain.terminated.tolist()
        ([[[1]], [[1]]], [[[True]], [[True]]])

        The same, where nothing can be done at the end:

        >>> from_dense([[[0, 1]], []], [[1], []], [1, 0]).terminated.tolist()
        [[[True]], [[True]]]
    """
    if _is_sparse(transition):
        probability, next_state, paid, possible = _from_sparse(transition, reward)
    else:
        table = _as_table(transition, len(transition))
        rewards = _as_table(reward)
        probability, next_state, paid, possible = _from_array(table, rewards)
    size = len(probability)
    ends = np.zeros(size, bool) if terminal is None else np.asarray(terminal)
    if ends.shape != (size,) or ends.dtype != bool:
        found = f"{ends.dtype} and shape {ends.shape}"
        raise refusal("from_dense", "terminal", found, f"bool and {(size,)}", "has dtype")
    model = {
        "probability": probability,
        "next_state": next_state,
        "reward": paid,
        "terminated": possible & ends[next_state],
        "initial": initial,
    }
    return _completed(model, possible)


def _read_table(inner):
    """``P`` of a Gymnasium environment as lists of outcomes, ``[S][A]``.

    Actions that a state does not have are empty lists.

    Raises:
        ValueError: its states or actions are not numbered from zero.
    """
    owner = type(inner).__name__
    table = inner.P
    states = range(len(table))
    if set(table) != set(states):
        allowed = f"0, ..., {len(table) - 1}, each once"
        raise refusal(owner, "P", list(table), allowed, "has states")
    names = {action for row in table.values() for action in row}
    actions = range(len(names))
    for state in states:
        if not set(table[state]) <= set(actions):
            name = f"P at state {state}"
            raise refusal(owner, name, list(table[state]), str(list(actions)), "has actions")
    return [[table[state].get(action) or [] for action in actions] for state in states]


def from_gymnasium(env: Any) -> FiniteMDP:
    """A model from a Gymnasium environment with a table, such as FrozenLake or Taxi.

    Outcomes are the tuples ``(probability, next state, reward, terminated)`` of
    ``P[state][action]``, in the same order and with duplicates kept. Rows with fewer
    outcomes than others are padded with outcomes of probability zero. An action that is
    missing or has no outcomes is not available; a state without any ends an episode
    when reached. As in Gymnasium, nothing follows a tuple with ``terminated``, and time
    limits are not part of the model.

    Args:
        env: has, possibly under wrappers, the dictionary ``P`` and
            ``initial_state_distrib`` (or ``isd``).

    Raises:
        ValueError: ``env`` lacks one of these, its states or actions are not numbered
            from zero, or the result is not a valid model (see :class:`FiniteMDP`).
    """
    inner = getattr(env, "unwrapped", env)
    initial = getattr(inner, "initial_state_distrib", getattr(inner, "isd", None))
    if getattr(inner, "P", None) is None or initial is None:
        allowed = "an environment with P and initial_state_distrib (or isd)"
        found = f"{type(inner).__name__}, which shows no model"
        raise refusal("from_gymnasium", "env", found, allowed)
    rows = _read_table(inner)
    num_outcomes = max(1, max(len(outcomes) for row in rows for outcomes in row))

    def pad(state, outcomes):
        padding = (0.0, state, 0.0, False)
        return [*outcomes, *[padding] * (num_outcomes - len(outcomes))]

    padded = [[pad(state, outcomes) for outcomes in row] for state, row in enumerate(rows)]
    table = np.array(padded, float)
    lengths = np.array([[len(outcomes) for outcomes in row] for row in rows])
    model = {
        "probability": table[..., 0],
        "next_state": table[..., 1].astype(int),
        "reward": table[..., 2],
        "terminated": table[..., 3].astype(bool),
        "initial": initial,
    }
    return _completed(model, np.arange(num_outcomes) < lengths[..., None])


@functools.partial(jax.jit, static_argnames=("num_states", "num_actions", "branching"))
def garnet(key: jax.Array, num_states: int, num_actions: int, branching: int) -> FiniteMDP:
    """A random model, stationary and without termination.

    The name stands for "Generic Average Reward Non-stationary Environment Testbed".
    Each state and action has ``branching`` distinct successors, and all such sets are
    equally likely. Their probabilities are the gaps between ``branching - 1``
    independent uniform cuts of ``[0, 1]``; the reward of each outcome is standard
    normal; the first state is uniform. Archibald, McKinnon & Thomas, "On the generation
    of Markov decision processes" (Journal of the Operational Research Society 46,
    1995); Bhatnagar, Sutton, Ghavamzadeh & Lee, "Natural actor-critic algorithms"
    (Automatica 45, 2009).

    The sets are drawn by Floyd's method (Bentley & Floyd, "Programming pearls: a sample
    of brilliance", Communications of the ACM 30, 1987), whose cost per set does not
    depend on ``S``. Works under ``jit`` and ``vmap`` over ``key``; sizes are static.

    Args:
        key: a JAX key.
        num_states: ``S``.
        num_actions: ``A``.
        branching: ``K``, in ``[1, S]``.

    Raises:
        ValueError: a size is less than one, or ``branching`` exceeds ``num_states``.

    Example:
        >>> import purerl.random
        >>> key = purerl.random.key(0, "pcg4d")
        >>> garnet(key, num_states=10, num_actions=3, branching=2).probability.shape
        (10, 3, 2)
    """
    if num_states < 1 or num_actions < 1:
        found = f"{num_states} and num_actions is {num_actions}"
        raise refusal("garnet", "num_states", found, "1 or more")
    if not 1 <= branching <= num_states:
        allowed = f"an integer in [1, {num_states}], up to num_states"
        raise refusal("garnet", "branching", branching, allowed)
    shape = (num_states, num_actions, branching)
    state_key, cut_key, reward_key = jax.random.split(as_key(key), 3)

    # For n = S - K + 1, ..., S draw one of the first n states; if it has been taken
    # already, take the n-th, which cannot have been.
    counts = jnp.arange(num_states - branching, num_states, dtype=jnp.int32) + 1
    draws = jax.random.randint(state_key, shape, 0, counts, jnp.int32)

    def take(k, taken):
        draw = draws[..., k]
        again = jnp.any(taken == draw[..., None], axis=-1)
        return taken.at[..., k].set(jnp.where(again, counts[k] - 1, draw))

    # Drawn in float32, so that the problem is the same under jax_enable_x64.
    cuts = jnp.sort(jax.random.uniform(cut_key, (*shape[:2], branching - 1), jnp.float32), axis=-1)
    rewards = jax.random.normal(reward_key, shape, jnp.float32)
    return FiniteMDP(
        probability=jnp.diff(cuts.astype(float), axis=-1, prepend=0, append=1),
        next_state=lax.fori_loop(0, branching, take, jnp.full(shape, -1, jnp.int32)),
        reward=rewards.astype(float),
        terminated=jnp.zeros(shape, bool),
        initial=jnp.full(num_states, 1 / num_states, float),
    )


def time_expanded(mdp: FiniteMDP, horizon: int) -> FiniteMDP:
    """The model in which time is part of the state.

    State ``h * S + s`` is ``s`` after ``h`` steps, and the ``horizon``-th step ends the
    episode. A policy that depends on time becomes an ordinary policy of this model, and
    the optimum within ``horizon`` steps (:func:`~purerl.mdp.optimal.finite_horizon`) an
    ordinary optimum.

    Args:
        mdp: the model, ``S`` states.
        horizon: steps of an episode, at least 1. Static.

    Returns:
        A model of ``horizon * S`` states.

    Raises:
        ValueError: ``horizon`` is less than one.
    """
    if horizon < 1:
        raise refusal("time_expanded", "horizon", horizon, "1 or more")
    size = mdp.num_states
    stage = np.arange(horizon)[:, None, None, None]
    last = stage == horizon - 1

    def every(table):
        return jnp.broadcast_to(table, (horizon, *table.shape))

    def flat(table):
        return table.reshape(-1, *table.shape[2:])

    later = jnp.zeros((horizon - 1) * size, mdp.initial.dtype)
    return FiniteMDP(
        probability=flat(every(mdp.probability)),
        next_state=flat(every(mdp.next_state) + size * np.minimum(stage + 1, horizon - 1)),
        reward=flat(every(mdp.reward)),
        terminated=flat(every(mdp.terminated) | last),
        initial=jnp.concatenate([mdp.initial, later]),
    )
