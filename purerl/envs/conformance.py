"""``check_env``: run an environment, and say in words where it breaks its interface."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import refusal, shown
from purerl.envs.base import Wrapper, can_render, has_model, restart
from purerl.envs.contract import check_dynamics, check_environment, check_shapes, observes_index
from purerl.mdp import reachable
from purerl.random import as_key

STEPS = 64  # of a rollout
PAIRS = 16  # of state and action whose outcomes are compared with the model
DRAWS = 512  # of each pair
SIGMAS = 6.0  # by how many standard errors a frequency may differ from its probability


def check_env(env: Any, key: jax.Array | None = None) -> None:
    """Check an environment of one's own, by running it.

    It takes some random actions. Checked are the members and their kinds; shapes and
    dtypes; that equal arguments give equal results and are left as they were; that one
    compiled program serves all steps; that ``vmap`` computes what a loop does; that
    numbers are finite and indices of states in range; ``restart`` and ``render`` where
    there are any; and the exact model, if there is one: its shapes, and by many draws
    its probabilities and mean rewards. What passes may still be wrong.

    Args:
        env: the environment.
        key: consumed; by default always the same.

    Raises:
        ValueError: names the environment, what is wrong, and what is allowed.

    Example:
        >>> import purerl
        >>> check_env(purerl.make("FrozenLake-v1"))
    """
    check = check_environment if hasattr(env, "num_actions") else check_dynamics
    check("check_env", env)
    _check_fields(env)
    check_shapes(env)
    _check_purity(env)
    key = jax.random.key(0) if key is None else as_key(key)
    roll_key, model_key = jax.random.split(key)
    states, actions, keys = _rollout(env, roll_key)
    _check_lanes(env, states, actions, keys)
    if can_render(env):
        _check_picture(env, jax.tree.map(lambda x: x[-1], states))
    if has_model(env):
        _check_model(env, model_key)


def _fault(env, where, value, allowed):
    """The error for what a function of the environment gives."""
    function, what = where
    return refusal(f"{shown(env)}.{function}", what, value, allowed)


def _check_fields(env):
    for path, leaf in jax.tree_util.tree_leaves_with_path(env):
        if not isinstance(leaf, (bool, int, float, complex, np.generic, np.ndarray, jax.Array)):
            name = jax.tree_util.keystr(path).lstrip(".")
            allowed = "numbers and arrays, and what else there is declared with pytree.static()"
            raise refusal(shown(env), name, shown(leaf), allowed)
    while dataclasses.is_dataclass(env):
        for field in dataclasses.fields(env):
            value = getattr(env, field.name)
            if not field.metadata.get("pytree_node", True) and not _is_hashable(value):
                allowed = "a hashable value, such as a tuple, since it is static"
                raise refusal(shown(env), field.name, shown(value), allowed)
        env = getattr(env, "env", None)


def _is_hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _action(env, key):
    if hasattr(env, "num_actions"):
        return jax.random.randint(key, (), 0, env.num_actions, jnp.int32)
    low, high = env.action_bounds
    return jax.random.uniform(key, env.action.shape, env.action.dtype, low, high)


def _check_purity(env):
    """Traced again, a function is the same, and leaves its arguments as they were."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(env.reset, key)
    action = jax.eval_shape(lambda: _action(env, jax.random.key(0)))

    def step(key, state, action):
        before = jax.tree.leaves(state)
        result = env.step(key, state, action)
        if any(a is not b for a, b in zip(before, jax.tree.leaves(state), strict=True)):
            raise refusal(shown(env), "step", "the state given to it", "a new state", "changes")
        return result

    calls = {"reset": (env.reset, key), "step": (step, key, state, action)}
    calls["observe"] = (env.observe, state)
    for name, (function, *args) in calls.items():
        # A function of its own for each, since JAX remembers those that it has traced.
        first, second = (jax.make_jaxpr(lambda *x, f=function: f(*x))(*args) for _ in range(2))
        constants = zip(_raw(first.consts), _raw(second.consts), strict=False)
        same = all(a.tobytes() == b.tobytes() for a, b in constants)
        if str(first) != str(second) or not same:
            pure = "the same program: all chance comes from the key, and nothing is remembered"
            raise refusal(shown(env), name, "another program each time it is traced", pure)
    reached, _ = jax.eval_shape(env.step, key, state, action)
    _check_types(env, "step", state, reached)
    if hasattr(env, "restart"):
        again = jax.eval_shape(env.restart, key, reached)
        if jax.tree.structure(again) != jax.tree.structure(state):
            allowed = "a state as reset returns it"
            raise refusal(shown(env), "restart", shown(again), allowed, "returns")
        _check_types(env, "restart", state, again)


def _check_types(env, name, state, reached):
    """The types of a state do not change, for then programs would be compiled twice."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    for (path, old), new in zip(leaves, jax.tree.leaves(reached), strict=True):
        if (old.shape, old.dtype, old.weak_type) != (new.shape, new.dtype, new.weak_type):
            kinds = [f"{'weak ' * x.weak_type}{x.dtype.name} {list(x.shape)}" for x in (old, new)]
            what = f"the state{jax.tree_util.keystr(path)}"
            allowed = f"{kinds[0]}, as in reset (a Python number is weak: use jnp.float32(0))"
            raise _fault(env, (name, what), kinds[1], allowed)


def _rollout(env, key):
    """States, actions and keys of a rollout, leaves ``[STEPS, ...]``."""

    def step(state, t):
        action_key, step_key, reset_key = jax.random.split(jax.random.fold_in(key, t), 3)
        action = _action(env, action_key)
        reached, outcome = env.step(step_key, state, action)
        fresh = restart(env, reset_key, reached)
        following = jax.tree.map(lambda a, b: jnp.where(outcome.done, a, b), fresh, reached)
        return following, (state, action, step_key)

    start = env.reset(jax.random.fold_in(key, STEPS))
    return jax.lax.scan(step, start, jnp.arange(STEPS, dtype=jnp.int32))[1]


def _one_step(env, key, state, action):
    reached, outcome = env.step(key, state, action)
    return {
        "the state": reached,
        "reward": outcome.reward,
        "terminated": outcome.terminated,
        "truncated": outcome.truncated,
        "the observation": env.observe(reached),
    }


def _raw(tree):
    """The leaves as NumPy arrays, keys by their words."""

    def raw(leaf):
        leaf = jnp.asarray(leaf)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.array(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(raw, tree)


def _differing(one, other, exact):
    """The name of the first result that differs, or None."""
    for name, value in one.items():
        for a, b in zip(*map(jax.tree.leaves, (value, other[name])), strict=True):
            close = 0.0 if exact or a.dtype.kind != "f" else 1e-4
            if not np.allclose(a, b, rtol=close, atol=close, equal_nan=True):
                return name
    return None


def _check_lanes(env, states, actions, keys):
    """``vmap`` computes what a loop does, twice the same, and numbers are in range."""
    lanes = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * STEPS), env)
    args = lanes, keys, states, actions
    try:
        together = jax.jit(jax.vmap(_one_step)).lower(*args).compile()
    except Exception as error:
        allowed = "a function that works under vmap over the environment's fields"
        what = f"{type(error).__name__} ({error})"
        raise refusal(shown(env), "step", what, allowed, "raises") from error
    loop = jax.jit(lambda *args: jax.lax.map(lambda each: _one_step(*each), args))
    results, again, alone = map(_raw, (together(*args), together(*args), loop(*args)))
    if (name := _differing(results, again, exact=True)) is not None:
        pure = "the same for the same key, state and action"
        raise _fault(env, ("step", name), "different each time", pure)
    if (name := _differing(alone, results, exact=False)) is not None:
        raise _fault(env, ("step", name), "different under vmap", "what a loop computes")
    for name in ("reward", "the observation"):
        values = results[name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            worst = values[~np.isfinite(values)][0]
            raise _fault(env, ("step", name), worst, "finite numbers")
    size = getattr(env, "num_states", None)
    seen = results["the observation"]
    if size is not None and seen.dtype.kind in "iu" and not ((seen >= 0) & (seen < size)).all():
        worst = seen[(seen < 0) | (seen >= size)][0]
        allowed = f"an integer in [0, env.num_states), which is {size}"
        raise _fault(env, ("observe", "the observation"), worst, allowed)


def _check_picture(env, state):
    picture = env.render(state)
    allowed = "an array of uint8 [H, W, 3]"
    is_array = isinstance(picture, np.ndarray)
    if not is_array or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        what = f"{picture.dtype} {list(picture.shape)}" if is_array else shown(picture)
        raise _fault(env, ("render", "the picture"), what, allowed)


# The exact model.


def _identity(env, state):
    """The part of a state by which the model tells states apart.

    What wrappers add to a state and not to the model, such as a clock, is left out.
    """
    if not isinstance(env, Wrapper):
        return state
    inner = _identity(env.env, env.inner(state))
    if type(env).states is Wrapper.states:
        return inner
    return state._replace(inner=inner) if hasattr(state, "inner") else state


def _index(env, listed, state):
    """The place of a state in the model's order, ``S`` if it is not there."""

    def matches(rows, value):
        same = rows == value
        return jnp.all(same.reshape(same.shape[0], -1), axis=1)

    parts = jax.tree.leaves(jax.tree.map(matches, listed, _identity(env, state)))
    found = jnp.all(jnp.stack(parts), axis=0)
    return jnp.where(jnp.any(found), jnp.argmax(found), found.shape[0])


def _check_model(env, key):
    model = env.mdp
    size, num_actions, _ = model.probability.shape
    if num_actions != env.num_actions:
        allowed = f"env.num_actions, {env.num_actions}"
        raise _fault(env, ("mdp", "num_actions"), num_actions, allowed)
    states = env.states()
    for leaf in jax.tree.leaves(states):
        if np.shape(leaf)[:1] != (size,):
            allowed = f"a leading axis of {size}, as many states as env.mdp has"
            raise _fault(env, ("states", "the shape of a leaf"), list(np.shape(leaf)), allowed)
    indexed = observes_index(env) and env.num_states == size
    listed = jax.vmap(env.observe if indexed else lambda state: _identity(env, state))(states)
    if indexed and not np.array_equal(listed, np.arange(size)):
        allowed = "the indices of the states, 0, 1, ..."
        raise _fault(env, ("observe", "what is observed in env.states()"), listed, allowed)
    start_key, pair_key, draw_key = jax.random.split(key, 3)

    def place(state):
        return env.observe(state) if indexed else _index(env, listed, state)

    draw_start = jax.jit(jax.vmap(lambda key: place(env.reset(key))))
    starts = np.asarray(draw_start(jax.random.split(start_key, DRAWS)))
    _compare(env, ("reset", "a start"), starts, np.asarray(model.initial), size)
    pairs = np.argwhere(np.broadcast_to(np.asarray(reachable(model))[:, None], (size, num_actions)))
    chosen = pairs[jax.random.choice(pair_key, len(pairs), (min(PAIRS, len(pairs)),), False)]

    def draw(key, s, a):
        state = jax.tree.map(lambda x: x[s], states)
        reached, outcome = env.step(key, state, a)
        return place(reached), outcome.reward, outcome.terminated

    draws = jax.jit(jax.vmap(jax.vmap(draw, (0, None, None))))
    keys = jax.random.split(draw_key, (len(chosen), DRAWS))
    of_pair = draws(keys, *chosen.T.astype(np.int32))
    for (s, a), reached, reward, terminated in zip(chosen, *map(np.asarray, of_pair), strict=True):
        where = f"after action {a} in state {s}"
        if (reached == size).any():
            allowed = "one of them, of which there are " + str(size)
            raise _fault(env, ("step", f"the state {where}"), "none of env.states()", allowed)
        p, next_state, rewards, ends = (
            np.asarray(table[s, a], np.float64 if table.dtype.kind == "f" else None)
            for table in (model.probability, model.next_state, model.reward, model.terminated)
        )
        law = np.bincount(next_state + size * ends, p, 2 * size)
        _compare(env, ("step", f"the state {where}"), reached + size * terminated, law, size)
        mean = p @ rewards
        spread = np.sqrt(p @ (rewards - mean) ** 2) + reward.std()
        if abs(reward.mean() - mean) > SIGMAS * spread / np.sqrt(DRAWS) + 1e-5 * (1 + abs(mean)):
            allowed = f"{mean:.6g}, as env.mdp says"
            raise _fault(env, ("step", f"the mean reward {where}"), f"{reward.mean():.6g}", allowed)


def _compare(env, what, drawn, law, size):
    """Compare the frequencies of states with their probabilities.

    From ``size`` on, they stand for states in which the episode ends.
    """
    found = np.bincount(drawn, minlength=len(law)) / len(drawn)
    law = np.append(law, np.zeros(len(found) - len(law))).clip(0, 1)
    error = np.sqrt(law * (1 - law) / len(drawn)) + 1 / len(drawn)
    wrong = np.where(law == 0, found > 0, np.abs(found - law) > SIGMAS * error)
    if wrong.any():
        worst = int(np.argmax(np.where(wrong, np.abs(found - law), 0)))
        kind = "terminal " if worst >= size else ""
        value = f"{kind}{worst % size} in {found[worst]:.3g} of the draws"
        raise _fault(env, what, value, f"in {law[worst]:.3g} of them, as env.mdp says")
