r"""Temporal-difference prediction: TD(0), n-step TD and TD(:math:`\lambda`)."""

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import IncrementalPrediction, td_error
from purerl.agents.tabular.n_step import Window
from purerl.agents.tabular.traces import TRACES, Traces
from purerl.checks import UNIT_INTERVAL, check_choice, check_size
from purerl.policy import Policy
from purerl.pytree import static
from purerl.schedule import Schedule, at, check_schedules


class TD(IncrementalPrediction):
    r"""TD(0), a semi-gradient method.

    .. math:: w \leftarrow w + \alpha \rho \delta x(S)

    Off-policy and with features it may diverge
    (:func:`purerl.envs.diagnostic.baird_star`). Sutton, "Learning to predict by the
    methods of temporal differences" (Machine Learning 3, 1988); Sutton & Barto (2018),
    sections 6.1, 9.3 and 11.1.

    Attributes and errors: as in
    :class:`~purerl.agents.prediction.base.IncrementalPrediction`.
    """

    def learn(self, state, step, t):
        delta = td_error(step, state.weights, at(self.discount, t))
        move = self.step_size(state, step.state, t) * step.ratio * delta
        weights = state.weights + move * step.features
        return self.count_visit(state._replace(weights=weights), step.state)


class NStepTD(IncrementalPrediction):
    r"""n-step TD.

    .. math::
        w \leftarrow w + \alpha \rho (G - \hat v(S_\tau)) x(S_\tau), \\
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i} + \gamma^n \hat v(S_{\tau+n}), \qquad
        \rho = \prod_{i=0}^{n-1}
            \frac{\pi(A_{\tau+i} \mid S_{\tau+i})}{b(A_{\tau+i} \mid S_{\tau+i})}

    Sum and product end with the episode. Its last states are updated at its end, oldest
    first. Sutton & Barto (2018), sections 7.1 and 7.3.

    Attributes:
        n: steps, at least 1. Static.
        The others, and errors: as in
            :class:`~purerl.agents.prediction.base.IncrementalPrediction`.
    """

    n: int = static(default=4)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "n")

    def init_memory(self, weights):
        return Window.empty(self.n)

    def learn(self, state, step, t):
        window = state.memory.push(step.state, jnp.int32(0), step.reward)
        window = window.scale_ratios(step.ratio)
        ready = window.ready(step.done)
        returns = window.returns(step.next_features @ state.weights, at(self.discount, t))

        def learn(i, state):
            observation = window.observations[i]
            x = self.x(observation)
            error = returns[i] - x @ state.weights
            move = self.step_size(state, observation, t) * window.ratios[i] * error
            weights = state.weights + jnp.where(ready[i], move, 0) * x
            return self.count_visit(state._replace(weights=weights), observation, ready[i])

        state = jax.lax.fori_loop(0, self.n, learn, state)
        return state._replace(memory=window.without_ready(step.done))


class TDLambda(IncrementalPrediction):
    r"""TD(:math:`\lambda`): TD with eligibility traces.

    .. math::
        z \leftarrow \rho (\gamma \lambda z + x), \qquad
        w \leftarrow w + \alpha \delta z

    With dutch traces it is true online TD(:math:`\lambda`). ``lambda_ = 0`` is
    :class:`TD`; with dutch traces and a constant step size, ``lambda_ = 1`` is Monte
    Carlo at the end of every episode. Sutton (1988); van Seijen et al. (2016); Sutton &
    Barto (2018), sections 12.2, 12.5 and 12.9.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        trace: ``"accumulating"``; ``"replacing"``, for tables and features of 0 and 1;
            or ``"dutch"``, on-policy (see :mod:`purerl.agents.tabular.traces`). Static.
        The others: as in :class:`~purerl.agents.prediction.base.IncrementalPrediction`.

    Raises:
        ValueError: also for dutch traces with a target.
    """

    lambda_: float | jax.Array | Schedule = 0.9
    trace: str = static(default="accumulating")

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, lambda_=UNIT_INTERVAL)
        check_choice(self, trace=TRACES)
        if self.trace == "dutch" and isinstance(self.target, Policy):
            raise ValueError(
                f"{type(self).__name__}: target is {self.target}; allowed with dutch traces: "
                "None, the behavior"
            )

    def init_memory(self, weights):
        return Traces.empty(weights)

    def learn(self, state, step, t):
        discount = at(self.discount, t)
        next_value = step.next_features @ state.weights
        weights, memory = state.memory.update(
            self.trace,
            state.weights,
            step.features,
            self.step_size(state, step.state, t),
            step.reward + discount * next_value,
            discount * at(self.lambda_, t),
            next_value,
            step.ratio,
        )
        memory = jax.tree.map(
            lambda new, first: jnp.where(step.done, first, new), memory, Traces.empty(weights)
        )
        return self.count_visit(state._replace(weights=weights, memory=memory), step.state)
