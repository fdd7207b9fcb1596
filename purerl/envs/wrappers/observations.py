"""Wrappers that transform observations."""

import math
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from purerl.checks import (
    ABOVE_ZERO,
    POSITIVE,
    check_numbers,
    check_size,
    meant,
    refusal,
    shown,
)
from purerl.envs.base import (
    BoundsObservations,
    E,
    LimitsActions,
    State,
    Wrapper,
    restart,
)
from purerl.pytree import static


class OneHot(Wrapper[E]):
    """Integer observations in ``[0, size)`` as indicator vectors.

    float32 ``[..., size]``; any other integer becomes all zeros.

    Attributes:
        size: a positive whole number, at least ``env.num_states`` if there is one.
            Static.

    Raises:
        ValueError: ``env`` does not observe integers, or ``size`` is too small.
    """

    size: int = static()

    def __post_init__(self):
        super().__post_init__()
        seen = self.env.observation
        if not jnp.issubdtype(seen.dtype, jnp.integer):
            what = f"{shown(self.env)}, which observes {seen.dtype.name} {list(seen.shape)}"
            raise refusal("OneHot", "env", what, "one that observes integers")
        check_size(self, "size")
        least = getattr(self.env, "num_states", 1)
        if self.size < least:
            allowed = f"at least env.num_states, {least}" + meant(least)
            raise refusal("OneHot", "size", self.size, allowed)

    @property
    def observation(self):
        return jax.ShapeDtypeStruct((*self.env.observation.shape, self.size), jnp.float32)

    @property
    def observation_bounds(self):
        return 0.0, 1.0

    @property
    def available(self: "OneHot[LimitsActions]"):
        inner = self.env.available
        return lambda observation: inner(jnp.argmax(observation, axis=-1))

    def observe(self, state):
        return jax.nn.one_hot(self.env.observe(state), self.size, dtype=jnp.float32)


class Flatten(Wrapper[E]):
    """The observation as a vector, row by row, in its dtype.

    A single number becomes ``[1]``.
    """

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct((math.prod(inside.shape),), inside.dtype)

    @property
    def observation_bounds(self: "Flatten[BoundsObservations]"):
        shape = self.env.observation.shape
        low, high = self.env.observation_bounds
        return jnp.broadcast_to(low, shape).reshape(-1), jnp.broadcast_to(high, shape).reshape(-1)

    def observe(self, state):
        return self.env.observe(state).reshape(-1)


class FrameStackState(NamedTuple):
    """The inner state, and the last observations.

    Attributes:
        inner: state of the inner environment.
        frames: the observations, the newest last, each flattened in an array of its
            own. So a step moves none of them, and XLA's innermost loop is over a whole
            observation; over the channels of a board it would be short.
    """

    inner: State
    frames: tuple[jax.Array, ...]


class FrameStack(Wrapper[E]):
    """The last ``num_frames`` observations of an episode, ``[num_frames, ...]``.

    The oldest comes first. In the first steps of an episode, its first observation
    stands in for the missing ones (Gymnasium's ``FrameStackObservation`` with its
    padding "reset"). A policy over stacks is not a policy over the states of a finite
    model, so ``mdp`` is not available.

    Attributes:
        num_frames: a positive whole number. Static.
    """

    num_frames: int = static()

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "num_frames")

    @property
    def mdp(self) -> NoReturn:
        raise AttributeError(
            "FrameStack has no mdp: its observations are not a function of the model's state"
        )

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct((self.num_frames, *inside.shape), inside.dtype)

    def wrap_state(self, inner):
        return FrameStackState(inner, (self.env.observe(inner).reshape(-1),) * self.num_frames)

    def inner(self, state):
        return state.inner

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        return FrameStackState(
            inner, (*state.frames[1:], self.env.observe(inner).reshape(-1))
        ), outcome

    def observe(self, state):
        # Selected, because XLA makes slow loops of concatenations.
        row = jnp.arange(self.num_frames, dtype=jnp.int32)[:, None]
        stack = state.frames[0]
        for i, frame in enumerate(state.frames):
            stack = jnp.where(row == i, frame, stack)
        return stack.reshape(self.observation.shape)


def running_moments(
    mean: jax.Array, variance: jax.Array, count: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean, variance and number of some values after one more.

    Args:
        mean, variance: so far, in the shape of a value.
        count: of the values so far, ``[]``.
        value: the one more.
    """
    total = count + 1
    delta = value - mean
    return mean + delta / total, count / total * (variance + delta**2 / total), total


class ObservationNormalizeState(NamedTuple):
    """The inner state, and statistics of the observations so far.

    Attributes:
        inner: state of the inner environment.
        mean: in the shape of one observation.
        variance: in the shape of one observation.
        count: number of observations, ``[]``.
    """

    inner: State
    mean: jax.Array
    variance: jax.Array
    count: jax.Array


class ObservationNormalize(Wrapper[E]):
    r"""Observations normalized by their running mean and standard deviation.

    .. math:: \tilde o = (o - \mu) / \sqrt{\sigma^2 + \epsilon},

    element by element, float32 (float64 stays float64).

    :math:`\mu` and :math:`\sigma^2` are kept in the state, are updated with every state
    reached, start states included, and continue from one episode to the next
    (Gymnasium's ``NormalizeObservation``). With :math:`n` observations before,
    :math:`\delta = o - \mu` and :math:`N = n + 1`,

    .. math::
        \mu \leftarrow \mu + \frac{\delta}{N}, \qquad
        \sigma^2 \leftarrow \frac{n}{N} \left(\sigma^2 + \frac{\delta^2}{N}\right)

    (Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1982), starting from :math:`\mu = 0, \sigma^2 = 1, n = 10^{-4}`.

    A state is observed through the statistics it carries, which include its own
    observation. So the ``observation`` of a transition uses the statistics up to
    ``S_t``, and its ``next_observation`` those up to ``S_{t+1}``, one update later;
    within an episode, the latter is the next transition's ``observation``. Observations
    in a replay buffer are not normalized again later. Under ``vmap`` each environment
    has its own statistics. ``reset`` starts them anew and ``restart`` continues them;
    evaluations and recordings ``restart`` from the state in which the agent learned
    (that of its first environment, if it has several). A policy over normalized
    observations is not a policy over the states of a finite model, so ``mdp`` is not
    available.

    Attributes:
        epsilon: added to the variance, > 0.
        clip: bound on the magnitude of normalized observations, > 0.
    """

    epsilon: float | jax.Array = 1e-8
    clip: float | jax.Array = math.inf

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, epsilon=POSITIVE, clip=ABOVE_ZERO)

    @property
    def mdp(self) -> NoReturn:
        raise AttributeError(
            "ObservationNormalize has no mdp: "
            "its observations are not a function of the model's state"
        )

    @property
    def observation(self):
        inside = self.env.observation
        return jax.ShapeDtypeStruct(inside.shape, jnp.promote_types(inside.dtype, jnp.float32))

    @property
    def observation_bounds(self):
        return -self.clip, self.clip

    def wrap_state(self, inner):
        shape, dtype = self.observation.shape, self.observation.dtype
        mean = jnp.zeros(shape, dtype)
        variance = jnp.ones(shape, dtype)
        return self._update(inner, mean, variance, jnp.asarray(1e-4, dtype))

    def inner(self, state):
        return state.inner

    def restart(self, key, reached):
        return self._update(restart(self.env, key, reached.inner), *reached[1:])

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        return self._update(inner, *state[1:]), outcome

    def observe(self, state):
        scaled = (self._inside(state.inner) - state.mean) / jnp.sqrt(state.variance + self.epsilon)
        return jnp.clip(scaled, -self.clip, self.clip).astype(self.observation.dtype)

    def _inside(self, inner):
        return self.env.observe(inner).astype(self.observation.dtype)

    def _update(self, inner, mean, variance, count):
        moments = running_moments(mean, variance, count, self._inside(inner))
        return ObservationNormalizeState(inner, *moments)
