"""The gradient bandit: preferences that follow the gradient of the expected reward."""

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl
from purerl.checks import FINITE, NOT_NEGATIVE, check_choice, check_numbers
from purerl.policy import Policy, Softmax
from purerl.pytree import static
from purerl.schedule import Schedule, at, check_schedules


class GradientBandit(TabularControl):
    r"""Stochastic gradient ascent on preferences :math:`H`, with
    :math:`\pi(a) \propto e^{H(a)}`.

    .. math::
        H(a) \leftarrow H(a) + \alpha (R - \bar R) \left( [a = A] - \pi(a) \right)
        \quad \text{for all } a,

    with :math:`\bar R` the average of the earlier rewards (or this one, if it is the
    first). A bandit has one state; where there are several, each is a bandit of its own
    with its own average. Williams, "Simple statistical gradient-following algorithms
    for connectionist reinforcement learning" (Machine Learning 8, 1992); Sutton & Barto
    (2018), section 2.8.

    ``q`` holds the preferences, ``memory`` the averages, float32 ``[S]``. It is
    evaluated greedily.

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index.
        learning_rate: :math:`\alpha`, not negative. A schedule is evaluated at ``t``.
        initial_value: of the preferences.
        baseline: whether to subtract the average; otherwise it is 0. Static.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    learning_rate: float | jax.Array | Schedule = 0.1
    initial_value: float | jax.Array = 0.0
    baseline: bool = static(default=True)

    needs_visits = True
    discount = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_schedules(self, learning_rate=NOT_NEGATIVE)
        check_numbers(self, initial_value=FINITE)
        check_choice(self, baseline=(False, True))

    @property
    def behavior_policy(self) -> Policy:
        return Softmax()

    def init_memory(self, q):
        return jnp.zeros(q.shape[0], q.dtype)

    def learn(self, key, state, transition, t):
        bandit, action = transition.pair
        reward = transition.reward
        earlier = jnp.sum(self.visits(state)[bandit], dtype=jnp.int32)
        average = jnp.where(earlier == 0, reward, state.memory[bandit])
        pi = jax.nn.softmax(self.q_values(state.q, bandit))
        gradient = jax.nn.one_hot(action, state.q.shape[-1], dtype=pi.dtype) - pi
        advantage = reward - average if self.baseline else reward
        move = at(self.learning_rate, t) * advantage * gradient
        q = state.q.at[bandit].add(move)
        memory = state.memory.at[bandit].set(average + (reward - average) / (earlier + 1))
        return self.count_visit(state._replace(q=q, memory=memory), transition.pair)
