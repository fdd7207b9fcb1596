"""Convolutional networks for boards and pixels."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import POSITIVE, check_choice, check_numbers, check_sizes, refusal
from purerl.networks.mlp import MLP, check_output_scale, dense
from purerl.networks.norm import LayerNorm


class ConvNet(nn.Module):
    r"""Convolutions followed by an :class:`MLP`, for boards ``[H, W, C]``.

    Without padding, with :math:`k` by :math:`k` kernels and stride :math:`s`,

    .. math::
        x_{i+1}[h, w] = \sigma\left(\sum_{0 \le l, m < k}
            x_i[s h + l, s w + m]\, W_i[l, m] + b_i\right)

    By default kernels are 3 by 3 cells with stride 1: with ``channels=(16,)`` and
    ``features=(128,)`` it is the network of Young & Tian, "MinAtar" (2019).
    :data:`NATURE` is the one of Mnih et al. (Nature 518, 2015) for pixels. A
    convolution is written as a matrix product over patches, which under ``vmap`` over
    the parameters of many seeds is a batch of products.

    Attributes:
        channels: outputs of each convolution, a tuple, not empty.
        features, num_outputs, noisy, output_scale: those of the MLP.
        kernels: size of each convolution's kernel; None for 3.
        strides: of each convolution; None for 1.
        layer_norm: whether :class:`~purerl.networks.LayerNorm` stands before each
            activation, after convolutions over the channels of each cell.
        scale: by which the board is multiplied, such as 1 / 255 for pixels.
        activation: after each convolution and each hidden layer.

    Raises:
        ValueError: at construction, a size that is not a positive integer, or kernels
            or strides that are not as many as ``channels``; when called, a board that
            has no cells left after the convolutions.

    >>> import jax, jax.numpy as jnp
    >>> network = ConvNet(channels=(16,), features=(128,), num_outputs=3)
    >>> board = jnp.zeros((10, 10, 4), bool)
    >>> params = network.init(jax.random.key(0), board)
    >>> jax.eval_shape(network.apply, params, board).shape
    (3,)
    """

    channels: tuple[int, ...]
    features: tuple[int, ...] = ()
    num_outputs: int | None = None
    kernels: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    layer_norm: bool = False
    noisy: bool = False
    scale: float = 1.0
    output_scale: float | None = None
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    def __post_init__(self):
        check_sizes(self, "channels")
        if not self.channels:
            allowed = "a tuple of positive whole numbers, not empty"
            raise refusal("ConvNet", "channels", repr(self.channels), allowed)
        for field in ("kernels", "strides"):
            value = getattr(self, field)
            if value is not None:
                check_sizes(self, field)
                if len(value) != len(self.channels):
                    allowed = f"None, or {len(self.channels)} numbers, as many as channels"
                    raise refusal("ConvNet", field, repr(value), allowed)
        check_choice(self, layer_norm=(False, True), noisy=(False, True))
        check_numbers(self, scale=POSITIVE)
        check_output_scale(self)
        super().__post_init__()

    @property
    def needs_noise(self) -> bool:
        """True if a pass with ``rngs={"noise": key}`` differs from one without."""
        return self.noisy

    @nn.compact
    def __call__(self, board: jax.Array) -> jax.Array:
        """Map ``[..., H, W, C]`` of any dtype to float32 ``[..., num_outputs]``."""
        if jnp.ndim(board) < 3:
            allowed = "[..., H, W, C]"
            raise refusal("ConvNet", "board", list(jnp.shape(board)), allowed, "has shape")
        x = jnp.asarray(board, jnp.float32)
        x = x if self.scale == 1 else x * jnp.float32(self.scale)
        kernels = self.kernels or (3,) * len(self.channels)
        strides = self.strides or (1,) * len(self.channels)
        hidden = None if self.output_scale is None else math.sqrt(2)
        for size, kernel, stride in zip(self.channels, kernels, strides, strict=True):
            if min(x.shape[-3:-1]) < kernel:
                least = 1
                for k, s in zip(kernels[::-1], strides[::-1], strict=True):
                    least = (least - 1) * s + k
                allowed = f"more than {least - 1} rows and columns"
                raise refusal("ConvNet", "board", list(board.shape), allowed, "has shape")
            x = dense(size, scale=hidden)(patches(x, kernel, stride))
            x = self.activation(LayerNorm()(x) if self.layer_norm else x)
        return MLP(
            self.features,
            self.num_outputs,
            observation_ndim=3,
            layer_norm=self.layer_norm,
            noisy=self.noisy,
            output_scale=self.output_scale,
            activation=self.activation,
        )(x)


def patches(board: jax.Array, size: int, stride: int = 1) -> jax.Array:
    """The ``size`` by ``size`` patches of a board, as rows.

    Args:
        board: ``[..., H, W, C]``.
        size: of a patch, in cells.
        stride: between two patches, in cells.

    Returns:
        ``[..., H', W', size * size * C]``.
    """
    height = board.shape[-3] - size + 1
    width = board.shape[-2] - size + 1
    shifted = [
        board[..., i : i + height : stride, j : j + width : stride, :]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)


NATURE = ConvNet(
    channels=(32, 64, 64), features=(512,), kernels=(8, 4, 3), strides=(4, 2, 1), scale=1 / 255
)
