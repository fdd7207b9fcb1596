r"""Temporal-difference prediction: TD(0), n-step TD and TD(:math:`\lambda`)."""

import jax
import jax.numpy as jnp

from purerl.agents.prediction.base import IncrementalPrediction, td_error
from purerl.agents.tabular.n_step import Window
from purerl.agents.tabular.traces import TRACES, Traces
from purerl.checks import UNIT_INTERVAL, check_choice, check_numbers, check_size
from purerl.policy import Policy
from purerl.pytree import static
from purerl.schedule import Schedule, at


class TD(IncrementalPrediction):
    r"""TD(0), :math:`w \leftarrow w + \alpha \rho \delta x(S)`, a semi-gradient method. Off-policy and with features it may
    diverge (:func:`purerl.envs.diagnostic.baird_star`). Sutton, "Learning to predict by the methods of temporal differences"
    (Machine Learning 3, 1988); Sutton & Barto (2018), sections 6.1, 9.3 and 11.1.

    Attributes and errors: those of :class:`IncrementalPrediction`.
    """

    def learn(self, state, step, t):
        delta = td_error(step, state.weights, at(self.discount, t))
        move = self.step_size(state, step.state, t) * step.ratio * delta
        return self.count_visit(
            state._replace(weights=state.weights + move * step.features), step.state
        )


class NStepTD(IncrementalPrediction):
    r"""TD with targets of :math:`n` steps, :math:`w \leftarrow w + \alpha \rho (G - \hat v(S_\tau)) x(S_\tau)` for

    .. math::
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i} + \gamma^n \hat v(S_{\tau+n}), \qquad
        \rho = \prod_{i=0}^{n-1} \frac{\pi(A_{\tau+i} \mid S_{\tau+i})}{b(A_{\tau+i} \mid S_{\tau+i})},

    the sum and the product ending with the episode; its last states are updated at its end, oldest first. Sutton & Barto
    (2018), sections 7.1 and 7.3.

    Attributes:
        n: steps, at least 1. Static.
        The others and errors: those of :class:`IncrementalPrediction`.
    """

    n: int = static(default=4)

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "n")

    def init_memory(self, weights):
        return Window.empty(self.n)

    def learn(self, state, step, t):
        window = state.memory.push(step.state, jnp.int32(0), step.reward).scale_ratios(step.ratio)
        due, returns = (
            window.ready(step.done),
            window.returns(step.next_features @ state.weights, at(self.discount, t)),
        )

        def learn(i, state):
            here = window.observations[i]
            x = self.x(here)
            move = (
                self.step_size(state, here, t) * window.ratios[i] * (returns[i] - x @ state.weights)
            )
            state = state._replace(weights=state.weights + jnp.where(due[i], move, 0) * x)
            return self.count_visit(state, here, due[i])

        state = jax.lax.fori_loop(0, self.n, learn, state)
        return state._replace(memory=window.without_ready(step.done))


class TDLambda(IncrementalPrediction):
    r"""TD with eligibility traces, which off-policy are :math:`z \leftarrow \rho (\gamma \lambda z + x)`. With dutch traces it
    is true online TD(:math:`\lambda`). ``lambda_ = 0`` is :class:`TD`; with dutch traces and a constant step size ``lambda_ =
    1`` is Monte Carlo at the end of every episode. Sutton (1988); van Seijen et al. (2016); Sutton & Barto (2018), sections
    12.2, 12.5 and 12.9.

    Attributes:
        lambda_: :math:`\lambda` in ``[0, 1]``.
        trace: ``"accumulating"``, ``"replacing"``, for tables and features of 0 and 1, or ``"dutch"``, on-policy (see
            :mod:`purerl.agents.tabular.traces`). Static.
        The others: those of :class:`IncrementalPrediction`.

    Raises:
        ValueError: also, dutch traces with a target.
    """

    lambda_: float | jax.Array | Schedule = 0.9
    trace: str = static(default="accumulating")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, lambda_=UNIT_INTERVAL)
        check_choice(self, trace=TRACES)
        if self.trace == "dutch" and isinstance(self.target, Policy):
            raise ValueError(
                f"{type(self).__name__}: target is {self.target}; allowed with dutch traces: None, the behavior"
            )

    def init_memory(self, weights):
        return Traces.empty(weights)

    def learn(self, state, step, t):
        discount = at(self.discount, t)
        weights, memory = state.memory.update(
            self.trace,
            state.weights,
            step.features,
            self.step_size(state, step.state, t),
            step.reward + discount * (next_value := step.next_features @ state.weights),
            discount * at(self.lambda_, t),
            next_value,
            step.ratio,
        )
        memory = jax.tree.map(
            lambda new, first: jnp.where(step.done, first, new), memory, Traces.empty(weights)
        )
        return self.count_visit(state._replace(weights=weights, memory=memory), step.state)
