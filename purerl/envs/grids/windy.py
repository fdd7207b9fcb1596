"""A gridworld with a wind across it."""

import jax
import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import colors
from purerl.mdp.model import FiniteMDP
from purerl.pytree import static

HEIGHT, WIDTH, START, GOAL = 7, 10, (3, 0), (3, 7)
WIND = np.array([0, 0, 0, 1, 1, 1, 2, 2, 1, 0])
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (0, 0)])


class WindyGrid(FiniteEnvironment):
    """See :func:`windy_grid`, which makes one.

    Attributes:
        rows: the map, one string a row. Cell ``(row, column)`` is state ``10 * row + column``. Static.
    """

    rows: tuple[str, ...] = static()

    def ascii(self, state: jax.Array) -> str:
        """The map with the agent on it, and below each column its wind."""
        return f"{drawing.text(self.rows, divmod(int(state), WIDTH))}\n{''.join(map(str, WIND))}"

    def render(self, state):
        # The stronger the wind, the bluer the air.
        tint = np.array([40, 16, 4], np.uint8) * WIND[:, None].astype(np.uint8)
        floor = np.array([list(row) for row in self.rows]) == "."
        windy = colors(self.rows) - np.where(floor[..., None], tint, np.uint8(0))
        return drawing.paint(windy, divmod(int(state), WIDTH))


def windy_grid(moves: int = 4, *, stochastic: bool = False) -> WindyGrid:
    """The windy gridworld of Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 6.5, and its
    variants of Exercises 6.9 and 6.10.

    Seven rows and ten columns, without walls. The wind blows upwards, by 0, 0, 0, 1, 1, 1, 2, 2, 1, 0 cells in columns 0 to 9;
    a step adds the move and the wind of the column it leaves, and what would lie beyond the border counts as the border. The
    shortest way takes 15 steps with four moves and 7 with king's moves.

    - Observation: the cell, ``10 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left; with 8 moves also up-right, down-right, down-left, up-left; with 9 also staying (where
      the wind still blows).
    - Reward: -1 a step.
    - Start: ``(3, 0)``, as (row, column).
    - Termination: on the goal, ``(3, 7)``.

    Args:
        moves: 4, or king's moves: 8, or 9 with staying.
        stochastic: whether the wind, where there is any, is one cell weaker or stronger, with probability 1/3 each.

    Returns:
        An environment whose ``mdp`` has ``S = 70``, ``A = moves`` and ``K = 1`` (``K = 3`` if ``stochastic``).

    Raises:
        ValueError: another number of moves.

    Example:
        >>> env = windy_grid()
        >>> env.mdp.next_state[38, 3].tolist()  # left of the cell to the right of the goal: to the one above the goal
        [27]
    """
    if moves not in (4, 8, 9):
        raise ValueError(f"moves is {moves!r}; allowed: 4, 8, 9")
    gusts = np.array([-1, 0, 1]) if stochastic else np.array([0])
    state, move, gust = np.ix_(np.arange(HEIGHT * WIDTH), np.arange(moves), np.arange(len(gusts)))
    row, column = np.divmod(state, WIDTH)
    wind = np.where(WIND[column] > 0, WIND[column] + gusts[gust], 0)
    row = np.clip(row + MOVES[move, 0] - wind, 0, HEIGHT - 1)
    column = np.clip(column + MOVES[move, 1], 0, WIDTH - 1)
    start, goal = (at[0] * WIDTH + at[1] for at in (START, GOAL))
    over = state == goal  # nobody acts there: one stays, for nothing
    reached = np.where(over, state, row * WIDTH + column)
    mdp = FiniteMDP(
        probability=np.full(reached.shape, 1 / len(gusts)),
        next_state=reached,
        reward=np.broadcast_to(np.where(over, 0.0, -1.0), reached.shape),
        terminated=reached == goal,
        initial=np.eye(1, HEIGHT * WIDTH, start)[0],
    )
    letters = np.full((HEIGHT, WIDTH), ".")
    letters[START], letters[GOAL] = "S", "G"
    return WindyGrid.of(mdp, rows=tuple("".join(row) for row in letters))
