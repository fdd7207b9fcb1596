"""Base class of agents whose policy is a network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.agents.network import NetworkAgent, NetworkSnapshot, blank, check_module
from purerl.checks import POSITIVE, check_choice, check_numbers, refusal, shown
from purerl.distributions import Discrete, Normal
from purerl.envs.base import mask_unavailable
from purerl.envs.contract import check_continuous, check_environment
from purerl.envs.wrappers import ScaledActions
from purerl.networks import ActorCritic
from purerl.pytree import static


class PolicyNetworkAgent(NetworkAgent):
    r"""Base class of agents with a network for a stochastic policy and state values.

    Among finitely many actions the policy is the softmax of the network's numbers; an
    action that is not available has probability 0. Continuous actions are normal, with
    the network's numbers for means and a parameter for each standard deviation, both in
    units of half the range of an action.

    Attributes:
        env: the environment, with finitely many actions or with bounded continuous
            ones. The network sees observations of integers in ``[0, env.num_states)``
            as indicator vectors.
        learning_rate: of the optimizer, not negative.
        discount: :math:`\gamma` in ``[0, 1]``.
        max_grad_norm: gradients with a larger global norm are scaled down to it, above
            0.
        optimizer: the direction of an update.
        initial_std: initial standard deviation of continuous actions, above 0.
        network: :class:`~purerl.networks.ActorCritic`, or any flax module that maps an
            observation to numbers of the policy and a value ``[]``, and does so for
            each of the two alone by its methods ``policy`` and ``value``. Where it has
            fields ``num_outputs``, ``observation_ndim`` or ``num_states``, these are
            filled in. Static.
        squash: whether continuous actions come through ``tanh``. Static.

    Raises:
        ValueError: a field out of range, or parts that do not go together.
    """

    initial_std: float | jax.Array = 1.0
    network: nn.Module = static(default=ActorCritic())
    squash: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        owner = type(self).__name__
        check = check_continuous if self.is_continuous else check_environment
        check(owner, self.env)
        check_numbers(self, initial_std=POSITIVE)
        check_choice(self, squash=(False, True))
        check_module(owner, "network", self.network)
        for method in ("policy", "value"):
            if not hasattr(self.network, method):
                what = f"{type(self.network).__name__}, which has no method {method}"
                allowed = "a module of a policy and a value, such as ActorCritic((64, 64))"
                raise refusal(owner, "network", what, allowed)
        self.check_network("network", self.policy_network, (self._num_outputs, 1))

    @property
    def is_continuous(self) -> bool:
        """True if actions are arrays of floats."""
        return not hasattr(self.env, "num_actions") and hasattr(self.env, "action")

    @property
    def acting_env(self) -> Any:
        """The environment that takes actions as the policy draws them."""
        return ScaledActions(self.env, self.squash) if self.is_continuous else self.env

    @property
    def _num_outputs(self) -> int:
        """Numbers of the policy."""
        return self.env.action.size if self.is_continuous else self.env.num_actions

    @property
    def policy_network(self) -> nn.Module:
        """The network as the environment needs it."""
        return self.fit(self.network, num_outputs=self._num_outputs)

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Initial parameters. The key is consumed."""
        params: dict[str, Any] = {"network": self.policy_network.init(key, blank(self.env))}
        if self.is_continuous:
            log_std = jnp.log(jnp.asarray(self.initial_std, jnp.float32))
            params["log_std"] = jnp.broadcast_to(log_std, self.env.action.shape)
        return params

    def outputs(self, params: Any, observation: jax.Array) -> tuple[Discrete | Normal, jax.Array]:
        """The policy where something is observed, and the value ``[]``."""
        both: Any = self.policy_network.apply(params["network"], observation)
        numbers, value = both
        return self._distribution(params, numbers, observation), value

    def distribution(self, params: Any, observation: jax.Array) -> Discrete | Normal:
        """The policy where something is observed."""
        numbers = self.policy_network.apply(params["network"], observation, method="policy")
        return self._distribution(params, numbers, observation)

    def entropy(self, distribution: Discrete | Normal) -> jax.Array:
        """The entropy of an action, in units of half its range, ``[]``."""
        if isinstance(distribution, Normal) and self.squash:
            return distribution.entropy_of_tanh()
        return distribution.entropy()

    def _distribution(self, params, numbers, observation):
        if self.is_continuous:
            return Normal(numbers.reshape(self.env.action.shape), params["log_std"])
        return Discrete(mask_unavailable(self.env, numbers, observation))

    def act(self, snapshot: NetworkSnapshot, key: jax.Array, observation: jax.Array) -> jax.Array:
        """An action drawn from the policy. The key is consumed."""
        return self._for_env(self.distribution(snapshot.params, observation).sample(key))

    def greedy(self, snapshot: NetworkSnapshot, observation: jax.Array) -> jax.Array:
        """The most probable action; the mean of continuous ones."""
        return self._for_env(self.distribution(snapshot.params, observation).mode())

    def _for_env(self, action):
        return self.acting_env.scale(action) if self.is_continuous else action

    def probabilities(self, snapshot: NetworkSnapshot, observation: jax.Array) -> jax.Array:
        r""":math:`\pi(\cdot \mid s)`, from which ``act`` draws, float32 ``[A]``."""
        distribution = self.distribution(snapshot.params, observation)
        if isinstance(distribution, Normal):
            allowed = "an environment with finitely many actions"
            raise refusal(type(self).__name__, "env", shown(self.env), allowed)
        return distribution.probabilities

    def value(self, snapshot: NetworkSnapshot, observation: jax.Array) -> jax.Array:
        """The critic's value, float32 ``[]``."""
        return self.critic(snapshot.params, observation)

    def critic(self, params: Any, observation: jax.Array) -> jax.Array:
        """The value alone, float32 ``[]``."""
        value: Any = self.policy_network.apply(params["network"], observation, method="value")
        return value
