"""Classic control."""

import inspect

import jax.numpy as jnp
import numpy as np

from purerl.envs.classic.acrobot import Acrobot, AcrobotState
from purerl.envs.classic.cartpole import CartPole, CartPoleState
from purerl.envs.classic.mountain_car import MountainCar, MountainCarContinuous, MountainCarState
from purerl.envs.classic.pendulum import Pendulum, PendulumState
from purerl.envs.wrappers import DiscretizedActions

__all__ = [
    "Acrobot",
    "AcrobotState",
    "CartPole",
    "CartPoleState",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarState",
    "Pendulum",
    "PendulumState",
]


def _discretized(continuous, num_actions):
    """What builds an environment with continuous actions from its physics, and evenly spaces actions over their bounds."""
    fields = inspect.signature(continuous).parameters.values()
    number = inspect.Parameter(
        "num_actions", inspect.Parameter.KEYWORD_ONLY, default=num_actions, annotation=int
    )

    def build(*, num_actions=num_actions, **physics):
        if type(num_actions) is not int or num_actions < 2:
            raise ValueError(
                f"num_actions is {num_actions!r}; allowed: a whole number of at least 2"
            )
        env = continuous(**physics)
        low, high = env.action_bounds
        return DiscretizedActions(
            env,
            low + (high - low) * jnp.asarray(np.linspace(0, 1, num_actions)[:, None], low.dtype),
        )

    physics = [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in fields]
    build.__signature__ = inspect.Signature([number, *physics])
    return build


# name: (what builds it, after how many steps an episode is truncated)
ENVIRONMENTS = {
    "CartPole-v0": (CartPole, 200),
    "CartPole-v1": (CartPole, 500),
    "MountainCar-v0": (MountainCar, 200),
    "MountainCarContinuous-v0": (_discretized(MountainCarContinuous, 3), 999),
    "Acrobot-v1": (Acrobot, 500),
    "Pendulum-v1": (_discretized(Pendulum, 5), 200),
}
