"""gymnax (https://github.com/RobertTLange/gymnax): its environments, and ours there.

Version 1.0 or later.
"""

from functools import partial
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from purerl.envs.base import Environment, Outcome, restart
from purerl.envs.contract import check_environment, check_shapes
from purerl.envs.interop.common import Foreign, ForeignState, bounds, described, num_states, strong
from purerl.random import as_key


class Gymnax(Foreign):
    """A gymnax environment. Make one with :func:`from_gymnax`.

    Attributes:
        params: gymnax's ``EnvParams``. Its leaves sweep, including
            ``max_steps_in_episode``.
    """

    params: Any

    @staticmethod
    def make(name, **settings):
        return gymnax.make(name, **settings)[0]

    @property
    def num_actions(self) -> int:
        space = self.theirs.action_space(self.params)
        if not isinstance(space, spaces.Discrete):
            raise ValueError(
                f"{self.theirs.name} has actions {space}; "
                "allowed: Discrete (a wrapper may choose among others)"
            )
        return space.n

    @property
    def num_states(self) -> int:
        space = self.theirs.observation_space(self.params)
        if not isinstance(space, spaces.Discrete):
            raise AttributeError(
                f"{self.theirs.name} observes {space} and not the index of a state"
            )
        return space.n

    def reset(self, key):
        observation, inner = self.theirs.reset_env(key, self.params)
        return strong(ForeignState(inner, observation))

    def step(self, key, state, action):
        theirs, params = self.theirs, self.params
        observation, inner, reward, terminated, _ = theirs.step_env(
            key, state.inner, action, params
        )
        truncated = theirs.is_truncated(inner, params) & ~terminated
        return strong(ForeignState(inner, observation)), Outcome(
            jnp.float32(reward), terminated, truncated
        )


def from_gymnax(env: str | environment.Environment, params: Any = None, **settings) -> Gymnax:
    """A gymnax environment as one of purerl.

    It is stepped by gymnax's ``step_env``, which does not reset. The time limit remains
    gymnax's own, ``params.max_steps_in_episode``. It truncates, which gymnax 1.0 tells
    apart from termination (here a step that does both is terminated and not truncated).
    :func:`~purerl.envs.interact` uses a key exactly as gymnax's ``step`` does.

    Parameters that gymnax derives from others remain parameters, such as ``total_mass``
    in its CartPole: sweep them together. What its DeepSea accumulates over episodes, in
    ``step``, starts anew with each episode.

    Args:
        env: one of ``gymnax.registered_envs``, or an environment (not a wrapper of
            gymnax, which resets: wrap the result instead).
        params: gymnax's ``EnvParams``; its defaults if None.
        **settings: for ``gymnax.make``, if the environment is given by name.

    Raises:
        ValueError: an unknown name, a wrapper, or settings given with an environment.
            Actions that are not discrete are only refused by ``num_actions``, so that a
            wrapper may offer a choice among them.

    Example:
        >>> env = from_gymnax("CartPole-v1")
        >>> env.num_actions, env.observation.shape, env.params.max_steps_in_episode
        (2, (4,), 500)
        >>> lighter = env.replace(params=env.params.replace(gravity=1.6))
    """
    made = Gymnax(**described(env, settings), params=None)
    if not isinstance(made.theirs, environment.Environment) or not hasattr(
        made.theirs, "is_truncated"
    ):
        raise ValueError(
            f"env is {env!r}; "
            "allowed: a name, or an environment of gymnax 1.0 or later, without wrappers"
        )
    return made.replace(params=made.theirs.default_params if params is None else params)


@struct.dataclass
class ToGymnaxState(environment.EnvState):
    """Steps taken in the episode, purerl's state, and how the last step ended."""

    inner: Any
    terminated: jax.Array
    truncated: jax.Array


def _begin(inner):
    return ToGymnaxState(
        time=jnp.int32(0), inner=inner, terminated=jnp.bool_(False), truncated=jnp.bool_(False)
    )


class ToGymnax(environment.Environment):
    """A purerl environment in gymnax. Make one with :func:`to_gymnax`."""

    def __init__(self, env: Environment):
        self.default = env

    @property
    def default_params(self) -> Environment:
        return self.default

    @property
    def name(self) -> str:
        env: Any = self.default
        while hasattr(env, "env"):
            env = env.env
        return type(env).__name__

    @property
    def num_actions(self) -> int:
        return self.default.num_actions

    def reset_env(self, key, params):
        state = _begin(params.reset(as_key(key)))
        return self.get_obs(state, params), state

    def step_env(self, key, state, action, params):
        inner, outcome = params.step(as_key(key), state.inner, action)
        state = ToGymnaxState(state.time + 1, inner, outcome.terminated, outcome.truncated)
        info = {"discount": self.discount(state, params), "metrics": outcome.metrics}
        return self.get_obs(state, params), state, outcome.reward, outcome.terminated, info

    @partial(jax.jit, static_argnames=("self",))
    def step(self, key, state, action, params=None):
        """One step, as gymnax defines it, except for resets.

        A reset keeps what ``params`` carries from one episode to the next.
        """
        params = self.default if params is None else params
        step_key, reset_key = jax.random.split(as_key(key))
        observation, reached, reward, terminated, info = self.step_env(
            step_key, state, action, params
        )
        truncated = reached.truncated
        fresh = _begin(restart(params, reset_key, reached.inner))
        state = jax.tree.map(
            lambda new, old: jnp.where(terminated | truncated, new, old), fresh, reached
        )
        info |= {"terminated": terminated, "truncated": truncated, "final_observation": observation}
        return self.get_obs(state, params), state, reward, terminated, truncated, info

    def get_obs(self, state, params=None, key=None):
        return (self.default if params is None else params).observe(state.inner)

    def is_terminated(self, state, params):
        return state.terminated

    def is_truncated(self, state, params):
        return state.truncated

    def action_space(self, params=None) -> spaces.Discrete:
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params=None) -> spaces.Discrete | spaces.Box:
        states = num_states(self.default)
        if states is not None:
            return spaces.Discrete(states)
        shape, dtype = self.default.observation.shape, self.default.observation.dtype
        low, high = bounds(self.default)
        return spaces.Box(jnp.asarray(low), jnp.asarray(high), shape, dtype)


def to_gymnax(env: Environment) -> ToGymnax:
    """A purerl environment as one of gymnax, for code such as PureJaxRL's.

    Its ``EnvParams`` are the environment itself, so physics are changed, swept and
    vmapped as in gymnax. The time limit is that of the :class:`~purerl.envs.TimeLimit`
    around it; without one there is none. ``step`` uses a key exactly as
    :func:`~purerl.envs.interact` does; ``info`` has ``final_observation``, the one the
    action actually led to, and the step's ``metrics``.

    Example:
        >>> import purerl
        >>> env = to_gymnax(purerl.make("CartPole-v1"))
        >>> params = env.default_params
        >>> key = purerl.random.key(0)
        >>> _, state = env.reset(key, params)
        >>> _, state, reward, *_ = env.step(key, state, 1, params)
        >>> float(reward), int(state.time)
        (1.0, 1)
    """
    check_environment("to_gymnax", env)
    check_shapes(env)
    return ToGymnax(env)
