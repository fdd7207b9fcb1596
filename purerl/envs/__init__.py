"""Environments: pure ``reset``, ``step`` and ``observe`` over frozen pytrees."""

from purerl.envs.base import Environment, OneHot, Outcome, TimeLimit, Transition, Wrapper, interact
from purerl.envs.cartpole import CartPole
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.gridworld import MOVES, GridWorld, cliff_walking, frozen_lake, grid_2x3, grid_of, gridworld
from purerl.envs.registry import make, names

__all__ = [
    "MOVES",
    "CartPole",
    "Environment",
    "FiniteEnvironment",
    "GridWorld",
    "OneHot",
    "Outcome",
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
]
