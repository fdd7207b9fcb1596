"""Random walks, whose values are known in closed form."""

import numpy as np

from purerl.checks import FINITE, WHOLE, check_values
from purerl.envs.diagnostic.chain import Chain
from purerl.mdp.model import FiniteMDP


def random_walk(
    length: int = 19, *, reach: int = 1, left_reward: float = -1.0, right_reward: float = 1.0
) -> Chain:
    r"""A walk over a row of states, for prediction.

    Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition.

    - Observation: the state, int32 ``[]``: 1 to ``length`` as in the book; 0 and
      ``length + 1`` are the two ends.
    - Actions: one. It moves by 1 to ``reach`` states to the left or right, each move
      equally likely; moves beyond an end lead to that end.
    - Reward: ``left_reward`` on reaching the left end, ``right_reward`` on reaching the
      right one, 0 otherwise.
    - Start: the middle, ``(length + 1) // 2``.
    - Termination: at an end.

    With ``reach == 1`` the undiscounted value of state ``s`` is

    .. math:: v(s) = r_{left} + (r_{right} - r_{left}) \frac{s}{length + 1}.

    Example 6.2 has five states and rewards 0 and 1 (``RandomWalk5-v0``). Examples 7.1
    and 12.1 have 19 states and rewards -1 and 1 (``RandomWalk-v0``). Example 9.1 has
    1,000 states, a reach of 100, and rewards -1 and 1 (``RandomWalk1000-v0``).

    Args:
        length: number of states that are not ends.
        reach: the longest move.
        left_reward: finite.
        right_reward: finite.

    Returns:
        An environment whose ``mdp`` has ``S = length + 2``, ``A = 1``,
        ``K = 2 * reach``.

    Raises:
        ValueError: ``length`` or ``reach`` is not a positive whole number, or a reward
            is not finite.
    """
    check_values(
        "random_walk",
        {
            "length": length,
            "reach": reach,
            "left_reward": left_reward,
            "right_reward": right_reward,
        },
        {"length": WHOLE, "reach": WHOLE, "left_reward": FINITE, "right_reward": FINITE},
    )
    last = length + 1
    states = np.arange(length + 2)[:, None, None]
    moves = np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
    is_end = np.isin(states, [0, last])
    next_state = np.where(is_end, states, np.clip(states + moves, 0, last))
    reward = np.select(
        [is_end, next_state == 0, next_state == last], [0.0, left_reward, right_reward], 0.0
    )
    mdp = FiniteMDP(
        probability=np.full(next_state.shape, 1 / len(moves)),
        next_state=next_state,
        reward=reward,
        terminated=np.isin(next_state, [0, last]),
        initial=np.eye(length + 2)[last // 2],
    )
    return Chain.of(mdp)
