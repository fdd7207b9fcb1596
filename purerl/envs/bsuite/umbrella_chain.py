"""Umbrella chain: the first action decides the last reward."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, check_numbers, refusal, shown, whole
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import unpack, words_for
from purerl.pytree import Node, static


class UmbrellaChainState(NamedTuple):
    """Forecast, umbrella, clock, and distractors.

    Attributes:
        need: 0 or 1, int32 ``[]``.
        have: 0 or 1, int32 ``[]``.
        time: steps taken, int32 ``[]``.
        distractors: packed bits, uint32 ``[words]``.
    """

    need: jax.Array
    have: jax.Array
    time: jax.Array
    distractors: jax.Array


class UmbrellaChain(Node):
    """A forecast is shown at the start, and an umbrella can be taken.

    Whether the forecast and the first action agree decides the last reward.

    Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020),
    ``umbrella_length`` and ``umbrella_distract``, as in bsuite 0.3.6.

    - Observation: ``[[need, have, 1 - time / chain_length, distractors]]``, float32
      ``[1, 3 + num_distractors]``; distractors are 0 or 1, drawn anew for every
      observation.
    - Actions: on the first step, whether to have the umbrella; no effect afterwards.
    - Reward: on the last step, 1 if ``have == need`` and -1 if not; -1 or 1 at random
      before.
    - Start: ``need``, ``have`` and the distractors uniformly at random.
    - Termination: after ``chain_length`` steps. As in bsuite, that time limit counts as
      terminal.

    Attributes:
        chain_length: at least 1. A leaf.
        num_distractors: at least 0. Static.

    Raises:
        ValueError: a number out of its range.
    """

    chain_length: int | jax.Array = 20
    num_distractors: int = static(default=0)

    num_actions = 2

    def __post_init__(self):
        check_numbers(self, chain_length=AT_LEAST_ONE)
        count = whole(self.num_distractors)
        if count is None or count < 0:
            allowed = "a whole number of at least 0"
            raise refusal("UmbrellaChain", "num_distractors", shown(self.num_distractors), allowed)
        object.__setattr__(self, "num_distractors", count)

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 3 + self.num_distractors), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return int(self.chain_length)

    def _draw(self, key):
        words = jax.random.bits(key, (1 + words_for(self.num_distractors),), jnp.uint32)
        return words[0], words[1:]

    def reset(self, key):
        word, distractors = self._draw(key)
        return UmbrellaChainState(
            need=(word >> 31).astype(jnp.int32),
            have=(word >> 30 & 1).astype(jnp.int32),
            time=jnp.int32(0),
            distractors=distractors,
        )

    def step(self, key, state, action):
        word, distractors = self._draw(key)
        have = jnp.where(state.time == 0, jnp.int32(action), state.have)
        state = UmbrellaChainState(state.need, have, state.time + 1, distractors)
        done = state.time == self.chain_length
        good = jnp.where(done, have == state.need, word >> 31 == 1)
        reward = jnp.where(good, 1.0, -1.0).astype(jnp.float32)
        return state, Outcome(reward, done, jnp.bool_(False))

    def observe(self, state):
        left = (self.chain_length - state.time) / jnp.float32(self.chain_length)
        seen = jnp.stack([state.need, state.have, left]).astype(jnp.float32)
        noise = unpack(state.distractors, self.num_distractors).astype(jnp.float32)
        return jnp.concatenate([seen, noise])[None]

    def render(self, state):
        """Rain or sun, and somebody with or without an umbrella.

        Below them the clock, in blue, and the distractors, dark if 1.
        """
        length = int(self.chain_length)
        noise = np.asarray(unpack(state.distractors, self.num_distractors), bool)
        colors = np.full((2, max(len(noise), length + 1, 6), 3), drawing.WHITE, np.uint8)
        colors[0, : length + 1] = drawing.PALE
        colors[0, int(state.time)] = drawing.BLUE
        colors[1, : len(noise)] = np.where(noise[:, None], drawing.GRAY, drawing.PALE)
        below = drawing.cells(colors[: 2 if len(noise) else 1])
        return np.concatenate([_weather(state.need, state.have, below.shape[1]), below])


def _weather(need, have, width):
    """A scene, ``[80, width, 3]``; its unit is ten pixels, from the middle below."""
    half = width / 20
    if need:
        places = np.arange(-half, half, 1.2)
        shapes = [
            drawing.line((x + 0.5, y + 1), (x, y), 0.12, drawing.SKY)
            for i, x in enumerate(places)
            for y in (5.5 - i % 2, 2.5 - i % 2)
        ]
    else:
        shapes = [drawing.disc(-2, 6, 1.3, drawing.YELLOW)]
    shapes += [drawing.box(0, 1.5, 0.9, 3, drawing.BLACK), drawing.disc(0, 3.6, 0.7, drawing.BLACK)]
    if have:
        angles = np.linspace(0, np.pi, 13)
        canopy = np.stack([0.9 + 2.2 * np.cos(angles), 4.6 + 1.7 * np.sin(angles)], axis=-1)
        shapes += [drawing.line((0.9, 1.8), (0.9, 4.7), 0.2, drawing.RED), (canopy, drawing.RED)]
    return drawing.draw(shapes, -half, half, 0, 8, width=width)
