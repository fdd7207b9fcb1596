"""Mountain car, with a clock in view."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, FINITE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.pytree import Node


class MountainCarState(NamedTuple):
    """Position and velocity, float ``[]``; ``time``: steps taken, int32 ``[]``."""

    position: jax.Array
    velocity: jax.Array
    time: jax.Array


class MountainCar(Node):
    r"""A car too weak for the hill must swing up.

    Moore, *Efficient Memory-based Learning for Robot Control* (PhD thesis, Cambridge, 1990); Osband et al., "Behaviour Suite
    for Reinforcement Learning" (ICLR 2020), ``mountain_car``, as in bsuite 0.3.6. With action :math:`a`,

    .. math:: v' = \operatorname{clip}(v + f (a - 1) - g \cos 3x, \pm v_{\max}), \qquad x' = \operatorname{clip}(x + v'),

    and :math:`v' = \max(v', 0)` at the left border.

    - **Observation**: ``[[position, velocity, time / max_steps]]``, float32 ``[1, 3]``.
    - **Actions**: 0 pushes left, 1 not at all, 2 right.
    - **Reward**: -1 on every step.
    - **Start**: position uniform in ``[-0.6, -0.4)``, at rest.
    - **Termination**: ``position >= goal``, or after ``max_steps`` steps: that end is bsuite's own and counts as terminal,
      for the observation tells the time.

    Attributes:
        force: :math:`f`.
        gravity: :math:`g`.
        max_speed: :math:`v_{\max}`.
        min_position: the left border.
        max_position: the right border.
        goal: position to be reached.
        max_steps: at least 1.

    Raises:
        ValueError: a number out of its range.
    """

    force: float = 0.001
    gravity: float = 0.0025
    max_speed: float = 0.07
    min_position: float = -1.2
    max_position: float = 0.6
    goal: float = 0.5
    max_steps: int = 1000

    num_actions = 3

    def __post_init__(self):
        finite = dict.fromkeys(("force", "gravity", "min_position", "max_position", "goal"), FINITE)
        check_numbers(self, max_speed=POSITIVE, max_steps=AT_LEAST_ONE, **finite)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 3), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Steps after which an episode has ended, whatever was done."""
        return int(self.max_steps)

    def reset(self, key):
        word = jax.random.bits(key, (1,), jnp.uint32)[0]
        position = (word.astype(jnp.int32) >> 8).astype(float) * (0.1 * 2**-23) - 0.5
        return MountainCarState(position, jnp.zeros_like(position), jnp.int32(0))

    def step(self, key, state, action):
        velocity = (
            state.velocity + (action - 1) * self.force - self.gravity * jnp.cos(3 * state.position)
        )
        velocity = jnp.clip(velocity, -self.max_speed, self.max_speed)
        position = jnp.clip(state.position + velocity, self.min_position, self.max_position)
        velocity = jnp.where(position == self.min_position, jnp.maximum(velocity, 0), velocity)
        state = MountainCarState(position, velocity, state.time + 1)
        terminated = (position >= self.goal) | (state.time >= self.max_steps)
        return state, Outcome(jnp.float32(-1), terminated, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack(
            [state.position, state.velocity, state.time / jnp.float32(self.max_steps)]
        ).astype(jnp.float32)[None]

    def render(self, state):
        def height(x):
            return 0.45 * np.sin(3 * x)

        xs = np.linspace(self.min_position, self.max_position, 60)
        track = zip(
            zip(xs, height(xs), strict=True),
            zip(xs[1:], height(xs[1:]), strict=False),
            strict=False,
        )
        shapes = [drawing.line(start, end, 0.02, drawing.BROWN) for start, end in track]
        x, y = float(state.position), height(float(state.position))
        shapes.append(
            drawing.line(
                (self.goal, height(self.goal)),
                (self.goal, height(self.goal) + 0.3),
                0.02,
                drawing.GREEN,
            )
        )
        shapes.append(drawing.disc(self.goal + 0.06, height(self.goal) + 0.26, 0.06, drawing.GREEN))
        shapes.append(drawing.disc(x, y + 0.08, 0.07, drawing.BLUE))
        return drawing.draw(shapes, self.min_position - 0.05, self.max_position + 0.05, -0.6, 0.9)
