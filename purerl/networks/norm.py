"""Layer normalization."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class LayerNorm(nn.Module):
    r"""Normalization of a layer's outputs to mean 0 and variance 1, then an affine map.

    .. math::
        y = \gamma \odot \frac{x - \bar x}{\sqrt{\overline{(x - \bar x)^2} + \epsilon}}
            + \beta

    with means over the last axis and :math:`\epsilon = 10^{-6}`. Ba, Kiros & Hinton,
    "Layer normalization" (2016). It bounds what a layer passes on, which keeps temporal
    difference learning stable without a target network (Gallici et al., "Simplifying
    deep temporal difference learning", ICLR 2025).

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([1.0, 3.0])
    >>> params = LayerNorm().init(jax.random.key(0), x)
    >>> print(jax.jit(LayerNorm().apply)(params, x).round(3))
    [-1.  1.]
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map float32 ``[..., N]`` to ``[..., N]``."""
        size = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, size, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, size, jnp.float32)
        centered = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centered**2, axis=-1, keepdims=True)
        return centered * jax.lax.rsqrt(variance + 1e-6) * scale + bias
