"""Multi-layer perceptrons."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import (
    POSITIVE,
    check_choice,
    check_numbers,
    check_size,
    check_sizes,
    refusal,
    shown,
    whole,
)
from purerl.networks.initializers import orthogonal
from purerl.networks.noisy import NoisyDense
from purerl.networks.norm import LayerNorm


class MLP(nn.Module):
    r"""A multi-layer perceptron, for example a Q-network.

    It maps an observation to a vector, such as :math:`Q(s, \cdot)`. With :math:`x_0`
    the observation, flattened and cast to float32, and :math:`\sigma` the activation,

    .. math:: x_{i+1} = \sigma(x_i W_i + b_i), \qquad y = x_L W_L + b_L.

    With ``num_states`` the observation consists of indices of states, and :math:`x_0`
    of their indicator vectors instead. Without hidden layers the network is linear; on
    one index it is then a table, :math:`y = W_0[s] + b_0`.

    The trailing ``observation_ndim`` axes are one observation, and all axes before them
    are batch axes: a batch of any shape is one matrix product per layer, whether it
    comes as leading axes or through ``jax.vmap``.

    Initial weights are uniform with mean 0 and variance :math:`1 / \text{fan\_in}`
    (LeCun, Bottou, Orr & Müller, "Efficient BackProp", 1998), initial biases zero. For
    rectifiers this is half the variance that would keep the scale of the signal, so it
    shrinks a little with every layer, and the first Q values are small. With
    ``output_scale`` they are :func:`orthogonal <purerl.networks.orthogonal>` instead,
    as is usual for policies: times :math:`\sqrt 2` in hidden layers, and times
    ``output_scale`` in the last one.

    The module is hashable and compares by its fields, so it may be a static field of an
    agent, which fills in ``num_outputs``, ``observation_ndim`` and ``num_states``.

    Attributes:
        features: sizes of the hidden layers, a tuple, possibly empty.
        num_outputs: size of the output, the number of actions for a Q-network; None for
            the last hidden layer, :math:`y = x_L`.
        activation: applied elementwise after each hidden layer.
        observation_ndim: the number of axes of one observation (0 for a scalar).
        num_states: None, or the number of values of an integer observation, each of
            which enters as a vector with a one at its place.
        layer_norm: whether :class:`~purerl.networks.LayerNorm` stands before each
            activation.
        noisy: whether the layers are :class:`~purerl.networks.NoisyDense`.
        output_scale: of initial weights that are orthogonal, above 0; None for uniform
            ones. Not for noisy layers.

    Raises:
        ValueError: at construction, a size that is not a positive integer or a negative
            ``observation_ndim``; when called, an observation with fewer axes than
            ``observation_ndim``, or of floats where there are ``num_states``.

    >>> import jax, jax.numpy as jnp
    >>> network = MLP(features=(120, 84), num_outputs=2)
    >>> params = network.init(jax.random.key(0), jnp.zeros(4))
    >>> jax.eval_shape(network.apply, params, jnp.zeros(4)).shape
    (2,)
    >>> jax.eval_shape(network.apply, params, jnp.zeros((32, 4))).shape
    (32, 2)
    """

    features: tuple[int, ...]
    num_outputs: int | None = None
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    observation_ndim: int = 1
    num_states: int | None = None
    layer_norm: bool = False
    noisy: bool = False
    output_scale: float | None = None

    def __post_init__(self):
        check_sizes(self, "features")
        check_output_scale(self)
        for optional in ("num_outputs", "num_states"):
            if getattr(self, optional) is not None:
                check_size(self, optional)
        if whole(self.observation_ndim) is None or self.observation_ndim < 0:
            allowed = "a whole number of at least 0"
            raise refusal("MLP", "observation_ndim", shown(self.observation_ndim), allowed)
        check_choice(self, layer_norm=(False, True), noisy=(False, True))
        super().__post_init__()

    @property
    def needs_noise(self) -> bool:
        """True if a pass with ``rngs={"noise": key}`` differs from one without."""
        return self.noisy

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Map ``[..., *observation_shape]`` to float32 ``[..., num_outputs]``."""
        observation = jnp.asarray(observation)
        split = observation.ndim - self.observation_ndim
        if split < 0:
            allowed = f"observation_ndim={self.observation_ndim} axes or more"
            raise refusal("MLP", "observation", list(observation.shape), allowed, "has shape")
        if self.num_states is None:
            x = observation.astype(jnp.float32)
        else:
            if not jnp.issubdtype(observation.dtype, jnp.integer):
                allowed = "integers, since num_states is given"
                raise refusal("MLP", "observation", observation.dtype.name, allowed, "has dtype")
            x = jax.nn.one_hot(observation, self.num_states, dtype=jnp.float32)
        x = x.reshape(*x.shape[:split], math.prod(x.shape[split:]))
        hidden = None if self.output_scale is None else math.sqrt(2)
        for size in self.features:
            x = dense(size, self.noisy, hidden)(x)
            x = self.activation(LayerNorm()(x) if self.layer_norm else x)
        if self.num_outputs is None:
            return x
        return dense(self.num_outputs, self.noisy, self.output_scale)(x)


def dense(size: int, noisy: bool = False, scale: float | None = None) -> nn.Module:
    """A layer with the initial weights of :class:`MLP`.

    Args:
        size: of its output.
        noisy: whether it is a noisy one.
        scale: of orthogonal weights, or None.
    """
    if noisy:
        return NoisyDense(size)
    uniform = nn.initializers.lecun_uniform()
    return nn.Dense(size, kernel_init=uniform if scale is None else orthogonal(scale))


def check_output_scale(network: Any) -> None:
    """Check a network's ``output_scale``."""
    if network.output_scale is not None:
        check_numbers(network, output_scale=POSITIVE)
        if network.noisy:
            owner = type(network).__name__
            raise refusal(owner, "output_scale", network.output_scale, "None for noisy layers")
