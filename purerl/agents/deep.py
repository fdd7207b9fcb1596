"""Base class of agents that learn action values by a network."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.agents.base import GreedyAgent
from purerl.checks import ABOVE_ZERO, NOT_NEGATIVE, UNIT_INTERVAL, refusal, shown
from purerl.envs.base import mask_unavailable
from purerl.networks import MLP, fitted
from purerl.networks.fitting import check_network
from purerl.optimizers import Adam, Optimizer, check_optimizer
from purerl.policy import EpsilonGreedy, Policy, check_policies
from purerl.pytree import static
from purerl.schedule import Schedule, check_schedules


class DeepSnapshot(NamedTuple):
    """Snapshot of an agent with a network: all that acting needs.

    Attributes:
        params: of the network.
        env_state: state of the first environment.
    """

    params: Any
    env_state: Any


class DeepAgent(GreedyAgent):
    r"""Base class of agents whose action values come from a network.

    Attributes:
        env: the environment. The network sees observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of the optimizer, not negative.
        discount: :math:`\gamma` in ``[0, 1]``.
        epsilon: of the epsilon-greedy behavior, in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0.
        behavior: the policy that acts while learning; None is epsilon-greedy.
        optimizer: the direction of an update.
        network: any flax module that maps an observation to numbers for each action.
            Where it has fields ``num_outputs``, ``num_actions``, ``observation_ndim``
            or ``num_states``, these are filled in. Static.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    learning_rate: float | jax.Array | Schedule = 1e-3
    discount: float | jax.Array | Schedule = 0.99
    epsilon: float | jax.Array | Schedule = 0.1
    max_grad_norm: float | jax.Array | Schedule = 10.0
    behavior: Policy | None = None
    optimizer: Optimizer = Adam()
    network: nn.Module = static(default=MLP((120, 84)))

    lanes = 4

    def __post_init__(self):
        super().__post_init__()
        check_schedules(
            self,
            learning_rate=NOT_NEGATIVE,
            discount=UNIT_INTERVAL,
            epsilon=UNIT_INTERVAL,
            max_grad_norm=ABOVE_ZERO,
        )
        check_policies(self, "behavior")
        check_optimizer(self, "optimizer")
        owner = type(self).__name__
        if self.behavior is not None and self.behavior.needs_visits:
            allowed = "a policy that needs no visit counts"
            raise refusal(owner, "behavior", self.behavior, allowed)
        seen = self.env.observation
        is_index = seen.shape == () and jnp.issubdtype(seen.dtype, jnp.integer)
        if is_index and self._num_states is None:
            what = f"{shown(self.env)}, which observes one integer"
            allowed = "only with env.num_states, or inside OneHot(env, size)"
            raise refusal(owner, "env", what, allowed)
        if not isinstance(self.network, nn.Module):
            allowed = "a flax module, such as MLP((120, 84))"
            raise refusal(owner, "network", shown(self.network), allowed)

    def check_network(self, size: int, *inputs: Any) -> None:
        """Check that the network gives ``size`` numbers.

        Args:
            size: of the output.
            inputs: shapes of what the network takes beside the observation, tuples.
        """
        seen = self.env.observation
        check_network(type(self).__name__, self.q_network, seen.shape, seen.dtype, size, *inputs)

    def fit(self, network: nn.Module, outputs: int) -> nn.Module:
        """A network with ``outputs`` numbers for each action."""
        actions = self.env.num_actions
        return fitted(
            network,
            self.env.observation,
            self._num_states,
            num_actions=actions,
            num_outputs=actions * outputs,
        )

    @property
    def q_network(self) -> nn.Module:
        """The network as the environment needs it."""
        return self.fit(self.network, 1)

    @property
    def behavior_policy(self) -> Policy:
        """The policy that acts while learning."""
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    @property
    def needs_noise(self) -> bool:
        """True if passes of the network in training draw noise."""
        return getattr(self.q_network, "needs_noise", False)

    @property
    def blank(self) -> jax.Array:
        """An observation of zeros, from which a network takes its shapes."""
        return jnp.zeros(self.env.observation.shape, self.env.observation.dtype)

    @property
    def _num_states(self) -> int | None:
        """The number of values of an observation that consists of indices of states."""
        is_integer = jnp.issubdtype(self.env.observation.dtype, jnp.integer)
        return getattr(self.env, "num_states", None) if is_integer else None

    def masked(self, values: jax.Array, observation: jax.Array) -> jax.Array:
        """Action values, ``-inf`` for an action that is not available, ``[A]``."""
        return mask_unavailable(self.env, values, observation)

    def snapshot(self, state: Any) -> DeepSnapshot:
        return DeepSnapshot(state.params, jax.tree.map(lambda x: x[0], state.env_state))

    def env_state(self, snapshot: DeepSnapshot) -> Any:
        """The first environment's state, from which evaluations start."""
        return snapshot.env_state
