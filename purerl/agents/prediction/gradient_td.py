r"""Off-policy prediction with features: gradient TD and emphatic TD.

There TD may diverge (Sutton & Barto, 2018, sections 11.7 and 11.8). Its fixed point
minimizes the mean squared *projected* Bellman error,

.. math::
    \overline{PBE}(w) = b^\top C^{-1} b, \qquad
    b = \mathbb E[\rho \delta x], \quad C = \mathbb E[x x^\top].

Gradient methods descend it with a second vector,
:math:`v \leftarrow v + \beta \rho (\delta - v^\top x) x`, an estimate of
:math:`C^{-1} b`, the ``memory``, float32 ``[d]``. Emphatic TD weights its updates so
that TD is stable.
"""

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import IncrementalPrediction, td_error
from purerl.checks import NOT_NEGATIVE, UNIT_INTERVAL
from purerl.schedule import Schedule, at, check_schedules


class GTD2(IncrementalPrediction):
    r"""GTD2, gradient descent on the projected Bellman error.

    .. math:: w \leftarrow w + \alpha \rho (x - \gamma x') (x^\top v)

    It converges to TD's fixed point under the behavior's state distribution, if
    :math:`\alpha` is small compared with :math:`\beta`. Sutton et al., "Fast
    gradient-descent methods for temporal-difference learning with linear function
    approximation" (ICML 2009).

    Attributes:
        second_rate: :math:`\beta`, not negative. A schedule is evaluated as that of
            ``learning_rate`` is. A constant leaves a bias, since the noise of :math:`v`
            is correlated with that of the step.
        The others, and errors: as in
            :class:`~purerl.agents.prediction.base.IncrementalPrediction`.
    """

    second_rate: float | jax.Array | Schedule = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, second_rate=NOT_NEGATIVE)

    def init_memory(self, weights):
        return jnp.zeros_like(weights)

    def direction(self, step, delta, second, discount):
        """The update of the weights without step size and ratio, float32 ``[d]``."""
        return (step.features - discount * step.next_features) * (step.features @ second)

    def learn(self, state, step, t):
        discount = at(self.discount, t)
        x = step.features
        second = state.memory
        delta = td_error(step, state.weights, discount)
        alpha = self.step_size(state, step.state, t)
        time = self.visits(state)[step.state] if self.count_visits else t
        beta = at(self.second_rate, time)
        direction = self.direction(step, delta, second, discount)
        weights = state.weights + alpha * step.ratio * direction
        memory = second + beta * step.ratio * (delta - x @ second) * x
        return self.count_visit(state._replace(weights=weights, memory=memory), step.state)


class TDC(GTD2):
    r"""TDC: TD with gradient correction, also called GTD(0).

    .. math:: w \leftarrow w + \alpha \rho (\delta x - \gamma x' (x^\top v))

    It converges to the same point as :class:`GTD2`, often faster. Sutton et al. (ICML
    2009).

    Attributes and errors: as in :class:`GTD2`.
    """

    def direction(self, step, delta, second, discount):
        correction = discount * step.next_features * (step.features @ second)
        return delta * step.features - correction


class EmphaticTD(IncrementalPrediction):
    r"""Emphatic TD(:math:`\lambda`).

    Updates are weighted by how much their state matters to states visited before, with
    an interest of one in each:

    .. math::
        F_t = \rho_{t-1} \gamma F_{t-1} + 1, \qquad
        M_t = \lambda + (1 - \lambda) F_t, \\
        z_t = \rho_t (\gamma \lambda z_{t-1} + M_t x_t), \qquad
        w \leftarrow w + \alpha \delta z_t .

    It converges, on-policy and off-policy, to :func:`~purerl.mdp.td_fixed_point` under
    the weights of :func:`~purerl.mdp.emphasis`, though its variance may be large, even
    infinite. :math:`F` starts anew with each episode. Sutton, Mahmood & White, "An
    emphatic approach to the problem of off-policy temporal-difference learning" (JMLR
    17, 2016).

    ``memory`` is :math:`z`, float32 ``[d]``, and :math:`\rho_{t-1} \gamma F_{t-1}`,
    float32 ``[]``.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        The others, and errors: as in
            :class:`~purerl.agents.prediction.base.IncrementalPrediction`.
    """

    lambda_: float | jax.Array | Schedule = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL)

    def init_memory(self, weights):
        return jnp.zeros_like(weights), jnp.float32(0)

    def learn(self, state, step, t):
        trace, before = state.memory
        discount = at(self.discount, t)
        lambda_ = at(self.lambda_, t)
        follow_on = before + 1
        emphasis = lambda_ + (1 - lambda_) * follow_on
        trace = step.ratio * (discount * lambda_ * trace + emphasis * step.features)
        error = td_error(step, state.weights, discount)
        weights = state.weights + self.step_size(state, step.state, t) * error * trace
        memory = trace, step.ratio * discount * follow_on
        memory = jax.tree.map(lambda x: jnp.where(step.done, 0, x), memory)
        return self.count_visit(state._replace(weights=weights, memory=memory), step.state)
