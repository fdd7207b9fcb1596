"""Base class of agents that learn with networks."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import ABOVE_ZERO, NOT_NEGATIVE, UNIT_INTERVAL, refusal, shown
from purerl.envs.contract import check_dynamics, observes_index
from purerl.networks import fitted
from purerl.networks.fitting import check_network
from purerl.optimizers import Adam, Optimizer, check_optimizer
from purerl.pytree import Node
from purerl.schedule import Schedule, at, check_schedules
from purerl.updates import descend


class NetworkSnapshot(NamedTuple):
    """Snapshot of an agent with networks: all that acting needs.

    Attributes:
        params: of the networks.
        env_state: state of the first environment.
    """

    params: Any
    env_state: Any


def fit(env: Any, network: nn.Module, **outputs: Any) -> nn.Module:
    """A network with the fields filled in that follow from an environment.

    Args:
        env: the environment.
        network: any flax module.
        outputs: more fields, such as ``num_outputs``, see
            :func:`~purerl.networks.fitted`.
    """
    is_integer = jnp.issubdtype(env.observation.dtype, jnp.integer)
    num_states = getattr(env, "num_states", None) if is_integer else None
    return fitted(network, env.observation, num_states, **outputs)


def blank(env: Any) -> jax.Array:
    """An observation of zeros, from which a network takes its shapes."""
    return jnp.zeros(env.observation.shape, env.observation.dtype)


def check_module(owner: str, field: str, value: Any) -> None:
    """Check that a field is a flax module.

    Raises:
        ValueError: names the class, the field and its value.
    """
    if not isinstance(value, nn.Module):
        raise refusal(owner, field, shown(value), "a flax module, such as MLP((120, 84))")


class NetworkAgent(Node):
    r"""Base class of agents that learn with networks.

    Attributes:
        env: the environment. Networks see observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of the optimizer, not negative.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0; infinite by default.
        optimizer: the direction of an update.

    Raises:
        ValueError: a field out of range, or ``env`` observes integers without saying
            how many there are.
    """

    env: Any
    learning_rate: float | jax.Array | Schedule = 1e-3
    discount: float | jax.Array | Schedule = 0.99
    max_grad_norm: float | jax.Array | Schedule = math.inf
    optimizer: Optimizer = Adam()

    lanes = 4

    def __post_init__(self):
        owner = type(self).__name__
        check_dynamics(owner, self.env)
        check_schedules(
            self,
            learning_rate=NOT_NEGATIVE,
            discount=UNIT_INTERVAL,
            max_grad_norm=ABOVE_ZERO,
        )
        check_optimizer(self, "optimizer")
        seen = self.env.observation
        is_index = seen.shape == () and jnp.issubdtype(seen.dtype, jnp.integer)
        if is_index and not observes_index(self.env):
            what = f"{shown(self.env)}, which observes one integer"
            allowed = "only with env.num_states, or inside OneHot(env, size)"
            raise refusal(owner, "env", what, allowed)

    def check_network(self, field: str, network: nn.Module, size: Any, *inputs: Any) -> None:
        """Check that a fitted network gives so many numbers.

        Args:
            field: of the agent, for the error message.
            network: as :meth:`fit` returns it.
            size: of the output, an integer, or one for each of several.
            inputs: shapes of what the network takes beside the observation, tuples.
        """
        seen = self.env.observation
        owner = type(self).__name__
        check_network(owner, field, network, seen.shape, seen.dtype, size, *inputs)

    def fit(self, network: nn.Module, **outputs: Any) -> nn.Module:
        """A network as the environment needs it, see :func:`fit`."""
        return fit(self.env, network, **outputs)

    def descend(self, params: Any, opt_state: Any, gradient: Any, clock: jax.Array) -> Any:
        """Parameters and optimizer state after a step against a gradient.

        Args:
            params, gradient: pytrees of floats.
            opt_state: of the optimizer.
            clock: the time of schedules, int32 ``[]``.
        """
        rate, norm = at(self.learning_rate, clock), at(self.max_grad_norm, clock)
        return descend(self.optimizer, params, opt_state, gradient, rate, norm)

    def snapshot(self, state: Any) -> NetworkSnapshot:
        return NetworkSnapshot(state.params, jax.tree.map(lambda x: x[0], state.env_state))

    def env_state(self, snapshot: NetworkSnapshot) -> Any:
        """The first environment's state, from which evaluations start."""
        return snapshot.env_state
