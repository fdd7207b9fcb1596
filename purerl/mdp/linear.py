"""Two linear views of a model: the optimum as a linear program, and values that are linear in features."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.mdp.average import going_on
from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import expected_reward, linear_solve, mean, solver


class LinearProgram(NamedTuple):
    """The optimum of both programs.

    Attributes:
        values: of the primal, ``v*``, float64 ``[S]``.
        occupancy: of the dual: ``sum_t discount^t P(S_t = s, A_t = a)`` where ``S_0`` is drawn uniformly, float64 ``[S, A]``.
        policy: the action of largest occupancy, int32 ``[S]``.
    """

    values: np.ndarray
    occupancy: np.ndarray
    policy: np.ndarray


def linear_program(mdp: FiniteMDP, discount: float) -> LinearProgram:
    r"""The optimum by linear programming, independent of everything in :mod:`~purerl.mdp.solve` (d'Epenoux, "A probabilistic
    production and inventory problem", Management Science 10, 1963; Puterman, section 6.9):

    .. math::
        \min_v \frac 1 S \sum_s v(s) \quad \text{where} \quad
        v(s) \ge \sum_k p_k \left(r_k + \gamma (1 - d_k) v(s'_k)\right) \quad \text{for all } s, a.

    In double precision by SciPy's HiGHS, with a sparse matrix. Not for use under ``jit``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; 1 where every policy ends.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or no finite optimum was found.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    if not 0 <= discount <= 1:
        raise ValueError(f"discount is {discount}; allowed: a number in [0, 1]")
    probability = np.asarray(mdp.probability, float)
    size, actions, _ = probability.shape
    row = np.broadcast_to(np.arange(size * actions).reshape(size, actions, 1), probability.shape)
    stays = coo_array((np.ones(size * actions), (np.arange(size * actions), np.repeat(np.arange(size), actions))))
    weight = np.where(mdp.terminated, 0, discount * probability)
    goes = coo_array((weight.ravel(), (row.ravel(), np.asarray(mdp.next_state).ravel())), shape=stays.shape)
    reward = (probability * np.asarray(mdp.reward, float)).sum(axis=-1).ravel()
    found = linprog(np.full(size, 1 / size), A_ub=(goes - stays).tocsr(), b_ub=-reward, bounds=(None, None), method="highs")
    if not found.success:
        raise ValueError(f"discount is {discount}, and no finite optimum was found: {found.message}")
    occupancy = -found.ineqlin.marginals.reshape(size, actions)
    return LinearProgram(found.x, occupancy, occupancy.argmax(axis=1).astype(np.int32))


@solver
def td_fixed_point(
    mdp: FiniteMDP,
    features: jax.Array,
    policy: jax.Array,
    weights: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""Where linear temporal-difference learning goes: the solution :math:`w` of :math:`A w = b`,

    .. math::
        A = X^\top D (I - \gamma \lambda P)^{-1} (I - \gamma P) X, \qquad b = X^\top D (I - \gamma \lambda P)^{-1} r,

    with :math:`P` of the policy, without what terminates, and :math:`D = \text{diag}(\text{weights})`. With one-hot features it
    gives :math:`v_\pi`, whatever the weights above zero. Where states are updated as often as the policy visits them,
    TD(:math:`\lambda`) converges to it; with other weights only methods made for that do (Tsitsiklis & Van Roy, "An analysis of
    temporal-difference learning with function approximation", IEEE Transactions on Automatic Control 42, 1997; Sutton & Barto,
    2018, section 9.4).

    Args:
        mdp: the model.
        features: :math:`X`, float ``[S, d]``, of full column rank over the states with weight.
        policy: the one whose values are sought, int ``[S]`` or float ``[S, A]``.
        weights: of the states, float ``[S]``, not negative.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[d]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix, reward = going_on(mdp, pi), mean(pi, expected_reward(mdp))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    features = jnp.asarray(features, matrix.dtype)
    sides = jnp.concatenate([(identity - discount * matrix) @ features, reward[:, None]], axis=1)
    if_traced = linear_solve(identity - discount * lambda_ * matrix, sides)
    equations = features.T @ (weights[:, None] * if_traced)
    return linear_solve(equations[:, :-1], equations[:, -1])


@solver
def emphasis(
    mdp: FiniteMDP,
    policy: jax.Array,
    weights: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The weights of states under emphatic TD(:math:`\lambda`) with an interest of one,

    .. math:: m = \lambda d + (1 - \lambda) (I - \gamma P^\top)^{-1} d,

    with :math:`P` of the target policy, without what terminates, and :math:`d` how often the behaviour is in each state. Its
    fixed point is :func:`td_fixed_point` with these weights (Sutton, Mahmood & White, "An emphatic approach to the problem of
    off-policy temporal-difference learning", JMLR 17, 2016, section 5).

    Args:
        mdp: the model.
        policy: the target, int ``[S]`` or float ``[S, A]``.
        weights: :math:`d`, float ``[S]``.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    matrix = going_on(mdp, action_probabilities(mdp, policy))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    followon = linear_solve(identity - discount * matrix.T, jnp.asarray(weights, matrix.dtype))
    return lambda_ * weights + (1 - lambda_) * followon
