r"""Objectives of policy gradient methods, for one transition each.

Functions of the log-probability :math:`\ell = \ln \pi_\theta(A \mid S)` of the action
taken, its advantage :math:`\hat A`, and what they were when the policy acted. The mean
over transitions is maximized; advantages are constants.
"""

import chex
import jax
import jax.numpy as jnp


def policy_gradient(log_probability: jax.Array, advantage: jax.Array) -> jax.Array:
    r"""The score function objective, :math:`\ell \hat A`.

    Its gradient is an estimate of that of the expected return. Williams, "Simple
    statistical gradient-following algorithms for connectionist reinforcement learning"
    (Machine Learning 8, 1992); Sutton et al., "Policy gradient methods for
    reinforcement learning with function approximation" (NIPS 1999).

    Args:
        log_probability: :math:`\ell`, float ``[]``.
        advantage: :math:`\hat A`, float ``[]``.
    """
    chex.assert_rank([log_probability, advantage], 0)
    return log_probability * jax.lax.stop_gradient(advantage)


def clipped(
    log_probability: jax.Array,
    old_log_probability: jax.Array,
    advantage: jax.Array,
    clip: float | jax.Array,
) -> jax.Array:
    r"""The clipped objective of PPO, with the ratio
    :math:`\rho = \exp(\ell - \ell_\text{old})`:

    .. math:: \min\left(\rho \hat A, \;
              \min(\max(\rho, 1 - \epsilon), 1 + \epsilon) \, \hat A\right)

    Where the ratio has already moved past the bound in the direction that the advantage
    asks for, the gradient is zero. Schulman et al., "Proximal policy optimization
    algorithms" (2017), equation 7.

    Args:
        log_probability: :math:`\ell`, float ``[]``.
        old_log_probability: :math:`\ell_\text{old}`, that of the policy which acted.
        advantage: :math:`\hat A`, float ``[]``.
        clip: :math:`\epsilon`, ``[]``.

    >>> import jax.numpy as jnp
    >>> log_two, zero = jnp.log(2.0), jnp.float32(0)
    >>> print(clipped(log_two, zero, jnp.float32(10), 0.25))
    12.5
    >>> print(clipped(log_two, zero, jnp.float32(-10), 0.25))
    -20.0
    """
    chex.assert_rank([log_probability, old_log_probability, advantage, clip], 0)
    advantage = jax.lax.stop_gradient(advantage)
    ratio = jnp.exp(log_probability - old_log_probability)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def clipped_value_loss(
    value: jax.Array, old_value: jax.Array, target: jax.Array, clip: float | jax.Array
) -> jax.Array:
    r"""Half the squared error of a value, at least that of the value moved by at most
    :math:`\epsilon` from what it was.

    .. math:: \frac12 \max\left((v - G)^2, \;
        (v_\text{old} + \min(\max(v - v_\text{old}, -\epsilon), \epsilon) - G)^2\right)

    So the gradient is zero once the value has moved by :math:`\epsilon` towards the
    target. It is not in the paper of PPO, but in its authors' code. With an infinite
    bound it is the plain loss.

    Args:
        value: :math:`v`, float ``[]``.
        old_value: :math:`v_\text{old}`, float ``[]``.
        target: :math:`G`, float ``[]``.
        clip: :math:`\epsilon`, ``[]``.

    >>> import jax.numpy as jnp
    >>> value, old, target = jnp.float32(3), jnp.float32(1), jnp.float32(5)
    >>> print(clipped_value_loss(value, old, target, jnp.inf))
    2.0
    >>> print(clipped_value_loss(value, old, target, 1.0))
    4.5
    """
    chex.assert_rank([value, old_value, target, clip], 0)
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2)
