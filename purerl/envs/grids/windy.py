"""A gridworld with a crosswind."""

import jax
import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import colors
from purerl.mdp.model import FiniteMDP
from purerl.pytree import static

HEIGHT, WIDTH = 7, 10
START, GOAL = (3, 0), (3, 7)
WIND = np.array([0, 0, 0, 1, 1, 1, 2, 2, 1, 0])
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (0, 0)])


class WindyGrid(FiniteEnvironment):
    """A gridworld with a crosswind. Make one with :func:`windy_grid`.

    Attributes:
        rows: the map, one string per row. Cell ``(row, column)`` is state
            ``10 * row + column``. Static.
    """

    rows: tuple[str, ...] = static()

    def ascii(self, state: jax.Array) -> str:
        """The map, with ``@`` for the agent, and below each column its wind."""
        return f"{drawing.text(self.rows, divmod(int(state), WIDTH))}\n{''.join(map(str, WIND))}"

    def render(self, state):
        # The stronger the wind, the bluer the air.
        tint = np.array([40, 16, 4], np.uint8) * WIND[:, None].astype(np.uint8)
        floor = np.array([list(row) for row in self.rows]) == "."
        windy = colors(self.rows) - np.where(floor[..., None], tint, np.uint8(0))
        return drawing.paint(windy, divmod(int(state), WIDTH))


def windy_grid(moves: int = 4, *, stochastic: bool = False) -> WindyGrid:
    """The windy gridworld of Sutton & Barto, Example 6.5 and Exercises 6.9 and 6.10.

    *Reinforcement Learning: An Introduction*, 2nd edition. Seven rows and ten columns,
    without walls. The wind blows upwards, by 0, 0, 0, 1, 1, 1, 2, 2, 1, 0 cells in
    columns 0 to 9. A step adds the move and the wind of the column it leaves, and is
    clipped at the border. The shortest path takes 15 steps with four moves and 7 with
    king's moves.

    - Observation: the cell, ``10 * row + column``, int32 ``[]``.
    - Actions: up, right, down, left; with 8 moves also up-right, down-right, down-left,
      up-left; with 9 also staying (where the wind still blows).
    - Reward: -1 per step.
    - Start: ``(3, 0)``, as (row, column).
    - Termination: on the goal, ``(3, 7)``.

    Args:
        moves: 4, or king's moves: 8, or 9 with staying.
        stochastic: whether a wind other than 0 is one cell weaker or stronger, with
            probability 1/3 each.

    Returns:
        An environment whose ``mdp`` has ``S = 70``, ``A = moves`` and ``K = 1``
        (``K = 3`` if ``stochastic``).

    Raises:
        ValueError: another number of moves.

    Example:
        A move to the left, from the cell on the right of the goal, is blown to the cell
        above the goal:

        >>> windy_grid().mdp.next_state[38, 3].tolist()
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
    over = state == goal  # a self-loop with reward 0
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
