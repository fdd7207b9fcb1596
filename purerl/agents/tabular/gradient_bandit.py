"""Preferences that follow the gradient of the expected reward."""

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl
from purerl.checks import FINITE, NOT_NEGATIVE, check_numbers
from purerl.policy import Softmax
from purerl.pytree import static
from purerl.schedule import Schedule, at


class GradientBandit(TabularControl):
    r"""Stochastic gradient ascent on preferences :math:`H`, from which :math:`\pi(a) \propto e^{H(a)}`:

    .. math:: H(a) \leftarrow H(a) + \alpha (R - \bar R) \left( [a = A] - \pi(a) \right) \quad \text{for all } a,

    with :math:`\bar R` the average of the rewards before this one (this one, if it is the first). A bandit has one state; where
    there are several, each is a bandit of its own, with its own average. Williams, "Simple statistical gradient-following
    algorithms for connectionist reinforcement learning" (Machine Learning 8, 1992); Sutton & Barto (2018), section 2.8.

    ``q`` holds the preferences, ``memory`` the averages, float32 ``[S]``.

    Attributes:
        env: an environment of ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha`, not negative; a schedule is called with ``t``.
        initial_value: of the preferences.
        baseline: whether to subtract the average; otherwise it is 0. Static.

    Raises:
        ValueError: a number out of its range, or an environment that does not observe the index of its state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    baseline: bool = static(default=True)

    needs_visits = True
    discount = 0.0
    behavior_policy = Softmax()

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, learning_rate=NOT_NEGATIVE, initial_value=FINITE)

    def init_memory(self, q):
        return jnp.zeros(q.shape[0])

    def learn(self, key, state, transition, t):
        here, action, reward = transition.observation, transition.action, transition.reward
        earlier = jnp.sum(state.visits[here])
        average = jnp.where(earlier == 0, reward, state.memory[here])
        gradient = jax.nn.one_hot(action, state.q.shape[-1]) - jax.nn.softmax(state.q[here])
        advantage = reward - average if self.baseline else reward
        q = state.q.at[here].add(at(self.learning_rate, t) * advantage * gradient)
        memory = state.memory.at[here].set(average + (reward - average) / (earlier + 1))
        return self.count_visit(state._replace(q=q, memory=memory), (here, action))
