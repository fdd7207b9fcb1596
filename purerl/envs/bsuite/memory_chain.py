"""Memory chain: bits shown at the start are asked for at the end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, check_numbers, check_size
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import below, unpack, words_for
from purerl.pytree import Node, static


class MemoryChainState(NamedTuple):
    """The bits, the query, and the clock.

    Attributes:
        context: the bits, packed, uint32 ``[words]``.
        query: index of the bit asked for, int32 ``[]``.
        time: steps taken, int32 ``[]``.
    """

    context: jax.Array
    query: jax.Array
    time: jax.Array


class MemoryChain(Node):
    """A few bits are shown at the start of an episode; at its end one is asked for.

    Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020),
    ``memory_len`` and ``memory_size``, as in bsuite 0.3.6. With :math:`s` the
    observation's time, the observation is
    ``[[1 - s / memory_length, query, context]]``:

    - Observation: float32 ``[1, 2 + num_bits]``. The query (0 to ``num_bits - 1``) is
      shown if ``s == memory_length - 1`` and is 0 otherwise; the context (-1 and 1) is
      shown if ``s == 0`` and is 0 otherwise. ``s`` starts at 0, is still 0 after the
      first step, and grows by one per step from then on.
    - Actions: 0 and 1, an answer; no effect except on the last step.
    - Reward: on the last step, 1 if the action is the bit asked for and -1 if not; 0
      before.
    - Start: each bit and the query uniformly at random.
    - Termination: after ``memory_length + 1`` steps. As in bsuite, that time limit
      counts as terminal.

    Attributes:
        memory_length: at least 1. A leaf.
        num_bits: at least 1. Static.

    Raises:
        ValueError: a number out of its range.
    """

    memory_length: int | jax.Array = 5
    num_bits: int = static(default=1)

    num_actions = 2

    def __post_init__(self):
        check_numbers(self, memory_length=AT_LEAST_ONE)
        check_size(self, "num_bits")

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, 2 + self.num_bits), jnp.float32)

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return int(self.memory_length) + 1

    def reset(self, key):
        words = jax.random.bits(key, (1 + words_for(self.num_bits),), jnp.uint32)
        return MemoryChainState(words[1:], below(words[0], self.num_bits), jnp.int32(0))

    def step(self, key, state, action):
        time = state.time + 1
        asked = (jnp.arange(self.num_bits, dtype=jnp.int32) == state.query) & (
            unpack(state.context, self.num_bits) == 1
        )
        done = time == self.memory_length + 1
        answer = jnp.where(action == jnp.any(asked), 1.0, -1.0)
        reward = jnp.where(done, answer, 0.0).astype(jnp.float32)
        return state._replace(time=time), Outcome(reward, done, jnp.bool_(False))

    def observe(self, state):
        time = jnp.maximum(state.time - 1, 0)
        left = (self.memory_length - time) / jnp.float32(self.memory_length)
        query = jnp.where(time == self.memory_length - 1, state.query, 0)
        signs = 2 * unpack(state.context, self.num_bits).astype(jnp.int32) - 1
        context = jnp.where(time == 0, signs, 0)
        return jnp.concatenate([jnp.stack([left, query]), context]).astype(jnp.float32)[None]

    def render(self, state):
        """The bits, with a question mark below the one asked for, and the clock."""
        length = int(self.memory_length)
        bits = np.asarray(unpack(state.context, self.num_bits), bool)
        colors = np.full((3, max(self.num_bits, length + 2), 3), drawing.WHITE, np.uint8)
        colors[0, : self.num_bits] = np.where(bits[:, None], drawing.ORANGE, drawing.SKY)
        colors[2, : length + 2] = drawing.PALE
        colors[2, int(state.time)] = drawing.BLUE
        picture = drawing.cells(colors)
        for i, bit in enumerate(bits):
            drawing.write(picture, f"{int(bit)}", 8, 16 * i + 8)
        drawing.write(picture, "?", 24, 16 * int(state.query) + 8)
        return picture
