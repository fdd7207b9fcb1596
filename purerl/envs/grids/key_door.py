"""A locked door and its key."""

from collections.abc import Sequence

import jax
import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import COLORS as GRIDWORLD_COLORS
from purerl.envs.grids.gridworld import colors
from purerl.mdp.model import FiniteMDP
from purerl.pytree import static

ROOM = (
    "########",
    "#.S#...#",
    "#..#...#",
    "#..D...#",
    "#..#...#",
    "#..#...#",
    "#K.#..G#",
    "########",
)
LETTERS = ".S#GKD"
LIES, HELD, OPEN = range(3)
COLORS = GRIDWORLD_COLORS | {"K": drawing.YELLOW, "D": drawing.BROWN, "'": drawing.WHITE}


class KeyDoor(FiniteEnvironment):
    """A room behind a locked door. Make one with :func:`key_door`.

    Attributes:
        rows: the map, one string per row. Static.
    """

    rows: tuple[str, ...] = static()

    def _picture(self, state):
        """The map in its present stage, and the agent's (row, column)."""
        width = len(self.rows[0])
        stage, cell = divmod(int(state), width * len(self.rows))
        key = "K" if stage == LIES else "."
        door = "'" if stage == OPEN else "D"
        now = str.maketrans({"K": key, "D": door})
        return [row.translate(now) for row in self.rows], divmod(cell, width)

    def ascii(self, state: jax.Array) -> str:
        """The map, with ``@`` for the agent.

        A held key is not shown; ``'`` is the open door.
        """
        return drawing.text(*self._picture(state))

    def render(self, state):
        rows, agent = self._picture(state)
        return drawing.paint(colors(rows, COLORS), agent)


def key_door(rows: Sequence[str] = ROOM) -> KeyDoor:
    """MiniGrid's DoorKey, with compass moves and the whole map observed.

    Chevalier-Boisvert et al., "Minigrid & Miniworld" (NeurIPS 2023).

    The letters of a map: ``.`` floor, ``S`` start (several are equally likely), ``#``
    wall, ``G`` goal, ``K`` the key, ``D`` the door, which is a wall until it is opened.
    The border of the map is a wall.

    - Observation: ``stage * cells + cell``, int32 ``[]``, where
      ``cell = row * width + column`` and ``stage`` is 0 while the key lies on the
      floor, 1 while it is held and the door is shut, 2 when the door is open.
    - Actions: up, right, down, left; 4 picks up the key in the agent's cell; 5 opens a
      door next to that cell, if the key is held.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: on ``S``, without the key.
    - Termination: on the goal.

    Args:
        rows: strings of equal length, with one key and one door.

    Returns:
        An environment whose ``mdp`` has ``S = 3 * height * width``, ``A = 6`` and
        ``K = 1``. States that are never occupied (in a wall, in a shut door, on the
        goal) are self-loops with reward 0 that end the episode: their values are 0.

    Raises:
        ValueError: rows of different lengths, an unknown letter, no start, or not
            exactly one key and one door.

    Example:
        >>> env = key_door(["SKDG"])
        >>> state = env.reset(jax.random.key(0))
        >>> for action in (1, 4, 5, 1, 1):
        ...     state, outcome = env.step(jax.random.key(0), state, action)
        >>> print(env.ascii(state), float(outcome.reward))
        S.'@ 1.0
    """
    letters = _letters(tuple(rows))
    height, width = letters.shape
    cells = letters.size
    state = np.arange(3 * cells)[:, None]
    stage, row, column = np.unravel_index(state, (3, height, width))

    # Moves, [S, 4].
    ahead_row = np.clip(row + np.array([-1, 0, 1, 0]), 0, height - 1)
    ahead_column = np.clip(column + np.array([0, 1, 0, -1]), 0, width - 1)
    ahead = letters[ahead_row, ahead_column]
    blocked = (ahead == "#") | (ahead == "D") & (stage != OPEN)
    moved = np.where(blocked, state, (stage * height + ahead_row) * width + ahead_column)

    # Taking the key and opening the door, [S, 1] each, lead to the next stage.
    takes = (stage == LIES) & (letters[row, column] == "K")
    opens = (stage == HELD) & (ahead == "D").any(axis=1, keepdims=True)
    reached = np.concatenate([moved, state + takes * cells, state + opens * cells], axis=1)

    here = letters[row, column]
    unoccupied = (here == "#") | (here == "G") | (here == "D") & (stage != OPEN)
    reached = np.where(unoccupied, state, reached)
    at_goal = letters.ravel()[reached % cells] == "G"
    starts = (letters.ravel() == "S") / np.sum(letters == "S")
    mdp = FiniteMDP(
        probability=np.ones((3 * cells, 6, 1)),
        next_state=reached[..., None],
        reward=np.where(at_goal & ~unoccupied, 1.0, 0.0)[..., None],
        terminated=(at_goal | unoccupied)[..., None],
        initial=np.concatenate([starts, np.zeros(2 * cells)]),
    )
    return KeyDoor.of(mdp, rows=tuple(rows))


def _letters(rows):
    """The map as a validated array of letters."""
    if not rows or not all(isinstance(row, str) and len(row) == len(rows[0]) > 0 for row in rows):
        raise ValueError(f"rows is {rows}; allowed: strings of equal length")
    letters = np.array([list(row) for row in rows])
    unknown = letters[~np.isin(letters, list(LETTERS))]
    if unknown.size:
        raise ValueError(f"rows has the letter {str(unknown[0])!r}; allowed: {' '.join(LETTERS)}")
    for letter, name in (("K", "key"), ("D", "door")):
        found = np.sum(letters == letter)
        if found != 1:
            raise ValueError(f"rows has {found} of {letter!r}; allowed: one {name}")
    if "S" not in letters:
        raise ValueError(f"rows is {rows}; allowed: at least one start, 'S'")
    return letters
