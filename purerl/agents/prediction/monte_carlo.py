"""Monte Carlo prediction."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.prediction.base import IncrementalPrediction
from purerl.agents.tabular.monte_carlo import VISITS, Returns, Weights
from purerl.checks import check_choice
from purerl.pytree import static
from purerl.schedule import Schedule, at, power


class MonteCarloPrediction(IncrementalPrediction):
    r"""Monte Carlo prediction: averages of the returns that followed visits to a state.

    On-policy the importance ratio :math:`\rho` is 1. Off-policy, with :math:`\rho_i`
    the product of the ratios from visit :math:`i` to the end of the episode, averages
    are either *ordinary*,

    .. math:: V(S_i) \leftarrow V(S_i) + \alpha \left( \rho_i G_i - V(S_i) \right),

    which are unbiased but may have infinite variance, or *weighted*,
    :math:`V(s) = \sum_i \rho_i G_i / \sum_i \rho_i`, which are consistent. Sutton &
    Barto (2018), sections 5.1, 5.5 and 5.6.

    Attributes:
        learning_rate, count_visits: by default the sample average, ``power(1, 1)`` of
            the number of earlier visits. Not used by weighted averages.
        visit: ``"first"`` (only the first visit to a state in an episode counts) or
            ``"every"``. Static.
        weighted: whether importance sampling is weighted. Static.
        The others: as in :class:`~purerl.agents.prediction.base.IncrementalPrediction`.

    Raises:
        ValueError: also if ``features`` are given, since it keeps a table.
    """

    learning_rate: float | jax.Array | Schedule = power(1.0, 1.0)
    count_visits: bool = static(default=True)
    visit: str = static(default="first")
    weighted: bool = static(default=False)

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, visit=VISITS, weighted=(False, True))
        if isinstance(self.features, (jax.Array, np.ndarray)):
            raise ValueError(
                f"{type(self).__name__}: features are given; allowed: None, for it keeps a table"
            )

    def init_memory(self, weights):
        return (Weights if self.weighted else Returns).empty(weights)

    def learn(self, state, step, t):
        first_visit = ~state.memory.met[step.state]
        counts = first_visit if self.visit == "first" else jnp.bool_(True)
        alpha = 1.0 if self.weighted else self.step_size(state, step.state, t)
        memory = state.memory.add_visit(step.state, jnp.where(counts, alpha, 0))
        memory = memory.scale(step.ratio).add_reward(step.reward, at(self.discount, t))
        last_value = step.next_features @ state.weights
        weights, memory = memory.close_episode(state.weights, last_value, step.done)
        state = state._replace(weights=weights, memory=memory)
        return self.count_visit(state, step.state, counts)
