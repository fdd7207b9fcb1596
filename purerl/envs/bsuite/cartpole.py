"""The Behaviour Suite's cart and pole: balancing, and swinging up first."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import FINITE, NOT_NEGATIVE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.metrics import Mean
from purerl.pytree import Node


class CartpoleState(NamedTuple):
    """Cart, pole and clock; float ``[]`` except ``time``.

    Attributes:
        x: the cart's position, m.
        x_dot: m/s.
        theta: the pole's angle from upright, rad.
        theta_dot: rad/s.
        time: steps taken, int32 ``[]``.
    """

    x: jax.Array
    x_dot: jax.Array
    theta: jax.Array
    theta_dot: jax.Array
    time: jax.Array


class Cartpole(Node):
    r"""A pole to be kept upright, with three forces and an observed clock.

    Barto, Sutton & Anderson (1983) in the form of Osband et al., "Behaviour Suite for
    Reinforcement Learning" (ICLR 2020), ``cartpole``, as in bsuite 0.3.6. The equations
    of motion and Euler's method are those of :class:`purerl.envs.classic.CartPole`,
    with the force :math:`F = (a - 1)` ``force_mag``.

    - Observation: ``[[x / x_threshold, x_dot / x_threshold, sin theta, cos theta,
      theta_dot, t / max_time]]``, float32 ``[1, 6]``, with ``t`` the steps taken times
      ``timescale``.
    - Actions: 0 pushes left, 1 does not push, 2 pushes right.
    - Reward: 1 if ``cos theta > height_threshold`` and ``|x| < x_threshold`` hold after
      the step, otherwise 0.
    - Start: ``x``, ``x_dot``, ``theta`` and ``theta_dot`` uniform in
      ``[-init_range, init_range)``.
    - Termination: a reward of 0, or ``t > max_time`` (step 1,001). As in bsuite, that
      time limit counts as terminal, since the observation includes the time.

    bsuite sums up the time in float64, which with its parameters ends on the same step.
    It keeps the angle in :math:`[0, 2\pi)`; here it is in :math:`[-\pi, \pi]`, where
    float32 is most precise around upright. Observations are the same. States are
    float64 under ``jax_enable_x64``.

    Attributes:
        height_threshold: lower bound on ``cos theta``, exclusive.
        x_threshold: m, > 0.
        timescale: seconds between two states, > 0.
        max_time: s, > 0.
        init_range: at least 0.
        gravity: m/s^2.
        masscart: kg, > 0.
        masspole: kg, > 0.
        length: half the pole's length, m, > 0.
        force_mag: N.

    Raises:
        ValueError: a number out of its range.
    """

    height_threshold: float | jax.Array = 0.8
    x_threshold: float | jax.Array = 3.0
    timescale: float | jax.Array = 0.01
    max_time: float | jax.Array = 10.0
    init_range: float | jax.Array = 0.05
    gravity: float | jax.Array = 9.8
    masscart: float | jax.Array = 1.0
    masspole: float | jax.Array = 0.1
    length: float | jax.Array = 0.5
    force_mag: float | jax.Array = 10.0

    num_actions = 3

    def __post_init__(self):
        positive = ("x_threshold", "timescale", "max_time", "masscart", "masspole", "length")
        finite = ("height_threshold", "gravity", "force_mag")
        check_numbers(
            self,
            init_range=NOT_NEGATIVE,
            **dict.fromkeys(positive, POSITIVE),
            **dict.fromkeys(finite, FINITE),
        )

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 6), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return math.floor(float(self.max_time / self.timescale)) + 1

    def reset(self, key):
        words = jax.random.bits(key, (4,), jnp.uint32)
        unit = ((words[i].astype(jnp.int32) >> 8).astype(float) * 2**-23 for i in range(4))
        x, x_dot, theta, theta_dot = (self.init_range * u for u in unit)
        return CartpoleState(x, x_dot, theta, theta_dot, jnp.int32(0))

    def move(self, state: CartpoleState, action: jax.Array) -> CartpoleState:
        """One Euler step."""
        x, x_dot, theta, theta_dot, time = state
        total_mass = self.masscart + self.masspole
        polemass_length = self.masspole * self.length
        sin = jnp.sin(theta)
        cos = jnp.cos(theta)
        push = ((action - 1) * self.force_mag + polemass_length * theta_dot**2 * sin) / total_mass
        theta_acc = (self.gravity * sin - cos * push) / (
            self.length * (4 / 3 - self.masspole * cos**2 / total_mass)
        )
        x_acc = push - polemass_length * theta_acc * cos / total_mass
        turned = theta + self.timescale * theta_dot
        return CartpoleState(
            x=x + self.timescale * x_dot,
            x_dot=x_dot + self.timescale * x_acc,
            theta=turned - 2 * math.pi * jnp.round(turned / (2 * math.pi)),
            theta_dot=theta_dot + self.timescale * theta_acc,
            time=time + 1,
        )

    def step(self, key, state, action):
        state = self.move(state, action)
        good = (jnp.cos(state.theta) > self.height_threshold) & (
            jnp.abs(state.x) < self.x_threshold
        )
        terminated = ~good | (state.time * self.timescale > self.max_time)
        return state, Outcome(good.astype(jnp.float32), terminated, jnp.bool_(False))

    def features(self, state: CartpoleState) -> list[jax.Array]:
        """The six numbers that both tasks observe."""
        x, x_dot, theta, theta_dot, time = state
        elapsed = time * self.timescale / self.max_time
        return [
            x / self.x_threshold,
            x_dot / self.x_threshold,
            jnp.sin(theta),
            jnp.cos(theta),
            theta_dot,
            elapsed,
        ]

    def observe(self, state):
        return jnp.stack(self.features(state)).astype(jnp.float32)[None]

    def render(self, state):
        x = float(state.x)
        theta = float(state.theta)
        reach = float(self.x_threshold)
        tip = x + 2 * self.length * np.sin(theta), 2 * self.length * np.cos(theta)
        shapes = [
            drawing.line((-reach, -0.15), (reach, -0.15), 0.03, drawing.GRAY),
            drawing.box(x, 0, 0.5, 0.25, drawing.BLACK),
            drawing.line((x, 0), tip, 0.1, drawing.ORANGE),
            drawing.disc(x, 0, 0.07, drawing.BLUE),
        ]
        return drawing.draw(shapes, -reach - 0.3, reach + 0.3, -1.3, 1.3, width=320)


class CartpoleSwingup(Cartpole):
    r"""A hanging pole to be swung up, although every push has a cost.

    Without exploration the agent learns not to move. Osband et al., "Behaviour Suite
    for Reinforcement Learning" (ICLR 2020), ``cartpole_swingup``, as in bsuite 0.3.6.
    The motion is that of :class:`Cartpole`.

    - Observation: the six numbers of :class:`Cartpole`, and whether
      ``|x| < x_reward_threshold`` and ``|theta_dot| < theta_dot_threshold`` hold, as 1
      or -1; float32 ``[1, 8]``.
    - Actions: 0 pushes left, 1 does not push, 2 pushes right.
    - Reward: 1 if both hold after the step and ``cos theta > height_threshold`` too,
      less ``move_cost`` for a push.
    - Start: as in :class:`Cartpole`, with ``theta`` around :math:`\pi`.
    - Termination: ``|x| > x_threshold``, or ``t > max_time`` (step 1,001). As in
      bsuite, that time limit counts as terminal, since the observation includes the
      time.

    The metric ``upright`` tells whether a step yielded the reward of 1.

    Attributes:
        height_threshold: lower bound on ``cos theta``, exclusive.
        theta_dot_threshold: rad/s, at least 0.
        x_reward_threshold: m, at least 0.
        move_cost: of a push.

    The other attributes are those of :class:`Cartpole`.
    """

    height_threshold: float | jax.Array = 0.5
    theta_dot_threshold: float | jax.Array = 1.0
    x_reward_threshold: float | jax.Array = 1.0
    move_cost: float | jax.Array = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_numbers(
            self,
            theta_dot_threshold=NOT_NEGATIVE,
            x_reward_threshold=NOT_NEGATIVE,
            move_cost=FINITE,
        )

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 8), jnp.float32)

    def reset(self, key):
        state = super().reset(key)
        return state._replace(theta=math.pi + state.theta)

    def step(self, key, state, action):
        state = self.move(state, action)
        central, slow = self._central_and_slow(state)
        upright = (jnp.cos(state.theta) > self.height_threshold) & slow & central
        reward = jnp.where(upright, 1.0, 0.0) - jnp.where(action == 1, 0.0, self.move_cost)
        terminated = (jnp.abs(state.x) > self.x_threshold) | (
            state.time * self.timescale > self.max_time
        )
        metrics = {"upright": Mean(upright.astype(jnp.float32), jnp.float32(1))}
        return state, Outcome(reward.astype(jnp.float32), terminated, jnp.bool_(False), metrics)

    def _central_and_slow(self, state):
        central = jnp.abs(state.x) < self.x_reward_threshold
        slow = jnp.abs(state.theta_dot) < self.theta_dot_threshold
        return central, slow

    def observe(self, state):
        flags = [jnp.where(holds, 1.0, -1.0) for holds in self._central_and_slow(state)]
        return jnp.stack([*self.features(state), *flags]).astype(jnp.float32)[None]
