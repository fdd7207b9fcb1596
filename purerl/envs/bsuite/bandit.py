"""The bandit of the Behaviour Suite."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import generator
from purerl.pytree import Node


class BanditState(NamedTuple):
    """The last action, int32 ``[]``.

    Attributes:
        arm: the arm pulled last, -1 before the first step.
    """

    arm: jax.Array


class Bandit(Node):
    """A bandit with fixed rewards from 0 to 1. Make one with :meth:`of`.

    Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020), ``bandit``,
    as in bsuite 0.3.6. A seed assigns the rewards to the arms.

    - Observation: 1, float32 ``[1, 1]``.
    - Actions: the arms.
    - Reward: ``rewards[action]``.
    - Start: always the same.
    - Termination: every step is an episode.

    Attributes:
        rewards: of each arm, float32 ``[A]``.

    Example:
        >>> env = Bandit.of(mapping_seed=0, num_arms=5)
        >>> [round(float(reward), 1) for reward in env.rewards]
        [0.5, 0.0, 0.2, 0.8, 1.0]
    """

    rewards: np.ndarray | jax.Array

    @classmethod
    def of(cls, mapping_seed: int = 0, num_arms: int = 11) -> Self:
        """Make the bandit whose arms bsuite shuffles with that seed.

        Args:
            mapping_seed: of NumPy's ``RandomState``.
            num_arms: ``A``; the rewards are evenly spaced.

        Raises:
            ValueError: ``mapping_seed`` is not a seed of NumPy's, or there are fewer
                than two arms.
        """
        if num_arms < 2:
            raise ValueError(
                f"Bandit: num_arms is {num_arms}; allowed: a whole number of at least 2"
            )
        order = generator("Bandit", mapping_seed).choice(num_arms, size=num_arms, replace=False)
        return cls(np.linspace(0, 1, num_arms)[order].astype(np.float32))

    @property
    def num_actions(self) -> int:
        return self.rewards.shape[-1]

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 1), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return 1

    def reset(self, key):
        return BanditState(jnp.int32(-1))

    def step(self, key, state, action):
        reward = jnp.asarray(self.rewards, jnp.float32)[action]
        return BanditState(jnp.int32(action)), Outcome(reward, jnp.bool_(True), jnp.bool_(False))

    def observe(self, state):
        return jnp.ones((1, 1), jnp.float32)

    def render(self, state):
        """Bars for the rewards, from 0 to 1; that of the last action is blue."""
        arms = self.num_actions
        height = arms / 2
        shapes = [drawing.box(arms / 2, 0, arms, 0.1, drawing.GRAY)]
        for i, reward in enumerate(np.asarray(self.rewards, float)):
            color = drawing.BLUE if i == int(state.arm) else drawing.GRAY
            shapes.append(drawing.box(i + 0.5, reward * height / 2, 0.6, reward * height, color))
        return drawing.draw(shapes, -0.3, arms + 0.3, -0.3, height + 0.3, width=248)
