"""Classic control."""

import inspect
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from purerl.checks import refusal, shown, whole
from purerl.envs.base import ContinuousEnvironment
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


def _discretized(
    continuous: Callable[..., ContinuousEnvironment], num_actions: int
) -> Callable[..., DiscretizedActions]:
    """A function that builds an environment with evenly spaced continuous actions.

    It takes the number of actions, which are spaced over the environment's bounds, and
    the environment's physics.
    """
    fields = inspect.signature(continuous).parameters.values()
    number = inspect.Parameter(
        "num_actions", inspect.Parameter.KEYWORD_ONLY, default=num_actions, annotation=int
    )

    def build(*, num_actions=num_actions, **physics):
        count = whole(num_actions)
        if count is None or count < 2:
            allowed = "a whole number of at least 2"
            raise refusal(continuous.__name__, "num_actions", shown(num_actions), allowed)
        env = continuous(**physics)
        low, high = env.action_bounds
        fractions = jnp.asarray(np.linspace(0, 1, count)[:, None], low.dtype)
        return DiscretizedActions(env, low + (high - low) * fractions)

    physics = [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in fields]
    vars(build)["__signature__"] = inspect.Signature([number, *physics])
    return build


# name: (function that builds it, steps after which an episode is truncated)
ENVIRONMENTS = {
    "CartPole-v0": (CartPole, 200),
    "CartPole-v1": (CartPole, 500),
    "MountainCar-v0": (MountainCar, 200),
    "MountainCarContinuous-v0": (_discretized(MountainCarContinuous, 3), 999),
    "Acrobot-v1": (Acrobot, 500),
    "Pendulum-v1": (_discretized(Pendulum, 5), 200),
}
