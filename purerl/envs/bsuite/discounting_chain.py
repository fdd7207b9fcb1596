"""Discounting chain: five rewards at different delays, one of them slightly larger."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import generator
from purerl.pytree import Node

HORIZONS = (1, 3, 10, 30, 100)
LENGTH = 100


class DiscountingChainState(NamedTuple):
    """The chosen chain, and the clock; int32 ``[]``.

    Attributes:
        chain: -1 before the first step.
        time: steps taken.
    """

    chain: jax.Array
    time: jax.Array


class DiscountingChain(Node):
    """A choice among five chains, which pay after 1, 3, 10, 30 or 100 steps.

    One of them pays more. Make one with :meth:`of`. Osband et al., "Behaviour Suite for
    Reinforcement Learning" (ICLR 2020), ``discounting_chain``, as in bsuite 0.3.6.

    - Observation: ``[[chain, time / 100]]``, the chain -1 at first, float32 ``[1, 2]``.
    - Actions: the chain; no effect after the first step.
    - Reward: ``rewards[chain]`` on the step at which the chain pays, 1, 3, 10, 30 or
      100; 0 on all others.
    - Start: always the same.
    - Termination: after 100 steps. As in bsuite, that time limit counts as terminal,
      since the observation includes the time.

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
        """Make the environment in which chain ``mapping_seed % 5`` pays 1.1.

        The others pay 1.

        Raises:
            ValueError: ``mapping_seed`` is not a whole number in ``[0, 2**32)``.
        """
        generator("DiscountingChain", mapping_seed)
        best = np.arange(len(HORIZONS)) == mapping_seed % len(HORIZONS)
        return cls(np.where(best, 1.1, 1.0).astype(np.float32))

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 2), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return LENGTH

    def reset(self, key):
        return DiscountingChainState(jnp.int32(-1), jnp.int32(0))

    def step(self, key, state, action):
        chain = jnp.where(state.time == 0, jnp.int32(action), state.chain)
        time = state.time + 1
        here = jnp.arange(len(HORIZONS), dtype=jnp.int32) == chain
        pays = here & (jnp.array(HORIZONS, jnp.int32) == time)
        reward = jnp.sum(jnp.where(pays, jnp.asarray(self.rewards, jnp.float32), 0.0))
        return DiscountingChainState(chain, time), Outcome(reward, time == LENGTH, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack([state.chain.astype(jnp.float32), state.time / jnp.float32(LENGTH)])[None]

    def render(self, state):
        """Five lines of time, each with a bar where it pays: green if that is more.

        The clock is a blue disc on the chosen line, on all of them before the choice.
        """
        rewards = np.asarray(self.rewards)
        apart = 12  # from line to line, in steps of the clock
        shapes = []
        for chain, (horizon, reward) in enumerate(zip(HORIZONS, rewards, strict=True)):
            height = -apart * chain
            chosen = state.chain in (-1, chain)
            ink = drawing.BLACK if chosen else drawing.GRAY
            pays = drawing.GREEN if reward > 1 else drawing.ORANGE
            shapes.append(drawing.line((0, height), (LENGTH, height), 0.6, ink))
            shapes.append(drawing.box(horizon, height, 1.6, 9, pays))
            if chosen:
                shapes.append(drawing.disc(int(state.time), height, 2, drawing.BLUE))
        bottom = -apart * (len(HORIZONS) - 0.5)
        return drawing.draw(shapes, -4, LENGTH + 4, bottom, apart / 2, width=324)
