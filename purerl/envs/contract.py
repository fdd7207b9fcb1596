"""The interface of environments, checked without running them.

:func:`check_environment` looks at the kind of a value, when an agent or a wrapper is
built. :func:`check_step` looks at shapes and dtypes of one step, while a program is
traced. :func:`~purerl.envs.check_env` runs an environment and checks the rest.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purerl.checks import listed, meant, refusal, shown, whole

_LIBRARIES = {  # whose environments have an adapter
    name: f"purerl.envs.interop.from_{name}(env)" for name in ("gymnax", "jumanji", "navix", "pgx")
}


def _instead(env: Any) -> str:
    """The guess for something that is no environment."""
    libraries = {base.__module__.split(".")[0] for base in type(env).__mro__}
    if isinstance(env, str):
        return meant(f"purerl.make({env!r})")
    if isinstance(env, type) or callable(env):
        return meant(f"{getattr(env, '__name__', 'env')}()")
    if hasattr(env, "probability") and hasattr(env, "next_state"):
        return meant("purerl.envs.FiniteEnvironment.of(mdp)")
    if libraries & {"gymnasium", "gym"}:
        name = getattr(getattr(env, "spec", None), "id", None)
        return meant(f"purerl.make({name!r})") if name else ""
    return "".join(meant(call) for name, call in _LIBRARIES.items() if name in libraries)


def _check(owner: str, env: Any, members: tuple[str, ...], kind: str) -> None:
    missing = [name for name in members if not hasattr(env, name)]
    if missing == ["num_actions"] and hasattr(env, "action"):
        guess = meant("purerl.envs.DiscretizedActions(env, actions)")
        raise refusal(owner, "env", f"{shown(env)}, whose actions are continuous", kind + guess)
    if missing or isinstance(env, type):
        guess = _instead(env)
        lacks = "" if guess else f", which has no {listed(missing)}"
        raise refusal(owner, "env", shown(env) + lacks, kind + guess)
    if any(leaf is env for leaf in jax.tree.leaves(env)):
        allowed = "a pytree, such as a class derived from purerl.pytree.Node"
        raise refusal(owner, "env", shown(env), allowed)
    if not isinstance(env.observation, jax.ShapeDtypeStruct):
        where = f"{type(env).__name__}.observation"
        raise refusal(owner, where, shown(env.observation), "a jax.ShapeDtypeStruct")


def check_dynamics(owner: str, env: Any) -> None:
    """Check that something is an environment, with actions of any kind.

    Raises:
        ValueError: names ``owner``, what was given, and what may have been meant.
    """
    _check(owner, env, ("reset", "step", "observe", "observation"), "an environment of purerl")


def check_environment(owner: str, env: Any) -> None:
    """Check that something is an environment with finitely many actions.

    Raises:
        ValueError: names ``owner``, what was given, and what may have been meant.
    """
    members = ("reset", "step", "observe", "observation", "num_actions")
    _check(owner, env, members, "an environment of purerl with finitely many actions")
    _check_count(owner, env, "num_actions")


def check_continuous(owner: str, env: Any) -> None:
    """Check that something is an environment with bounded continuous actions.

    Raises:
        ValueError: names ``owner``, what was given, and what is allowed.
    """
    allowed = "an environment with bounded continuous actions"
    if hasattr(env, "num_actions") or not hasattr(env, "action"):
        raise refusal(owner, "env", shown(env), allowed)
    dtype = jnp.dtype(env.action.dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise refusal(owner, "env", f"{shown(env)}, whose actions are {dtype.name}", allowed)
    try:
        bounds = getattr(env, "action_bounds", (np.inf,))
    except (TypeError, ValueError):
        return  # its fields are those of several environments, for vmap
    if not all(isinstance(bound, Tracer) or np.isfinite(bound).all() for bound in bounds):
        raise refusal(owner, "env", f"{shown(env)}, whose actions have no finite bounds", allowed)


def check_index(owner: str, env: Any) -> None:
    """Check that something is an environment that observes the index of its state.

    Raises:
        ValueError: names ``owner``, what was given, and what may have been meant.
    """
    check_environment(owner, env)
    if not observes_index(env):
        inner = getattr(env, "env", None)
        inside = inner is not None and hasattr(inner, "observation") and observes_index(inner)
        allowed = (
            "an environment with a finite number of states, env.num_states, that observes the "
            "index of its state" + (meant("env.env") if inside else "")
        )
        raise refusal(owner, "env", shown(env), allowed)
    _check_count(owner, env, "num_states")


def observes_index(env: Any) -> bool:
    """Test for a finite number of states, observed by their index."""
    seen = env.observation
    is_integer = jnp.issubdtype(seen.dtype, jnp.integer)
    return hasattr(env, "num_states") and seen.shape == () and is_integer


def _check_count(owner, env, name):
    value = getattr(env, name)
    count = whole(value)
    if count is None or count < 1:
        where = f"{type(env).__name__}.{name}"
        raise refusal(owner, where, shown(value), "a positive whole number")


def _require(owner, field, value, accepts, shape, allowed):
    """Require the shape and the dtype of a value."""
    try:
        found = jax.typeof(value)
    except TypeError:
        raise refusal(owner, field, shown(value), allowed) from None
    if found.shape != shape:
        raise refusal(owner, field, list(found.shape), f"{list(shape)}", "has shape")
    if not accepts(found):
        raise refusal(owner, field, found.dtype.name, allowed, "has dtype")


def _is_float(found):
    is_python = found.weak_type and jnp.issubdtype(found.dtype, jnp.floating)
    return found.dtype == jnp.float32 or is_python


def _is_bool(found):
    return found.dtype == jnp.bool_


def check_step(env: Any, state: Any, reached: Any, outcome: Any) -> None:
    """Check the shapes and dtypes of one step, in which no axis is batched.

    Args:
        env: the environment.
        state: before the step.
        reached: the state after it.
        outcome: of the step.

    Raises:
        ValueError: names the environment and what differs.
    """
    owner = f"{shown(env)}.step"
    fields = ("reward", "terminated", "truncated")
    if not all(hasattr(outcome, field) for field in fields):
        raise refusal(owner, "the second result", shown(outcome), "an Outcome")
    _require(owner, "reward", outcome.reward, _is_float, (), "float32")
    _require(owner, "terminated", outcome.terminated, _is_bool, (), "bool")
    _require(owner, "truncated", outcome.truncated, _is_bool, (), "bool")
    _check_states(owner, state, reached)


def _check_states(owner, state, reached):
    before, structure = jax.tree_util.tree_flatten_with_path(state)
    after = jax.tree.leaves(reached)
    if jax.tree.structure(reached) != structure:
        allowed = f"the structure of the state before it, {shown(state)}"
        raise refusal(owner, "the state", shown(reached), allowed)
    for (path, old), new in zip(before, after, strict=True):
        old, new = jax.typeof(old), jax.typeof(new)
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            name = f"the state{jax.tree_util.keystr(path)}"
            found = f"{new.dtype.name} {list(new.shape)}"
            allowed = f"{old.dtype.name} {list(old.shape)}, as in the state before it"
            raise refusal(owner, name, found, allowed)


def check_observation(env: Any, observation: Any) -> None:
    """Check the shape and dtype of one observation, which is not batched.

    Raises:
        ValueError: names the environment and what differs from ``env.observation``.
    """
    seen = env.observation
    said = f"{jnp.dtype(seen.dtype).name}, as env.observation says"
    _require(
        f"{shown(env)}.observe",
        "the observation",
        observation,
        lambda found: found.dtype == seen.dtype,
        tuple(seen.shape),
        said,
    )


@contextlib.contextmanager
def explained(env: Any) -> Iterator[None]:
    """Explain an error in tracing that is due to an environment."""
    try:
        yield
    except Exception:
        check_shapes(env)
        raise


def check_shapes(env: Any) -> None:
    """Check the shapes and dtypes of ``reset``, ``step`` and ``observe``, by tracing.

    In a stack of wrappers the innermost environment comes first.

    Raises:
        ValueError: names the environment, the function and what is wrong.
    """
    if hasattr(env, "env"):
        check_shapes(env.env)

    def traced(name, *args):
        function = getattr(env, name)
        try:
            return jax.eval_shape(function, *args)
        except Exception as error:
            kind = type(error).__name__
            allowed = "a function that JAX can trace and that keeps the interface of Environment"
            raise refusal(shown(env), name, f"{kind} ({error})", allowed, "raises") from error

    def passed(name, *args):
        """The results as they are: tracing lets Python numbers become arrays."""
        results = []
        jax.eval_shape(lambda *args: results.append(getattr(env, name)(*args)), *args)
        return results[0]

    key = jax.eval_shape(lambda: jax.random.key(0))
    continuous = getattr(env, "action", None) if not hasattr(env, "num_actions") else None
    action = jax.ShapeDtypeStruct((), jnp.int32) if continuous is None else continuous
    state = traced("reset", key)
    check_observation(env, traced("observe", state))
    result = traced("step", key, state, action)
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"{len(result)} values" if isinstance(result, tuple) else shown(result)
        allowed = "(state, Outcome(reward, terminated, truncated))"
        raise refusal(shown(env), "step", found, allowed, "returns")
    reached, outcome = passed("step", key, state, action)
    check_step(env, state, reached, outcome)
    check_observation(env, traced("observe", result[0]))
