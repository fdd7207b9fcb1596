"""Common parts of the adapters to other libraries."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Environment, has_model
from purerl.pytree import Node, static


class ForeignState(NamedTuple):
    """The other library's state, and the observation that came with it."""

    inner: Any
    observation: jax.Array


@functools.cache
def _made(kind, name, settings):
    # The environment must hold arrays, even if the first request comes from inside jit.
    with jax.ensure_compile_time_eval():
        return kind.make(name, **dict(settings))


class Foreign(Node):
    """An environment of another library.

    Subclasses define ``make``, which makes one by name, and the rest of the protocol of
    :class:`~purerl.envs.base.Environment`. The observation is kept in the state as it
    was given, since elsewhere it may depend on a key or on the action.

    Attributes:
        source: the other library's name of the environment, or such an environment.
            Static. Only environments given by name can be recorded by a sweep, and
            share their compiled programs with others of the same name and settings.
        settings: further arguments that it is made with, as pairs. Static.
    """

    source: Any = static()
    settings: tuple[tuple[str, Any], ...] = static()

    @property
    def theirs(self) -> Any:
        """The other library's environment."""
        if isinstance(self.source, str):
            return _made(type(self), self.source, self.settings)
        return self.source

    def reset(self, key: jax.Array) -> Any:
        raise NotImplementedError

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        # Taken from an observation, because spaces may state other shapes and dtypes.
        shown = jax.eval_shape(lambda: self.reset(jax.random.key(0))).observation
        return jax.ShapeDtypeStruct(shown.shape, shown.dtype)

    def observe(self, state):
        return state.observation

    def render(self, state):
        return drawing.cells(drawing.shades(state.observation))


def described(source: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Fields ``source`` and ``settings`` of a :class:`Foreign`.

    Raises:
        ValueError: settings were given together with an environment, not with a name.
    """
    if settings and not isinstance(source, str):
        raise ValueError(
            f"{', '.join(settings)} given with an environment that is made already; "
            "allowed: with a name"
        )
    return {"source": source, "settings": tuple(sorted(settings.items()))}


def strong(state: Any) -> Any:
    """The state without weak types, which Python numbers leave behind.

    Otherwise the state would change its type after the first step, and programs would
    be compiled twice. Dtypes stay the same.
    """

    def settle(x):
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.extended):
            return x
        return jax.lax.convert_element_type(x, x.dtype)

    return jax.tree.map(settle, state)


def num_states(env: Environment) -> int | None:
    """``S``, if observations are the states of a finite model; otherwise None."""
    return env.mdp.num_states if env.observation.shape == () and has_model(env) else None


def bounds(env: Environment) -> tuple[Any, Any]:
    """The least and the largest observation.

    Those that ``env`` declares (:class:`~purerl.envs.base.BoundsObservations`), or else
    the limits of its dtype, infinite ones included.
    """
    declared = getattr(env, "observation_bounds", None)
    if declared is not None:
        shape, dtype = env.observation.shape, env.observation.dtype
        low, high = (np.broadcast_to(np.asarray(x, dtype), shape) for x in declared)
        return low, high
    dtype = env.observation.dtype
    if jnp.issubdtype(dtype, jnp.floating):
        return -np.inf, np.inf
    if jnp.issubdtype(dtype, jnp.bool_):
        return 0, 1
    return jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
