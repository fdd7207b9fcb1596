"""Multi-layer perceptrons."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
    r"""A multi-layer perceptron from an observation to a vector, such as the :math:`Q(s, \cdot)` of a Q-network.

    With :math:`x_0` the observation, flattened and cast to float32, and :math:`\sigma` the activation,

    .. math:: x_{i+1} = \sigma(x_i W_i + b_i), \qquad y = x_L W_L + b_L.

    With no hidden layers it is linear; on a one-hot observation it is then a table, :math:`y = W_0[s] + b_0`.

    The trailing ``observation_ndim`` axes are one observation, all before them are batch: a batch of any shape is one matrix
    product a layer, whether it comes as leading axes or through ``jax.vmap``.

    Weights start uniform with mean 0 and variance :math:`1 / \text{fan\_in}` (LeCun, Bottou, Orr & Müller, "Efficient
    BackProp", 1998), biases at zero. For rectifiers this is half the variance that would keep the scale of the signal: it
    shrinks a little with every layer, and the first Q values are small.

    The module is hashable and compares by its fields, so it may be a static field of an agent.

    Attributes:
        features: sizes of the hidden layers, a tuple, possibly empty.
        num_outputs: size of the output, the number of actions for a Q-network.
        activation: applied elementwise after each hidden layer.
        observation_ndim: the number of axes of one observation (0 for a scalar).

    Raises:
        ValueError: at construction, a size that is not a positive integer or a negative ``observation_ndim``; when called, an
            observation with fewer axes than ``observation_ndim``.

    >>> import jax, jax.numpy as jnp
    >>> network = MLP(features=(120, 84), num_outputs=2)
    >>> params = network.init(jax.random.key(0), jnp.zeros(4))
    >>> network.apply(params, jnp.zeros(4)).shape, network.apply(params, jnp.zeros((32, 4))).shape
    ((2,), (32, 2))
    """

    features: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    observation_ndim: int = 1

    def __post_init__(self):
        if not isinstance(self.features, tuple) or not all(
            isinstance(size, int) and size >= 1 for size in self.features
        ):
            raise ValueError(
                f"features is {self.features!r}; allowed: a tuple of positive integers"
            )
        if not isinstance(self.num_outputs, int) or self.num_outputs < 1:
            raise ValueError(f"num_outputs is {self.num_outputs!r}; allowed: a positive integer")
        if not isinstance(self.observation_ndim, int) or self.observation_ndim < 0:
            raise ValueError(
                f"observation_ndim is {self.observation_ndim!r}; allowed: an integer of at least 0"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Map ``[..., *observation_shape]`` of any dtype to float32 ``[..., num_outputs]``."""
        x = jnp.asarray(observation, jnp.float32)
        if x.ndim < self.observation_ndim:
            raise ValueError(
                f"observation has shape {x.shape}; allowed: observation_ndim={self.observation_ndim} axes or more"
            )
        split = x.ndim - self.observation_ndim
        x = x.reshape(*x.shape[:split], math.prod(x.shape[split:]))
        for size in self.features:
            x = self.activation(nn.Dense(size, kernel_init=nn.initializers.lecun_uniform())(x))
        return nn.Dense(self.num_outputs, kernel_init=nn.initializers.lecun_uniform())(x)
