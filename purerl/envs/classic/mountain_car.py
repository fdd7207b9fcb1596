"""MountainCar: a car in a valley, too weak to drive straight up; with three pushes, or with any force between two bounds."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import FINITE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.trigonometry import sin_cos
from purerl.pytree import Node


class MountainCarState(NamedTuple):
    """Where the car is along the track, and how far it goes in a step; float ``[]``."""

    position: jax.Array
    velocity: jax.Array


def _above(node, field):
    """A rule: finite, and above another field where that is a number, too."""
    other = getattr(node, field)
    known = isinstance(other, (int, float))
    return (
        f"a finite number above {field}",
        lambda x: np.isfinite(x) & ((x > other) if known else True),
    )


def _start(key):
    word = jax.random.bits(key, (), jnp.uint32)
    position = (word >> 8).astype(jnp.int32).astype(float) * (0.2 * 2**-24) - 0.6
    return MountainCarState(position, jnp.zeros_like(position))


def _roll(env, state, push):
    """The next state of a car that is pushed, and whether it is the goal."""
    velocity = state.velocity + push - env.gravity * sin_cos(3 * state.position)[1]
    velocity = jnp.clip(velocity, -env.max_speed, env.max_speed)
    position = jnp.clip(state.position + velocity, env.min_position, env.max_position)
    velocity = jnp.where(
        (position <= env.min_position) & (velocity < 0), 0.0, velocity
    )  # the wall on the left takes it all
    return MountainCarState(position, velocity), (position >= env.goal_position) & (
        velocity >= env.goal_velocity
    )


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
    wheels = [
        drawing.disc(*(on_track + side * 0.045 * slope + 0.025 * up), 0.025, drawing.BLACK)
        for side in (-1, 1)
    ]
    body = drawing.line(
        on_track - 0.075 * slope + 0.06 * up,
        on_track + 0.075 * slope + 0.06 * up,
        0.055,
        drawing.BLUE,
    )
    return drawing.draw([*ground, *track, *flag, body, *wheels], left - 0.1, right + 0.1, -0.6, 0.8)


class MountainCar(Node):
    r"""The mountain car of Moore's thesis, "Efficient memory-based learning for robot control" (University of Cambridge, 1990),
    as in Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 10.1, in Gymnasium's numbers:

    .. math::
        v' = \operatorname{clip}(v + (a - 1) F - g \cos 3x), \qquad x' = \operatorname{clip}(x + v'),

    and a car that runs into the wall on the left stands still.

    - Observation: ``(position, velocity)``, float32 ``[2]`` (float64 under ``jax_enable_x64``).
    - Actions: 0 pushes left, 1 does not push, 2 pushes right.
    - Reward: -1 on every step, the last one too.
    - Start: at rest, the position uniform in ``[-0.6, -0.4)``.
    - Termination: ``position >= goal_position`` and ``velocity >= goal_velocity``.

    Every attribute is a leaf; positions and velocities are in units of the track, a step being the unit of time.

    Attributes:
        force: of a push, :math:`F`.
        gravity: :math:`g`.
        min_position: of the wall.
        max_position: above ``min_position``; the car goes no further, but keeps its velocity.
        max_speed: > 0.
        goal_position: finite.
        goal_velocity: the least with which the goal counts.

    Raises:
        ValueError: a number given is not finite, or not as large as it must be. (Arrays, such as the values of a sweep, are
            taken as they are.)

    Example:
        >>> import jax
        >>> state, outcome = MountainCar().step(jax.random.key(0), MountainCarState(-1.19, -0.05), 0)
        >>> float(state.position), float(state.velocity), float(outcome.reward)
        (-1.2, 0.0, -1.0)
    """

    force: float = 0.001
    gravity: float = 0.0025
    min_position: float = -1.2
    max_position: float = 0.6
    max_speed: float = 0.07
    goal_position: float = 0.5
    goal_velocity: float = 0.0

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
    r"""The mountain car with any force between two bounds, ``MountainCarContinuous-v0`` of Gymnasium: the motion is that of
    :class:`MountainCar` with a push of ``power`` times the force.

    - Observation: ``(position, velocity)``, float32 ``[2]`` (float64 under ``jax_enable_x64``).
    - Actions: a force, float ``[1]``; the motion sees it clipped to ``[min_action, max_action]``.
    - Reward: :math:`-0.1\, a^2` of the force asked for, before it is clipped, and 100 more on reaching the goal.
    - Start: at rest, the position uniform in ``[-0.6, -0.4)``.
    - Termination: ``position >= goal_position`` and ``velocity >= goal_velocity``.

    There is no ``num_actions``: agents that choose among finitely many actions take it inside a
    :class:`~purerl.envs.wrappers.DiscretizedActions`, as ``purerl.make("MountainCarContinuous-v0")`` gives it. (Gymnasium
    rounds the state to float32 after each step; here it keeps its precision.)

    Attributes:
        power: the push of a unit of force.
        gravity: as in :class:`MountainCar`, and so are the five below.
        min_position: of the wall.
        max_position: above ``min_position``.
        max_speed: > 0.
        goal_position: finite.
        goal_velocity: the least with which the goal counts.
        min_action: the least force.
        max_action: the largest, above ``min_action``.

    Raises:
        ValueError: as :class:`MountainCar`.

    Example:
        >>> import jax
        >>> state = MountainCarState(jnp.float32(0.44), jnp.float32(0.05))
        >>> _, outcome = MountainCarContinuous().step(jax.random.key(0), state, jnp.array([1.0]))
        >>> float(outcome.reward), bool(outcome.terminated)
        (99.9, True)
    """

    power: float = 0.0015
    gravity: float = 0.0025
    min_position: float = -1.2
    max_position: float = 0.6
    max_speed: float = 0.07
    goal_position: float = 0.45
    goal_velocity: float = 0.0
    min_action: float = -1.0
    max_action: float = 1.0

    def __post_init__(self):
        finite = (
            "power",
            "gravity",
            "min_position",
            "goal_position",
            "goal_velocity",
            "min_action",
        )
        above = {f"max_{name}": _above(self, f"min_{name}") for name in ("position", "action")}
        check_numbers(self, **dict.fromkeys(finite, FINITE), **above, max_speed=POSITIVE)

    @property
    def action(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one action. Static."""
        return jax.ShapeDtypeStruct((1,), jax.dtypes.canonicalize_dtype(float))

    @property
    def action_bounds(self) -> tuple[jax.Array, jax.Array]:
        """The least and the largest action that makes a difference to the motion, each in the shape of one."""
        shape, dtype = self.action.shape, self.action.dtype
        return jnp.full(shape, self.min_action, dtype), jnp.full(shape, self.max_action, dtype)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return _observation()

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
