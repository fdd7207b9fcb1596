r"""Distributions of actions, as an actor's network gives them.

Both kinds have ``sample(key)``, ``log_probability(action)``, ``entropy()`` and
``mode()``, for one state; ``vmap`` for more.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.policy import draw

_LOG_2PI = math.log(2 * math.pi)

# Expectations under the standard normal distribution.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_NODES = np.asarray(_NODES, np.float32)
_WEIGHTS = np.asarray(_WEIGHTS / math.sqrt(2 * math.pi), np.float32)


class Discrete(NamedTuple):
    r"""A choice among finitely many actions, :math:`\pi(a) \propto e^{l_a}`.

    Attributes:
        logits: :math:`l`, float ``[A]``; ``-inf`` for an action that is not available,
            whose probability is then exactly 0.

    >>> import jax.numpy as jnp
    >>> distribution = Discrete(jnp.log(jnp.array([0.5, 0.25, 0.25, 0.0])))
    >>> print(distribution.probabilities, distribution.mode())
    [0.5  0.25 0.25 0.  ] 0
    >>> print(distribution.entropy() / jnp.log(2))
    1.5
    """

    logits: jax.Array

    @property
    def probabilities(self) -> jax.Array:
        """Of each action, ``[A]``."""
        return jax.nn.softmax(self.logits)

    def sample(self, key: jax.Array) -> jax.Array:
        """An action, int32 ``[]``. The key is consumed."""
        return draw(key, self.probabilities)

    def log_probability(self, action: jax.Array) -> jax.Array:
        """Of an action, ``[]``."""
        return jax.nn.log_softmax(self.logits)[action]

    def entropy(self) -> jax.Array:
        r""":math:`-\sum_a \pi(a) \ln \pi(a)`, ``[]``."""
        log_pi = jax.nn.log_softmax(self.logits)
        # 0 times infinity, whose derivative is not finite either.
        finite = jnp.where(self.logits == -jnp.inf, 0, log_pi)
        return -jnp.sum(self.probabilities * finite)

    def mode(self) -> jax.Array:
        """The most probable action, int32 ``[]``."""
        return jnp.argmax(self.logits).astype(jnp.int32)


class Normal(NamedTuple):
    r"""Independent normal numbers, :math:`a_i \sim \mathcal N(\mu_i, \sigma_i^2)`.

    Attributes:
        mean: :math:`\mu`, float, of the shape of an action.
        log_std: :math:`\ln \sigma`, of the same shape.
    """

    mean: jax.Array
    log_std: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """An action, float32. The key is consumed."""
        noise = jax.random.normal(key, self.mean.shape, jnp.float32)
        return self.mean + jnp.exp(self.log_std) * noise

    def log_probability(self, action: jax.Array) -> jax.Array:
        """The logarithm of the density at an action, ``[]``."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * z**2 - self.log_std - 0.5 * _LOG_2PI)

    def entropy(self) -> jax.Array:
        r""":math:`\sum_i \frac12 \ln(2 \pi e \sigma_i^2)`, ``[]``."""
        return jnp.sum(self.log_std + 0.5 * (1 + _LOG_2PI))

    def entropy_of_tanh(self) -> jax.Array:
        r"""The entropy of :math:`\tanh(a)`, ``[]``.

        It is :math:`\sum_i \frac12 \ln(2 \pi e \sigma_i^2) + \mathbb E[\ln(1 - \tanh^2
        a_i)]`, with the expectation by Gauss-Hermite quadrature.
        """
        a = self.mean[..., None] + jnp.exp(self.log_std)[..., None] * _NODES
        # 1 - tanh^2 = 4 / (e^a + e^-a)^2, without a difference that cancels.
        log_slope = 2 * (math.log(2) - jnp.logaddexp(a, -a))
        return self.entropy() + jnp.sum(log_slope @ _WEIGHTS)

    def mode(self) -> jax.Array:
        """The mean."""
        return self.mean
