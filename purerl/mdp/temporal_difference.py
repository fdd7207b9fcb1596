"""Fixed points of linear temporal-difference learning."""

import jax
import jax.numpy as jnp

from purerl.mdp.chain import chain_of, equations, only_action
from purerl.mdp.model import ArrayLike, FiniteMDP
from purerl.mdp.operators import continuation_matrix, expected_reward, linear_solve, solver


@solver
def td_fixed_point(
    mdp: FiniteMDP,
    features: ArrayLike,
    policy: ArrayLike,
    weights: ArrayLike,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The fixed point of linear temporal-difference learning.

    The solution :math:`w` of :math:`A w = b`, with

    .. math::
        A = X^\top D (I - \gamma \lambda P)^{-1} (I - \gamma P) X, \qquad
        b = X^\top D (I - \gamma \lambda P)^{-1} r,

    :math:`P` the transitions of the policy that do not terminate, and
    :math:`D = \text{diag}(\text{weights})`. With one-hot features it gives
    :math:`v_\pi`, for any weights above zero. If states are updated as often as the
    policy visits them, TD(:math:`\lambda`) converges to it; with other weights only
    off-policy methods do (Tsitsiklis & Van Roy, "An analysis of temporal-difference
    learning with function approximation", IEEE Transactions on Automatic Control 42,
    1997; Sutton & Barto, 2018, section 9.4).

    Args:
        mdp: the model.
        features: :math:`X`, float ``[S, d]``, of full column rank over the states with
            positive weight.
        policy: the policy to evaluate, int ``[S]`` or float ``[S, A]``.
        weights: of the states, float ``[S]``, not negative.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[d]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is
            not a policy for ``mdp``.
    """
    chain = chain_of(mdp, jnp.asarray(policy))
    matrix = continuation_matrix(chain)
    reward = only_action(expected_reward(chain))
    x = jnp.asarray(features, matrix.dtype)
    sides = jnp.concatenate([x - discount * matrix @ x, reward[:, None]], axis=1)
    traced = equations(chain, discount * lambda_).total(sides)
    normal = x.T @ (jnp.asarray(weights)[:, None] * traced)
    return linear_solve(normal[:, :-1], normal[:, -1])


@solver
def emphasis(
    mdp: FiniteMDP,
    policy: ArrayLike,
    weights: ArrayLike,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The state weights of emphatic TD(:math:`\lambda`) with an interest of one.

    .. math:: m = \lambda d + (1 - \lambda) (I - \gamma P^\top)^{-1} d,

    with :math:`P` the transitions of the target policy that do not terminate, and
    :math:`d` the fraction of time that the behavior policy spends in each state. The
    fixed point of emphatic TD is :func:`td_fixed_point` with these weights (Sutton,
    Mahmood & White, "An emphatic approach to the problem of off-policy
    temporal-difference learning", JMLR 17, 2016, section 5).

    Args:
        mdp: the model.
        policy: the target policy, int ``[S]`` or float ``[S, A]``.
        weights: :math:`d`, float ``[S]``.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is
            not a policy for ``mdp``.
    """
    chain = chain_of(mdp, jnp.asarray(policy))
    interest = jnp.asarray(weights, mdp.probability.dtype)
    followon = equations(chain, discount).visits(interest)
    return lambda_ * interest + (1 - lambda_) * followon
