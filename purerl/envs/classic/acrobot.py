"""Acrobot: two links in a chain, swung up by a motor in the joint between them."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, NOT_NEGATIVE, POSITIVE, check_choice, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.trigonometry import sin_cos
from purerl.pytree import Node, static


class AcrobotState(NamedTuple):
    """Angles and angular velocities of the two links, float ``[]``.

    Attributes:
        theta1: first link's angle from hanging down, in ``[-pi, pi]``, rad.
        theta2: second link's angle from the first, in ``[-pi, pi]``, rad.
        theta1_dot: rad/s.
        theta2_dot: rad/s.
    """

    theta1: jax.Array
    theta2: jax.Array
    theta1_dot: jax.Array
    theta2_dot: jax.Array


class Acrobot(Node):
    r"""The acrobot of Sutton (1995), as in Gymnasium's ``Acrobot-v1``.

    Sutton, "Generalization in reinforcement learning: successful examples using sparse
    coarse coding" (NIPS 1995). With masses :math:`m_i`, lengths :math:`l_i`, centers of
    mass at :math:`c_i`, moments of inertia :math:`I` and torque :math:`u`,

    .. math::
        d_1 &= m_1 c_1^2 + m_2 (l_1^2 + c_2^2 + 2 l_1 c_2 \cos\theta_2) + 2 I \\
        d_2 &= m_2 (c_2^2 + l_1 c_2 \cos\theta_2) + I \\
        \phi_2 &= m_2 c_2 g \sin(\theta_1 + \theta_2) \\
        \phi_1 &= -m_2 l_1 c_2 \dot\theta_2 (\dot\theta_2 + 2 \dot\theta_1)
        \sin\theta_2 + (m_1 c_1 + m_2 l_1) g \sin\theta_1 + \phi_2 \\
        \ddot\theta_2 &= \frac{u + \frac{d_2}{d_1} \phi_1
        - m_2 l_1 c_2 \dot\theta_1^2 \sin\theta_2 - \phi_2}
        {m_2 c_2^2 + I - d_2^2 / d_1} \\
        \ddot\theta_1 &= -\frac{d_2 \ddot\theta_2 + \phi_1}{d_1}

    over ``tau`` seconds in one Runge-Kutta step of order four, after which angles are
    wrapped and rates clipped. The paper's own :math:`\ddot\theta_2` leaves out the term
    in :math:`\dot\theta_1^2`: that is ``dynamics="nips"``. The equations above are
    those of Sutton & Barto's book (section 11.3 of the first edition),
    ``dynamics="book"``.

    - Observation:
      ``(cos(theta1), sin(theta1), cos(theta2), sin(theta2), theta1_dot, theta2_dot)``,
      float32 ``[6]`` (float64 under ``jax_enable_x64``).
    - Actions: 0, 1, 2: a torque of ``-torque``, 0, ``torque``, plus noise uniform in
      ``[-torque_noise_max, torque_noise_max)``.
    - Reward: -1, and 0 on the step that reaches the goal.
    - Start: each of the four numbers uniform in ``[-0.1, 0.1)``.
    - Termination: the tip is more than ``target_height`` above the pivot,
      :math:`-l_1 \cos\theta_1 - l_2 \cos(\theta_1 + \theta_2) > h` (Gymnasium has ones
      instead of the lengths here).

    Every attribute except the last is a leaf.

    Attributes:
        link_length_1: :math:`l_1 > 0`, m.
        link_length_2: :math:`l_2 > 0`, m.
        link_mass_1: :math:`m_1 > 0`, kg.
        link_mass_2: :math:`m_2 > 0`, kg.
        link_com_pos_1: :math:`c_1 > 0`, from the pivot, m.
        link_com_pos_2: :math:`c_2 > 0`, from the joint, m.
        link_moi: moment of inertia of each link, :math:`I > 0`, kg m^2.
        gravity: :math:`g`, m/s^2.
        torque: N m.
        torque_noise_max: N m, >= 0. If it is the Python number 0, nothing is drawn.
        max_vel_1: rad/s, > 0.
        max_vel_2: rad/s, > 0.
        target_height: :math:`h`, m.
        tau: seconds between two states, > 0. (A step of many turns is inaccurate, and
            may overflow.)
        dynamics: ``"book"`` or ``"nips"``. Static.

    Raises:
        ValueError: a given number is not finite, or not positive where it must be, or
            ``dynamics`` is unknown. (Arrays, such as the values of a sweep, are not
            checked.)

    Example:
        >>> import jax
        >>> hanging = AcrobotState(*jnp.zeros(4))
        >>> state, outcome = Acrobot().step(jax.random.key(0), hanging, 1)
        >>> state == hanging, float(outcome.reward)
        (True, -1.0)
    """

    link_length_1: float | jax.Array = 1.0
    link_length_2: float | jax.Array = 1.0
    link_mass_1: float | jax.Array = 1.0
    link_mass_2: float | jax.Array = 1.0
    link_com_pos_1: float | jax.Array = 0.5
    link_com_pos_2: float | jax.Array = 0.5
    link_moi: float | jax.Array = 1.0
    gravity: float | jax.Array = 9.8
    torque: float | jax.Array = 1.0
    torque_noise_max: float | jax.Array = 0.0
    max_vel_1: float | jax.Array = 4 * math.pi
    max_vel_2: float | jax.Array = 9 * math.pi
    target_height: float | jax.Array = 1.0
    tau: float | jax.Array = 0.2
    dynamics: Literal["book", "nips"] = static(default="book")

    def __post_init__(self):
        check_choice(self, dynamics=("book", "nips"))
        links = (
            "link_length_1",
            "link_length_2",
            "link_mass_1",
            "link_mass_2",
            "link_com_pos_1",
            "link_com_pos_2",
            "link_moi",
        )
        positive = (*links, "max_vel_1", "max_vel_2", "tau")
        finite = ("gravity", "torque", "target_height")
        rules = dict.fromkeys(positive, POSITIVE) | dict.fromkeys(finite, FINITE)
        check_numbers(self, torque_noise_max=NOT_NEGATIVE, **rules)

    @property
    def num_actions(self) -> int:
        return 3

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((6,), jax.dtypes.canonicalize_dtype(float))

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        high = jnp.stack([1, 1, 1, 1, self.max_vel_1, self.max_vel_2])
        return -high, high

    def reset(self, key):
        words = jax.random.bits(key, (4,), jnp.uint32)
        unit = ((words[i].astype(jnp.int32) >> 8).astype(float) for i in range(4))
        return AcrobotState(*(u * (0.1 * 2**-23) for u in unit))

    def _accelerations(self, state, torque):
        theta1, theta2, theta1_dot, theta2_dot = state
        m1 = self.link_mass_1
        m2 = self.link_mass_2
        moment = self.link_moi
        l1 = self.link_length_1
        c1 = self.link_com_pos_1
        c2 = self.link_com_pos_2
        sin1, cos1 = sin_cos(theta1)
        sin2, cos2 = sin_cos(theta2)
        coupling = m2 * l1 * c2

        # [[d1, d2], [d2, d3]] (theta1_acc, theta2_acc) = (-phi1, force2)
        d1 = m1 * c1**2 + m2 * (l1**2 + c2**2) + 2 * moment + 2 * coupling * cos2
        d2 = m2 * c2**2 + moment + coupling * cos2
        d3 = m2 * c2**2 + moment
        phi2 = m2 * c2 * self.gravity * (sin1 * cos2 + cos1 * sin2)
        weight1 = (m1 * c1 + m2 * l1) * self.gravity * sin1
        phi1 = weight1 + phi2 - coupling * theta2_dot * (theta2_dot + 2 * theta1_dot) * sin2
        force2 = torque - phi2
        if self.dynamics == "book":
            force2 = force2 - coupling * theta1_dot**2 * sin2
        # d1 * d3 - d2**2, written without a difference
        determinant = d3 * (m1 * c1**2 + moment) + m2 * l1**2 * moment + (coupling * sin2) ** 2
        theta1_acc = -(d3 * phi1 + d2 * force2) / determinant
        theta2_acc = (d1 * force2 + d2 * phi1) / determinant
        return theta1_acc, theta2_acc

    def _torque(self, key, action):
        torque = (action - 1) * self.torque
        if isinstance(self.torque_noise_max, (int, float)) and self.torque_noise_max == 0:
            return torque
        word = jax.random.bits(key, (), jnp.uint32).astype(jnp.int32)
        noise = (word >> 8).astype(float) * 2**-23
        return torque + self.torque_noise_max * noise

    def _integrated(self, state, torque):
        """The state ``tau`` seconds later, by a Runge-Kutta step of order four."""

        def slope(state):
            return AcrobotState(
                state.theta1_dot, state.theta2_dot, *self._accelerations(state, torque)
            )

        def ahead(slope, time):
            return AcrobotState(*(x + time * dx for x, dx in zip(state, slope, strict=True)))

        k1 = slope(state)
        k2 = slope(ahead(k1, self.tau / 2))
        k3 = slope(ahead(k2, self.tau / 2))
        k4 = slope(ahead(k3, self.tau))
        mean = (a + 2 * (b + c) + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        return ahead(mean, self.tau / 6)

    def step(self, key, state, action):
        state = self._integrated(state, self._torque(key, action))
        sin1, cos1 = sin_cos(state.theta1)
        sin2, cos2 = sin_cos(state.theta2)
        height = -self.link_length_1 * cos1 - self.link_length_2 * (cos1 * cos2 - sin1 * sin2)
        # Only the sign matters. XLA computes cheap values again for each of their uses,
        # here all parts of the state, but stores the result of a division. So dividing
        # saves a third of the time of a step.
        excess = height - self.target_height
        terminated = excess / jnp.abs(excess) > 0

        def wrapped(angle):
            return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))

        state = AcrobotState(
            theta1=wrapped(state.theta1),
            theta2=wrapped(state.theta2),
            theta1_dot=jnp.clip(state.theta1_dot, -self.max_vel_1, self.max_vel_1),
            theta2_dot=jnp.clip(state.theta2_dot, -self.max_vel_2, self.max_vel_2),
        )
        reward = jnp.where(terminated, jnp.float32(0), jnp.float32(-1))
        return state, Outcome(reward, terminated, jnp.bool_(False))

    def observe(self, state):
        sin1, cos1 = sin_cos(state.theta1)
        sin2, cos2 = sin_cos(state.theta2)
        return jnp.stack([cos1, sin1, cos2, sin2, state.theta1_dot, state.theta2_dot])

    def render(self, state):
        l1 = float(self.link_length_1)
        l2 = float(self.link_length_2)
        bearing1 = float(state.theta1)
        bearing2 = float(state.theta1 + state.theta2)
        joint = l1 * np.array([np.sin(bearing1), -np.cos(bearing1)])
        tip = joint + l2 * np.array([np.sin(bearing2), -np.cos(bearing2)])
        reach = 1.1 * (l1 + l2)
        target = float(self.target_height)
        shapes = [
            drawing.line((-reach, target), (reach, target), 0.01 * reach, drawing.GRAY),
            drawing.line((0, 0), joint, 0.09 * reach, drawing.BLUE),
            drawing.line(joint, tip, 0.09 * reach, drawing.SKY),
            drawing.disc(tip[0], tip[1], 0.045 * reach, drawing.SKY),
            drawing.disc(joint[0], joint[1], 0.055 * reach, drawing.ORANGE),
            drawing.disc(0, 0, 0.055 * reach, drawing.BLACK),
        ]
        return drawing.draw(shapes, -reach, reach, -reach, reach)
