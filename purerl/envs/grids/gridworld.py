"""Gridworlds drawn with letters, and the smallest one worth drawing.

======== ========================================================================================================
letter   cell
======== ========================================================================================================
``.``    floor (``F``, frozen floor, is the same)
``S``    floor on which an episode starts; where there are several, each is as likely
``G``    goal: reaching it ends the episode
``H``    hazard, a hole: reaching it ends the episode
``C``    cliff: falling off it puts the agent back on the start, and the episode goes on
``#``    wall: the agent stays where it is, as it does at the border
======== ========================================================================================================
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.model import FiniteMDP
from purerl.pytree import static

MOVES = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
TERMINAL = "GH"

ColorS = {
    ".": drawing.WHITE,
    "F": drawing.WHITE,
    "S": drawing.PALE,
    "G": drawing.GREEN,
    "H": drawing.RED,
    "C": drawing.BROWN,
    "#": drawing.BLACK,
}


class GridWorld(FiniteEnvironment):
    """A finite environment that remembers its map.

    Attributes:
        rows: the map, one string a row. Cell ``(row, column)`` is state ``row * width + column``. Static.
        directions: what action ``0, 1, 2, 3`` means, by name. Static.
    """

    rows: tuple[str, ...] = static()
    directions: tuple[str, ...] = static()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map."""
        return len(self.rows), len(self.rows[0])

    def ascii(self, state) -> str:
        """The map, one line a row, with ``@`` where the agent is.

        >>> print(gridworld(["S.G", "#.H"]).ascii(1))
        S@G
        #.H
        """
        return drawing.text(self.rows, divmod(int(state), self.shape[1]))

    def render(self, state):
        """The agent is a blue disc; floor is white, the start gray, goals green, hazards red, cliffs brown, walls black."""
        return drawing.paint(colors(self.rows), divmod(int(state), self.shape[1]))


def colors(rows: Sequence[str], letters: Mapping[str, drawing.Color] = ColorS) -> np.ndarray:
    """The color of each cell of a map, uint8 ``[rows, columns, 3]``."""
    return np.array([[letters[letter] for letter in row] for row in rows], np.uint8)


def grid_of(env) -> GridWorld | None:
    """The gridworld inside ``env``, under however many wrappers; None where there is none."""
    while not isinstance(env, GridWorld) and hasattr(env, "env"):
        env = env.env
    return env if isinstance(env, GridWorld) else None


def _check_map(rows):
    if isinstance(rows, str) or not rows or not rows[0]:
        raise ValueError(f"rows must be a sequence of strings with at least one cell, not {rows!r}")
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"rows must be of equal length: row {i} ({row!r}) has {len(row)} cells, row 0 has {len(rows[0])}"
            )
        for j, letter in enumerate(row):
            if letter not in ColorS:
                raise ValueError(
                    f"unknown letter {letter!r} at row {i}, column {j}; allowed: {' '.join(ColorS)}"
                )
    cells = "".join(rows)
    if "S" not in cells:
        raise ValueError(f"no start: one cell of rows must be 'S' (rows: {rows!r})")
    if "C" in cells and cells.count("S") > 1:
        i, j = divmod(cells.rindex("S"), len(rows[0]))
        raise ValueError(
            f"a map with a cliff has one start to fall back to; row {i}, column {j} is another 'S'"
        )


def _check_directions(directions):
    turns = [tuple(MOVES)[i:] + tuple(MOVES)[:i] for i in range(4)]
    turns += [turn[::-1] for turn in turns]
    if directions not in turns:
        allowed = "; ".join(", ".join(turn) for turn in turns)
        raise ValueError(
            f"directions must go round the compass, one of ({allowed}), not {directions!r}"
        )


def gridworld(
    rows: Sequence[str],
    *,
    directions: Sequence[str] = tuple(MOVES),
    slip: float = 0.0,
    step_reward: float = 0.0,
    goal_reward: float = 1.0,
    hazard_reward: float = -1.0,
    cliff_reward: float = -100.0,
    absorbing: bool = True,
) -> GridWorld:
    r"""The gridworld of a map (for its letters see the head of :mod:`purerl.envs.grids.gridworld`).

    The state is the cell, ``row * width + column``; walls are numbered too, so that a table reshapes to the map, and end the
    episode without a reward, so that the value of a state nobody can be in is 0. Action ``a`` moves by ``directions[a]`` with
    probability ``1 - slip``, and to either side of it with probability ``slip / 2`` each: outcomes
    ``k = 0, 1, 2`` are the directions ``a - 1, a, a + 1 (mod 4)``; without slip there is one outcome. The reward is that of
    the cell moved onto (which is the present cell, where a wall or the border is in the way); it replaces
    ``step_reward``, it is not added to it.

    Args:
        rows: strings of equal length.
        directions: the meaning of the actions: ``up right down left`` in either sense of rotation, from any one of them.
        slip: probability of slipping to a side, in ``[0, 1]``.
        step_reward: reward of moving onto floor (a cost is a negative reward).
        goal_reward: reward of reaching a goal.
        hazard_reward: reward of reaching a hazard.
        cliff_reward: reward of falling off a cliff.
        absorbing: what the model says of acting in a goal or hazard, where no episode ever is: True, one stays and it yields
            0 (Gymnasium's FrozenLake); False, one moves away as from floor (its CliffWalking).

    Returns:
        An environment whose ``mdp`` has ``S = height * width``, ``A = 4`` and ``K = 3`` (``K = 1`` if ``slip == 0``).

    Raises:
        ValueError: a wrong map (rows of different lengths, an unknown letter, no start, a cliff and several starts),
            ``directions`` or ``slip``, or a reward that is not finite.

    Example:
        >>> env = gridworld(["S.G", "#.H"], step_reward=-0.1)
        >>> env.mdp.next_state[0, :, 0].tolist()  # from the corner: up, right, down (a wall), left
        [0, 1, 0, 0]
    """
    _check_map(rows)
    rows, directions = tuple(rows), tuple(directions)
    _check_directions(directions)
    if not 0 <= slip <= 1:
        raise ValueError(f"slip is {slip!r}; allowed: a probability in [0, 1]")
    rewards = {
        "step_reward": step_reward,
        "goal_reward": goal_reward,
        "hazard_reward": hazard_reward,
        "cliff_reward": cliff_reward,
    }
    for name, reward in rewards.items():
        if not math.isfinite(reward):
            raise ValueError(f"{name} is {reward!r}; allowed: a finite number")

    height, width = len(rows), len(rows[0])
    letters = np.array(list("".join(rows)))
    states = np.arange(height * width)
    row, column = np.divmod(states, width)

    # What lies in each direction, [S, 4].
    step = np.array([MOVES[direction] for direction in directions])
    reached = np.clip(row[:, None] + step[:, 0], 0, height - 1) * width + np.clip(
        column[:, None] + step[:, 1], 0, width - 1
    )
    reached = np.where(letters[reached] == "#", states[:, None], reached)
    onto = letters[reached]
    reward = np.select(
        [onto == "G", onto == "H", onto == "C"],
        [goal_reward, hazard_reward, cliff_reward],
        step_reward,
    )
    ends = np.isin(onto, list(TERMINAL))
    reached = np.where(onto == "C", np.argmax(letters == "S"), reached)

    # Which of them each outcome of an action is, [4, K].
    turn, chance = ([-1, 0, 1], [slip / 2, 1 - slip, slip / 2]) if slip > 0 else ([0], [1.0])
    outcome = (np.arange(4)[:, None] + turn) % 4
    stays = np.isin(letters, ["#", *TERMINAL] if absorbing else ["#"])[:, None, None]
    mdp = FiniteMDP(
        probability=np.where(stays, np.eye(1, len(turn)), np.tile(chance, (4, 1))),
        next_state=np.where(stays, states[:, None, None], reached[:, outcome]),
        reward=np.where(stays, 0.0, reward[:, outcome]),
        terminated=stays | ends[:, outcome],
        initial=(letters == "S") / np.sum(letters == "S"),
    )
    return GridWorld.of(mdp, rows=rows, directions=directions)


def grid_2x3(step_reward: float = -0.1) -> GridWorld:
    """The smallest gridworld worth drawing: 2 rows, 3 columns, states 0 to 5 row by row.

    Map ``S.H / ..G``: the start is the top left corner (state 0), the goal the bottom right (state 5, +1), a hazard lies
    above it (state 2, -1); every other step yields ``step_reward``. Four moves (up, right, down, left), none of which slips.
    The shortest way takes three steps and its undiscounted return is ``1 + 2 * step_reward``.
    """
    return gridworld(("S.H", "..G"), step_reward=step_reward)
