"""Environments, transitions, and the one place where episodes are reset."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import AT_LEAST_ONE, check_numbers, refusal
from purerl.envs.contract import check_dynamics, check_observation, check_step, explained
from purerl.mdp.model import FiniteMDP
from purerl.metrics import Metrics
from purerl.pytree import Node

State = Any


class Outcome(NamedTuple):
    """Result of a step, besides the next state.

    Attributes:
        reward: ``R_{t+1}``, float32 ``[]``.
        terminated: whether the state reached is terminal; its value is then zero by
            definition. bool ``[]``.
        truncated: whether the episode was cut off in a state whose value is not zero.
            bool ``[]``.
        metrics: reported by the environment about the step, for example by
            :class:`~purerl.envs.wrappers.EpisodeStatistics`. Agents add them to their
            own metrics and do not learn from them. Most environments report nothing.
    """

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    metrics: Metrics = {}  # noqa: RUF012 (never mutated)

    @property
    def done(self) -> jax.Array:
        """True at the end of an episode, bool ``[]``."""
        return self.terminated | self.truncated


class Transition(NamedTuple):
    """One step of experience, ``(S_t, A_t, R_{t+1}, S_{t+1})``, and how it ended.

    ``next_observation`` is the observation actually reached, never one after a reset,
    so a target may bootstrap through ``truncated`` and never through ``terminated``.
    ``metrics`` are those of the step's :class:`Outcome`.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_observation: jax.Array
    metrics: Metrics = {}  # noqa: RUF012 (never mutated)

    @property
    def pair(self) -> tuple[jax.Array, jax.Array]:
        """``(S_t, A_t)``, the index of an entry in a table."""
        return self.observation, self.action

    @property
    def done(self) -> jax.Array:
        """True at the end of an episode, bool ``[]``."""
        return self.terminated | self.truncated


class Dynamics(Protocol):
    """The part of an environment that does not depend on the kind of its actions.

    A frozen pytree whose leaves are its physics, so that they sweep without
    recompiling. It describes one episode: there is no reset inside ``step``, and no
    time limit. The result of a step from a terminal state is unspecified.
    """

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


class Environment(Dynamics, Protocol):
    """An environment with finitely many actions.

    Environments with more to offer also satisfy one of the protocols below.
    """

    @property
    def num_actions(self) -> int:
        """``A``; an action is an int32 in ``[0, A)``. Static."""
        ...


class ContinuousEnvironment(Dynamics, Protocol):
    """An environment whose actions are arrays of floats.

    Agents with a network for their policy take it as it is, agents of action values
    inside a :class:`~purerl.envs.wrappers.DiscretizedActions`.
    """

    @property
    def action(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one action. Static."""
        ...

    @property
    def action_bounds(self) -> tuple[jax.Array, jax.Array]:
        """The least and the largest action, each in the shape of one."""
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
        """The model. Time limits are not part of it."""
        ...

    def states(self) -> State:
        """Every state of the model, in its order, with a leading axis ``[S]``."""
        ...


class LimitsActions(Environment, Protocol):
    """An environment in which not every action can be taken in every state."""

    def available(self, observation: jax.Array) -> jax.Array:
        """The actions that can be taken where this is observed, bool ``[A]``.

        At least one. Agents never choose another, and leave it out of every maximum and
        expectation.
        """
        ...


class Restarts(Environment, Protocol):
    """An environment that keeps something across episodes, such as a clock."""

    def restart(self, key: jax.Array, reached: State) -> State:
        """Draw the next episode's start state, given the last one's final state."""
        ...


class Renders(Environment, Protocol):
    """An environment that draws its states."""

    def render(self, state: State) -> np.ndarray:
        """A picture of a state, uint8 ``[H, W, 3]``. Not for use under ``jit``."""
        ...


class BoundsObservations(Environment, Protocol):
    """An environment that knows bounds of its observations."""

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        """The least and the largest observation, each broadcast to the shape of one."""
        ...


class TabularEnvironment(IndexedEnvironment, HasModel, Renders, Protocol):
    """An environment that observes the states of its model by index, and draws them."""


def has_model(env: Dynamics) -> TypeGuard[HasModel]:
    """Test for an exact model, which narrows the type."""
    return hasattr(env, "mdp")


def can_render(env: Dynamics) -> TypeGuard[Renders]:
    """Test for pictures of states, which narrows the type."""
    while isinstance(env, Wrapper) and type(env).render is Wrapper.render:
        env = env.env
    return hasattr(env, "render")


def limits_actions(env: Dynamics) -> TypeGuard[LimitsActions]:
    """Test for actions that cannot be taken everywhere, which narrows the type."""
    return hasattr(env, "available")


def mask_unavailable(env: Environment, values: jax.Array, observation: jax.Array) -> jax.Array:
    """Action values, ``-inf`` where the action is not available, ``[A]``."""
    if not limits_actions(env):
        return values
    return jnp.where(env.available(observation), values, -jnp.inf)


def restart(env: Dynamics, key: jax.Array, reached: State) -> State:
    """Draw the next episode's start state, given the last one's final state.

    Calls ``env.restart`` where it is defined (see :class:`Restarts`), otherwise
    ``env.reset``.
    """
    restarts = getattr(env, "restart", None)
    return env.reset(key) if restarts is None else restarts(key, reached)


E = TypeVar("E", bound=Dynamics, covariant=True)


class Wrapper(Node, Generic[E]):
    """An environment around another one, to which it forwards what it does not define.

    An optional member, such as ``mdp`` or ``action``, exists if the inner environment
    has it; otherwise it raises an AttributeError.

    A wrapper with a state of its own defines :meth:`wrap_state`, which adds its start
    state to an inner one, and :meth:`inner`, which removes it.

    Attributes:
        env: the inner environment.

    Raises:
        ValueError: ``env`` is no environment, or another field is not allowed.
    """

    env: E

    def __post_init__(self):
        check_dynamics(type(self).__name__, self.env)

    @property
    def num_actions(self: "Wrapper[Environment]") -> int:
        """``A``, for finitely many actions."""
        return self.env.num_actions

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return self.env.observation

    @property
    def action(self: "Wrapper[ContinuousEnvironment]") -> jax.ShapeDtypeStruct:
        """Shape and dtype of a continuous action."""
        return self.env.action

    @property
    def action_bounds(self: "Wrapper[ContinuousEnvironment]") -> tuple[jax.Array, jax.Array]:
        """The least and the largest continuous action."""
        return self.env.action_bounds

    @property
    def observation_bounds(self: "Wrapper[BoundsObservations]") -> tuple[ArrayLike, ArrayLike]:
        """The least and the largest observation, broadcast to the shape of one."""
        return self.env.observation_bounds

    @property
    def mdp(self: "Wrapper[HasModel]") -> FiniteMDP:
        """The exact model. Time limits are not part of it."""
        return self.env.mdp

    @property
    def num_states(self: "Wrapper[IndexedEnvironment]") -> int:
        """``S``, if states are observed by their index."""
        return self.env.num_states

    @property
    def available(self: "Wrapper[LimitsActions]") -> Callable[[jax.Array], jax.Array]:
        """The actions that can be taken where something is observed.

        Raises:
            ValueError: the wrapper changes what is observed, and does not say what is
                available then.
        """
        inner = self.env.available
        if type(self).observe is not Wrapper.observe:
            allowed = "an environment in which every action can be taken"
            raise refusal(type(self).__name__, "env", self.env, allowed)
        return inner

    def states(self: "Wrapper[HasModel]") -> State:
        """Every state of the exact model, in its order, with a leading axis ``[S]``."""
        return jax.vmap(self.wrap_state)(self.env.states())

    def wrap_state(self, inner: State) -> State:
        """Start state around a state of the inner environment."""
        return inner

    def inner(self, state: State) -> State:
        """The inner environment's part of a state."""
        return state

    def reset(self, key: jax.Array) -> State:
        return self.wrap_state(self.env.reset(key))

    def restart(self, key: jax.Array, reached: State) -> State:
        return self.wrap_state(restart(self.env, key, self.inner(reached)))

    def step(self, key: jax.Array, state: State, action: jax.Array) -> tuple[State, Outcome]:
        return self.env.step(key, state, action)

    def observe(self, state: State) -> jax.Array:
        return self.env.observe(self.inner(state))

    def render(self: "Wrapper[Renders]", state: State) -> np.ndarray:
        return self.env.render(self.inner(state))


class TimeLimitState(NamedTuple):
    """The inner state, and the number of steps taken in the episode, int32 ``[]``."""

    inner: State
    elapsed: jax.Array


class TimeLimit(Wrapper[E]):
    """Truncates an episode after ``limit`` steps: the only source of ``truncated``.

    See Pardo et al., "Time limits in reinforcement learning" (ICML 2018). A step that
    terminates at the limit is terminated and not truncated.

    Attributes:
        limit: at least 1.
    """

    limit: int | jax.Array

    def __post_init__(self):
        super().__post_init__()
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
    """Take one step, and reset if the episode has ended. The only place that resets.

    Args:
        env: the environment.
        key: consumed.
        state: of one environment; ``vmap`` for more.
        action: int32 ``[]``.

    Returns:
        The state to continue from (of a new episode if this one ended), and the
        :class:`Transition` experienced.

    Raises:
        ValueError: a shape or dtype is not that of the interface; names the environment
            and what differs.
    """
    step_key, reset_key = jax.random.split(key)
    with explained(env):
        reached, outcome = env.step(step_key, state, action)
        observation, next_observation = env.observe(state), env.observe(reached)
    check_step(env, state, reached, outcome)
    check_observation(env, next_observation)
    transition = Transition(
        observation=observation,
        action=action,
        reward=jnp.asarray(outcome.reward, jnp.float32),  # which may be a number of Python
        terminated=jnp.asarray(outcome.terminated),
        truncated=jnp.asarray(outcome.truncated),
        next_observation=next_observation,
        metrics=outcome.metrics,
    )
    done = transition.done
    state = jax.tree.map(
        lambda fresh, old: jnp.where(done, fresh, old), restart(env, reset_key, reached), reached
    )
    return state, transition
