"""Deep sea: a treasure that takes deep exploration to find."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, check_choice, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.bsuite.common import fraction, generator
from purerl.metrics import Mean
from purerl.pytree import Node, static


class DeepSeaState(NamedTuple):
    """Position of the diver, and whether it has left the diagonal.

    Attributes:
        row: int32 ``[]``.
        column: int32 ``[]``.
        strayed: whether the diver has gone left on the diagonal, bool ``[]``.
    """

    row: jax.Array
    column: jax.Array
    strayed: jax.Array


class DeepSea(Node):
    """A diver that sinks one row per step through a square of ``N`` by ``N`` cells.

    It moves left or right as it sinks. The treasure is at the bottom right, and only
    going right on every step leads there. Make one with :meth:`of`.

    Osband, Van Roy, Russo & Wen, "Deep exploration via randomized value functions"
    (JMLR 20, 2019); Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR
    2020), ``deep_sea`` and ``deep_sea_stochastic``, as in bsuite 0.3.6.

    - Observation: 1 in the diver's cell, 0 elsewhere, float32 ``[N, N]``; all 0 below
      the bottom row.
    - Actions: 0 and 1. In each cell, one of them means right and the other left, as
      drawn with a seed.
    - Reward: going right costs ``move_cost / N``, and yields 1 in the last column. If
      stochastic, every step from either end of the bottom row adds a standard normal
      number.
    - Start: the top left cell.
    - Termination: after ``N`` steps, below the bottom row.

    If stochastic, a step to the right leaves the column unchanged with probability
    ``1 / N`` (its cost remains).

    The metrics of a step, counted when an episode ends, are ``bad_episode``, whether
    the diver went left on the diagonal, and ``denoised_return``, whether it found the
    treasure.

    Attributes:
        right: the action that means right in each cell, int32 ``[N, N]``.
        move_cost: of going right on every step.
        stochastic: whether transitions and rewards are random. Static.

    Raises:
        ValueError: a ``move_cost`` that is not finite.

    Example:
        >>> DeepSea.of(4, mapping_seed=42).right.tolist()
        [[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 0]]
    """

    right: np.ndarray | jax.Array
    move_cost: float | jax.Array = 0.01
    stochastic: bool = static(default=False)

    num_actions = 2

    def __post_init__(self):
        check_numbers(self, move_cost=FINITE)
        check_choice(self, stochastic=(False, True))

    @classmethod
    def of(cls, size: int = 10, mapping_seed: int = 0, **fields) -> Self:
        """Make the environment whose actions bsuite draws with that seed.

        Args:
            size: ``N``.
            mapping_seed: of NumPy's ``RandomState``.
            **fields: ``move_cost`` and ``stochastic``.

        Raises:
            ValueError: ``mapping_seed`` is not a seed of NumPy's, or ``size`` is below
                1.
        """
        if size < 1:
            raise ValueError(f"DeepSea: size is {size}; allowed: a whole number of at least 1")
        right = generator("DeepSea", mapping_seed).binomial(1, 0.5, (size, size))
        return cls(np.asarray(right).astype(np.int32), **fields)

    @property
    def size(self) -> int:
        """``N``."""
        return self.right.shape[-1]

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.size, self.size), jnp.float32)

    @property
    def observation_bounds(self) -> tuple[ArrayLike, ArrayLike]:
        return 0.0, 1.0

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        return self.size

    def reset(self, key):
        return DeepSeaState(jnp.int32(0), jnp.int32(0), jnp.bool_(False))

    def step(self, key, state, action):
        last = self.size - 1
        row, column, strayed = state
        right = action == jnp.asarray(self.right).at[row, column].get(mode="promise_in_bounds")
        treasure = right & (column == last)
        cost = jnp.float32(self.move_cost / self.size)
        reward = treasure.astype(jnp.float32) - jnp.where(right, cost, 0.0)
        drift = jnp.where(right, 1, -1)
        if self.stochastic:
            wind_key, noise_key = jax.random.split(key)
            held = fraction(jax.random.bits(wind_key, (1,), jnp.uint32)[0]) <= 1 / self.size
            drift = jnp.where(right & held, 0, drift)
            noisy = (row == last) & ((column == 0) | (column == last))
            reward = reward + jnp.where(noisy, jax.random.normal(noise_key, dtype=jnp.float32), 0.0)

        strayed = strayed | ~right & (row == column)
        state = DeepSeaState(row + 1, jnp.clip(column + drift, 0, last), strayed)
        done = state.row == self.size
        count = done.astype(jnp.float32)
        metrics = {
            "bad_episode": Mean((done & strayed).astype(jnp.float32), count),
            "denoised_return": Mean(treasure.astype(jnp.float32), count),
        }
        return state, Outcome(reward, done, jnp.bool_(False), metrics)

    def observe(self, state):
        cell = jnp.arange(self.size * self.size, dtype=jnp.int32).reshape(self.size, self.size)
        return (cell == state.row * self.size + state.column).astype(jnp.float32)

    def render(self, state):
        colors = np.full((self.size + 1, self.size, 3), (10, 60, 110), np.uint8)
        depth = (np.arange(self.size) * 50 // self.size).astype(np.uint8)
        colors[:-1] -= depth[:, None, None] * np.array([0, 1, 1], np.uint8)
        colors[-1] = drawing.BROWN
        colors[-2, -1] = drawing.YELLOW
        colors[int(state.row), int(state.column)] = drawing.ORANGE
        return drawing.cells(colors)
