"""Q-learning with an exploration bonus that makes it provably efficient."""

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import TabularControl
from purerl.checks import ABOVE_ZERO, NOT_NEGATIVE, check_numbers, check_size
from purerl.policy import Greedy, Policy
from purerl.pytree import static


class UCBQLearning(TabularControl):
    r"""Optimistic Q-learning over episodes of :math:`H` steps, rewards in ``[0, 1]``.

    At the :math:`n`-th visit to a pair

    .. math::
        Q(S, A) \leftarrow (1 - \alpha_n) Q(S, A) + \alpha_n (R + V(S') + b_n), \\
        \alpha_n = \frac{H + 1}{H + n}, \quad b_n = c \sqrt{\frac{H^3 \iota}{n}}, \quad
        V(s) = \min(H, \max_a Q(s, a)),

    starting from :math:`Q = H` and acting greedily. With probability :math:`1 - p` its
    regret over :math:`T` steps is :math:`O(\sqrt{H^4 S A T \iota})`, where
    :math:`\iota = \log(S A T / p)` and :math:`S` is the number of states at one time.
    There is no discount, and time is part of the state: use it on
    ``FiniteEnvironment.of(mdp.time_expanded(model, horizon))``. Jin, Allen-Zhu, Bubeck
    & Jordan, "Is Q-learning provably efficient?" (NeurIPS 2018), algorithm 1 (with
    Hoeffding's bonus).

    Attributes:
        env: an environment with ``env.num_states`` states that observes their index,
            whose episodes end within ``horizon`` steps.
        horizon: :math:`H`, steps of an episode. Static.
        confidence: :math:`c`, not negative. The theory only needs a large enough
            constant; smaller values explore less and learn faster.
        log_term: :math:`\iota`, above 0.

    Raises:
        ValueError: a number out of range, or ``env`` does not observe the index of its
            state.
    """

    horizon: int = static(default=20)
    confidence: float | jax.Array = 0.05
    log_term: float | jax.Array = 10.0

    needs_visits = True
    discount = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "horizon")
        check_numbers(self, confidence=NOT_NEGATIVE, log_term=ABOVE_ZERO)

    @property
    def behavior_policy(self) -> Policy:
        return Greedy()

    @property
    def initial_value(self):
        return float(self.horizon)

    def learn(self, key, state, transition, t):
        pair = transition.pair
        state = self.count_visit(state, pair)
        n = self.visits(state)[pair].astype(jnp.float32)
        horizon = self.horizon
        bonus = jnp.float32(self.confidence) * jnp.sqrt(horizon**3 * jnp.float32(self.log_term) / n)
        value = jnp.minimum(horizon, jnp.max(self.q_values(state.q, transition.next_observation)))
        target = transition.reward + jnp.where(transition.terminated, 0, value) + bonus
        move = (horizon + 1) / (horizon + n) * (target - state.q[pair])
        return state._replace(q=state.q.at[pair].add(move))
