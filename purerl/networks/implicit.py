"""Networks that give the quantile function of the return."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import check_size, check_sizes, refusal
from purerl.networks.mlp import MLP, dense


class ImplicitQuantiles(nn.Module):
    r"""Quantiles of the return of each action, at any fractions.

    With :math:`\psi` the torso's features of an observation and :math:`\phi_j(\tau) =
    \sigma(\sum_{i=1}^{n} \cos(\pi i \tau) w_{ij} + b_j)`, the quantiles at
    :math:`\tau` are :math:`f(\psi(s) \odot \phi(\tau))`, where :math:`f` is a
    perceptron. Dabney et al., "Implicit quantile networks for distributional
    reinforcement learning" (ICML 2018), with :math:`i` from 1, since :math:`i = 0` is
    constant.

    Attributes:
        torso: any module that maps an observation to features, such as
            ``MLP((64,))`` without ``num_outputs``.
        embedding: :math:`n`.
        features: sizes of hidden layers of :math:`f`.
        num_outputs: the number of actions.

    Raises:
        ValueError: at construction, a size that is not a positive integer or a torso
            that is no flax module; when called, several observations, or fractions that
            are not ``[K]``.

    >>> import jax, jax.numpy as jnp
    >>> network = ImplicitQuantiles(MLP((8,)), embedding=16, num_outputs=2)
    >>> fractions = jnp.array([0.1, 0.5, 0.9])
    >>> params = network.init(jax.random.key(0), jnp.zeros(4), fractions)
    >>> jax.eval_shape(network.apply, params, jnp.zeros(4), fractions).shape
    (2, 3)
    """

    torso: nn.Module
    embedding: int = 64
    features: tuple[int, ...] = ()
    num_outputs: int = 1

    def __post_init__(self):
        check_size(self, "embedding", "num_outputs")
        check_sizes(self, "features")
        if not isinstance(self.torso, nn.Module):
            allowed = "a flax module, such as MLP((64,))"
            raise refusal("ImplicitQuantiles", "torso", self.torso, allowed)
        super().__post_init__()

    @property
    def needs_noise(self) -> bool:
        """True if a pass with ``rngs={"noise": key}`` differs from one without."""
        return getattr(self.torso, "needs_noise", False)

    @nn.compact
    def __call__(self, observation: jax.Array, fractions: jax.Array) -> jax.Array:
        """Map an observation and ``[K]`` fractions to float32 ``[num_outputs, K]``."""
        if jnp.ndim(fractions) != 1:
            shape = list(jnp.shape(fractions))
            raise refusal("ImplicitQuantiles", "fractions", shape, "[K]", "has shape")
        psi = self.torso(observation)
        if psi.ndim != 1:
            allowed = "[F], of one observation"
            raise refusal("ImplicitQuantiles", "torso", list(psi.shape), allowed, "gives")
        frequencies = jnp.arange(1, self.embedding + 1, dtype=jnp.float32)
        cosines = jnp.cos(jnp.pi * frequencies * fractions[:, None])
        phi = nn.relu(dense(psi.shape[-1])(cosines))
        return MLP(self.features, self.num_outputs, noisy=self.needs_noise)(psi * phi).T
