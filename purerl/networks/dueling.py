"""Dueling networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import check_choice, check_size, check_sizes, refusal
from purerl.networks.mlp import MLP


class Dueling(nn.Module):
    r"""A Q-network with a stream for the state and one for the actions.

    .. math:: Q(s, a) = V(s) + A(s, a) - \frac1{|\mathcal A|} \sum_b A(s, b)

    from the features of a common torso, for each of the ``K`` numbers that a head asks
    for. Wang et al., "Dueling network architectures for deep reinforcement learning"
    (ICML 2016), equation 9.

    Attributes:
        torso: any module that maps an observation to features, such as ``MLP((64,))``
            without ``num_outputs``.
        features: sizes of the hidden layers of each stream.
        num_outputs: ``A * K``.
        num_actions: ``A``. An agent fills in both.
        noisy: whether the streams are noisy layers.

    >>> import jax, jax.numpy as jnp
    >>> network = Dueling(MLP((8,)), (8,), num_outputs=3, num_actions=3)
    >>> params = network.init(jax.random.key(0), jnp.zeros(4))
    >>> jax.eval_shape(network.apply, params, jnp.zeros(4)).shape
    (3,)
    """

    torso: nn.Module
    features: tuple[int, ...] = ()
    num_outputs: int = 1
    num_actions: int = 1
    noisy: bool = False

    def __post_init__(self):
        check_sizes(self, "features")
        check_choice(self, noisy=(False, True))
        check_size(self, "num_actions")
        check_size(self, "num_outputs", multiple_of=self.num_actions)
        if not isinstance(self.torso, nn.Module):
            raise refusal("Dueling", "torso", self.torso, "a flax module, such as MLP((64,))")
        super().__post_init__()

    @property
    def needs_noise(self) -> bool:
        """True if a pass with ``rngs={"noise": key}`` differs from one without."""
        return self.noisy or getattr(self.torso, "needs_noise", False)

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Map ``[..., *observation_shape]`` to float32 ``[..., num_outputs]``."""
        x = self.torso(observation)
        numbers = self.num_outputs // self.num_actions
        value = MLP(self.features, numbers, noisy=self.noisy, name="value")(x)
        advantage = MLP(self.features, self.num_outputs, noisy=self.noisy, name="advantage")(x)
        advantage = advantage.reshape(*x.shape[:-1], self.num_actions, numbers)
        mean = jnp.mean(advantage, axis=-2, keepdims=True)
        q = value[..., None, :] + (advantage - mean)
        return q.reshape(*x.shape[:-1], self.num_outputs)
