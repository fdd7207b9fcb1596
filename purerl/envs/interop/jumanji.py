"""jumanji (https://github.com/instadeepai/jumanji): its environments with one agent.

Tried with version 1.1.2.
"""

import importlib
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
        view: the part of the observation to show: the name of a field, or a function.
            Static.
    """

    view: str | Callable[[Any], jax.Array] = static()

    @staticmethod
    def make(name, **settings):
        return importlib.import_module("jumanji").make(name, **settings)

    @property
    def choices(self) -> tuple[int, ...]:
        """Number of values of each part of an action.

        There is one part where jumanji's action is a number.
        """
        return tuple(int(n) for n in np.atleast_1d(self.theirs.action_spec.num_values))

    @property
    def num_actions(self) -> int:
        return int(np.prod(self.choices, dtype=object))

    def reset(self, key):
        return self._kept(*self.theirs.reset(key))

    def step(self, key, state, action):
        del key  # jumanji draws with the key in its own state
        if self.theirs.action_spec.shape:
            action = jnp.stack(jnp.unravel_index(action, self.choices)).astype(
                self.theirs.action_spec.dtype
            )
        inner, timestep = self.theirs.step(state.inner, action)
        last = timestep.last()
        ends = timestep.discount == 0
        outcome = Outcome(jnp.float32(timestep.reward), last & ends, last & ~ends)
        return self._kept(inner, timestep), outcome

    def _kept(self, inner, timestep):
        shown = timestep.observation
        view = self.view
        seen = getattr(shown, view) if isinstance(view, str) else view(shown)
        return strong(ForeignState(inner, seen))


def from_jumanji(env: Any, view: str | Callable[[Any], jax.Array], **settings) -> Jumanji:
    """A jumanji environment as one of purerl.

    An action of several parts (jumanji's ``MultiDiscreteArray``) is numbered in
    row-major order. jumanji marks the valid actions in ``state.inner.action_mask`` or
    similar; purerl's agents do not read it.

    A last step with discount 0 is terminated, any other is truncated. **jumanji's own
    time limits end with discount 0**, so they cannot be told from termination. Make the
    environment with a ``time_limit`` that is never reached, and put
    :class:`~purerl.envs.TimeLimit` around it.

    Args:
        env: a name that ``jumanji.make`` knows, or an environment of jumanji.
        view: the observation's field to show, such as ``"grid"`` (the rest is not
            seen), or a function from the observation to an array.
        **settings: for ``jumanji.make``, if the environment is given by name.

    Raises:
        ValueError: several agents, actions that are not discrete or more than int32
            holds, an observation that is not an array, or settings given with an
            environment.
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
            f"view is {view!r}, which is no array; "
            f"allowed: one of {', '.join(fields)} that is, or a function"
        )
    return made
