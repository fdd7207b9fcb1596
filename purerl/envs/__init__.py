"""Environments: pure ``reset``, ``step`` and ``observe`` over frozen pytrees."""

from purerl.envs.base import Environment, Mean, Outcome, TimeLimit, Transition, Wrapper, interact, restart
from purerl.envs.classic import CartPole
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.gridworld import MOVES, GridWorld, grid_2x3, grid_of, gridworld
from purerl.envs.registry import make, names
from purerl.envs.toy_text import cliff_walking, frozen_lake
from purerl.envs.wrappers import OneHot, StickyActions

__all__ = [
    "MOVES",
    "CartPole",
    "Environment",
    "FiniteEnvironment",
    "GridWorld",
    "Mean",
    "OneHot",
    "Outcome",
    "StickyActions",
    "TimeLimit",
    "Transition",
    "Wrapper",
    "cliff_walking",
    "frozen_lake",
    "grid_2x3",
    "grid_of",
    "gridworld",
    "interact",
    "make",
    "names",
    "restart",
]
