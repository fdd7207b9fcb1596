"""Four rooms joined by four hallways."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from purerl.checks import UNIT_INTERVAL, check_values
from purerl.envs.grids.gridworld import GridWorld, gridworld

ROOMS = (
    "#############",
    "#.....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#.....#",
    "#.....#.....#",
    "##.####.....#",
    "#.....###.###",
    "#.....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#.....#",
    "#############",
)


def _floor(name, cell):
    """The cell as a pair of whole numbers, unless it is a wall or off the map."""
    inside = len(cell) == 2 and all(
        isinstance(at, (int, np.integer)) and 0 <= at < 13 for at in cell
    )
    if not inside or ROOMS[cell[0]][cell[1]] == "#":
        raise ValueError(
            f"{name} is {cell}; allowed: the (row, column) of a cell that is no wall, as (7, 9)"
        )
    return tuple(cell)


def four_rooms(
    *, goal: Sequence[int] = (7, 9), start: Sequence[int] | None = None, slip: float = 1 / 3
) -> GridWorld:
    """The rooms of Sutton, Precup & Singh, "Between MDPs and semi-MDPs: a framework for temporal abstraction in reinforcement
    learning" (Artificial Intelligence 112, 1999), Figure 2, the way round in which the paper draws them.

    There are 104 cells to be in, 11 by 11 of the 13 by 13 less the walls between rooms; the hallways are ``(3, 6)`` in the
    north, ``(6, 2)`` in the west, ``(7, 9)`` in the east and ``(10, 6)`` in the south, as (row, column).

    - Observation: the cell, ``13 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left. With probability ``1 - slip`` one moves that way, with ``slip / 3`` each in one of the
      three other directions (backwards too); where a wall is in the way one stays.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: anywhere but on the goal, each cell as likely, or on ``start``.
    - Termination: on the goal.

    Args:
        goal: its (row, column); the paper's first goal, the eastern hallway, by default.
        start: (row, column) of the only start.
        slip: probability of going astray, in ``[0, 1]``; the paper's is 1/3.

    Returns:
        An environment whose ``mdp`` has ``S = 169`` (walls are numbered too), ``A = 4`` and ``K = 4``: outcome ``k`` of every
        action is a move in direction ``k``.

    Raises:
        ValueError: a cell that is a wall or not on the map, a start on the goal, or ``slip`` out of its range.

    Example:
        >>> env = four_rooms(start=(1, 1))
        >>> env.mdp.probability[14, 1].round(3).tolist()  # to go right from the corner
        [0.111, 0.667, 0.111, 0.111]
        >>> env.mdp.next_state[14, 1].tolist()
        [14, 15, 27, 14]
    """
    check_values("four_rooms", {"slip": slip}, {"slip": UNIT_INTERVAL})
    letters = np.array([list(row) for row in ROOMS])
    letters[_floor("goal", goal)] = "G"
    if start is None:
        starts = letters == "."
    else:
        starts = np.zeros(letters.shape, bool)
        starts[_floor("start", start)] = True
        if letters[tuple(start)] == "G":
            raise ValueError(f"start is {start}; allowed: a cell other than the goal")
        letters[tuple(start)] = "S"

    # Where each direction leads is gridworld's to say; here every action may turn out to be any of them.
    sure = gridworld(["".join(row) for row in np.where(starts, "S", letters)]).mdp

    def outcomes(table):
        return jnp.broadcast_to(table[:, None, :, 0], (169, 4, 4))

    mdp = sure.replace(
        probability=np.broadcast_to(np.where(np.eye(4), 1 - slip, slip / 3), (169, 4, 4)),
        next_state=outcomes(sure.next_state),
        reward=outcomes(sure.reward),
        terminated=outcomes(sure.terminated),
    )
    return GridWorld.of(
        mdp, rows=tuple("".join(row) for row in letters), directions=("up", "right", "down", "left")
    )
