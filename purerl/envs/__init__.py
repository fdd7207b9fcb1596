"""Environments: pure ``reset``, ``step`` and ``observe`` over frozen pytrees."""

from purerl.envs import bsuite, classic, diagnostic, grids, interop, minatar, toy_text
from purerl.envs.base import Environment, Outcome, TimeLimit, Transition, Wrapper, interact, restart
from purerl.envs.classic import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import MOVES, GridWorld, grid_2x3, grid_of, gridworld
from purerl.envs.registry import kinds, make, names
from purerl.envs.toy_text import blackjack, cliff_walking, frozen_lake, taxi
from purerl.envs.wrappers import (
    DiscretizedActions,
    EpisodeStatistics,
    Flatten,
    FrameStack,
    ObservationNormalize,
    OneHot,
    RewardNoise,
    RewardScale,
    StickyActions,
)

__all__ = [
    "MOVES",
    "Acrobot",
    "CartPole",
    "DiscretizedActions",
    "Environment",
    "EpisodeStatistics",
    "FiniteEnvironment",
    "Flatten",
    "FrameStack",
    "GridWorld",
    "MountainCar",
    "MountainCarContinuous",
    "ObservationNormalize",
    "OneHot",
    "Outcome",
    "Pendulum",
    "RewardNoise",
    "RewardScale",
    "StickyActions",
    "TimeLimit",
    "Transition",
    "Wrapper",
    "blackjack",
    "bsuite",
    "classic",
    "cliff_walking",
    "diagnostic",
    "frozen_lake",
    "grid_2x3",
    "grid_of",
    "grids",
    "gridworld",
    "interact",
    "interop",
    "kinds",
    "make",
    "minatar",
    "names",
    "restart",
    "taxi",
    "toy_text",
]
