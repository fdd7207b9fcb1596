r"""Prediction off-policy with features, where TD diverges: gradient TD and emphatic TD (Sutton & Barto, 2018, sections 11.7 and
11.8).

TD's fixed point minimizes the mean squared *projected* Bellman error,

.. math:: \overline{PBE}(w) = b^\top C^{-1} b, \qquad b = \mathbb E[\rho \delta x], \quad C = \mathbb E[x x^\top].

Gradient methods descend it with a second vector, :math:`v \leftarrow v + \beta \rho (\delta - v^\top x) x`, an estimate of
:math:`C^{-1} b`, the ``memory``, float32 ``[d]``. Emphatic TD weights its updates so that TD is stable instead.
"""

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import IncrementalPrediction, td_error
from purerl.checks import NOT_NEGATIVE, UNIT_INTERVAL, check_numbers
from purerl.schedule import Schedule, at


class GTD2(IncrementalPrediction):
    r""":math:`w \leftarrow w + \alpha \rho (x - \gamma x') (x^\top v)`. It converges to TD's fixed point under the behavior's
    state weights, with :math:`\alpha` small beside :math:`\beta`. Sutton et al., "Fast gradient-descent methods for
    temporal-difference learning with linear function approximation" (ICML 2009).

    Attributes:
        second_rate: :math:`\beta`, not negative; a schedule is called as ``learning_rate`` is. A constant one leaves a bias,
            for the noise of :math:`v` and that of the step go together.
        The others and errors: those of :class:`~purerl.agents.prediction.Incremental`.
    """

    second_rate: float | jax.Array | Schedule = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, second_rate=NOT_NEGATIVE)

    def init_memory(self, weights):
        return jnp.zeros_like(weights)

    def direction(self, step, delta, second, discount):
        """That in which the weights move, but for step size and ratio."""
        return (step.features - discount * step.next_features) * (step.features @ second)

    def learn(self, state, step, t):
        discount, x, second = at(self.discount, t), step.features, state.memory
        delta, alpha = td_error(step, state.weights, discount), self.step_size(state, step.state, t)
        beta = at(self.second_rate, state.visits[step.state] if self.count_visits else t)
        weights = state.weights + alpha * step.ratio * self.direction(step, delta, second, discount)
        memory = second + beta * step.ratio * (delta - x @ second) * x
        return self.count_visit(state._replace(weights=weights, memory=memory), step.state)


class TDC(GTD2):
    r"""TD with gradient correction, or GTD(0): :math:`w \leftarrow w + \alpha \rho (\delta x - \gamma x' (x^\top v))`, which
    goes where :class:`GTD2` does, often sooner. Sutton et al. (ICML 2009).

    Attributes and errors: those of :class:`GTD2`.
    """

    def direction(self, step, delta, second, discount):
        return delta * step.features - discount * step.next_features * (step.features @ second)


class EmphaticTD(IncrementalPrediction):
    r"""TD(:math:`\lambda`) whose updates are weighted by how much their state matters to states visited before, with an
    interest of one in each:

    .. math::
        F_t = \rho_{t-1} \gamma F_{t-1} + 1, \qquad M_t = \lambda + (1 - \lambda) F_t, \qquad
        z_t = \rho_t (\gamma \lambda z_{t-1} + M_t x_t), \qquad w \leftarrow w + \alpha \delta z_t .

    It converges to :func:`~purerl.mdp.td_fixed_point` under the weights of :func:`~purerl.mdp.emphasis`, with one set of
    weights and off-policy, though its variance may be large, even infinite. :math:`F` begins anew with each episode. Sutton,
    Mahmood & White, "An emphatic approach to the problem of off-policy temporal-difference learning" (JMLR 17, 2016).

    ``memory`` is :math:`z`, float32 ``[d]``, and :math:`\rho_{t-1} \gamma F_{t-1}`, float32 ``[]``.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        The others and errors: those of :class:`~purerl.agents.prediction.Incremental`.
    """

    lambda_: float | jax.Array | Schedule = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, lambda_=UNIT_INTERVAL)

    def init_memory(self, weights):
        return jnp.zeros_like(weights), jnp.float32(0)

    def learn(self, state, step, t):
        (trace, before), discount, lambda_ = state.memory, at(self.discount, t), at(self.lambda_, t)
        follow_on = before + 1
        emphasis = lambda_ + (1 - lambda_) * follow_on
        trace = step.ratio * (discount * lambda_ * trace + emphasis * step.features)
        move = self.step_size(state, step.state, t) * td_error(step, state.weights, discount)
        memory = trace, step.ratio * discount * follow_on
        memory = jax.tree.map(lambda x: jnp.where(step.done, 0, x), memory)
        return self.count_visit(
            state._replace(weights=state.weights + move * trace, memory=memory), step.state
        )
