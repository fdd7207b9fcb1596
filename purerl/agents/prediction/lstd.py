"""Prediction by solving for TD's fixed point in what was seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import LinearPrediction, PredictionSnapshot
from purerl.checks import POSITIVE, UNIT_INTERVAL, check_numbers
from purerl.mdp.operators import linear_solve
from purerl.schedule import Schedule, at


class Equations(NamedTuple):
    """The means of what makes up :math:`A w = b`, and the traces.

    Attributes:
        matrix: :math:`A`, float32 ``[d, d]``.
        vector: :math:`b`, float32 ``[d]``.
        trace: :math:`z`, float32 ``[d]``.
        steps: how many there were, float32 ``[]``.
    """

    matrix: jax.Array
    vector: jax.Array
    trace: jax.Array
    steps: jax.Array


class LSTD(LinearPrediction):
    r"""Least-squares TD(:math:`\lambda`): after :math:`t` steps :math:`w` solves

    .. math::
        \left( \varepsilon I + \sum_k z_k (x_k - \gamma x_{k+1})^\top \right) w = \varepsilon w_0 + \sum_k z_k R_{k+1}, \qquad
        z_k = \rho_k (\gamma \lambda z_{k-1} + x_k).

    There is no step size. It goes to :func:`~purerl.mdp.td_fixed_point` under the behavior's state weights, on- and
    off-policy. The sums are kept as means, and the equations are solved where a value is asked for. Bradtke & Barto, "Linear
    least-squares algorithms for temporal difference learning" (Machine Learning 22, 1996); Boyan (Machine Learning 49, 2002)
    for
    :math:`\lambda`; Sutton & Barto (2018), section 9.8.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        regularization: :math:`\varepsilon`, above 0.
        The others and errors: those of :class:`~purerl.agents.prediction.Prediction`.
    """

    lambda_: float | jax.Array | Schedule = 0.0
    regularization: float | jax.Array = 1e-2

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, lambda_=UNIT_INTERVAL, regularization=POSITIVE)

    def init_memory(self, weights):
        size = weights.shape[0]
        return Equations(jnp.zeros((size, size)), jnp.zeros(size), jnp.zeros(size), jnp.float32(0))

    def learn(self, state, step, t):
        discount, (matrix, vector, trace, steps) = at(self.discount, t), state.memory
        trace = step.ratio * (discount * at(self.lambda_, t) * trace + step.features)
        steps = steps + 1
        matrix = (
            matrix
            + (jnp.outer(trace, step.features - discount * step.next_features) - matrix) / steps
        )
        vector = vector + (trace * step.reward - vector) / steps
        return state._replace(
            memory=Equations(matrix, vector, jnp.where(step.done, 0, trace), steps)
        )

    def solution(self, state) -> jax.Array:
        """The weights, float32 ``[d]``."""
        matrix, vector, _, steps = state.memory
        weight = self.regularization / jnp.maximum(steps, 1)
        identity = jnp.eye(len(vector))
        return linear_solve(matrix + weight * identity, vector + weight * state.weights)

    def snapshot(self, state):
        return PredictionSnapshot(self.solution(state), state.env_state)
