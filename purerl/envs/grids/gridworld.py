"""Gridworlds drawn with letters, and the smallest one worth drawing.

======== =============================================================================
letter   cell
======== =============================================================================
``.``    floor (``F``, frozen floor, is the same)
``S``    floor on which an episode starts; several are equally likely
``G``    goal: reaching it ends the episode
``H``    hazard, a hole: reaching it ends the episode
``C``    cliff: falling off it returns the agent to the start, without ending the
         episode
``#``    wall: an agent that moves into it stays in place, as at the border
======== =============================================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.checks import FINITE, UNIT_INTERVAL, check_values
from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.model import FiniteMDP, is_concrete
from purerl.pytree import static

MOVES = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
TERMINAL = "GH"

COLORS = {
    ".": drawing.WHITE,
    "F": drawing.WHITE,
    "S": drawing.PALE,
    "G": drawing.GREEN,
    "H": drawing.RED,
    "C": drawing.BROWN,
    "#": drawing.BLACK,
}


class DrawnGrid(FiniteEnvironment):
    """A finite environment with a map.

    Attributes:
        rows: the map, one string per row. Cell ``(row, column)`` is state
            ``row * width + column``. Static.
        directions: names of the directions of actions ``0, 1, 2, 3``. Static.
    """

    rows: tuple[str, ...] = static()
    directions: tuple[str, ...] = static()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map."""
        return len(self.rows), len(self.rows[0])

    def ascii(self, state: ArrayLike) -> str:
        """The map, one line per row, with ``@`` for the agent.

        >>> print(gridworld(["S.G", "#.H"]).ascii(1))
        S@G
        #.H
        """
        return drawing.text(self.rows, self._cell(state))

    def _cell(self, state) -> tuple[int, int]:
        """Row and column of a state."""
        return divmod(int(state), self.shape[1])

    def render(self, state):
        """A picture of the map.

        The agent is a blue disc; floor is white, the start gray, goals green, hazards
        red, cliffs brown, walls black.
        """
        return drawing.paint(colors(self.rows), self._cell(state))


class GridWorld(DrawnGrid):
    """The gridworld of a map. Make one with :func:`gridworld`.

    ``env.replace(slip=0.2)`` makes the model anew, as sweeps over these fields do.

    Attributes:
        slip, step_reward, goal_reward, hazard_reward, cliff_reward: float ``[]`` each;
            arguments of :func:`gridworld`, from which the model follows.
        absorbing: likewise. Static.
    """

    slip: float | jax.Array = 0.0
    step_reward: float | jax.Array = 0.0
    goal_reward: float | jax.Array = 1.0
    hazard_reward: float | jax.Array = -1.0
    cliff_reward: float | jax.Array = -100.0
    absorbing: bool = static(default=True)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, and the model that follows from them."""
        given = {name: getattr(self, name) for name in _PHYSICS}
        if given.keys() & changes.keys():
            changes = {"mdp": _model(**(given | changes), slips=True)} | changes
        return super().replace(**changes)


def colors(rows: Sequence[str], letters: Mapping[str, drawing.Color] = COLORS) -> np.ndarray:
    """The color of each cell of a map, uint8 ``[rows, columns, 3]``."""
    return np.array([[letters[letter] for letter in row] for row in rows], np.uint8)


def grid_of(env: Any) -> DrawnGrid | None:
    """The gridworld inside any number of wrappers, or None if there is none."""
    while not isinstance(env, DrawnGrid) and hasattr(env, "env"):
        env = env.env
    return env if isinstance(env, DrawnGrid) else None


def _check_map(rows):
    if isinstance(rows, str) or not rows or not rows[0]:
        raise ValueError(f"rows must be a sequence of strings with at least one cell, not {rows!r}")
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"rows must be of equal length: row {i} ({row!r}) has {len(row)} cells, "
                f"row 0 has {len(rows[0])}"
            )
        for j, letter in enumerate(row):
            if letter not in COLORS:
                raise ValueError(
                    f"unknown letter {letter!r} at row {i}, column {j}; allowed: {' '.join(COLORS)}"
                )
    cells = "".join(rows)
    if "S" not in cells:
        raise ValueError(f"no start: one cell of rows must be 'S' (rows: {rows!r})")
    if "C" in cells and cells.count("S") > 1:
        i, j = divmod(cells.rindex("S"), len(rows[0]))
        raise ValueError(
            f"a map with a cliff must have one start; row {i}, column {j} is another 'S'"
        )


def _check_directions(directions):
    turns = [tuple(MOVES)[i:] + tuple(MOVES)[:i] for i in range(4)]
    turns += [turn[::-1] for turn in turns]
    if directions not in turns:
        allowed = "; ".join(", ".join(turn) for turn in turns)
        raise ValueError(
            f"directions must be in the order of a compass, one of ({allowed}), not {directions!r}"
        )


def gridworld(
    rows: Sequence[str],
    *,
    directions: Sequence[str] = tuple(MOVES),
    slip: float | jax.Array = 0.0,
    step_reward: float | jax.Array = 0.0,
    goal_reward: float | jax.Array = 1.0,
    hazard_reward: float | jax.Array = -1.0,
    cliff_reward: float | jax.Array = -100.0,
    absorbing: bool = True,
) -> GridWorld:
    """The gridworld of a map, whose letters :mod:`purerl.envs.grids.gridworld` lists.

    The state is the cell, ``row * width + column``. Walls are states too, so that a
    table reshapes to the map; there the episode ends without a reward, so that their
    value is 0. Action ``a`` moves by ``directions[a]`` with probability ``1 - slip``,
    and to either side of it with probability ``slip / 2`` each. Outcomes
    ``k = 0, 1, 2`` are the directions ``a - 1, a, a + 1 (mod 4)``; without slip there
    is one outcome. The reward is that of the cell moved onto (the present cell, if a
    wall or the border is in the way); it replaces ``step_reward`` and is not added to
    it.

    Args:
        rows: strings of equal length.
        directions: the meaning of the actions: ``up right down left`` in either sense
            of rotation, beginning with any of them.
        slip: probability of slipping to a side, in ``[0, 1]``.
        step_reward: reward of moving onto floor (a cost is a negative reward).
        goal_reward: reward of reaching a goal.
        hazard_reward: reward of reaching a hazard.
        cliff_reward: reward of falling off a cliff.
        absorbing: whether goals and hazards are self-loops with reward 0 in the model
            (Gymnasium's FrozenLake), or lead on as floor does (its CliffWalking).
            Episodes have ended there, so this affects the model only.

    Returns:
        An environment whose ``mdp`` has ``S = height * width``, ``A = 4`` and ``K = 3``
        (``K = 1`` if ``slip == 0``).

    Raises:
        ValueError: a wrong map (rows of different lengths, an unknown letter, no start,
            a cliff and several starts), wrong ``directions`` or ``slip``, or a reward
            that is not finite.

    Example:
        >>> env = gridworld(["S.G", "#.H"], step_reward=-0.1)
        >>> env.mdp.next_state[0, :, 0].tolist()  # up, right, down (a wall), left
        [0, 1, 0, 0]
    """
    fields = {
        "rows": rows,
        "directions": directions,
        "slip": slip,
        "step_reward": step_reward,
        "goal_reward": goal_reward,
        "hazard_reward": hazard_reward,
        "cliff_reward": cliff_reward,
        "absorbing": absorbing,
    }
    slips = not is_concrete(slip) or slip != 0
    mdp = _model(**fields, slips=slips)
    return GridWorld.of(mdp, **fields | {"rows": tuple(rows), "directions": tuple(directions)})


# The arguments of gridworld, from which the model follows.
_REWARDS = ("step_reward", "goal_reward", "hazard_reward", "cliff_reward")
_PHYSICS = ("rows", "directions", "slip", *_REWARDS, "absorbing")


def _model(*, rows, directions, slip, absorbing, slips, **rewards):
    """The model of a map.

    Args:
        slips: whether actions have three outcomes, even if ``slip`` is zero. Of a
            number that is not known, as under ``vmap``, it cannot depend on it.

    The others are those of :func:`gridworld`.
    """
    _check_map(rows)
    _check_directions(tuple(directions))
    check_values("gridworld", {"slip": slip}, {"slip": UNIT_INTERVAL})
    check_values("gridworld", rewards, dict.fromkeys(rewards, FINITE))
    # In NumPy where all is known, so that making an environment compiles nothing.
    known = all(map(is_concrete, (slip, *rewards.values())))
    xp = np if known else jnp

    height = len(rows)
    width = len(rows[0])
    letters = np.array(list("".join(rows)))
    states = np.arange(height * width)
    row, column = np.divmod(states, width)

    # The cell in each direction, [S, 4].
    step = np.array([MOVES[direction] for direction in directions])
    ahead_row = np.clip(row[:, None] + step[:, 0], 0, height - 1)
    ahead_column = np.clip(column[:, None] + step[:, 1], 0, width - 1)
    reached = ahead_row * width + ahead_column
    reached = np.where(letters[reached] == "#", states[:, None], reached)
    onto = letters[reached]
    reward = xp.select(
        [onto == "G", onto == "H", onto == "C"],
        [rewards["goal_reward"], rewards["hazard_reward"], rewards["cliff_reward"]],
        rewards["step_reward"],
    )
    ends = np.isin(onto, list(TERMINAL))
    reached = np.where(onto == "C", np.argmax(letters == "S"), reached)

    # The direction of each outcome of an action, [4, K].
    turn = [-1, 0, 1] if slips else [0]
    chance = [slip / 2, 1 - slip, slip / 2] if slips else [1.0]
    outcome = (np.arange(4)[:, None] + turn) % 4
    stays = np.isin(letters, ["#", *TERMINAL] if absorbing else ["#"])[:, None, None]
    return FiniteMDP(
        probability=xp.where(stays, np.eye(1, len(turn)), xp.tile(xp.asarray(chance), (4, 1))),
        next_state=np.where(stays, states[:, None, None], reached[:, outcome]),
        reward=xp.where(stays, 0.0, reward[:, outcome]),
        terminated=stays | ends[:, outcome],
        initial=(letters == "S") / np.sum(letters == "S"),
    )


def grid_2x3(step_reward: float = -0.1) -> GridWorld:
    """The smallest gridworld worth drawing: two rows, three columns.

    States 0 to 5 are numbered row by row. On the map ``S.H / ..G``, the start is the
    top left corner (state 0), the goal the bottom right (state 5, +1), and a hazard
    lies above it (state 2, -1); every other step yields ``step_reward``. The four moves
    (up, right, down, left) are deterministic. The shortest path takes three steps, and
    its undiscounted return is ``1 + 2 * step_reward``.
    """
    return gridworld(("S.H", "..G"), step_reward=step_reward)
