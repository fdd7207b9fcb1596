"""Environments by name.

==================== =========================================== ===================== =====
name                 observation                                 actions               limit
==================== =========================================== ===================== =====
``CartPole-v1``      float32 ``[4]``: x, x_dot, theta, theta_dot left, right           500
``FrozenLake-v1``    int32 in ``[0, 16)``                        left, down, right, up 100
``FrozenLake8x8-v1`` int32 in ``[0, 64)``                        left, down, right, up 200
``CliffWalking-v1``  int32 in ``[0, 48)``                        up, right, down, left none
``Grid2x3-v0``       int32 in ``[0, 6)``                         up, right, down, left 50
==================== =========================================== ===================== =====

Names, time limits and numbers are Gymnasium 1.3's, but for ``Grid2x3-v0``, which is ours.
"""

import difflib
import inspect

from purerl.envs import bsuite, classic, diagnostic, grids, minatar, toy_text
from purerl.envs.base import Environment, TimeLimit
from purerl.envs.gridworld import grid_2x3

# name: (what builds it, after how many steps an episode is truncated)
ENVIRONMENTS = {
    "Grid2x3-v0": (grid_2x3, 50),
    **toy_text.ENVIRONMENTS,
    **classic.ENVIRONMENTS,
    **minatar.ENVIRONMENTS,
    **grids.ENVIRONMENTS,
    **diagnostic.ENVIRONMENTS,
    **bsuite.ENVIRONMENTS,
}


def names() -> tuple[str, ...]:
    """The names that :func:`make` knows."""
    return tuple(ENVIRONMENTS)


def make(name: str, **parameters) -> Environment:
    """The environment called ``name``, with its time limit.

    Args:
        name: one of :func:`names`.
        **parameters: passed to what builds it, such as the physics of :class:`~purerl.envs.classic.CartPole` or the arguments
            of :func:`~purerl.envs.toy_text.frozen_lake`.

    Raises:
        ValueError: an unknown name (the nearest known one is suggested), an unknown parameter, or a parameter's wrong value.

    Example:
        >>> make("FrozenLake-v1", slip=0.0).mdp.probability.shape
        (16, 4, 1)
    """
    if name not in ENVIRONMENTS:
        lowercase = {known.lower(): known for known in ENVIRONMENTS}
        near = difflib.get_close_matches(str(name).lower(), lowercase, n=1)
        guess = f"did you mean {lowercase[near[0]]!r}? " if near else ""
        raise ValueError(f"unknown environment {name!r}; {guess}known: {', '.join(ENVIRONMENTS)}")
    build, limit = ENVIRONMENTS[name]
    allowed = inspect.signature(build).parameters
    for parameter in parameters:
        if parameter not in allowed:
            raise ValueError(f"{name} has no parameter {parameter!r}; allowed: {', '.join(allowed)}")
    env = build(**parameters)
    return env if limit is None else TimeLimit(env, limit)
