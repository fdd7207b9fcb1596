"""jumanji (https://github.com/instadeepai/jumanji): its environments with one agent here. Tried with version 1.1.2."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs.base import Outcome
from purerl.envs.interop.common import Foreign, ForeignState, described, strong
from purerl.pytree import static


class Jumanji(Foreign):
    """A jumanji environment. Make one with :func:`from_jumanji`.

    Attributes:
        view: the part of the observation that is shown: the name of a field, or a function. Static.
    """

    view: str | Callable[[Any], jax.Array] = static()

    @staticmethod
    def make(name, **settings):
        import jumanji

        return jumanji.make(name, **settings)

    @property
    def choices(self) -> tuple[int, ...]:
        """How many values each part of an action has; there is one part where jumanji's action is a number."""
        return tuple(int(n) for n in np.atleast_1d(self.theirs.action_spec.num_values))

    @property
    def num_actions(self) -> int:
        return int(np.prod(self.choices, dtype=object))

    def reset(self, key):
        return self._kept(*self.theirs.reset(key))

    def step(self, key, state, action):
        del key  # what jumanji draws, it draws with the key in its own state
        if self.theirs.action_spec.shape:
            action = jnp.stack(jnp.unravel_index(action, self.choices)).astype(
                self.theirs.action_spec.dtype
            )
        inner, timestep = self.theirs.step(state.inner, action)
        last, ends = timestep.last(), timestep.discount == 0
        return self._kept(inner, timestep), Outcome(
            jnp.float32(timestep.reward), last & ends, last & ~ends
        )

    def _kept(self, inner, timestep):
        view = (
            (lambda shown: getattr(shown, self.view)) if isinstance(self.view, str) else self.view
        )
        return strong(ForeignState(inner, view(timestep.observation)))


def from_jumanji(env: Any, view: str | Callable[[Any], jax.Array], **settings) -> Jumanji:
    """A jumanji environment as one of purerl.

    An action of several parts (jumanji's ``MultiDiscreteArray``) is numbered in row-major order. Which actions are valid is
    jumanji's ``state.inner.action_mask`` or the like; purerl's agents do not ask for it.

    A last step with discount 0 is terminated, another truncated. **jumanji's own time limits end with discount 0**: they
    cannot be told from termination. Make the environment with a ``time_limit`` out of reach, and put
    :class:`~purerl.envs.TimeLimit` around it.

    Args:
        env: a name that ``jumanji.make`` knows, or an environment of jumanji.
        view: the observation's field to show, such as ``"grid"`` (the rest of it is not seen), or a function from the
            observation to an array.
        **settings: for ``jumanji.make``, of an environment given by name.

    Raises:
        ValueError: several agents, actions that are not discrete or number more than int32 holds, an observation that is not
            an array, or settings given with an environment.
    """
    made = Jumanji(**described(env, settings), view=view)
    theirs = made.theirs
    if (
        not hasattr(theirs.action_spec, "num_values")
        or theirs.reward_spec.shape
        or made.num_actions >= 2**31
    ):
        raise ValueError(
            f"{env!r} has actions {theirs.action_spec} and rewards {theirs.reward_spec}; "
            "allowed: fewer than 2**31 discrete actions and a single reward"
        )
    shown = jax.eval_shape(lambda: theirs.reset(jax.random.key(0))[1].observation)
    fields = getattr(shown, "_fields", ())
    if isinstance(view, str) and view not in fields:
        raise ValueError(f"view is {view!r}; allowed: {', '.join(fields)} or a function")
    if not hasattr(jax.eval_shape(lambda: made.reset(jax.random.key(0))).observation, "dtype"):
        raise ValueError(
            f"view is {view!r}, which is no array; allowed: one of {', '.join(fields)} that is, or a function"
        )
    return made
