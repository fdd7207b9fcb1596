"""Probes: problems so small that an agent's failure says what is wrong with it.

In the manner of Jones, "Debugging RL, without the agonizing pain" (2021, andyljones.com/posts/rl-debugging.html); each needs
one thing more of an agent than some of those before it. All are :class:`~purerl.envs.diagnostic.chain.Featured` environments
with one feature, observed as float32 ``[1]``, and last one step but for :func:`probe_delay`'s two. The observation after the
end is the last one before it, so that an agent that bootstraps through termination is found out at once: its values are those
of an endless reward, ``1 / (1 - discount)``.
"""

import jax.numpy as jnp
import numpy as np

from purerl.envs.diagnostic.chain import Featured
from purerl.mdp.model import FiniteMDP


def _probe(observations, reward, next_state=None, initial=None) -> Featured:
    """A deterministic problem: observations [S] and rewards [S, A]; where nothing comes next the episode ends."""
    reward = np.asarray(reward, float)
    num_states = len(observations)
    stays = np.broadcast_to(np.arange(num_states)[:, None], reward.shape)
    next_state = stays if next_state is None else next_state
    return Featured.of(
        FiniteMDP(
            probability=np.ones((*reward.shape, 1)),
            next_state=next_state[..., None],
            reward=reward[..., None],
            terminated=(next_state == stays)[..., None],
            initial=np.full(num_states, 1 / num_states) if initial is None else initial,
        ),
        features=jnp.asarray(observations, jnp.float32)[:, None],
    )


def probe_constant() -> Featured:
    """One action, observation 0, reward 1. The value must be 1.

    An agent that fails has a wrong loss or optimizer, or bootstraps through termination.
    """
    return _probe([0], [[1]])


def probe_observation() -> Featured:
    """One action, observation -1 or 1 (each as likely), the reward equal to it. Values must be -1 and 1.

    An agent that fails here and not in :func:`probe_constant` does not see what it observes, or pairs it with other steps'
    rewards.
    """
    return _probe([-1, 1], [[-1], [1]])


def probe_delay() -> Featured:
    """One action, observation 0, then 1; reward 0, then 1. Values must be ``discount`` and 1.

    An agent that fails here and not in :func:`probe_observation` discounts or bootstraps wrongly.
    """
    return _probe([0, 1], [[0], [1]], next_state=np.array([[1], [1]]), initial=[1.0, 0.0])


def probe_action() -> Featured:
    """Two actions, observation 0, reward -1 for action 0 and 1 for action 1. Action values must be -1 and 1, the value 1.

    An agent that fails here and not in :func:`probe_constant` pairs actions with other actions' rewards, does not explore, or
    has a wrong policy loss.
    """
    return _probe([0], [[-1, 1]])


def probe_context() -> Featured:
    """Two actions, observation -1 or 1 (each as likely); the reward is 1 where action 1 meets observation 1 or action 0 meets
    -1, and else -1. The value must be 1 for both observations, with action 0 best at -1 and action 1 at 1.

    An agent that fails here and not in :func:`probe_observation` and :func:`probe_action` has a policy that does not depend on
    what it observes, or mixes up the rows of a batch.
    """
    return _probe([-1, 1], [[1, -1], [-1, 1]])
