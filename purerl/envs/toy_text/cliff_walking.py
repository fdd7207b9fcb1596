"""Cliff walking: the short path along the edge, or a safe one."""

import jax

from purerl.envs.grids.gridworld import GridWorld, gridworld


def cliff_walking(*, slip: float | jax.Array = 0.0) -> GridWorld:
    """Cliff walking of Sutton & Barto, Example 6.6, with Gymnasium's tables.

    *Reinforcement Learning: An Introduction*, 2nd edition; ``CliffWalking-v1``, and
    ``CliffWalkingSlippery-v1`` with ``slip = 2/3``.

    - Observation: the cell, ``row * 12 + column``, int32 ``[]``.
    - Actions: 0 up, 1 right, 2 down, 3 left.
    - Reward: -1 per step; -100 for falling off the cliff, which leads back to the
      start.
    - Start: the bottom left corner, cell 36.
    - Termination: in the bottom right corner, cell 47.

    Args:
        slip: probability of slipping, to either side equally: 2/3 is Gymnasium's
            ``is_slippery=True``.

    Raises:
        ValueError: ``slip`` is not a probability.
    """
    rows = ("............", "............", "............", "SCCCCCCCCCCG")
    return gridworld(rows, slip=slip, step_reward=-1.0, goal_reward=-1.0, absorbing=False)
