"""The gambler's problem: what to stake on a coin."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import UNIT_INTERVAL, check_values, refusal, shown, whole
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.model import FiniteMDP, is_concrete


def gambler(heads: float | jax.Array = 0.4, goal: int = 100) -> FiniteEnvironment:
    """The gambler's problem of Sutton & Barto, Example 4.3.

    *Reinforcement Learning: An Introduction*, 2nd edition. A gambler stakes money on a
    coin that shows heads with probability ``heads``, wins the stake then and otherwise
    loses it, until nothing is left or the goal is reached. Without a discount, the
    value of a state is the probability of reaching the goal; for ``heads`` below one
    half it is best to stake as much as helps (Dubins & Savage, *How to Gamble If You
    Must*, 1965).

    - Observation: the capital, int32 ``[]`` in ``[0, goal]``.
    - Actions: the stake, of which 1 to ``min(capital, goal - capital)`` are available.
      (In the book a stake of 0 is allowed, too; it would only postpone the decision.)
    - Reward: 1 for reaching the goal, 0 elsewhere.
    - Start: any capital from 1 to ``goal - 1``, equally likely.
    - Termination: with a capital of 0, or ``goal``.

    Args:
        heads: probability of winning a stake, in ``[0, 1]``.
        goal: at least 2.

    Returns:
        An environment whose ``mdp`` has ``S = goal + 1``, ``A = goal // 2 + 1`` and
        ``K = 2``.

    Raises:
        ValueError: an argument that is not allowed.

    Example:
        >>> import purerl
        >>> env = gambler()
        >>> solution = purerl.mdp.solve(env.mdp, 1.0)
        >>> solution.values[50].round(3).item(), solution.policy[50].item()
        (0.4, 50)
    """
    check_values("gambler", {"heads": heads}, {"heads": UNIT_INTERVAL})
    count = whole(goal)
    if count is None or count < 2:
        raise refusal("gambler", "goal", shown(goal), "a whole number of at least 2")
    capital = np.arange(count + 1)[:, None]
    stakes = np.arange(count // 2 + 1)
    most = np.minimum(capital, count - capital)
    available = (stakes >= 1) & (stakes <= most)
    over = most == 0
    stake = np.where(available, stakes, 0)
    next_state = np.stack([capital + stake, capital - stake], axis=-1)
    xp = np if is_concrete(heads) else jnp
    return FiniteEnvironment.of(
        FiniteMDP(
            probability=xp.broadcast_to(xp.stack([heads, 1 - heads]), next_state.shape),
            next_state=next_state,
            reward=(~over[..., None] & (next_state == count)).astype(float),
            terminated=over[..., None] | np.isin(next_state, [0, count]),
            initial=np.where(over[:, 0], 0, 1 / (count - 1)),
            available=available | (over & (stakes == 0)),
        )
    )
