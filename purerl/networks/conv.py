"""Convolutional networks for boards."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import check_sizes, refusal
from purerl.networks.mlp import MLP


class ConvNet(nn.Module):
    r"""Convolutions followed by an :class:`MLP`, for boards ``[H, W, C]``.

    Kernels are 3 by 3 cells with stride 1, without padding:

    .. math::
        x_{i+1}[h, w] = \sigma\left(\sum_{k, l \in \{0, 1, 2\}}
            x_i[h + k, w + l]\, W_i[k, l] + b_i\right)

    With ``channels=(16,)`` and ``features=(128,)`` it is the network of Young & Tian,
    "MinAtar" (2019). A convolution is written as a matrix product over patches, which
    under ``vmap`` over the parameters of many seeds is a batch of products.

    Attributes:
        channels: outputs of each convolution, a tuple, not empty.
        features, num_outputs: those of the MLP.

    Raises:
        ValueError: at construction, a size that is not a positive integer; when called,
            a board that has no cells left after the convolutions.

    >>> import jax, jax.numpy as jnp
    >>> network = ConvNet(channels=(16,), features=(128,), num_outputs=3)
    >>> board = jnp.zeros((10, 10, 4), bool)
    >>> params = network.init(jax.random.key(0), board)
    >>> jax.eval_shape(network.apply, params, board).shape
    (3,)
    """

    channels: tuple[int, ...]
    features: tuple[int, ...]
    num_outputs: int

    def __post_init__(self):
        check_sizes(self, "channels")
        if not self.channels:
            allowed = "a tuple of positive whole numbers, not empty"
            raise refusal("ConvNet", "channels", repr(self.channels), allowed)
        super().__post_init__()

    @nn.compact
    def __call__(self, board: jax.Array) -> jax.Array:
        """Map ``[..., H, W, C]`` of any dtype to float32 ``[..., num_outputs]``."""
        x = jnp.asarray(board, jnp.float32)
        for size in self.channels:
            height = x.shape[-3] - 2
            width = x.shape[-2] - 2
            if height < 1 or width < 1:
                allowed = f"more than {2 * len(self.channels)} rows and columns"
                raise refusal("ConvNet", "board", list(board.shape), allowed, "has shape")
            shifted = [x[..., i : i + height, j : j + width, :] for i in range(3) for j in range(3)]
            patches = jnp.concatenate(shifted, axis=-1)
            x = nn.relu(nn.Dense(size, kernel_init=nn.initializers.lecun_uniform())(patches))
        return MLP(self.features, self.num_outputs, observation_ndim=3)(x)
