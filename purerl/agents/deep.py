"""Base class of agents that learn action values by a network."""

import flax.linen as nn
import jax

from purerl.agents.base import GreedyAgent
from purerl.agents.network import NetworkAgent, check_module
from purerl.checks import UNIT_INTERVAL, refusal
from purerl.envs.base import Environment, mask_unavailable
from purerl.envs.contract import check_environment
from purerl.networks import MLP
from purerl.policy import EpsilonGreedy, Policy, check_policies
from purerl.pytree import static
from purerl.schedule import Schedule, check_schedules


class DeepAgent(NetworkAgent, GreedyAgent):
    r"""Base class of agents whose action values come from a network.

    Attributes:
        env: the environment. The network sees observations of integers in
            ``[0, env.num_states)`` as indicator vectors.
        learning_rate: of the optimizer, not negative.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0.
        optimizer: the direction of an update.
        epsilon: of the epsilon-greedy behavior, in ``[0, 1]``.
        behavior: the policy that acts while learning; None is epsilon-greedy.
        network: any flax module that maps an observation to numbers for each action.
            Where it has fields ``num_outputs``, ``num_actions``, ``observation_ndim``
            or ``num_states``, these are filled in. Static.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    env: Environment
    epsilon: float | jax.Array | Schedule = 0.1
    behavior: Policy | None = None
    network: nn.Module = static(default=MLP((120, 84)))

    def __post_init__(self):
        check_environment(type(self).__name__, self.env)
        super().__post_init__()
        check_schedules(self, epsilon=UNIT_INTERVAL)
        check_policies(self, "behavior")
        if self.behavior is not None and self.behavior.needs_visits:
            allowed = "a policy that needs no visit counts"
            raise refusal(type(self).__name__, "behavior", self.behavior, allowed)
        check_module(type(self).__name__, "network", self.network)

    def fit_actions(self, network: nn.Module, numbers: int = 1) -> nn.Module:
        """A network with some ``numbers`` for each action."""
        actions = self.env.num_actions
        return self.fit(network, num_actions=actions, num_outputs=actions * numbers)

    @property
    def q_network(self) -> nn.Module:
        """The network as the environment needs it."""
        return self.fit_actions(self.network)

    @property
    def behavior_policy(self) -> Policy:
        """The policy that acts while learning."""
        return EpsilonGreedy(self.epsilon) if self.behavior is None else self.behavior

    @property
    def needs_noise(self) -> bool:
        """True if passes of the network in training draw noise."""
        return getattr(self.q_network, "needs_noise", False)

    def masked(self, values: jax.Array, observation: jax.Array) -> jax.Array:
        """Action values, ``-inf`` for an action that is not available, ``[A]``."""
        return mask_unavailable(self.env, values, observation)
