"""A locked door and its key."""

from collections.abc import Sequence

import jax
import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import ColorS as OF_GRIDWORLD
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
ColorS = OF_GRIDWORLD | {"K": drawing.YELLOW, "D": drawing.BROWN, "'": drawing.WHITE}


class KeyDoor(FiniteEnvironment):
    """See :func:`key_door`, which makes one.

    Attributes:
        rows: the map, one string a row. Static.
    """

    rows: tuple[str, ...] = static()

    def _picture(self, state):
        """The map as it now is, and where the agent is."""
        width = len(self.rows[0])
        stage, cell = divmod(int(state), width * len(self.rows))
        now = str.maketrans(
            {"K": "K" if stage == LIES else ".", "D": "'" if stage == OPEN else "D"}
        )
        return [row.translate(now) for row in self.rows], divmod(cell, width)

    def ascii(self, state: jax.Array) -> str:
        """The map with the agent on it; no key where it is held, and ``'`` for the open door."""
        return drawing.text(*self._picture(state))

    def render(self, state):
        rows, agent = self._picture(state)
        return drawing.paint(colors(rows, ColorS), agent)


def key_door(rows: Sequence[str] = ROOM) -> KeyDoor:
    """A room behind a locked door: MiniGrid's DoorKey with compass moves and the whole map seen (Chevalier-Boisvert et al.,
    "Minigrid & Miniworld", NeurIPS 2023).

    The letters of a map: ``.`` floor, ``S`` start (several are equally likely), ``#`` wall, ``G`` goal, ``K`` the key, ``D``
    the door, which is a wall until it is opened. The border of the map is a wall.

    - Observation: ``stage * cells + cell``, int32 ``[]``, where ``cell = row * width + column`` and ``stage`` is 0 while the
      key lies, 1 while it is held and the door shut, 2 when the door is open.
    - Actions: up, right, down, left; 4 picks up the key from the cell one is on; 5 opens a door beside one, with the key.
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: on ``S``, without the key.
    - Termination: on the goal.

    Args:
        rows: strings of equal length, with one key and one door.

    Returns:
        An environment whose ``mdp`` has ``S = 3 * height * width``, ``A = 6`` and ``K = 1``. In states in which nobody ever
        acts (in a wall, in a shut door, on the goal) one stays, for nothing, and the episode ends: their values are 0.

    Raises:
        ValueError: rows of different lengths, an unknown letter, no start, or other than one key and one door.

    Example:
        >>> env = key_door(["SKDG"])
        >>> state = env.reset(jax.random.key(0))
        >>> for action in (1, 4, 5, 1, 1):
        ...     state, outcome = env.step(jax.random.key(0), state, action)
        >>> print(env.ascii(state), float(outcome.reward))
        S.'@ 1.0
    """
    rows = tuple(rows)
    letters = _letters(rows)
    height, width = letters.shape
    cells = letters.size
    stage, row, column = (
        x[:, None] for x in np.unravel_index(np.arange(3 * cells), (3, height, width))
    )
    state = np.arange(3 * cells)[:, None]

    # Moves, [S, 4].
    ahead_row = np.clip(row + np.array([-1, 0, 1, 0]), 0, height - 1)
    ahead_column = np.clip(column + np.array([0, 1, 0, -1]), 0, width - 1)
    ahead = letters[ahead_row, ahead_column]
    blocked = (ahead == "#") | (ahead == "D") & (stage != OPEN)
    moved = np.where(blocked, state, (stage * height + ahead_row) * width + ahead_column)

    # Deeds, [S, 1]: each leads to the next stage.
    takes = (stage == LIES) & (letters[row, column] == "K")
    opens = (stage == HELD) & (ahead == "D").any(axis=1, keepdims=True)
    reached = np.concatenate([moved, state + takes * cells, state + opens * cells], axis=1)

    here = letters[row, column]
    nobody = (here == "#") | (here == "G") | (here == "D") & (stage != OPEN)
    reached = np.where(nobody, state, reached)
    at_goal = letters.ravel()[reached % cells] == "G"
    starts = (letters.ravel() == "S") / np.sum(letters == "S")
    mdp = FiniteMDP(
        probability=np.ones((3 * cells, 6, 1)),
        next_state=reached[..., None],
        reward=np.where(at_goal & ~nobody, 1.0, 0.0)[..., None],
        terminated=(at_goal | nobody)[..., None],
        initial=np.concatenate([starts, np.zeros(2 * cells)]),
    )
    return KeyDoor.of(mdp, rows=rows)


def _letters(rows):
    """The map as an array of letters, checked."""
    if not rows or not all(isinstance(row, str) and len(row) == len(rows[0]) > 0 for row in rows):
        raise ValueError(f"rows is {rows}; allowed: strings of equal length")
    letters = np.array([list(row) for row in rows])
    unknown = letters[~np.isin(letters, list(LETTERS))]
    if unknown.size:
        raise ValueError(f"rows has the letter {str(unknown[0])!r}; allowed: {' '.join(LETTERS)}")
    for letter, what in (("K", "key"), ("D", "door")):
        if np.sum(letters == letter) != 1:
            raise ValueError(
                f"rows has {np.sum(letters == letter)} of {letter!r}; allowed: one {what}"
            )
    if "S" not in letters:
        raise ValueError(f"rows is {rows}; allowed: at least one start, 'S'")
    return letters
