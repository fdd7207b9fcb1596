"""Discounting chain: a slightly larger reward, sooner or later."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.settings import generator
from purerl.pytree import Node

HORIZONS = (1, 3, 10, 30, 100)
LENGTH = 100


class DiscountingChainState(NamedTuple):
    """``chain``: the one chosen, -1 before that; ``time``: steps taken; int32 ``[]``."""

    chain: jax.Array
    time: jax.Array


class DiscountingChain(Node):
    """The first action chooses one of five chains, which pay after 1, 3, 10, 30 or 100 steps; one of them pays more. Make one
    with :meth:`of`.

    Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020), ``discounting_chain``, as in bsuite 0.3.6.

    - **Observation**: ``[[chain, time / 100]]``, the chain -1 at first, float32 ``[1, 2]``.
    - **Actions**: the chain; without effect after the first step.
    - **Reward**: ``rewards[chain]`` on step 1, 3, 10, 30 or 100, whichever is the chain's; 0 on all others.
    - **Start**: always the same.
    - **Termination**: after 100 steps. The end is bsuite's own and counts as terminal, for the observation tells the time.

    Attributes:
        rewards: of each chain, float32 ``[5]``.

    Example:
        >>> DiscountingChain.of(mapping_seed=7).rewards.tolist()
        [1.0, 1.0, 1.1, 1.0, 1.0]
    """

    rewards: np.ndarray | jax.Array

    num_actions = len(HORIZONS)

    @classmethod
    def of(cls, mapping_seed: int = 0) -> Self:
        """The environment in which chain ``mapping_seed % 5`` pays 1.1, and the others 1.

        Raises:
            ValueError: ``mapping_seed`` is no whole number in ``[0, 2**32)``.
        """
        generator("DiscountingChain", mapping_seed)
        return cls(
            np.where(np.arange(len(HORIZONS)) == mapping_seed % len(HORIZONS), 1.1, 1.0).astype(
                np.float32
            )
        )

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 2), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Steps after which an episode has ended, whatever was done."""
        return LENGTH

    def reset(self, key):
        return DiscountingChainState(jnp.int32(-1), jnp.int32(0))

    def step(self, key, state, action):
        chain = jnp.where(state.time == 0, jnp.int32(action), state.chain)
        time = state.time + 1
        pays = (jnp.arange(len(HORIZONS)) == chain) & (jnp.array(HORIZONS) == time)
        reward = jnp.sum(jnp.where(pays, jnp.asarray(self.rewards), 0.0)).astype(jnp.float32)
        return DiscountingChainState(chain, time), Outcome(reward, time == LENGTH, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack([state.chain.astype(jnp.float32), state.time / jnp.float32(LENGTH)])[None]

    def render(self, state):
        colors = np.full((len(HORIZONS), LENGTH + 1, 3), drawing.PALE, np.uint8)
        for chain, (horizon, reward) in enumerate(
            zip(HORIZONS, np.asarray(self.rewards), strict=True)
        ):
            colors[chain, horizon] = drawing.GREEN if reward > 1 else drawing.YELLOW
        colors[slice(None) if state.chain < 0 else int(state.chain), int(state.time)] = drawing.BLUE
        return drawing.cells(colors, size=8)
