"""What an agent is, and what it reports."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from purerl.envs.base import Environment, Transition

State = Any


class Mean(NamedTuple):
    """A mean that reduces by adding: ``total / count``, over steps, environments and time alike. float32 ``[]``."""

    total: jax.Array
    count: jax.Array


Metrics = dict[str, Mean]


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

    def act(self, state: State, key: jax.Array, observation: jax.Array) -> jax.Array:
        """The target policy, for evaluation: int32 ``[]``."""


class Episode(NamedTuple):
    """The undiscounted return so far of the episode under way, float32 ``[]``."""

    episode_return: jax.Array

    @classmethod
    def begin(cls) -> "Episode":
        return cls(jnp.float32(0))

    def update(self, transition: Transition) -> tuple["Episode", Metrics]:
        """Add a transition. An episode is reported when it ends and at no other time, so short ones are not favoured."""
        so_far = self.episode_return + transition.reward
        done = transition.terminated | transition.truncated
        mean = Mean(jnp.where(done, so_far, 0), jnp.float32(done))
        return Episode(jnp.where(done, 0, so_far)), {"episode_return": mean}


def replace(node: Any, name: str, value: Any) -> Any:
    """A copy of a dataclass with one field changed; a dotted name reaches inside, as in ``"env.limit"``.

    Raises:
        ValueError: there is no such field.
    """
    head, _, rest = name.partition(".")
    names = [field.name for field in dataclasses.fields(node)]
    if head not in names:
        raise ValueError(f"{type(node).__name__} has no field {head!r}; it has: {', '.join(names)}")
    return node.replace(**{head: replace(getattr(node, head), rest, value) if rest else value})


# What a hyperparameter may be: words for the error message, and the test.
UNIT_INTERVAL = ("a number in [0, 1]", lambda x: 0 <= x <= 1)
POSITIVE = ("a finite number above 0", lambda x: 0 < x < float("inf"))
FINITE = ("a finite number", lambda x: abs(x) < float("inf"))


def check_hyperparameters(agent: Agent, **rules: tuple[str, Callable[[float], bool]]) -> None:
    """Check the fields that hold plain numbers. What is traced, or stands in a leaf's place, cannot be judged: nor, therefore,
    can the integer 0, which trees of ``in_axes`` are made of.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    for field, (allowed, accepts) in rules.items():
        value = getattr(agent, field)
        placeholder = type(value) is int and value == 0
        if isinstance(value, (int, float)) and not placeholder and not accepts(value):
            raise ValueError(f"{type(agent).__name__}: {field} is {value!r}; allowed: {allowed}")


def check_choice(agent: Agent, **tables: dict[str, Any]) -> None:
    """Check that fields name an entry of their table.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    for field, table in tables.items():
        value = getattr(agent, field)
        if value not in table:
            raise ValueError(f"{type(agent).__name__}: {field} is {value!r}; allowed: {', '.join(map(repr, table))}")


def check_size(agent: Agent, *fields: str, multiple_of: int = 1) -> None:
    """Check that fields are positive multiples of a whole number.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    for field in fields:
        value = getattr(agent, field)
        if type(value) is not int or value < 1 or value % multiple_of:
            what = "a positive whole number" if multiple_of == 1 else f"a positive multiple of {multiple_of}"
            raise ValueError(f"{type(agent).__name__}: {field} is {value!r}; allowed: {what}")
