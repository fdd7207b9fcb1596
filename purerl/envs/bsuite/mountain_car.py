"""Mountain car, with an observed clock."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, FINITE, POSITIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.classic.mountain_car import move
from purerl.pytree import Node


class MountainCarState(NamedTuple):
    """Position and velocity, float ``[]``, and the clock.

    Attributes:
        position: along the track.
        velocity: change of the position per step.
        time: steps taken, int32 ``[]``.
    """

    position: jax.Array
    velocity: jax.Array
    time: jax.Array


class MountainCar(Node):
    r"""A car that must swing up a hill for which its motor is too weak.

    Moore, *Efficient Memory-based Learning for Robot Control* (PhD thesis, Cambridge,
    1990); Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020),
    ``mountain_car``, as in bsuite 0.3.6. With action :math:`a`,

    .. math::
        v' &= \operatorname{clip}(v + f (a - 1) - g \cos 3x, \pm v_{\max}) \\
        x' &= \operatorname{clip}(x + v'),

    and :math:`v' = \max(v', 0)` at the left border.

    - Observation: ``[[position, velocity, time / max_steps]]``, float32 ``[1, 3]``.
    - Actions: 0 pushes left, 1 does not push, 2 pushes right.
    - Reward: -1 on every step.
    - Start: position uniform in ``[-0.6, -0.4)``, at rest.
    - Termination: ``position >= goal``, or after ``max_steps`` steps. As in bsuite,
      that time limit counts as terminal, since the observation includes the time.

    States are float64 under ``jax_enable_x64``.

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

    force: float | jax.Array = 0.001
    gravity: float | jax.Array = 0.0025
    max_speed: float | jax.Array = 0.07
    min_position: float | jax.Array = -1.2
    max_position: float | jax.Array = 0.6
    goal: float | jax.Array = 0.5
    max_steps: int | jax.Array = 1000

    num_actions = 3

    def __post_init__(self):
        finite = dict.fromkeys(("force", "gravity", "min_position", "max_position", "goal"), FINITE)
        check_numbers(self, max_speed=POSITIVE, max_steps=AT_LEAST_ONE, **finite)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 3), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return int(self.max_steps)

    def reset(self, key):
        word = jax.random.bits(key, (1,), jnp.uint32)[0]
        position = (word.astype(jnp.int32) >> 8).astype(float) * (0.1 * 2**-23) - 0.5
        return MountainCarState(position, jnp.zeros_like(position), jnp.int32(0))

    def step(self, key, state, action):
        push = (action - 1) * self.force
        slope = jnp.cos(3 * state.position)
        position, velocity = move(self, state.position, state.velocity, push, slope)
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

        left = float(self.min_position)
        right = float(self.max_position)
        goal = float(self.goal)
        foot = height(goal)
        x = float(state.position)
        xs = np.linspace(left, right, 60)
        points = zip(xs, height(xs), strict=True)
        shapes = [drawing.line(a, b, 0.02, drawing.BROWN) for a, b in pairwise(points)]
        shapes.append(drawing.line((goal, foot), (goal, foot + 0.3), 0.02, drawing.GREEN))
        shapes.append(drawing.disc(goal + 0.06, foot + 0.26, 0.06, drawing.GREEN))
        shapes.append(drawing.disc(x, height(x) + 0.08, 0.07, drawing.BLUE))
        return drawing.draw(shapes, left - 0.05, right + 0.05, -0.6, 0.9)
