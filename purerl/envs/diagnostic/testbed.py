"""The 10-armed testbed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import FINITE, NOT_NEGATIVE, check_numbers, check_size
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.metrics import Mean
from purerl.pytree import Node, static


class TestbedState(NamedTuple):
    """The bandit, and the last action.

    Attributes:
        means: mean reward of each action, float32 ``[A]``.
        action: the action taken last, -1 before the first, int32 ``[]``.
    """

    means: jax.Array
    action: jax.Array


class Testbed(Node):
    r"""Random bandits, a new one at every reset.

    Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, section 2.3.
    With ``spread = 0`` and a ``walk``, the nonstationary ones of exercise 2.5.

    - Observation: 0, int32 ``[]``, the index of the only state.
    - Actions: the ``arms``.
    - Reward: normal around the action's mean, with a standard deviation of 1.
    - Start: means :math:`q_*(a) \sim \mathcal N(\text{mean}, \text{spread}^2)`,
      independent.
    - Termination: never. Use a discount of 0.

    Every step reports ``reward`` and ``optimal_action``, whether the action was one of
    largest mean.

    Attributes:
        arms: at least 1. Static.
        mean: of the means.
        spread: standard deviation of the means, at least 0.
        walk: standard deviation of the increment of each mean per step, at least 0.

    Raises:
        ValueError: a number out of its range.
    """

    __test__ = False  # pytest collects names that begin like this one

    arms: int = static(default=10)
    mean: float | jax.Array = 0.0
    spread: float | jax.Array = 1.0
    walk: float | jax.Array = 0.0

    num_states = 1

    def __post_init__(self):
        check_size(self, "arms")
        check_numbers(self, mean=FINITE, spread=NOT_NEGATIVE, walk=NOT_NEGATIVE)

    @property
    def num_actions(self) -> int:
        return self.arms

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((), jnp.int32)

    def reset(self, key):
        means = self.mean + self.spread * jax.random.normal(key, (self.arms,), jnp.float32)
        return TestbedState(means.astype(jnp.float32), jnp.int32(-1))

    def step(self, key, state, action):
        reward_key, walk_key = jax.random.split(key)
        mean = state.means[action]
        reward = mean + jax.random.normal(reward_key, dtype=jnp.float32)
        steps = jax.random.normal(walk_key, (self.arms,), jnp.float32)
        means = (state.means + self.walk * steps).astype(jnp.float32)
        best = jnp.float32(mean == jnp.max(state.means))
        metrics = {
            "reward": Mean(reward, jnp.float32(1)),
            "optimal_action": Mean(best, jnp.float32(1)),
        }
        outcome = Outcome(reward, jnp.bool_(False), jnp.bool_(False), metrics)
        return TestbedState(means, jnp.int32(action)), outcome

    def observe(self, state):
        return jnp.int32(0)

    def render(self, state):
        """Bars for the means, from -3 to 3; that of the last action is blue."""
        means = np.clip(np.asarray(state.means, float), -3, 3)
        shapes = [drawing.box(self.arms / 2, 0, self.arms, 0.03, drawing.GRAY)]
        for i, mean in enumerate(means):
            color = drawing.BLUE if i == int(state.action) else drawing.GRAY
            shapes.append(drawing.box(i + 0.5, mean / 2, 0.5, abs(mean), color))
        return drawing.draw(shapes, -0.3, self.arms + 0.3, -3.2, 3.2, width=248)
