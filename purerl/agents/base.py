"""The interface of agents, and a base class for those that act greedily."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from purerl.checks import listed, meant, refusal, shown
from purerl.envs.base import Environment, restart
from purerl.envs.contract import check_environment
from purerl.metrics import Metrics
from purerl.pytree import Node

State = Any
Snapshot = Any


class Agent(Protocol):
    """A frozen pytree whose leaves are hyperparameters.

    They sweep without recompiling.
    An agent with more to offer also satisfies one of the protocols below it.
    """

    @property
    def env(self) -> Environment:
        """The environment it learns in."""
        ...

    @property
    def transitions_per_step(self) -> int:
        """Environment transitions that one :meth:`step` collects. Static.

        An agent that collects none has 1: ``num_steps`` then counts iterations.
        """
        ...

    @property
    def lanes(self) -> int:
        """Runs that a sweep computes side by side in one program on a CPU. Static.

        A program that trains a network needs at least 2: XLA drops a batch axis of size
        1, and the program is then up to twice as slow.

        An agent may also have ``fewest_lanes``, by default equal to ``lanes``. If the
        state has the same bits at every width between the two, a sweep of few runs may
        use a narrower program. An agent whose ``init`` collects transitions says how
        many as ``warm_up``: pictures count them on their axes.
        """
        ...

    def init(self, key: jax.Array) -> State:
        """The initial state: parameters, environments, a constant key, and so on."""
        ...

    def step(self, state: State, t: jax.Array) -> tuple[State, Metrics]:
        """One iteration of acting and learning.

        Args:
            state: of the agent.
            t: the number of iterations before this one, int32 ``[]``.
        """
        ...

    def snapshot(self, state: State) -> Snapshot:
        """The part that acting and evaluation need, such as parameters."""
        ...

    def act(self, snapshot: Snapshot, key: jax.Array, observation: jax.Array) -> jax.Array:
        """An action of the learned policy, int32 ``[]``. The key is consumed."""
        ...


class ActionValues(Protocol):
    """An agent that learns action values."""

    def values(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        r""":math:`Q(s, \cdot)`, float32 ``[A]``."""
        ...


class ActionProbabilities(Protocol):
    """An agent whose learned policy is known in closed form."""

    def probabilities(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        r""":math:`\pi(\cdot \mid s)`, from which ``act`` samples, float32 ``[A]``."""
        ...


class Greedy(Protocol):
    """An agent whose policy is stochastic, and which can act without chance, too."""

    def greedy(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        """The most probable action, or the mean of continuous ones."""
        ...


class StateValues(Protocol):
    """An agent that predicts the value of states under a policy."""

    def value(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        r""":math:`\hat v(s)`, float32 ``[]``."""
        ...

    def target_probabilities(self, observation: jax.Array) -> jax.Array:
        r""":math:`\pi(\cdot \mid s)` of that policy, float32 ``[A]``."""
        ...


class Gain(Protocol):
    """An agent that estimates the largest average reward."""

    def gain(self, snapshot: Snapshot) -> jax.Array:
        """The estimate, float32 ``[]``."""
        ...


@runtime_checkable
class Learns(Protocol):
    """An agent that says which part of its state must stay finite.

    A run in which that part becomes infinite or NaN has failed. For other agents it is
    the snapshot, without the state of an environment.
    """

    def learned(self, state: State) -> Any:
        """A pytree of arrays."""
        ...


@runtime_checkable
class KeepsEnvironment(Protocol):
    """An agent whose snapshot holds the state of a training environment.

    Evaluations start from it, so that they continue with what the environment has
    accumulated, such as observation statistics. Other agents are evaluated from a plain
    reset.
    """

    def env_state(self, snapshot: Snapshot) -> Any:
        """The state of one environment."""
        ...


class GreedyAgent(Node):
    """Base class of agents that act greedily on action values when they are evaluated.

    Subclasses define ``init``, ``step`` and ``values(snapshot, observation)``.

    Attributes:
        env: the environment.

    Raises:
        ValueError: ``env`` is no environment with finitely many actions.
    """

    env: Environment

    transitions_per_step = 1
    lanes = 8

    def __post_init__(self):
        check_environment(type(self).__name__, self.env)

    def snapshot(self, state: State) -> Snapshot:
        """By default the whole state."""
        return state

    def values(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        r""":math:`Q(s, \cdot)`, float32 ``[A]``."""
        raise NotImplementedError(f"{type(self).__name__} does not define values")

    def act(self, snapshot: Snapshot, key: jax.Array, observation: jax.Array) -> jax.Array:
        """The first of the best actions, int32 ``[]``."""
        del key
        return jnp.argmax(self.values(snapshot, observation)).astype(jnp.int32)

    def probabilities(self, snapshot: Snapshot, observation: jax.Array) -> jax.Array:
        """One for the action of :meth:`act`, zero for the others, float32 ``[A]``."""
        values = self.values(snapshot, observation)
        return jax.nn.one_hot(jnp.argmax(values), len(values), dtype=jnp.float32)


def check_agent(
    owner: str,
    agent: Any,
    members: Sequence[str] = ("env", "transitions_per_step", "init", "step", "snapshot", "act"),
) -> None:
    """Check that something is an agent, or has those ``members`` of one.

    Raises:
        ValueError: names it, and what may have been meant.
    """
    missing = [name for name in members if not hasattr(agent, name)]
    if missing or isinstance(agent, type):
        name = agent.__name__ if isinstance(agent, type) else agent
        guess = meant(f"purerl.{name}(env=...)") if isinstance(name, str) else ""
        lacks = "" if guess else f", which has no {listed(missing)}"
        raise refusal(owner, "agent", shown(agent) + lacks, "an agent" + guess)


def start_state(agent: Agent, snapshot: Snapshot, key: jax.Array) -> Any:
    """A start state for an evaluation, continuing from the training environment.

    What the environment has accumulated in training, such as observation statistics, is
    carried over. An agent without ``env_state``, or one that was put into an
    environment with states of another structure, is evaluated from a plain reset.
    """
    fresh = agent.env.reset(key)
    if not isinstance(agent, KeepsEnvironment):
        return fresh
    reached = agent.env_state(snapshot)
    if jax.tree.structure(reached) != jax.tree.structure(fresh):
        return fresh
    return restart(agent.env, key, reached)
