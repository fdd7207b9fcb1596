"""Example 8.4: prioritised sweeping on mazes

Updates until the greedy policy takes the shortest way, against the number of cells, on the Dyna maze magnified: a cell becomes
k x k, of which one is the start or the goal. Both methods make at most five updates in the model for every real step; step size
0.5, epsilon 0.1, a discount of 0.95, 24 runs. Until the goal is first found all values are 0: prioritised sweeping then has
nothing to do, while Dyna-Q updates all the same. The dotted line is Dyna-Q without these updates.
"""

import jax.numpy as jnp
import numpy as np

from experiments.textbook.common import COLOURS, band, canvas, episodes, interval, save
from purerl import mdp
from purerl.agents import DynaQ, PrioritizedSweeping
from purerl.envs.gridworld import gridworld
from purerl.envs.grids.mazes import DYNA
from purerl.loop import jax

RUNS, PLANNING = 24, 5
MAGNIFIED = (1, 2, 3)
DISCOUNT = 0.95


def magnified(k):
    """The Dyna maze of larger cells: the start in the first corner of its cell, the goal in the upper right one of its own."""
    rows = [list("".join(letter * k for letter in row.replace("S", ".").replace("G", "."))) for row in DYNA for _ in range(k)]
    start = next(i for i, row in enumerate(DYNA) if "S" in row)
    rows[start * k][DYNA[start].index("S") * k] = "S"
    rows[0][-1] = "G"
    return gridworld(["".join(row) for row in rows])
