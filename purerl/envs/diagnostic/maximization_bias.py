"""A choice between zero and noisy rewards, on which Q-learning is overoptimistic."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import FINITE, NOT_NEGATIVE, Rule, check_values
from purerl.envs.diagnostic.chain import Chain
from purerl.mdp.model import FiniteMDP

A = 0
B = 1
END = 2
EVEN: Rule = (
    "an even number of at least 2",
    lambda x: np.issubdtype(x.dtype, np.integer) & (x >= 2) & (x % 2 == 0),
)


class MaximizationBias(Chain):
    """The environment of :func:`maximization_bias`.

    Its ``mdp`` has expected rewards; the noise is added in ``step``.

    Attributes:
        scale: standard deviation of the reward in B. A leaf.
    """

    scale: float | jax.Array

    def step(self, key, state, action):
        # There is one outcome, so the inherited step does not use the key.
        reached, outcome = super().step(key, state, action)
        noise = jnp.where(state == B, self.scale * jax.random.normal(key, dtype=jnp.float32), 0)
        reward = (outcome.reward + noise).astype(jnp.float32)
        return reached, outcome._replace(reward=reward)


def maximization_bias(
    num_actions: int = 10, *, mean: float = -0.1, scale: float = 1.0
) -> MaximizationBias:
    """The problem of Sutton & Barto, Example 6.7.

    *Reinforcement Learning: An Introduction*, 2nd edition.

    - Observation: the state, int32 ``[]``: 0 is A, 1 is B, 2 the end.
    - Actions: in A, even ones go left, to B, and odd ones right, to the end. (The book
      has one of each. With equally many of both, a uniformly random action is as likely
      to go left.) In B, all lead to the end.
    - Reward: 0 in A; normal with ``mean`` and ``scale`` in B, for every action.
    - Start: A.
    - Termination: at the end.

    The value of going left is ``discount * mean``, which is negative; the maximum of
    several estimates of B's values, from few samples each, tends to be larger.
    Q-learning starts by going left far more often than the best epsilon-greedy policy,
    which does so with probability ``epsilon / 2``. Double Q-learning does not.

    Args:
        num_actions: number of actions, even.
        mean: of the reward in B, finite.
        scale: its standard deviation, at least 0.

    Returns:
        An environment whose ``mdp`` has ``S = 3``, ``A = num_actions``, ``K = 1``.

    Raises:
        ValueError: an odd number of actions, or a number that is not finite.
    """
    given = {"num_actions": num_actions, "mean": mean, "scale": scale}
    check_values(
        "maximization_bias", given, {"num_actions": EVEN, "mean": FINITE, "scale": NOT_NEGATIVE}
    )
    next_state = np.full((3, num_actions), END)
    next_state[A, ::2] = B
    reward = np.zeros((3, num_actions))
    reward[B] = mean
    mdp = FiniteMDP(
        probability=np.ones((3, num_actions, 1)),
        next_state=next_state[..., None],
        reward=reward[..., None],
        terminated=next_state[..., None] == END,
        initial=[1.0, 0.0, 0.0],
    )
    return MaximizationBias.of(mdp, scale=scale)
