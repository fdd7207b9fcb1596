"""CartPole: a pole to be balanced on a cart."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, POSITIVE, check_choice, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.trigonometry import sin_cos
from purerl.pytree import Node, static


class CartPoleState(NamedTuple):
    """Position and velocity of the cart and of the pole, float ``[]``.

    Attributes:
        x: the cart's position, m.
        x_dot: the cart's velocity, m/s.
        theta: the pole's angle from upright, rad.
        theta_dot: rad/s.
    """

    x: jax.Array
    x_dot: jax.Array
    theta: jax.Array
    theta_dot: jax.Array


class CartPole(Node):
    r"""The cart and pole of Barto, Sutton & Anderson (1983), as in Gymnasium.

    Barto, Sutton & Anderson, "Neuronlike adaptive elements that can solve difficult
    learning control problems" (IEEE Transactions on Systems, Man, and Cybernetics
    13(5), 1983), without friction. With total mass :math:`M = m_c + m_p`, half the
    pole's length :math:`l` and force :math:`F = \pm` ``force_mag``,

    .. math::
        a &= \frac{F + m_p l \dot\theta^2 \sin\theta}{M} \\
        \ddot\theta &= \frac{g \sin\theta - a \cos\theta}
        {l \left(\frac43 - \frac{m_p \cos^2\theta}{M}\right)} \\
        \ddot x &= a - \frac{m_p l\, \ddot\theta \cos\theta}{M},

    integrated by explicit Euler steps of ``tau`` seconds: positions change by the *old*
    velocities.

    - Observation: ``(x, x_dot, theta, theta_dot)``, float32 ``[4]`` (float64 under
      ``jax_enable_x64``).
    - Actions: 0 pushes left, 1 pushes right.
    - Reward: 1 on every step, including the last. With ``sutton_barto_reward`` it is 0,
      and -1 on the last step (Sutton & Barto, *Reinforcement Learning: An
      Introduction*, 2nd edition, Example 3.4).
    - Start: each of the four numbers uniform in ``[-0.05, 0.05)``, on a grid of
      ``2**24`` values.
    - Termination: ``|x| > x_threshold`` or ``|theta| > theta_threshold``.

    Every attribute except the last is a leaf. The total mass and the pole's moment of
    inertia are computed from them, so sweeping ``masspole`` alone changes them too.

    Attributes:
        gravity: :math:`g`, m/s^2.
        masscart: :math:`m_c > 0`, kg.
        masspole: :math:`m_p > 0`, kg.
        length: half the pole's length, :math:`l > 0`, m.
        force_mag: magnitude of the push, N.
        tau: seconds between two states, > 0.
        theta_threshold: rad, > 0.
        x_threshold: m, > 0.
        sutton_barto_reward: whether falling is punished instead of standing rewarded.
            Static.

    Raises:
        ValueError: a given number is not finite, or not positive where it must be, or
            ``sutton_barto_reward`` is not a bool. (Arrays, such as the values of a
            sweep, are not checked.)

    Example:
        >>> import jax
        >>> env = CartPole(gravity=1.6)
        >>> start = CartPoleState(*jnp.zeros(4))
        >>> state, outcome = env.step(jax.random.key(0), start, jnp.int32(1))
        >>> env.observe(state).tolist() == [0.0, state.x_dot, 0.0, state.theta_dot]
        True
    """

    gravity: float | jax.Array = 9.8
    masscart: float | jax.Array = 1.0
    masspole: float | jax.Array = 0.1
    length: float | jax.Array = 0.5
    force_mag: float | jax.Array = 10.0
    tau: float | jax.Array = 0.02
    theta_threshold: float | jax.Array = 12 * 2 * math.pi / 360
    x_threshold: float | jax.Array = 2.4
    sutton_barto_reward: bool = static(default=False)

    def __post_init__(self):
        check_choice(self, sutton_barto_reward=(False, True))
        positive = ("masscart", "masspole", "length", "tau", "theta_threshold", "x_threshold")
        check_numbers(self, gravity=FINITE, force_mag=FINITE, **dict.fromkeys(positive, POSITIVE))

    @property
    def num_actions(self) -> int:
        return 2

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((4,), jax.dtypes.canonicalize_dtype(float))

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        """Twice the thresholds, since an episode ends beyond them, as in Gymnasium."""
        high = jnp.stack([2 * self.x_threshold, jnp.inf, 2 * self.theta_threshold, jnp.inf])
        return -high, high

    def reset(self, key):
        # One draw, split into words before any arithmetic. With uniform(key, (4,)), XLA
        # builds an array [4] first, and 4,096 environments step at a third of the
        # speed.
        words = jax.random.bits(key, (4,), jnp.uint32)
        unit = ((words[i].astype(jnp.int32) >> 8).astype(float) for i in range(4))
        return CartPoleState(*(u * (0.05 * 2**-23) for u in unit))

    def step(self, key, state, action):
        del key  # the motion is deterministic
        x, x_dot, theta, theta_dot = state
        total_mass = self.masscart + self.masspole
        polemass_length = self.masspole * self.length
        force = jnp.where(action == 1, self.force_mag, -self.force_mag)
        sin, cos = sin_cos(theta)

        push = (force + polemass_length * theta_dot**2 * sin) / total_mass
        theta_acc = (self.gravity * sin - cos * push) / (
            self.length * (4 / 3 - self.masspole * cos**2 / total_mass)
        )
        x_acc = push - polemass_length * theta_acc * cos / total_mass

        state = CartPoleState(
            x=x + self.tau * x_dot,
            x_dot=x_dot + self.tau * x_acc,
            theta=theta + self.tau * theta_dot,
            theta_dot=theta_dot + self.tau * theta_acc,
        )
        terminated = (jnp.abs(state.x) > self.x_threshold) | (
            jnp.abs(state.theta) > self.theta_threshold
        )
        reward = jnp.float32(1)
        if self.sutton_barto_reward:
            reward = jnp.where(terminated, jnp.float32(-1), jnp.float32(0))
        return state, Outcome(reward, terminated, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack(state)

    def render(self, state):
        x = float(state.x)
        theta = float(state.theta)
        limit = float(self.x_threshold)
        length = 2 * float(self.length)
        axle = np.array([x, 0.25])
        tip = axle + length * np.array([np.sin(theta), np.cos(theta)])
        shapes = [
            drawing.line((-2 * limit, 0.15), (2 * limit, 0.15), 0.02, drawing.GRAY),
            *(
                drawing.line((side * limit, 0.05), (side * limit, 0.25), 0.03, drawing.RED)
                for side in (-1, 1)
            ),
            *(drawing.disc(x + side * 0.14, 0.1, 0.06, drawing.BLACK) for side in (-1, 1)),
            drawing.box(x, 0.22, 0.5, 0.2, drawing.BLUE),
            drawing.line(axle, tip, 0.09, drawing.ORANGE),
            drawing.disc(axle[0], axle[1], 0.05, drawing.BLACK),
        ]
        top = max(length + 0.5, 1.2)
        return drawing.draw(shapes, -1.15 * limit, 1.15 * limit, -0.15, top, width=400)
