"""Four rooms connected by four hallways."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import UNIT_INTERVAL, check_values
from purerl.envs.grids.gridworld import DrawnGrid, gridworld
from purerl.mdp.model import is_concrete

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
    """The cell as a pair of whole numbers, if it lies on the floor."""
    inside = len(cell) == 2 and all(
        isinstance(at, (int, np.integer)) and 0 <= at < 13 for at in cell
    )
    if not inside or ROOMS[cell[0]][cell[1]] == "#":
        raise ValueError(
            f"{name} is {cell}; allowed: the (row, column) of a floor cell, such as (7, 9)"
        )
    return tuple(cell)


def four_rooms(
    *,
    goal: Sequence[int] = (7, 9),
    start: Sequence[int] | None = None,
    slip: float | jax.Array = 1 / 3,
) -> DrawnGrid:
    """The four rooms of Sutton, Precup & Singh (1999).

    "Between MDPs and semi-MDPs: a framework for temporal abstraction in reinforcement
    learning" (Artificial Intelligence 112), Figure 2, in the orientation of the paper.

    There are 104 floor cells, 11 by 11 of the 13 by 13 less the walls between rooms.
    The hallways are ``(3, 6)`` in the north, ``(6, 2)`` in the west, ``(7, 9)`` in the
    east and ``(10, 6)`` in the south, as (row, column).

    - Observation: the cell, ``13 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left. The agent moves in that direction with probability
      ``1 - slip``, and in each of the three other directions with ``slip / 3``; it
      stays if a wall is in the way.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: uniformly random among the floor cells except the goal, or ``start``.
    - Termination: on the goal.

    Args:
        goal: (row, column); by default the paper's first goal, the eastern hallway.
        start: (row, column) of the only start.
        slip: probability of another direction, in ``[0, 1]``; 1/3 in the paper.

    Returns:
        An environment whose ``mdp`` has ``S = 169`` (walls are states too), ``A = 4``
        and ``K = 4``: outcome ``k`` of every action is a move in direction ``k``.

    Raises:
        ValueError: a cell that is a wall or not on the map, a start on the goal, or
            ``slip`` out of its range.

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

    # The four moves of the deterministic gridworld become outcomes of every action.
    rows = ["".join(row) for row in np.where(starts, "S", letters)]
    deterministic = gridworld(rows).mdp

    xp = np if is_concrete(slip) else jnp

    def outcomes(table):
        return jnp.broadcast_to(table[:, None, :, 0], (169, 4, 4))

    mdp = deterministic.replace(
        probability=xp.broadcast_to(xp.where(np.eye(4), 1 - slip, slip / 3), (169, 4, 4)),
        next_state=outcomes(deterministic.next_state),
        reward=outcomes(deterministic.reward),
        terminated=outcomes(deterministic.terminated),
    )
    return DrawnGrid.of(
        mdp, rows=tuple("".join(row) for row in letters), directions=("up", "right", "down", "left")
    )
