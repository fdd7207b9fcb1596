"""What an environment is, what a transition keeps, and the one place where episodes are reset."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, check_numbers
from purerl.mdp.model import FiniteMDP
from purerl.metrics import Metrics
from purerl.pytree import Node

State = Any


class Outcome(NamedTuple):
    """What a step yields beside the next state.

    Attributes:
        reward: ``R_{t+1}``, float32 ``[]``.
        terminated: the state reached is terminal: its value is zero by definition. bool ``[]``.
        truncated: the episode was cut off in a state whose value is not zero. bool ``[]``.
        metrics: what the environment itself reports of the step, such as :class:`~purerl.envs.wrappers.EpisodeStatistics`;
            agents add it to their own metrics and do not learn from it. Most environments have nothing to report.
    """

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    metrics: Metrics = {}  # noqa: RUF012 (nobody writes to it)

    @property
    def done(self) -> jax.Array:
        """Whether the episode has ended, bool ``[]``."""
        return self.terminated | self.truncated


class Transition(NamedTuple):
    """One step of experience, ``(S_t, A_t, R_{t+1}, S_{t+1})``, and how it ended.

    ``next_observation`` is the one the action really led to, never the one after a reset, so that a target may bootstrap
    through ``truncated`` and never through ``terminated``. ``metrics`` are the step's :class:`Outcome`'s.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_observation: jax.Array
    metrics: Metrics = {}  # noqa: RUF012 (nobody writes to it)

    @property
    def done(self) -> jax.Array:
        """Whether the episode has ended, bool ``[]``."""
        return self.terminated | self.truncated


class Environment(Protocol):
    """A frozen pytree whose leaves are its physics, so that they sweep without
    recompiling.

    An environment describes one episode: there is no reset inside ``step``, and no time
    limit. What a step from a terminal state does is left open. Environments with more to
    offer also satisfy one of the protocols below.
    """

    @property
    def num_actions(self) -> int:
        """``A``; an action is an int32 in ``[0, A)``. Static."""
        ...

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one observation. Static."""
        ...

    def reset(self, key: jax.Array) -> State:
        """Draw a start state."""
        ...

    def step(self, key: jax.Array, state: State, action: jax.Array) -> tuple[State, Outcome]:
        """Draw the next state and its outcome."""
        ...

    def observe(self, state: State) -> jax.Array:
        """The observation of a state: a pure function of it."""
        ...


class IndexedEnvironment(Environment, Protocol):
    """An environment with finitely many states, which it observes by their index."""

    @property
    def num_states(self) -> int:
        """``S``. Static."""
        ...


class HasModel(Environment, Protocol):
    """An environment with an exact model."""

    @property
    def mdp(self) -> FiniteMDP:
        """The model. It knows no time limit."""
        ...

    def states(self) -> State:
        """Every state of the model, in its order, with a leading axis ``[S]``."""
        ...


class Restarts(Environment, Protocol):
    """An environment that keeps something from one episode to the next, such as a clock."""

    def restart(self, key: jax.Array, reached: State) -> State:
        """Draw the start state of the next episode, given the last one's final state."""
        ...


class Renders(Environment, Protocol):
    """An environment that draws its states."""

    def render(self, state: State) -> np.ndarray:
        """A picture of a state, uint8 ``[H, W, 3]``. Not for use under ``jit``."""
        ...


def restart(env: Environment, key: jax.Array, reached: State) -> State:
    """The state in which the episode after the one that ended in ``reached`` starts: ``env.restart``, or a plain ``reset``."""
    return env.restart(key, reached) if hasattr(env, "restart") else env.reset(key)


class Wrapper(Node):
    """An environment around another: what it does not define itself is the inner environment's.

    A wrapper with a state of its own defines ``wrap_state``, its start state around an inner one, and ``inner``, the way back.
    """

    env: Environment

    @property
    def num_actions(self):
        return self.env.num_actions

    @property
    def observation(self):
        return self.env.observation

    @property
    def action(self):
        """Shape and dtype of a continuous action, where the inner environment has them (AttributeError otherwise)."""
        return self.env.action

    @property
    def action_bounds(self):
        """The least and the largest continuous action, likewise."""
        return self.env.action_bounds

    @property
    def mdp(self):
        """The exact model, where the inner environment has one (AttributeError otherwise). It knows no time limit."""
        return self.env.mdp

    @property
    def num_states(self):
        """How many states there are, where the inner environment observes their index (AttributeError otherwise)."""
        return self.env.num_states

    def states(self):
        """Every state of the exact model, in its order, with a leading axis ``[S]``."""
        return jax.vmap(self.wrap_state)(self.env.states())

    def wrap_state(self, inner: State) -> State:
        """The start state around the inner environment's."""
        return inner

    def inner(self, state: State) -> State:
        """The inner environment's part of a state."""
        return state

    def reset(self, key):
        return self.wrap_state(self.env.reset(key))

    def restart(self, key, reached):
        return self.wrap_state(restart(self.env, key, self.inner(reached)))

    def step(self, key, state, action):
        return self.env.step(key, state, action)

    def observe(self, state):
        return self.env.observe(self.inner(state))

    def render(self, state):
        return self.env.render(self.inner(state))


class TimeLimitState(NamedTuple):
    inner: State
    elapsed: jax.Array


class TimeLimit(Wrapper):
    """Truncate an episode after ``limit`` steps: the only source of ``truncated`` (Pardo et al., "Time limits in
    reinforcement learning", ICML 2018).

    A step that terminates at the limit is terminated and not truncated.
    """

    limit: int

    def __post_init__(self):
        check_numbers(self, limit=AT_LEAST_ONE)

    def wrap_state(self, inner):
        return TimeLimitState(inner, jnp.int32(0))

    def inner(self, state):
        return state.inner

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        elapsed = state.elapsed + 1
        truncated = outcome.truncated | (elapsed >= self.limit) & ~outcome.terminated
        return TimeLimitState(inner, elapsed), outcome._replace(truncated=truncated)


def interact(
    env: Environment, key: jax.Array, state: State, action: jax.Array
) -> tuple[State, Transition]:
    """One step, and a reset where the episode has ended. The only place that resets.

    Args:
        env: the environment.
        key: consumed.
        state: of one environment; ``vmap`` for more.
        action: int32 ``[]``.

    Returns:
        The state to go on from (of a new episode where this one ended), and the :class:`Transition` that was experienced.
    """
    step_key, reset_key = jax.random.split(key)
    reached, outcome = env.step(step_key, state, action)
    done = outcome.done
    transition = Transition(
        observation=env.observe(state),
        action=action,
        reward=outcome.reward,
        terminated=outcome.terminated,
        truncated=outcome.truncated,
        next_observation=env.observe(reached),
        metrics=outcome.metrics,
    )
    state = jax.tree.map(
        lambda fresh, old: jnp.where(done, fresh, old), restart(env, reset_key, reached), reached
    )
    return state, transition
