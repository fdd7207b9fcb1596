"""Prediction by solving for the fixed point of TD in the data."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import LinearPrediction, PredictionSnapshot
from purerl.checks import POSITIVE, UNIT_INTERVAL, check_numbers
from purerl.mdp.operators import linear_solve
from purerl.schedule import Schedule, at, check_schedules


class Equations(NamedTuple):
    """The linear equations :math:`A w = b` as means over the steps, and the traces.

    Attributes:
        matrix: :math:`A`, float32 ``[d, d]``.
        vector: :math:`b`, float32 ``[d]``.
        trace: :math:`z`, float32 ``[d]``.
        steps: how many steps there were, float32 ``[]``.
    """

    matrix: jax.Array
    vector: jax.Array
    trace: jax.Array
    steps: jax.Array


class LSTD(LinearPrediction):
    r"""Least-squares TD(:math:`\lambda`).

    After :math:`t` steps :math:`w` solves

    .. math::
        \left( \varepsilon I + \sum_k z_k (x_k - \gamma x_{k+1})^\top \right) w
            = \varepsilon w_0 + \sum_k z_k R_{k+1}, \qquad
        z_k = \rho_k (\gamma \lambda z_{k-1} + x_k).

    There is no step size. It converges to :func:`~purerl.mdp.td_fixed_point` under the
    behavior's state distribution, on-policy and off-policy. The sums are kept as means,
    and the equations are solved when a snapshot is taken. Bradtke & Barto, "Linear
    least-squares algorithms for temporal difference learning" (Machine Learning 22,
    1996); Boyan (Machine Learning 49, 2002) for :math:`\lambda`; Sutton & Barto (2018),
    section 9.8.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        regularization: :math:`\varepsilon`, above 0.
        The others, and errors: as in
            :class:`~purerl.agents.prediction.base.LinearPrediction`.
    """

    lambda_: float | jax.Array | Schedule = 0.0
    regularization: float | jax.Array = 1e-2

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL)
        check_numbers(self, regularization=POSITIVE)

    def init_memory(self, weights):
        size = weights.shape[0]
        zeros = jnp.zeros_like(weights)
        return Equations(jnp.zeros((size, size), weights.dtype), zeros, zeros, jnp.float32(0))

    def learn(self, state, step, t):
        discount = at(self.discount, t)
        matrix, vector, trace, steps = state.memory
        trace = step.ratio * (discount * at(self.lambda_, t) * trace + step.features)
        steps = steps + 1
        difference = step.features - discount * step.next_features
        matrix = matrix + (jnp.outer(trace, difference) - matrix) / steps
        vector = vector + (trace * step.reward - vector) / steps
        trace = jnp.where(step.done, 0, trace)
        return state._replace(memory=Equations(matrix, vector, trace, steps))

    def solution(self, state) -> jax.Array:
        """The weights, float32 ``[d]``."""
        matrix, vector, _, steps = state.memory
        weight = jnp.float32(self.regularization) / jnp.maximum(steps, 1)
        identity = jnp.eye(len(vector), dtype=vector.dtype)
        return linear_solve(matrix + weight * identity, vector + weight * state.weights)

    def snapshot(self, state):
        return PredictionSnapshot(self.solution(state), state.env_state)
