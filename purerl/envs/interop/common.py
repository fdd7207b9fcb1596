"""What the adapters have in common: an environment of another library, and how an observation is bounded."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Environment
from purerl.pytree import Node, static


class ForeignState(NamedTuple):
    """The other library's state, and the observation that came with it."""

    inner: Any
    observation: jax.Array


@functools.cache
def _made(kind, name, settings):
    with (
        jax.ensure_compile_time_eval()
    ):  # whatever it holds must be arrays, even if it is first asked for under jit
        return kind.make(name, **dict(settings))


class Foreign(Node):
    """An environment of another library. A subclass has ``make``, which makes one by its name, and the rest of the contract.

    The observation is kept in the state as it was given: elsewhere it may depend on a key or on the action.

    Attributes:
        source: the name that the other library knows the environment by, or such an environment. Static. Only what is named
            can be recorded by a sweep, and shares its compiled programs with whatever has the same name and settings.
        settings: what it is made with beside the name, as pairs. Static.
    """

    source: Any = static()
    settings: tuple[tuple[str, Any], ...] = static()

    @property
    def theirs(self) -> Any:
        """The other library's environment."""
        return (
            _made(type(self), self.source, self.settings)
            if isinstance(self.source, str)
            else self.source
        )

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        # Looked at rather than asked for: what spaces say of shapes and dtypes is not always so.
        shown = jax.eval_shape(lambda: self.reset(jax.random.key(0))).observation
        return jax.ShapeDtypeStruct(shown.shape, shown.dtype)

    def observe(self, state):
        return state.observation

    def render(self, state):
        return drawing.cells(drawing.shades(state.observation))


def described(source: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """``source`` and ``settings`` as :class:`Foreign` wants them.

    Raises:
        ValueError: settings were given with an environment, which is made already.
    """
    if settings and not isinstance(source, str):
        raise ValueError(
            f"{', '.join(settings)} given with an environment that is made already; allowed: with a name"
        )
    return {"source": source, "settings": tuple(sorted(settings.items()))}


def strong(state: Any) -> Any:
    """A state whose arrays have the dtypes they had, but none of them a weak one, as numbers of Python leave behind: a state
    would otherwise have another type after its first step, and what is compiled for it compile twice."""

    def settle(x):
        x = jnp.asarray(x)
        return (
            x
            if jnp.issubdtype(x.dtype, jax.dtypes.extended)
            else jax.lax.convert_element_type(x, x.dtype)
        )

    return jax.tree.map(settle, state)


def num_states(env: Environment) -> int | None:
    """The number of observations, where the observation is the index of a finite model's state."""
    return env.mdp.num_states if env.observation.shape == () and hasattr(env, "mdp") else None


def bounds(dtype: Any) -> tuple[Any, Any]:
    """The least and the largest number of a dtype, infinite ones included."""
    if jnp.issubdtype(dtype, jnp.floating):
        return -np.inf, np.inf
    if jnp.issubdtype(dtype, jnp.bool_):
        return 0, 1
    return jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
