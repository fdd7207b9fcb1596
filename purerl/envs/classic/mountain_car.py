"""MountainCar: a car in a valley, too weak to drive straight up.

It has three pushes, or any force between two bounds.
"""

from itertools import pairwise
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.trigonometry import sin_cos
from purerl.pytree import Node


class MountainCarState(NamedTuple):
    """Position along the track, and its change per step; float ``[]``."""

    position: jax.Array
    velocity: jax.Array


def _above(node, field):
    """Rule for a finite number above another field, where that is a number too."""
    other = getattr(node, field)
    known = isinstance(other, (int, float))
    return (
        f"a finite number above {field}",
        lambda x: np.isfinite(x) & ((x > other) if known else True),
    )


class Track(Protocol):
    """Physics that mountain cars have in common; all floats ``[]``."""

    @property
    def gravity(self) -> float | jax.Array: ...
    @property
    def max_speed(self) -> float | jax.Array: ...
    @property
    def min_position(self) -> float | jax.Array: ...
    @property
    def max_position(self) -> float | jax.Array: ...


def move(
    track: Track, position: jax.Array, velocity: jax.Array, push: jax.Array, slope: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r"""Position and velocity of a car one step later.

    Args:
        track: the physics.
        position: :math:`x`, float ``[]``.
        velocity: float ``[]``.
        push: change of the velocity by the motor, float ``[]``.
        slope: :math:`\cos 3x`, float ``[]``, in the caller's precision.
    """
    velocity = velocity + push - track.gravity * slope
    velocity = jnp.clip(velocity, -track.max_speed, track.max_speed)
    position = jnp.clip(position + velocity, track.min_position, track.max_position)
    at_wall = (position <= track.min_position) & (velocity < 0)
    return position, jnp.where(at_wall, 0.0, velocity)


def _start(key):
    word = jax.random.bits(key, (), jnp.uint32)
    position = (word >> 8).astype(jnp.int32).astype(float) * (0.2 * 2**-24) - 0.6
    return MountainCarState(position, jnp.zeros_like(position))


def _roll(env, state, push):
    """The next state of a pushed car, and whether it has reached the goal."""
    slope = sin_cos(3 * state.position)[1]
    position, velocity = move(env, state.position, state.velocity, push, slope)
    reached = (position >= env.goal_position) & (velocity >= env.goal_velocity)
    return MountainCarState(position, velocity), reached


def _observation():
    return jax.ShapeDtypeStruct((2,), jax.dtypes.canonicalize_dtype(float))


def _picture(env, state):
    def height(x):
        return 0.45 * np.sin(3 * x)

    left, right = float(env.min_position), float(env.max_position)
    edges = np.linspace(left, right, 49)
    ground = [
        (np.array([[a, -0.6], [b, -0.6], [b, height(b)], [a, height(a)]]), drawing.PALE)
        for a, b in zip(edges[:-1], edges[1:] + 0.01, strict=True)
    ]
    track = [
        drawing.line((a, height(a)), (b, height(b)), 0.015, drawing.GRAY)
        for a, b in pairwise(edges)
    ]
    goal = float(env.goal_position)
    foot = np.array([goal, height(goal)])
    flag = [
        drawing.line(foot, foot + np.array([0, 0.22]), 0.012, drawing.BLACK),
        (foot + np.array([[0, 0.22], [0.1, 0.18], [0, 0.14]]), drawing.ORANGE),
    ]
    x = float(state.position)
    slope = np.array([1, 1.35 * np.cos(3 * x)]) / np.hypot(1, 1.35 * np.cos(3 * x))
    up = np.array([-slope[1], slope[0]])
    on_track = np.array([x, height(x)]) + 0.01 * up
    hubs = [on_track + side * 0.045 * slope + 0.025 * up for side in (-1, 1)]
    wheels = [drawing.disc(hub[0], hub[1], 0.025, drawing.BLACK) for hub in hubs]
    body = drawing.line(
        on_track - 0.075 * slope + 0.06 * up,
        on_track + 0.075 * slope + 0.06 * up,
        0.055,
        drawing.BLUE,
    )
    return drawing.draw([*ground, *track, *flag, body, *wheels], left - 0.1, right + 0.1, -0.6, 0.8)


class MountainCar(Node):
    r"""The mountain car of Moore (1990), as in Gymnasium's ``MountainCar-v0``.

    Moore, "Efficient memory-based learning for robot control" (thesis, University of
    Cambridge, 1990), in the form of Sutton & Barto, *Reinforcement Learning: An
    Introduction*, 2nd edition, Example 10.1:

    .. math::
        v' = \operatorname{clip}(v + (a - 1) F - g \cos 3x), \qquad
        x' = \operatorname{clip}(x + v'),

    where a car that runs into the wall on the left stops.

    - Observation: ``(position, velocity)``, float32 ``[2]`` (float64 under
      ``jax_enable_x64``).
    - Actions: 0 pushes left, 1 does not push, 2 pushes right.
    - Reward: -1 on every step, including the last.
    - Start: at rest, the position uniform in ``[-0.6, -0.4)``.
    - Termination: ``position >= goal_position`` and ``velocity >= goal_velocity``.

    Every attribute is a leaf. Positions and velocities are in units of the track, with
    one step as the unit of time.

    Attributes:
        force: of a push, :math:`F`.
        gravity: :math:`g`.
        min_position: of the wall.
        max_position: above ``min_position``. The car stops there, but keeps its
            velocity.
        max_speed: > 0.
        goal_position: finite.
        goal_velocity: least velocity with which the goal counts as reached.

    Raises:
        ValueError: a given number is not finite, or too small. (Arrays, such as the
            values of a sweep, are not checked.)

    Example:
        >>> import jax
        >>> before_wall = MountainCarState(jnp.float32(-1.19), jnp.float32(-0.05))
        >>> state, outcome = MountainCar().step(jax.random.key(0), before_wall, 0)
        >>> float(state.position), float(state.velocity), float(outcome.reward)
        (-1.2, 0.0, -1.0)
    """

    force: float | jax.Array = 0.001
    gravity: float | jax.Array = 0.0025
    min_position: float | jax.Array = -1.2
    max_position: float | jax.Array = 0.6
    max_speed: float | jax.Array = 0.07
    goal_position: float | jax.Array = 0.5
    goal_velocity: float | jax.Array = 0.0

    def __post_init__(self):
        finite = ("force", "gravity", "min_position", "goal_position", "goal_velocity")
        above = _above(self, "min_position")
        check_numbers(self, **dict.fromkeys(finite, FINITE), max_position=above, max_speed=POSITIVE)

    @property
    def num_actions(self) -> int:
        return 3

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return _observation()

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        low = jnp.stack([self.min_position, -self.max_speed])
        return low, jnp.stack([self.max_position, self.max_speed])

    def reset(self, key):
        return _start(key)

    def step(self, key, state, action):
        del key  # the motion is deterministic
        state, terminated = _roll(self, state, (action - 1) * self.force)
        return state, Outcome(jnp.float32(-1.0), terminated, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack(state)

    def render(self, state):
        return _picture(self, state)


class MountainCarContinuous(Node):
    r"""The mountain car with a continuous force, as in ``MountainCarContinuous-v0``.

    The motion is that of :class:`MountainCar` with a push of ``power`` times the force.

    - Observation: ``(position, velocity)``, float32 ``[2]`` (float64 under
      ``jax_enable_x64``).
    - Actions: a force, float ``[1]``, which the motion clips to
      ``[min_action, max_action]``.
    - Reward: :math:`-0.1\, a^2` of the force before it is clipped, and 100 more on
      reaching the goal.
    - Start: at rest, the position uniform in ``[-0.6, -0.4)``.
    - Termination: ``position >= goal_position`` and ``velocity >= goal_velocity``.

    There is no ``num_actions``: agents that choose among finitely many actions take it
    inside a :class:`~purerl.envs.wrappers.DiscretizedActions`, which
    ``purerl.make("MountainCarContinuous-v0")`` includes. (Gymnasium rounds the state to
    float32 after each step; here it keeps its precision.)

    Attributes:
        power: push per unit of force.
        gravity: as in :class:`MountainCar`, like the following five.
        min_position: of the wall.
        max_position: above ``min_position``.
        max_speed: > 0.
        goal_position: finite.
        goal_velocity: least velocity with which the goal counts as reached.
        min_action: the least force.
        max_action: the largest force, above ``min_action``.

    Raises:
        ValueError: as :class:`MountainCar`.

    Example:
        >>> import jax
        >>> state = MountainCarState(jnp.float32(0.44), jnp.float32(0.05))
        >>> force = jnp.array([1.0])
        >>> _, outcome = MountainCarContinuous().step(jax.random.key(0), state, force)
        >>> float(outcome.reward), bool(outcome.terminated)
        (99.9, True)
    """

    power: float | jax.Array = 0.0015
    gravity: float | jax.Array = 0.0025
    min_position: float | jax.Array = -1.2
    max_position: float | jax.Array = 0.6
    max_speed: float | jax.Array = 0.07
    goal_position: float | jax.Array = 0.45
    goal_velocity: float | jax.Array = 0.0
    min_action: float | jax.Array = -1.0
    max_action: float | jax.Array = 1.0

    def __post_init__(self):
        finite = (
            "power",
            "gravity",
            "min_position",
            "goal_position",
            "goal_velocity",
            "min_action",
        )
        above = {
            "max_position": _above(self, "min_position"),
            "max_action": _above(self, "min_action"),
        }
        check_numbers(self, **dict.fromkeys(finite, FINITE), **above, max_speed=POSITIVE)

    @property
    def action(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one action. Static."""
        return jax.ShapeDtypeStruct((1,), jax.dtypes.canonicalize_dtype(float))

    @property
    def action_bounds(self) -> tuple[jax.Array, jax.Array]:
        """The least and the largest action with an effect on the motion."""
        shape, dtype = self.action.shape, self.action.dtype
        return jnp.full(shape, self.min_action, dtype), jnp.full(shape, self.max_action, dtype)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return _observation()

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        low = jnp.stack([self.min_position, -self.max_speed])
        return low, jnp.stack([self.max_position, self.max_speed])

    def reset(self, key):
        return _start(key)

    def step(self, key, state, action):
        del key  # the motion is deterministic
        force = jnp.clip(action[0], self.min_action, self.max_action)
        state, terminated = _roll(self, state, force * self.power)
        reward = jnp.where(terminated, 100.0, 0.0) - 0.1 * action[0] ** 2
        return state, Outcome(reward.astype(jnp.float32), terminated, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack(state)

    def render(self, state):
        return _picture(self, state)
