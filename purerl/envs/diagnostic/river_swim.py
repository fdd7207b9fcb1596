"""RiverSwim: a small reward downstream, a large one upstream."""

import numpy as np

from purerl.checks import FINITE, Rule, check_values
from purerl.envs.diagnostic.chain import Chain
from purerl.mdp.construct import from_dense

AT_LEAST_THREE: Rule = (
    "a whole number of at least 3",
    lambda x: np.issubdtype(x.dtype, np.integer) & (x >= 3),
)


def river_swim(
    num_states: int = 6, *, left_reward: float = 5.0, right_reward: float = 10_000.0
) -> Chain:
    """RiverSwim, which requires deep exploration.

    Strehl & Littman, "An analysis of model-based interval estimation for Markov
    decision processes" (Journal of Computer and System Sciences 74, 2008).

    - Observation: the state, int32 ``[]``, 0 at the left bank.
    - Actions: 0 swims left, with the current, and always moves there. 1 swims right,
      against it: one state to the right with probability 0.3, none with 0.6, one to the
      left with 0.1. At the left bank it stays with 0.7; at the right bank it stays with
      0.3 and is otherwise swept back by one state.
    - Reward: ``left_reward`` for swimming left at the left bank, ``right_reward`` for
      staying at the right one, 0 otherwise.
    - Start: state 1 or 2, equally likely.
    - Termination: never.

    With the default parameters it is optimal to always swim right. The stationary
    distribution over the six states is then ``1, 3, 9, 27, 81, 243/7`` times 7/1090, so
    the optimal gain is ``0.3 * 10000 * 243 / 1090 = 668.8``.

    Args:
        num_states: at least 3.
        left_reward: finite.
        right_reward: finite.

    Returns:
        An environment whose ``mdp`` has ``S = num_states``, ``A = 2``, ``K = 3``.

    Raises:
        ValueError: fewer than three states, or a reward that is not finite.
    """
    check_values(
        "river_swim",
        {"num_states": num_states, "left_reward": left_reward, "right_reward": right_reward},
        {"num_states": AT_LEAST_THREE, "left_reward": FINITE, "right_reward": FINITE},
    )
    here = np.arange(num_states)
    last = num_states - 1
    left = np.maximum(here - 1, 0)
    right = np.minimum(here + 1, last)
    transition = np.zeros((num_states, 2, num_states))
    transition[here, 0, left] = 1.0
    for there, chance in ((left, 0.1), (here, 0.6), (right, 0.3)):
        transition[here, 1, there] += chance
    transition[last, 1, [last - 1, last]] = 0.7, 0.3
    reward = np.zeros((num_states, 2, num_states))
    reward[0, 0, 0] = left_reward
    reward[last, 1, last] = right_reward
    initial = np.isin(here, [1, 2]) / 2
    return Chain.of(from_dense(transition, reward, initial))
