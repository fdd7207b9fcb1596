"""MinAtar's Freeway."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import AT_LEAST_ONE, NOT_NEGATIVE, check_numbers
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import (
    CELL_COLUMN,
    CELL_ROW,
    DOWN,
    NEVER,
    SIZE,
    UP,
    Bits,
    MinAtar,
    Stencil,
)

CARS = 8
MIDDLE = 4  # the column in which the chicken walks

# The eight hexadecimal digits of a word hold a number for each car, car i being in row
# i + 1.
ONES = 0x11111111
EVEN = 0x0F0F0F0F  # every other digit, from the lowest on

# The words are the row of the chicken, the columns of the cars, and two of pairs of
# digits: the cell behind a car and above that its speed, for cars 0, 2, 4, 6 and for
# cars 1, 3, 5, 7.
CAR = CELL_ROW - 1
LANE = (CELL_ROW >= 1) & (CELL_ROW <= CARS)
STENCIL = Stencil.of(
    [Bits(0, 0, 4, np.where(CELL_COLUMN == MIDDLE, CELL_ROW, NEVER))],
    [Bits(1, 4 * CAR, 4, np.where(LANE, CELL_COLUMN, NEVER))],
    *(
        [Bits(2 + CAR % 2, 8 * (CAR // 2), 8, np.where(LANE, 16 * speed + CELL_COLUMN, NEVER))]
        for speed in range(1, 6)
    ),
)


class FreewayState(NamedTuple):
    """Cars and chicken.

    ``column``, ``wait``, ``speed`` and ``right`` have a hexadecimal digit for each car,
    uint32 ``[]``; the others are int32 ``[]``.

    Attributes:
        column: of each car.
        wait: steps until each car moves.
        speed: steps that each car waits every time, 1 to 5.
        right: 1 for each car that moves to the right.
        row: of the chicken.
        rest: steps until the chicken can move.
        remaining: steps until the end.
    """

    column: jax.Array
    wait: jax.Array
    speed: jax.Array
    right: jax.Array
    row: jax.Array
    rest: jax.Array
    remaining: jax.Array


class Freeway(MinAtar):
    """A chicken to be brought across eight lanes of traffic, as often as possible.

    Cars drive around the board at their own speed, waiting 1 to 5 steps between two
    moves. The eight cars are eight digits of one word and move together, by arithmetic
    that never carries from one digit to the next.

    - Observation: bool ``[10, 10, 7]``, planes of the chicken, the cars, and the cells
      behind cars of speed 1, 2, 3, 4, 5.
    - Actions: up and down move the chicken by one row, at most every third step; the
      others have no effect. ``MINIMAL``: nothing, up, down.
    - Reward: 1 for reaching the top row. The chicken then returns to the bottom row,
      and all cars get new speeds and directions, uniformly at random. A chicken hit by
      a car also returns.
    - Start: the chicken in the bottom row, all cars in column 0, with random speeds and
      directions.
    - Termination: after ``time_limit + 1`` steps. That limit is one of the game's
      rules, so it counts as terminal.

    Attributes:
        player_speed: steps from one move of the chicken to the next. A leaf.
        time_limit: a leaf.

    Raises:
        ValueError: a number out of its range.
    """

    CHANNELS: ClassVar = ("chicken", "car", "speed1", "speed2", "speed3", "speed4", "speed5")
    COLORS: ClassVar = (
        drawing.YELLOW,
        drawing.RED,
        *((shade, shade, shade) for shade in (230, 190, 150, 110, 70)),
    )
    MINIMAL: ClassVar = (0, UP, DOWN)

    player_speed: int | jax.Array = 3
    time_limit: int | jax.Array = 2500

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, player_speed=AT_LEAST_ONE, time_limit=NOT_NEGATIVE)

    def reset(self, key):
        speed, right = _traffic(key)
        return FreewayState(
            column=jnp.uint32(0),
            wait=speed,
            speed=speed,
            right=right,
            row=jnp.int32(SIZE - 1),
            rest=jnp.int32(self.player_speed),
            remaining=jnp.int32(self.time_limit),
        )

    def step(self, key, state, action):
        action = self.meaning(action)
        moves = (state.rest == 0) & ((action == UP) | (action == DOWN))
        ahead = jnp.clip(state.row + jnp.where(action == UP, -1, 1), 0, SIZE - 1)
        row = jnp.where(moves, ahead, state.row)
        rest = jnp.where(moves, jnp.int32(self.player_speed), state.rest)

        arrives = row == 0
        row = jnp.where(arrives, SIZE - 1, row)
        new_speed, new_right = _traffic(key)
        speed = jnp.where(arrives, new_speed, state.speed)
        right = jnp.where(arrives, new_right, state.right)
        wait = jnp.where(arrives, new_speed, state.wait)

        drives = _is(wait, 0)
        wait = wait - (ONES ^ drives) | speed & 15 * drives
        first = _is(state.column, 0)
        last = _is(state.column, SIZE - 1)
        to_right = drives & right
        to_left = drives & ~right
        column = (
            state.column
            + (to_right & ~last)
            - 9 * (to_right & last)
            - (to_left & ~first)
            + 9 * (to_left & first)
        )

        hits = _is(state.column, MIDDLE) | _is(column, MIDDLE)
        # In the bottom row this is a shift by 32, which gives 0.
        hit = hits >> (4 * (row - 1)).astype(jnp.uint32) & 1 == 1
        remaining = state.remaining - 1
        reached = FreewayState(
            column=column,
            wait=wait,
            speed=speed,
            right=right,
            row=jnp.where(hit, SIZE - 1, row),
            rest=jnp.maximum(rest - 1, 0),
            remaining=remaining,
        )
        return reached, Outcome(arrives.astype(jnp.float32), remaining < 0, jnp.bool_(False))

    def observe(self, state):
        first = _is(state.column, 0)
        last = _is(state.column, SIZE - 1)
        left = ONES ^ state.right
        behind = (
            state.column
            - (state.right & ~first)
            + 9 * (state.right & first)
            + (left & ~last)
            - 9 * (left & last)
        )
        return STENCIL.board(
            state.row.astype(jnp.uint32),
            state.column,
            behind & EVEN | (state.speed & EVEN) << 4,
            behind >> 4 & EVEN | state.speed & ~jnp.uint32(EVEN),
        )


def _is(digits, value):
    """1 in each digit that equals ``value``, else 0."""
    differs = digits ^ jnp.uint32(value * ONES)
    differs |= differs >> 2
    differs |= differs >> 1
    return ~differs & ONES


def _traffic(key):
    """Speeds and directions of eight cars, from each half of four random words.

    There are ten equally likely pairs.
    """
    words = jax.random.bits(key, (CARS // 2,), jnp.uint32)
    speed = right = jnp.uint32(0)
    for car in range(CARS):
        half = words[car // 2] >> 16 if car % 2 else words[car // 2] & 0xFFFF
        drawn = half * 10 >> 16
        speed |= 1 + (drawn >> 1) << 4 * car
        right |= (drawn & 1) << 4 * car
    return speed, right
