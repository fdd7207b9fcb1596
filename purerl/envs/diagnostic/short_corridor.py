"""The short corridor, in which the best policy is stochastic."""

import jax.numpy as jnp
import numpy as np

from purerl.envs.diagnostic.chain import Featured
from purerl.mdp.model import FiniteMDP


def short_corridor() -> Featured:
    r"""The short corridor with switched actions of Sutton & Barto, Example 13.1.

    *Reinforcement Learning: An Introduction*, 2nd edition. All states look the same, so
    that a policy is one probability of going right.

    - Observation: 1 in every state, float32 ``[1]``.
    - Actions: 0 goes left and 1 right, each by one state; in state 1 they are switched.
      Left of state 0 there is a wall.
    - Reward: -1 for each step.
    - Start: state 0.
    - Termination: to the right of state 2.

    Without a discount the value of the start is, if right has probability ``p``,

    .. math:: v(p) = -\frac{2 (2 - p)}{p (1 - p)},

    which is largest at :math:`p = 2 - \sqrt 2`, where it is :math:`-6 - 4 \sqrt 2
    \approx -11.66`. No deterministic policy ever ends. A policy that sees the state
    needs three steps.

    Returns:
        An environment whose ``mdp`` has ``S = 4``, ``A = 2``, ``K = 1``; state 3 is the
        end.

    Example:
        >>> import purerl
        >>> best = 2 - 2**0.5
        >>> policy = jnp.tile(jnp.array([1 - best, best]), (4, 1))
        >>> print(purerl.mdp.expected_return(short_corridor().mdp, policy, 1.0))
        -11.65685
    """
    next_state = np.array([[0, 1], [2, 0], [1, 3], [3, 3]])
    mdp = FiniteMDP(
        probability=np.ones((4, 2, 1)),
        next_state=next_state[..., None],
        reward=np.where(np.arange(4) < 3, -1.0, 0.0)[:, None, None].repeat(2, axis=1),
        terminated=(next_state == 3)[..., None],
        initial=[1.0, 0.0, 0.0, 0.0],
    )
    return Featured.of(mdp, features=jnp.ones((4, 1), jnp.float32))
