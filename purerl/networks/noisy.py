"""Layers with parametric noise."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import POSITIVE, check_numbers, check_size


class NoisyDense(nn.Module):
    r"""An affine layer whose weights are drawn anew at every pass.

    .. math::
        y = x \, (W + \sigma \odot \varepsilon^\text{in} {\varepsilon^\text{out}}^\top)
            + b + \sigma_b \odot \varepsilon^\text{out},
        \qquad \varepsilon = \operatorname{sign}(e) \sqrt{|e|}, \quad e \sim N(0, I),

    where :math:`\sigma` and :math:`\sigma_b` are learned, so that exploration fades
    where it no longer helps. Factorized noise of Fortunato et al., "Noisy networks for
    exploration" (ICLR 2018), with their initial weights. Since
    :math:`x (\sigma \odot \varepsilon^\text{in} {\varepsilon^\text{out}}^\top) =
    ((\varepsilon^\text{in} \odot x) \, \sigma) \odot \varepsilon^\text{out}`, no noisy
    matrix is ever built.

    The noise comes from ``rngs={"noise": key}``, from which flax derives a key for each
    layer; without it there is no noise. One pass draws once, for all of its batch axes.

    Attributes:
        features: size of the output.
        scale: :math:`\sigma_0`; initially :math:`\sigma = \sigma_0 / \sqrt{N}` for
            ``N`` inputs.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = NoisyDense(2), jnp.ones(3)
    >>> params = layer.init(jax.random.key(0), x)
    >>> apply = jax.jit(layer.apply)
    >>> noisy = apply(params, x, rngs={"noise": jax.random.key(1)})
    >>> print(jnp.allclose(apply(params, x), noisy))
    False
    """

    features: int
    scale: float = 0.5

    def __post_init__(self):
        check_size(self, "features")
        check_numbers(self, scale=POSITIVE)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map ``[..., N]`` to float32 ``[..., features]``."""
        inputs = x.shape[-1]
        bound = 1 / math.sqrt(inputs)

        def within(key, shape, dtype=jnp.float32):
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        constant = nn.initializers.constant(self.scale * bound)
        kernel = self.param("kernel", within, (inputs, self.features))
        bias = self.param("bias", within, (self.features,))
        kernel_scale = self.param("kernel_scale", constant, (inputs, self.features), jnp.float32)
        bias_scale = self.param("bias_scale", constant, (self.features,), jnp.float32)
        y = x @ kernel + bias
        if not self.has_rng("noise"):
            return y
        noise = jax.random.normal(self.make_rng("noise"), (inputs + self.features,), jnp.float32)
        noise = jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
        into, out = noise[:inputs], noise[inputs:]
        return y + ((into * x) @ kernel_scale + bias_scale) * out
