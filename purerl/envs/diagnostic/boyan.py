"""Boyan's chain, whose value function is linear in its features."""

import jax.numpy as jnp
import numpy as np

from purerl.envs.diagnostic.chain import Featured
from purerl.mdp.model import FiniteMDP


def boyan_chain() -> Featured:
    """The chain of Boyan (2002).

    "Technical update: least-squares temporal difference learning" (Machine Learning
    49).

    - Observation: the features of the state, float32 ``[4]``: the unit vectors in
      states 12, 8, 4 and 0, and linear interpolations between them.
    - Actions: one. From state ``s >= 2`` it leads to ``s - 1`` or ``s - 2``, equally
      likely; from 1 to 0.
    - Reward: -3, but -2 from state 1.
    - Start: state 12.
    - Termination: in state 0.

    The undiscounted value of state ``s`` is ``-2 s``, given by the weights
    ``(-24, -16, -8, 0)``.

    Returns:
        An environment whose ``mdp`` has ``S = 13``, ``A = 1``, ``K = 2``; states are
        numbered as in the paper.

    Example:
        >>> boyan_chain().features[11].tolist()
        [0.75, 0.25, 0.0, 0.0]
    """
    states = np.arange(13)
    next_state = np.maximum(states[:, None] - [1, 2], 0)[:, None]
    reward = np.select([states > 1, states == 1], [-3.0, -2.0])
    mdp = FiniteMDP(
        probability=np.full((13, 1, 2), 0.5),
        next_state=next_state,
        reward=np.broadcast_to(reward[:, None, None], next_state.shape),
        terminated=next_state == 0,
        initial=np.eye(13)[12],
    )
    features = np.maximum(1 - np.abs(states[:, None] - [12, 8, 4, 0]) / 4, 0)
    return Featured.of(mdp, features=jnp.asarray(features, jnp.float32))
