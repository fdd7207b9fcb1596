"""Garnets: randomly generated models as environments."""

import purerl.random
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp import construct


def garnet(
    num_states: int = 30, num_actions: int = 4, branching: int = 2, *, seed: int = 0
) -> FiniteEnvironment:
    """A random continuing problem, see :func:`purerl.mdp.construct.garnet`.

    - Observation: the state, int32 ``[]``.
    - Actions: each leads to one of ``branching`` states.
    - Reward: of each outcome, drawn once from the standard normal distribution.
    - Start: any state, equally likely.
    - Termination: never.

    Args:
        num_states: ``S``, at least 1.
        num_actions: ``A``, at least 1.
        branching: ``K``, in ``[1, S]``.
        seed: an integer; the problem is a function of it and of the sizes.

    Raises:
        ValueError: a size is less than one, or ``branching`` exceeds ``num_states``.

    Example:
        >>> garnet(10, 3, 2, seed=7).mdp.probability.shape
        (10, 3, 2)
    """
    return FiniteEnvironment.of(
        construct.garnet(purerl.random.key(seed), num_states, num_actions, branching)
    )
