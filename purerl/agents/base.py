"""What an agent is, and what it reports."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from purerl.envs.base import Environment, Mean, Metrics, Transition

State = Any


class Agent(Protocol):
    """A frozen pytree dataclass; its leaves are hyperparameters, which sweep without recompiling."""

    env: Environment

    @property
    def transitions_per_step(self) -> int:
        """How many environment transitions one ``step`` collects. Static."""

    def init(self, key: jax.Array) -> State:
        """Everything that changes: parameters, environments, replay buffer with its warm-up, and a constant key."""

    def step(self, state: State, t: jax.Array) -> tuple[State, Metrics]:
        """One iteration, collecting and learning. ``t``: int32 ``[]``, the number of iterations before this one."""

    def values(self, state: State, observation: jax.Array) -> jax.Array:
        """Of an agent that has them, the action values ``Q(s, .)`` it has learnt: float32 ``[A]``."""

    def env_state(self, state: State) -> Any:
        """Of an agent in whose environment something outlasts episodes, such as statistics to observe by: the state of one
        environment, with which evaluations begin. Without this method they begin with a plain reset."""

    def act(self, state: State, key: jax.Array, observation: jax.Array) -> jax.Array:
        """The target policy, for evaluation: int32 ``[]``."""


class Episode(NamedTuple):
    """The undiscounted return so far of the episode under way, float32 ``[]``."""

    episode_return: jax.Array

    @classmethod
    def begin(cls) -> "Episode":
        return cls(jnp.float32(0))

    def update(self, transition: Transition) -> tuple["Episode", Metrics]:
        """Add a transition. An episode is reported when it ends and at no other time, so short ones are not favoured.

        What the environment reports itself is passed on, and goes before what is worked out here: under wrappers that change
        the reward, ``episode_return`` may be that of the environment inside.
        """
        so_far = self.episode_return + transition.reward
        done = transition.done
        mean = Mean(jnp.where(done, so_far, 0), jnp.float32(done))
        return Episode(jnp.where(done, 0, so_far)), {"episode_return": mean} | transition.metrics


def replace(node: Any, name: str, value: Any) -> Any:
    """A copy of a dataclass with one field changed; a dotted name reaches inside, as in ``"env.limit"``.

    Raises:
        ValueError: there is no such field.
    """
    head, *rest = name.split(".", 1)
    names = [field.name for field in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
    if head not in names:
        raise ValueError(f"{type(node).__name__} has no field {head!r}; it has: {', '.join(names) or 'none'}")
    if rest:
        try:
            value = replace(getattr(node, head), rest[0], value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return node.replace(**{head: value})
