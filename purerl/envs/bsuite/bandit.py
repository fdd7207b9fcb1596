"""The bandit of the Behaviour Suite."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.settings import generator
from purerl.pytree import Node


class BanditState(NamedTuple):
    """``arm``: the one pulled last, -1 before that; int32 ``[]``."""

    arm: jax.Array


class Bandit(Node):
    """Arms with fixed rewards from 0 to 1, shuffled once and for all by a seed. Make one with :meth:`of`.

    Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020), ``bandit``, as in bsuite 0.3.6.

    - **Observation**: 1, float32 ``[1, 1]``.
    - **Actions**: the arms.
    - **Reward**: ``rewards[action]``.
    - **Start**: always the same.
    - **Termination**: every step is an episode.

    Attributes:
        rewards: of each arm, float32 ``[A]``.

    Example:
        >>> [round(float(reward), 1) for reward in Bandit.of(mapping_seed=0, num_arms=5).rewards]
        [0.5, 0.0, 0.2, 0.8, 1.0]
    """

    rewards: np.ndarray | jax.Array

    @classmethod
    def of(cls, mapping_seed: int = 0, num_arms: int = 11) -> Self:
        """The bandit whose arms bsuite shuffles with that seed.

        Args:
            mapping_seed: of NumPy's ``RandomState``.
            num_arms: ``A``; the rewards are evenly spaced.

        Raises:
            ValueError: no seed of NumPy's, or fewer than two arms.
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
        """Steps after which an episode has ended, whatever was done."""
        return 1

    def reset(self, key):
        return BanditState(jnp.int32(-1))

    def step(self, key, state, action):
        reward = jnp.asarray(self.rewards)[action]
        return BanditState(jnp.int32(action)), Outcome(reward, jnp.bool_(True), jnp.bool_(False))

    def observe(self, state):
        return jnp.ones((1, 1), jnp.float32)

    def render(self, state):
        colors = np.concatenate(
            [
                drawing.shades(self.rewards),
                np.full((1, self.num_actions, 3), drawing.PALE, np.uint8),
            ]
        )
        if state.arm >= 0:
            colors[1, int(state.arm)] = drawing.BLUE
        return drawing.cells(colors, size=24)
