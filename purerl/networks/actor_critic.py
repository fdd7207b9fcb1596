"""Networks of a policy and a value."""

from collections.abc import Callable

import flax.linen as nn
import jax

from purerl.checks import check_size, check_sizes, refusal
from purerl.networks.mlp import MLP


class ActorCritic(nn.Module):
    r"""A policy and a state value, from the observation or from features in common.

    Each is an :class:`~purerl.networks.MLP` with orthogonal initial weights. Those of
    the last layer are small in the actor, so that the first policy is nearly uniform.

    Attributes:
        features: sizes of the hidden layers of each, a tuple, possibly empty.
        torso: any module whose features both see, such as ``ConvNet((16,), (128,))``;
            None if they see the observation and have no layers in common.
        activation: after each hidden layer.
        output_scale: of the actor's last layer, above 0; the critic's has 1.
        num_outputs: numbers of the policy. An agent fills in this and what follows.
        observation_ndim, num_states: those of the MLP.

    >>> import jax, jax.numpy as jnp
    >>> network = ActorCritic((64, 64), num_outputs=3)
    >>> params = network.init(jax.random.key(0), jnp.zeros(4))
    >>> policy, value = jax.eval_shape(network.apply, params, jnp.zeros(4))
    >>> policy.shape, value.shape
    ((3,), ())
    """

    features: tuple[int, ...] = (64, 64)
    torso: nn.Module | None = None
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    output_scale: float = 0.01
    num_outputs: int = 1
    observation_ndim: int = 1
    num_states: int | None = None

    def __post_init__(self):
        check_sizes(self, "features")
        check_size(self, "num_outputs")
        if self.torso is not None and not isinstance(self.torso, nn.Module):
            allowed = "a flax module, such as ConvNet((16,), (128,)), or None"
            raise refusal("ActorCritic", "torso", self.torso, allowed)
        super().__post_init__()

    def setup(self):
        self.actor = self._stream(self.num_outputs, self.output_scale)
        self.critic = self._stream(1, 1.0)

    def _stream(self, num_outputs, output_scale):
        sees_torso = self.torso is not None
        return MLP(
            self.features,
            num_outputs,
            activation=self.activation,
            observation_ndim=1 if sees_torso else self.observation_ndim,
            num_states=None if sees_torso else self.num_states,
            output_scale=output_scale,
        )

    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map ``[..., *observation_shape]`` to the policy's numbers, float32
        ``[..., num_outputs]``, and the value ``[...]``."""
        x = self._seen(observation)
        return self.actor(x), self.critic(x)[..., 0]

    def policy(self, observation: jax.Array) -> jax.Array:
        """The policy's numbers alone, ``[..., num_outputs]``."""
        return self.actor(self._seen(observation))

    def value(self, observation: jax.Array) -> jax.Array:
        """The value alone, ``[...]``."""
        return self.critic(self._seen(observation))[..., 0]

    def _seen(self, observation):
        return observation if self.torso is None else self.torso(observation)
