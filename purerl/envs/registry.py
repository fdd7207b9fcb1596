"""Environments by name.

========================================== ====================== ======= =====
name                                       observation            actions limit
========================================== ====================== ======= =====
``Grid2x3-v0``                             int32 in ``[0, 6)``    4       50
``FrozenLake-v1``                          int32 in ``[0, 16)``   4       100
``FrozenLake8x8-v1``                       int32 in ``[0, 64)``   4       200
``CliffWalking-v1``                        int32 in ``[0, 48)``   4       -
``CliffWalkingSlippery-v1``                int32 in ``[0, 48)``   4       -
``Taxi-v3``                                int32 in ``[0, 500)``  6       200
``Taxi-v4``                                int32 in ``[0, 500)``  6       200
``Blackjack-v1``                           int32 in ``[0, 390)``  2       -
``CartPole-v0``                            float32 ``[4]``        2       200
``CartPole-v1``                            float32 ``[4]``        2       500
``MountainCar-v0``                         float32 ``[2]``        3       200
``MountainCarContinuous-v0``               float32 ``[2]``        3       999
``Acrobot-v1``                             float32 ``[6]``        3       500
``Pendulum-v1``                            float32 ``[3]``        5       200
``MinAtar/Asterix-v0``                     bool ``[10, 10, 4]``   6       -
``MinAtar/Asterix-v1``                     bool ``[10, 10, 4]``   5       -
``MinAtar/Breakout-v0``                    bool ``[10, 10, 4]``   6       -
``MinAtar/Breakout-v1``                    bool ``[10, 10, 4]``   3       -
``MinAtar/Freeway-v0``                     bool ``[10, 10, 7]``   6       -
``MinAtar/Freeway-v1``                     bool ``[10, 10, 7]``   3       -
``MinAtar/Seaquest-v0``                    bool ``[10, 10, 10]``  6       -
``MinAtar/Seaquest-v1``                    bool ``[10, 10, 10]``  6       -
``MinAtar/SpaceInvaders-v0``               bool ``[10, 10, 6]``   6       -
``MinAtar/SpaceInvaders-v1``               bool ``[10, 10, 6]``   4       -
``FourRooms-v0``                           int32 in ``[0, 169)``  4       500
``WindyGrid-v0``                           int32 in ``[0, 70)``   4       -
``DynaMaze-v0``                            int32 in ``[0, 54)``   4       -
``BlockingMaze-v0``                        int32 in ``[0, 54)``   4       -
``ShortcutMaze-v0``                        int32 in ``[0, 54)``   4       -
``RandomMaze-v0``                          bool ``[11, 11, 3]``   4       500
``KeyDoor-v0``                             int32 in ``[0, 192)``  6       640
``RandomWalk-v0``                          int32 in ``[0, 21)``   1       -
``RandomWalk5-v0``                         int32 in ``[0, 7)``    1       -
``RandomWalk1000-v0``                      int32 in ``[0, 1002)`` 1       -
``BairdStar-v0``                           float32 ``[8]``        2       -
``BoyanChain-v0``                          float32 ``[4]``        1       -
``ShortCorridor-v0``                       float32 ``[1]``        2       -
``MaximizationBias-v0``                    int32 in ``[0, 3)``    10      -
``RiverSwim-v0``                           int32 in ``[0, 6)``    2       -
``Gambler-v0``                             int32 in ``[0, 101)``  51      -
``AccessControl-v0``                       int32 in ``[0, 44)``   2       -
``Garnet-v0``                              int32 in ``[0, 30)``   4       -
``Testbed-v0``                             int32 in ``[0, 1)``    10      -
``ProbeConstant-v0``                       float32 ``[1]``        1       -
``ProbeObservation-v0``                    float32 ``[1]``        1       -
``ProbeDelay-v0``                          float32 ``[1]``        1       -
``ProbeAction-v0``                         float32 ``[1]``        2       -
``ProbeContext-v0``                        float32 ``[1]``        2       -
``bsuite/bandit/0`` to ``19``              float32 ``[1, 1]``     11      -
``bsuite/bandit_noise/0`` to ``19``        float32 ``[1, 1]``     11      -
``bsuite/bandit_scale/0`` to ``19``        float32 ``[1, 1]``     11      -
``bsuite/cartpole/0`` to ``19``            float32 ``[1, 6]``     3       -
``bsuite/cartpole_noise/0`` to ``19``      float32 ``[1, 6]``     3       -
``bsuite/cartpole_scale/0`` to ``19``      float32 ``[1, 6]``     3       -
``bsuite/cartpole_swingup/0`` to ``19``    float32 ``[1, 8]``     3       -
``bsuite/catch/0`` to ``19``               float32 ``[10, 5]``    3       -
``bsuite/catch_noise/0`` to ``19``         float32 ``[10, 5]``    3       -
``bsuite/catch_scale/0`` to ``19``         float32 ``[10, 5]``    3       -
``bsuite/deep_sea/0`` to ``20``            float32 ``[10, 10]``   2       -
``bsuite/deep_sea_stochastic/0`` to ``20`` float32 ``[10, 10]``   2       -
``bsuite/discounting_chain/0`` to ``19``   float32 ``[1, 2]``     5       -
``bsuite/memory_len/0`` to ``22``          float32 ``[1, 3]``     2       -
``bsuite/memory_size/0`` to ``16``         float32 ``[1, 3]``     2       -
``bsuite/mountain_car/0`` to ``19``        float32 ``[1, 3]``     3       -
``bsuite/mountain_car_noise/0`` to ``19``  float32 ``[1, 3]``     3       -
``bsuite/mountain_car_scale/0`` to ``19``  float32 ``[1, 3]``     3       -
``bsuite/umbrella_distract/0`` to ``22``   float32 ``[1, 4]``     2       -
``bsuite/umbrella_length/0`` to ``22``     float32 ``[1, 23]``    2       -
========================================== ====================== ======= =====

The limit is the number of steps after which an episode is truncated. For toy text and
classic control, names, limits and parameters are Gymnasium's. For MinAtar they are
MinAtar's (``v0`` has all six actions, ``v1`` only those with an effect in the game) and
for ``bsuite/`` bsuite's. The other names are purerl's own.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, overload

from purerl.checks import listed, meant, nearest, shown
from purerl.envs import bsuite, classic, diagnostic, grids, minatar, toy_text
from purerl.envs.base import Environment, Renders, TabularEnvironment, TimeLimit
from purerl.envs.diagnostic import Featured, Testbed
from purerl.envs.grids.gridworld import grid_2x3

# Names by what the environment offers, for type checkers: states of an exact model,
# observed by index; features of such states; pictures only.
TabularName = Literal[
    "Grid2x3-v0",
    "FrozenLake-v1",
    "FrozenLake8x8-v1",
    "CliffWalking-v1",
    "CliffWalkingSlippery-v1",
    "Taxi-v3",
    "Taxi-v4",
    "Blackjack-v1",
    "FourRooms-v0",
    "WindyGrid-v0",
    "DynaMaze-v0",
    "BlockingMaze-v0",
    "ShortcutMaze-v0",
    "KeyDoor-v0",
    "RandomWalk-v0",
    "RandomWalk5-v0",
    "RandomWalk1000-v0",
    "MaximizationBias-v0",
    "RiverSwim-v0",
    "Gambler-v0",
    "AccessControl-v0",
    "Garnet-v0",
]
FeaturedName = Literal[
    "BairdStar-v0",
    "BoyanChain-v0",
    "ShortCorridor-v0",
    "ProbeConstant-v0",
    "ProbeObservation-v0",
    "ProbeDelay-v0",
    "ProbeAction-v0",
    "ProbeContext-v0",
]
RenderedName = Literal[
    "CartPole-v0",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
    "Pendulum-v1",
    "MinAtar/Asterix-v0",
    "MinAtar/Asterix-v1",
    "MinAtar/Breakout-v0",
    "MinAtar/Breakout-v1",
    "MinAtar/Freeway-v0",
    "MinAtar/Freeway-v1",
    "MinAtar/Seaquest-v0",
    "MinAtar/Seaquest-v1",
    "MinAtar/SpaceInvaders-v0",
    "MinAtar/SpaceInvaders-v1",
    "RandomMaze-v0",
]

# name: (function that builds it, steps after which an episode is truncated)
ENVIRONMENTS: dict[str, tuple[Callable[..., Environment], int | None]] = {
    "Grid2x3-v0": (grid_2x3, 50),
    **toy_text.ENVIRONMENTS,
    **classic.ENVIRONMENTS,
    **minatar.ENVIRONMENTS,
    **grids.ENVIRONMENTS,
    **diagnostic.ENVIRONMENTS,
    **bsuite.ENVIRONMENTS,
}


def names() -> tuple[str, ...]:
    """All names that :func:`make` accepts."""
    return tuple(ENVIRONMENTS)


def kinds() -> dict[str, str]:
    """Names for display, ``{label: name}``.

    An experiment of bsuite is one entry, whose name is that of its first setting.

    >>> kinds()["bsuite/catch/0 to 19"]
    'bsuite/catch/0'
    """
    groups: dict[str, list[str]] = {}
    for name in ENVIRONMENTS:
        group = name.rsplit("/", 1)[0] if name.startswith("bsuite/") else name
        groups.setdefault(group, []).append(name)
    labels = {}
    for group in groups.values():
        settings = f" to {len(group) - 1}" if len(group) > 1 else ""
        labels[group[0] + settings] = group[0]
    return labels


@overload
def make(name: TabularName, **parameters: Any) -> TabularEnvironment: ...
@overload
def make(name: FeaturedName, **parameters: Any) -> Featured: ...
@overload
def make(name: Literal["Testbed-v0"], **parameters: Any) -> Testbed: ...
@overload
def make(name: RenderedName, **parameters: Any) -> Renders: ...
@overload
def make(name: str, **parameters: Any) -> Environment: ...
def make(name: str, **parameters: Any) -> Environment:
    """Make an environment by its name, with its time limit.

    Args:
        name: one of :func:`names`.
        **parameters: passed to the function that builds it, such as the physics of
            :class:`~purerl.envs.classic.CartPole` or the arguments of
            :func:`~purerl.envs.toy_text.frozen_lake`.

    Raises:
        ValueError: an unknown name (the nearest known one is suggested), an unknown
            parameter, or a value that a parameter does not allow.

    Example:
        >>> make("FrozenLake-v1", slip=0.0).mdp.probability.shape
        (16, 4, 1)
    """
    if not isinstance(name, str) or name not in ENVIRONMENTS:
        near = nearest(name, kinds().values())
        guess = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"unknown environment {shown(name)}; {guess}known: {listed(kinds())}")
    build, limit = ENVIRONMENTS[name]
    allowed = inspect.signature(build).parameters
    for parameter in parameters:
        if parameter not in allowed:
            near = nearest(parameter, allowed)
            guess = meant(repr(near)) if near else ""
            raise ValueError(
                f"{name} has no parameter {parameter!r}; allowed: {listed(allowed)}{guess}"
            )
    env = build(**parameters)
    return env if limit is None else TimeLimit(env, limit)
