"""Pendulum: to be swung up and held by a torque too weak to lift it directly."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.trigonometry import sin_cos
from purerl.pytree import Node


class PendulumState(NamedTuple):
    """Angle and angular velocity of the rod, float ``[]``.

    Attributes:
        theta: angle from upright, not wrapped at whole turns, rad.
        theta_dot: rad/s.
    """

    theta: jax.Array
    theta_dot: jax.Array


class Pendulum(Node):
    r"""A rod on a pivot with a motor, Gymnasium's ``Pendulum-v1``.

    A rod of mass :math:`m` and length :math:`l`, whose moment of inertia about its end
    is :math:`m l^2 / 3`, under torque :math:`u`:

    .. math::
        \dot\theta' &= \operatorname{clip}\left(\dot\theta
        + \tau \left(\frac{3 g}{2 l} \sin\theta + \frac{3}{m l^2} u\right)\right) \\
        \theta' &= \theta + \tau \dot\theta'.

    - Observation: ``(cos(theta), sin(theta), theta_dot)``, float32 ``[3]`` (float64
      under ``jax_enable_x64``).
    - Actions: a torque, float ``[1]``, clipped to ``[-max_torque, max_torque]``, N m.
    - Reward: :math:`-(\theta^2 + 0.1\, \dot\theta^2 + 0.001\, u^2)` of the state before
      the step and the clipped torque, with :math:`\theta` wrapped to :math:`[-\pi,
      \pi]`.
    - Start: ``theta`` uniform in :math:`[-\pi, \pi)`, ``theta_dot`` in ``[-1, 1)``.
    - Termination: never.

    There is no ``num_actions``: agents that choose among finitely many actions take it
    inside a :class:`~purerl.envs.wrappers.DiscretizedActions`, which
    ``purerl.make("Pendulum-v1")`` includes.

    Attributes:
        max_speed: rad/s, > 0.
        max_torque: N m, > 0.
        tau: seconds between two states, > 0.
        gravity: :math:`g`, m/s^2.
        mass: :math:`m > 0`, kg.
        length: :math:`l > 0`, m.

    Raises:
        ValueError: a given number is not finite, or not positive where it must be.
            (Arrays, such as the values of a sweep, are not checked.)

    Example:
        >>> import jax
        >>> state = PendulumState(jnp.float32(0.0), jnp.float32(1.0))
        >>> state, outcome = Pendulum().step(jax.random.key(0), state, jnp.array([2.0]))
        >>> round(float(state.theta_dot), 4), round(float(outcome.reward), 4)
        (1.3, -0.104)
    """

    max_speed: float | jax.Array = 8.0
    max_torque: float | jax.Array = 2.0
    tau: float | jax.Array = 0.05
    gravity: float | jax.Array = 10.0
    mass: float | jax.Array = 1.0
    length: float | jax.Array = 1.0

    def __post_init__(self):
        positive = ("max_speed", "max_torque", "tau", "mass", "length")
        check_numbers(self, gravity=FINITE, **dict.fromkeys(positive, POSITIVE))

    @property
    def action(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one action. Static."""
        return jax.ShapeDtypeStruct((1,), jax.dtypes.canonicalize_dtype(float))

    @property
    def action_bounds(self) -> tuple[jax.Array, jax.Array]:
        """The least and the largest action with an effect of its own."""
        largest = jnp.full(self.action.shape, self.max_torque, self.action.dtype)
        return -largest, largest

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((3,), jax.dtypes.canonicalize_dtype(float))

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        high = jnp.stack([1, 1, self.max_speed])
        return -high, high

    def reset(self, key):
        words = jax.random.bits(key, (2,), jnp.uint32)
        unit = [(words[i].astype(jnp.int32) >> 8).astype(float) * 2**-23 for i in range(2)]
        theta, theta_dot = unit
        return PendulumState(theta * math.pi, theta_dot)

    def step(self, key, state, action):
        del key  # the motion is deterministic
        theta, theta_dot = state
        torque = jnp.clip(action[0], -self.max_torque, self.max_torque)
        turns = jnp.floor((theta + math.pi) / (2 * math.pi))
        cost = (theta - 2 * math.pi * turns) ** 2 + 0.1 * theta_dot**2 + 0.001 * torque**2

        drive = 3 / (self.mass * self.length**2) * torque
        theta_acc = 3 * self.gravity / (2 * self.length) * sin_cos(theta)[0] + drive
        theta_dot = jnp.clip(theta_dot + self.tau * theta_acc, -self.max_speed, self.max_speed)
        state = PendulumState(theta + self.tau * theta_dot, theta_dot)
        return state, Outcome(-cost.astype(jnp.float32), jnp.bool_(False), jnp.bool_(False))

    def observe(self, state):
        sin, cos = sin_cos(state.theta)
        return jnp.stack([cos, sin, state.theta_dot])

    def render(self, state):
        length = float(self.length)
        tip = np.array([-np.sin(state.theta), np.cos(state.theta)]) * length
        rod = drawing.line((0, 0), tip, 0.16 * length, drawing.ORANGE)
        ends = [
            drawing.disc(0, 0, 0.08 * length, drawing.ORANGE),
            drawing.disc(tip[0], tip[1], 0.08 * length, drawing.ORANGE),
        ]
        axle = drawing.disc(0, 0, 0.04 * length, drawing.BLACK)
        reach = 1.25 * length
        return drawing.draw([rod, *ends, axle], -reach, reach, -reach, reach)
