"""A choice between nothing and noise, on which Q-learning is too hopeful."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import FINITE, NOT_NEGATIVE, Rule, check_values
from purerl.envs.diagnostic.chain import Chain
from purerl.mdp.model import FiniteMDP

A, B, END = 0, 1, 2
EVEN: Rule = (
    "an even number of at least 2",
    lambda x: np.issubdtype(x.dtype, np.integer) & (x >= 2) & (x % 2 == 0),
)


class MaximizationBias(Chain):
    """The environment of :func:`maximization_bias`. Its ``mdp`` shows expected rewards: the noise is added in ``step``.

    Attributes:
        scale: standard deviation of the reward in B, a leaf.
    """

    scale: float | jax.Array

    def step(self, key, state, action):
        reached, outcome = super().step(
            key, state, action
        )  # does not use the key: there is one outcome
        noise = jnp.where(state == B, self.scale * jax.random.normal(key, dtype=jnp.float32), 0)
        return reached, outcome._replace(reward=outcome.reward + noise)


def maximization_bias(
    num_actions: int = 10, *, mean: float = -0.1, scale: float = 1.0
) -> MaximizationBias:
    """The problem of Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 6.7.

    - Observation: the state, int32 ``[]``: 0 is A, 1 is B, 2 the end.
    - Actions: in A, even ones go left, to B, and odd ones right, to the end (the book has one each: with as many of either, a
      uniformly drawn action is as likely to go left as there); in B, all lead to the end.
    - Reward: 0 in A; normal with ``mean`` and ``scale`` in B, whatever the action.
    - Start: A.
    - Termination: at the end.

    The value of going left is ``discount * mean``, less than nothing; the largest of several estimates of B's values, from few
    samples each, is more. Q-learning starts by going left far more often than the best epsilon-greedy policy, which does so
    with probability ``epsilon / 2``; double Q-learning does not.

    Args:
        num_actions: how many actions there are in B, even.
        mean: of the reward in B, finite.
        scale: its standard deviation, not negative.

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
