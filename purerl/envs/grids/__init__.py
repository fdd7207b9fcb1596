"""Gridworlds from the literature."""

from purerl.envs.grids.four_rooms import four_rooms
from purerl.envs.grids.key_door import KeyDoor, key_door
from purerl.envs.grids.mazes import (
    ChangingMaze,
    blocking_maze,
    changing_maze,
    dyna_maze,
    shortcut_maze,
)
from purerl.envs.grids.random_maze import RandomMaze
from purerl.envs.grids.windy import WindyGrid, windy_grid

__all__ = [
    "ChangingMaze",
    "KeyDoor",
    "RandomMaze",
    "WindyGrid",
    "blocking_maze",
    "changing_maze",
    "dyna_maze",
    "four_rooms",
    "key_door",
    "shortcut_maze",
    "windy_grid",
]

# name: (function that builds it, steps after which an episode is truncated)
ENVIRONMENTS = {
    "FourRooms-v0": (four_rooms, 500),
    "WindyGrid-v0": (windy_grid, None),
    "DynaMaze-v0": (dyna_maze, None),
    "BlockingMaze-v0": (blocking_maze, None),
    "ShortcutMaze-v0": (shortcut_maze, None),
    "RandomMaze-v0": (RandomMaze, 500),
    "KeyDoor-v0": (key_door, 640),
}
