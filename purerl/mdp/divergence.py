"""The Kullback-Leibler divergence, and what trades it for reward."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.checks import POSITIVE, check_values
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
    return _kl_divergence(*jnp.broadcast_arrays(jnp.asarray(p), jnp.asarray(q)))


@jax.jit
def _kl_divergence(p, q):
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


class Gibbs(NamedTuple):
    """A Gibbs distribution, see :func:`gibbs`.

    Attributes:
        law: float ``[..., N]``.
        value: what it attains, float ``[...]``.
        rounding: bounds on the rounding errors of ``value``, float ``[...]``.
    """

    law: jax.Array
    value: jax.Array
    rounding: jax.Array


def gibbs(prior: ArrayLike, reward: ArrayLike, temperature: float | jax.Array) -> Gibbs:
    r"""The best compromise between a reward and the distance from a prior.

    .. math::
        \max_p \left( \sum_y p(y) \, r(y) - \tau \, \mathrm{KL}(p \,\|\, \mu) \right)
        = \tau \ln \sum_y \mu(y) \, e^{r(y) / \tau}, \qquad
        p(y) \propto \mu(y) \, e^{r(y) / \tau}

    (Donsker & Varadhan, "Asymptotic evaluation of certain Markov process expectations
    for large time, I", Communications on Pure and Applied Mathematics 28, 1975). Any
    other distribution attains less by :math:`\tau` times its divergence from the best.
    With a language model for :math:`\mu` and the reward of whole texts it is the
    optimum of reinforcement learning from human feedback (Korbak, Perez & Buckley, "RL
    with KL penalties is better viewed as Bayesian inference", Findings of EMNLP 2022).

    What the prior excludes has probability exactly zero, and its reward does not count.

    Args:
        prior: :math:`\mu`, float ``[..., N]``; it is normalized.
        reward: float ``[..., N]``.
        temperature: :math:`\tau`, above 0; in language models often called beta.

    Raises:
        ValueError: ``temperature`` is not above 0.

    Example:
        >>> found = gibbs([0.9, 0.1, 0.0], [0.0, 1.0, 9.0], 0.5)
        >>> found.law.round(3).tolist(), found.value.round(3).item()
        ([0.549, 0.451, 0.0], 0.247)
    """
    check_values("gibbs", {"temperature": temperature}, {"temperature": POSITIVE})
    arrays = jnp.broadcast_arrays(jnp.asarray(prior), jnp.asarray(reward))
    return _gibbs(*arrays, temperature)


@jax.jit
def _gibbs(prior, reward, temperature):
    prior = prior / jnp.sum(prior, axis=-1, keepdims=True)
    possible = (prior > 0) & (reward > -jnp.inf)
    top = jnp.max(jnp.where(possible, reward, -jnp.inf), axis=-1)
    gap = jnp.where(possible, reward - top[..., None], 0) / temperature
    log_prior = jnp.log(jnp.where(possible, prior, 1))
    exponent = jnp.where(possible, gap + log_prior, -jnp.inf)
    # At high temperatures the sum of exponentials is nearly one, and the difference
    # from it is what counts.
    difference = jnp.sum(jnp.where(possible, prior * jnp.expm1(gap), 0), axis=-1)
    near = difference > -0.5
    logarithm = jnp.where(
        near,
        jnp.log1p(jnp.where(near, difference, 0)),
        jax.nn.logsumexp(exponent, axis=-1),
    )
    value = top + temperature * logarithm
    # Near one the error is relative to the logarithm. Elsewhere it is that of the
    # exponents, weighted by what they add to the sum.
    size = prior.shape[-1] + 8
    of_near = -3 * size * logarithm
    of_exponents = 2 * size + 11 * jnp.max(-log_prior, axis=-1)
    of_logarithm = temperature * jnp.where(near, of_near, of_exponents)
    rounding = jnp.finfo(value.dtype).eps * (2 * jnp.abs(value) + of_logarithm)
    return Gibbs(jax.nn.softmax(exponent, axis=-1), value, rounding)
