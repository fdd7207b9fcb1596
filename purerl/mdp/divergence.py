"""The Kullback-Leibler divergence."""

import jax
import jax.numpy as jnp

from purerl.mdp.model import ArrayLike


def kl_divergence(p: ArrayLike, q: ArrayLike) -> jax.Array:
    r"""The Kullback-Leibler divergence of distributions over the last axis.

    .. math::
        \mathrm{KL}(p \,\|\, q) = \sum_y p(y) \ln \frac{p(y)}{q(y)}.

    It is infinite if something possible under :math:`p` is impossible under :math:`q`;
    what is impossible under :math:`p` contributes nothing. Kullback & Leibler, "On
    information and sufficiency" (Annals of Mathematical Statistics 22, 1951).

    The sum is that of :math:`p \ln(p / q) - p + q`, whose terms are not negative, so
    that small divergences are not lost in the rounding of large terms of both signs.

    Args:
        p: probabilities, float ``[..., N]``.
        q: probabilities, float ``[..., N]``.

    Returns:
        float ``[...]``.

    Example:
        >>> kl_divergence([0.5, 0.5, 0.0], [0.25, 0.25, 0.5]).round(4).item()  # ln 2
        0.6931
        >>> kl_divergence([0.5, 0.5], [1.0, 0.0]).item()
        inf
    """
    p, q = jnp.broadcast_arrays(jnp.asarray(p), jnp.asarray(q))
    both = (p > 0) & (q > 0)
    numerator = jnp.where(both, p, 1)
    denominator = jnp.where(both, q, 1)
    change = (numerator - denominator) / denominator
    near = jnp.abs(change) < 0.5
    log_ratio = jnp.where(
        near,
        jnp.log1p(jnp.where(near, change, 0)),
        jnp.log(numerator) - jnp.log(denominator),
    )
    terms = jnp.where(both, p * log_ratio - (p - q), q)
    return jnp.sum(jnp.where((p > 0) & (q <= 0), jnp.inf, terms), axis=-1)
