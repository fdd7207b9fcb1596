r"""Exact gradients of the expected return in the parameters of a softmax policy.

For logits :math:`\theta(s, a)` let :math:`\pi(a \mid s) \propto e^{\theta(s, a)}` over
the available actions, :math:`J` the expected discounted return from the start,
:math:`n_\pi(s) = \sum_t \gamma^t P(S_t = s)` the discounted visits and
:math:`A_\pi = q_\pi - v_\pi` the advantage. By the policy gradient theorem

.. math::
    \frac{\partial J}{\partial \theta(s, a)}
        = n_\pi(s) \, \pi(a \mid s) \, A_\pi(s, a)

(Sutton, McAllester, Singh & Mansour, "Policy gradient methods for reinforcement
learning with function approximation", NeurIPS 1999; Agarwal, Kakade, Lee & Mahajan, "On
the theory of policy gradient methods", Journal of Machine Learning Research 22, 2021).
The gradient in the parameters of a network is this one pulled back through the network,
a vector-Jacobian product.

In this formula the advantage cannot be replaced by the action value, as it can in
:math:`\sum_a q_\pi(s, a) \nabla \pi(a \mid s)`, whose weights sum to zero.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purerl import linalg
from purerl.checks import refusal
from purerl.mdp.model import FiniteMDP
from purerl.mdp.operators import mean, solver
from purerl.mdp.policy_evaluation import evaluate_policy, expected_visits, occupancy

# ``(params, observation) -> logits``, float ``[A]``, for one observation.
Logits = Callable[[Any, jax.Array], jax.Array]


class PolicyGradient(NamedTuple):
    """The gradient of the expected return in the logits, and what it is made of.

    Attributes:
        gradient: float ``[S, A]``; zero for an action that is not available.
        policy: of the logits, float ``[S, A]``.
        visits: discounted, float ``[S]``.
        advantage: float ``[S, A]``; zero for an action that is not available.
        value: the expected return ``J``, float ``[]``.
    """

    gradient: jax.Array
    policy: jax.Array
    visits: jax.Array
    advantage: jax.Array
    value: jax.Array


def softmax_policy(mdp: FiniteMDP, logits: jax.Array) -> jax.Array:
    """The policy of some logits, in the dtype of ``mdp``.

    Args:
        mdp: the model.
        logits: float ``[S, A]``.

    Returns:
        Float ``[S, A]``, exactly 0 for an action that is not available.

    Raises:
        ValueError: ``logits`` has another shape.
    """
    size = (mdp.num_states, mdp.num_actions)
    if logits.shape != size:
        raise refusal("softmax_policy", "logits", logits.shape, f"{size}", "has shape")
    table = logits.astype(mdp.probability.dtype)
    return jax.nn.softmax(jnp.where(mdp.available, table, -jnp.inf), axis=-1)


def _advantage(mdp, policy, q):
    """The advantage, float ``[S, A]``.

    Values are taken relative to the best action's: near a deterministic policy the
    difference of ``q`` and its mean would be rounding errors alone.
    """
    relative = jnp.where(mdp.available, q - jnp.max(q, axis=-1, keepdims=True), 0)
    return jnp.where(mdp.available, relative - mean(policy, relative)[:, None], 0)


@solver
def policy_gradient(
    mdp: FiniteMDP, logits: jax.Array, discount: float | jax.Array
) -> PolicyGradient:
    """The exact gradient of the expected return in the logits of a softmax policy.

    At ``discount == 1`` every policy must end episodes, or collect nothing from some
    time on.

    Args:
        mdp: the model. Visits are counted from ``mdp.initial``.
        logits: float ``[S, A]``; those of unavailable actions are not used.
        discount: in ``[0, 1]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``logits`` has another shape.

    Example:
        A bandit with rewards 0 and 1, chosen uniformly, gains a quarter for each unit
        by which the logit of the better arm grows:

        >>> bandit = FiniteMDP(
        ...     probability=[[[1.0], [1.0]]],
        ...     next_state=[[[0], [0]]],
        ...     reward=[[[0.0], [1.0]]],
        ...     terminated=[[[True], [True]]],
        ...     initial=[1.0],
        ... )
        >>> print(policy_gradient(bandit, jnp.zeros((1, 2)), 0.9).gradient)
        [[-0.25  0.25]]
    """
    policy = softmax_policy(mdp, logits)
    found = evaluate_policy(mdp, policy, discount)
    visits = expected_visits(mdp, policy, discount)
    advantage = _advantage(mdp, policy, found.q)
    weighted = policy * advantage
    # A state without an end that yields nothing may have infinitely many visits.
    gradient = jnp.where(weighted == 0, 0, visits[:, None] * weighted)
    value = mean(mdp.initial, found.values)
    return PolicyGradient(gradient, policy, visits, advantage, value)


@solver(below_one=True)
def natural_policy_gradient(
    mdp: FiniteMDP, logits: jax.Array, discount: float | jax.Array
) -> jax.Array:
    r"""The natural gradient in the logits of a softmax policy, in closed form.

    .. math:: F^+ \nabla J = \frac{A_\pi}{1 - \gamma}, \qquad
        F = \sum_s d_\pi(s) \left( \text{diag}(\pi_s) - \pi_s \pi_s^\top \right),

    with :math:`d_\pi = (1 - \gamma) n_\pi` the discounted occupancy, up to a constant
    in each state, on which the policy does not depend. A step of length :math:`\eta` is
    soft policy iteration, :math:`\pi \leftarrow \pi e^{\eta A_\pi / (1 - \gamma)} / Z`,
    in every state, including those that are not visited. Kakade, "A natural policy
    gradient" (NeurIPS 2001); Agarwal et al. (2021), section 5.3.

    Args:
        mdp: the model.
        logits: float ``[S, A]``; those of unavailable actions are not used.
        discount: in ``[0, 1)``.

    Returns:
        Float ``[S, A]``; zero for an action that is not available.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or ``logits`` has another shape.
    """
    policy = softmax_policy(mdp, logits)
    q = evaluate_policy(mdp, policy, discount).q
    return _advantage(mdp, policy, q) / (1 - discount)


def parameter_gradient(
    mdp: FiniteMDP,
    logits: Logits,
    params: Any,
    observations: jax.Array,
    discount: float | jax.Array,
) -> Any:
    """The exact gradient of the expected return in the parameters of a network.

    Args:
        mdp: the model.
        logits: the network.
        params: of the network, a pytree of floats.
        observations: of each state, ``[S, ...]``.
        discount: in ``[0, 1]``.

    Returns:
        A pytree like ``params``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or the network gives another
            number of logits than there are actions.
    """
    table, pull_back = jax.vjp(lambda params: _table(logits, params, observations), params)
    gradient = policy_gradient(mdp, table, discount).gradient
    return pull_back(gradient.astype(table.dtype))[0]


def natural_parameter_gradient(
    mdp: FiniteMDP,
    logits: Logits,
    params: Any,
    observations: jax.Array,
    discount: float | jax.Array,
    damping: float | jax.Array,
) -> Any:
    r"""The damped natural gradient in the parameters of a network.

    .. math::
        (F + \lambda I)^{-1} \nabla J, \qquad
        F = \sum_s d_\pi(s) \sum_a \pi(a \mid s)
            \nabla \log \pi(a \mid s) \, \nabla \log \pi(a \mid s)^\top,

    with :math:`d_\pi` the discounted occupancy. The Fisher matrix of a network is
    singular as a rule, so it is damped; no pseudo-inverse is taken. Where the policy is
    so nearly deterministic that :math:`F` is small beside :math:`\lambda`, the result
    is :math:`\nabla J / \lambda`. For a network that can change the logits of each
    state independently, and :math:`\lambda \to 0`, the policy changes as by
    :func:`natural_policy_gradient`.

    With :math:`F = B^\top B`, the equations solved have the size of a table of logits
    and not of the parameters:
    :math:`(B^\top B + \lambda I)^{-1} B^\top = B^\top (B B^\top + \lambda I)^{-1}`.

    Args:
        mdp: the model.
        logits: the network.
        params: of the network, a pytree of floats.
        observations: of each state, ``[S, ...]``.
        discount: in ``[0, 1)``.
        damping: :math:`\lambda`, above 0.

    Returns:
        A pytree like ``params``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or the network gives another
            number of logits than there are actions.
    """
    flat, unravel = ravel_pytree(params)

    def table_of(flat):
        return _table(logits, unravel(flat), observations)

    table, jacobian = table_of(flat), jax.jacrev(table_of)(flat)
    policy = softmax_policy(mdp, table)
    natural = natural_policy_gradient(mdp, table, discount)
    # Row (s, a) of B is the gradient of log pi(a | s), times the root of the
    # probability of the pair; grad J = B^T side.
    root = jnp.sqrt(occupancy(mdp, policy, discount)[:, None] * policy)
    scores = jacobian - jnp.einsum("sb,sbp->sp", policy, jacobian)[:, None]
    rows = (root[..., None] * scores).reshape(-1, flat.size)
    side = (root * natural).reshape(-1)
    diagonal = jnp.asarray(damping, rows.dtype) * jnp.eye(len(rows), dtype=rows.dtype)
    direction = rows.T @ linalg.solve(rows @ rows.T + diagonal, side)
    return unravel(direction.astype(flat.dtype))


def _table(logits, params, observations):
    """The logits of every state, float ``[S, A]``."""
    return jax.vmap(logits, (None, 0))(params, observations)
