"""Probes: minimal problems on which a failure locates the fault in an agent.

In the manner of Jones, "Debugging RL, without the agonizing pain" (2021,
andyljones.com/posts/rl-debugging.html); each requires one more capability of an agent
than some of those before it. All are :class:`~purerl.envs.diagnostic.chain.Featured`
environments with one feature, observed as float32 ``[1]``, and last one step, except
:func:`probe_delay` with two. The observation after the end is the last one before it,
so an agent that bootstraps through termination is detected at once: its values are
those of an endless reward, ``1 / (1 - discount)``.
"""

import jax.numpy as jnp
import numpy as np

from purerl.envs.diagnostic.chain import Featured
from purerl.mdp.model import FiniteMDP


def _probe(
    observations: list[float],
    reward: list[list[float]],
    next_state: list[list[int]] | None = None,
    initial: list[float] | None = None,
) -> Featured:
    """A deterministic problem.

    Args:
        observations: ``[S]``.
        reward: ``[S, A]``.
        next_state: ``[S, A]``; the episode ends where it is the state itself, by
            default everywhere.
        initial: distribution of the start state, ``[S]``; uniform by default.
    """
    rewards = np.asarray(reward, float)
    num_states = len(observations)
    stays = np.broadcast_to(np.arange(num_states)[:, None], rewards.shape)
    reached = stays if next_state is None else np.asarray(next_state)
    start = np.full(num_states, 1 / num_states) if initial is None else np.asarray(initial)
    mdp = FiniteMDP(
        probability=np.ones((*rewards.shape, 1)),
        next_state=reached[..., None],
        reward=rewards[..., None],
        terminated=(reached == stays)[..., None],
        initial=start,
    )
    return Featured.of(mdp, features=jnp.asarray(observations, jnp.float32)[:, None])


def probe_constant() -> Featured:
    """One action, observation 0, reward 1. The value must be 1.

    An agent that fails has a wrong loss or optimizer, or bootstraps through
    termination.
    """
    return _probe([0], [[1]])


def probe_observation() -> Featured:
    """One action, observation -1 or 1 (equally likely), the reward equal to it.

    Values must be -1 and 1. An agent that fails here and not in :func:`probe_constant`
    ignores its observations, or pairs them with other steps' rewards.
    """
    return _probe([-1, 1], [[-1], [1]])


def probe_delay() -> Featured:
    """One action, observation 0, then 1; reward 0, then 1.

    Values must be ``discount`` and 1. An agent that fails here and not in
    :func:`probe_observation` discounts or bootstraps wrongly.
    """
    return _probe([0, 1], [[0], [1]], next_state=[[1], [1]], initial=[1.0, 0.0])


def probe_action() -> Featured:
    """Two actions, observation 0, reward -1 for action 0 and 1 for action 1.

    Action values must be -1 and 1, the value 1. An agent that fails here and not in
    :func:`probe_constant` pairs actions with other actions' rewards, does not explore,
    or has a wrong policy loss.
    """
    return _probe([0], [[-1, 1]])


def probe_context() -> Featured:
    """Two actions, observation -1 or 1 (equally likely), each favoring one action.

    The reward is 1 for action 1 at observation 1 and for action 0 at -1, otherwise -1.
    The value must be 1 for both observations, with action 0 best at -1 and action 1 at
    1. An agent that fails here and not in :func:`probe_observation` and
    :func:`probe_action` has a policy that does not depend on its observation, or mixes
    up the rows of a batch.
    """
    return _probe([-1, 1], [[1, -1], [-1, 1]])
