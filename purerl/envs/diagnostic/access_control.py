"""The access-control queuing task: which customers to serve."""

import math

import numpy as np

from purerl.checks import UNIT_INTERVAL, WHOLE, check_values
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.construct import from_dense

PAYMENTS = 1.0, 2.0, 4.0, 8.0  # by priority


def access_control(num_servers: int = 10, release: float = 0.06) -> FiniteEnvironment:
    """The access-control queuing task of Sutton & Barto, Example 10.2.

    *Reinforcement Learning: An Introduction*, 2nd edition, after Carlström & Nordström,
    "Control of self-similar ATM call traffic by reinforcement learning" (1997).
    Customers of four priorities wait for servers in a queue that never ends. At each
    step the first of them is served or sent away, and then the next one comes first. It
    is a task without episodes, for agents of the average reward.

    - Observation: ``4 * busy + priority``, int32 ``[]``, with ``busy`` servers in ``[0,
      num_servers]`` and the ``priority`` of the first customer in ``[0, 4)``.
    - Actions: 0 sends the customer away; 1, available while a server is free, serves
      the customer. Then each busy server, the newly taken one too, becomes free with
      probability ``release``, and the next customer's priority is drawn uniformly.
    - Reward: what a customer who is served pays, 1, 2, 4 or 8 by priority.
    - Start: all servers free, any customer.
    - Termination: never.

    Args:
        num_servers: at least 1.
        release: a probability.

    Returns:
        An environment whose ``mdp`` has ``S = 4 * (num_servers + 1)``, ``A = 2`` and up
        to ``K = S`` outcomes.

    Raises:
        ValueError: an argument that is not allowed.

    Example:
        >>> import purerl
        >>> best = purerl.mdp.optimal_average_reward(access_control().mdp)
        >>> best.gain.round(3).item()
        2.748
        >>> best.policy.reshape(11, 4)[9].tolist()  # one server left
        [0, 0, 1, 1]
    """
    check_values(
        "access_control",
        {"num_servers": num_servers, "release": release},
        {"num_servers": WHOLE, "release": UNIT_INTERVAL},
    )
    kinds = len(PAYMENTS)
    transition = np.zeros((num_servers + 1, kinds, 2, num_servers + 1, kinds))
    for before in range(num_servers + 1):
        for action in range(2 if before < num_servers else 1):
            busy = before + action
            for stay in range(busy + 1):
                chance = math.comb(busy, stay) * (1 - release) ** stay * release ** (busy - stay)
                transition[before, :, action, stay] = chance / kinds
    size = (num_servers + 1) * kinds
    payment = np.tile(PAYMENTS, num_servers + 1)
    reward = np.stack([np.zeros(size), payment], axis=1)
    initial = np.repeat(np.arange(num_servers + 1) == 0, kinds) / kinds
    model = from_dense(transition.reshape(size, 2, size), reward, initial)
    return FiniteEnvironment.of(model)
