r"""Control by targets of several steps: n-step Sarsa and n-step tree backup (Sutton & Barto, 2018, chapter 7).

An action is learned about :math:`n` steps after it was taken, and what an episode has left when it ends at once, oldest first,
as in the book's boxes. ``Window`` holds the last :math:`n` steps in the order they were taken, the newest at the end.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import check_size
from purerl.policy import Policy
from purerl.pytree import static
from purerl.schedule import at


class Window(NamedTuple):
    """What is remembered until it is learned from.

    Attributes:
        observations, actions: int32 ``[n]``.
        rewards: float32 ``[n]``.
        ratios: for an entry the product of importance ratios of the actions after it, float32 ``[n]``.
        size: how many of the last entries are of this episode and not learned from yet, int32 ``[]``.
        next_action: to be taken next, int32 ``[]``; -1 where an episode begins.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    ratios: jax.Array
    size: jax.Array
    next_action: jax.Array

    @classmethod
    def empty(cls, n: int) -> "Window":
        zeros = jnp.zeros(n, jnp.int32)
        return cls(zeros, zeros, jnp.zeros(n), jnp.ones(n), jnp.int32(0), jnp.int32(-1))

    def push(self, observation, action, reward, next_action=-1) -> "Window":
        """With a step more, and without the oldest if it was full."""
        rows = zip(self[:4], (observation, action, reward, 1.0), strict=True)
        size = jnp.minimum(self.size + 1, len(self.rewards))
        return Window(
            *(jnp.roll(old, -1).at[-1].set(new) for old, new in rows), size, jnp.int32(next_action)
        )

    def scale_ratios(self, ratio) -> "Window":
        """With an action more, of this importance ratio, after those in the window."""
        return self._replace(ratios=self.ratios * ratio)

    def returns(self, last_value, discount) -> jax.Array:
        """From each entry on, what follows the last being worth ``last_value``: float32 ``[n]``."""

        def back(later, reward):
            now = reward + discount * later
            return now, now

        return jax.lax.scan(back, last_value, self.rewards, reverse=True)[1]

    def ready(self, done: jax.Array) -> jax.Array:
        """Whose time has come, bool ``[n]``: the oldest if the window is full, and all at the end of an episode."""
        age = jnp.arange(len(self.rewards))
        return (age >= len(age) - self.size) & (done | (age == 0))

    def without_ready(self, done: jax.Array) -> "Window":
        """Without those whose time had come."""
        full = self.size == len(self.rewards)
        size = jnp.where(done, 0, self.size - full.astype(jnp.int32))
        return self._replace(size=size, next_action=jnp.where(done, -1, self.next_action))


class _NStep(IncrementalControl):
    n: int = static(default=4)
    target: Policy | None = None

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "n")

    def init_memory(self, q):
        return Window.empty(self.n)

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def target_probabilities(self, state, observation, t):
        policy = self.behavior_policy if self.target is None else self.target
        return policy.probabilities(self.policy_input(state, observation, t))


class NStepSARSA(_NStep):
    r"""Sarsa that looks :math:`n` steps ahead,

    .. math::
        Q(S_\tau, A_\tau) \leftarrow Q(S_\tau, A_\tau) + \alpha \rho \left( G - Q(S_\tau, A_\tau) \right), \qquad
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i} + \gamma^n Q(S_{\tau+n}, A_{\tau+n}),

    the sum ending, without the last term, where the episode terminates. Where it is truncated, the value is that of the state
    reached and of an action drawn for it, as it was before the last updates of the episode. On-policy :math:`\rho = 1`, and
    ``n = 1`` is :class:`~purerl.agents.tabular.one_step.SARSA`. Off-policy

    .. math:: \rho = \prod_{i=1}^{n} \frac{\pi(A_{\tau+i} \mid S_{\tau+i})}{b(A_{\tau+i} \mid S_{\tau+i})},

    each factor as the policies were when the action was chosen. Sutton & Barto (2018), sections 7.2 and 7.3.

    Attributes:
        n: steps, at least 1. Static.
        target: :math:`\pi`, a policy with ``probabilities``, as the behavior must have them then; the behavior by default.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def learn(self, key, state, transition, t):
        there, discount = transition.next_observation, at(self.discount, t)
        inputs = self.policy_input(state, there, t)
        next_action = self.behavior_policy.sample(key, inputs)
        window = state.memory.push(
            transition.observation, transition.action, transition.reward, next_action
        )
        if self.target is not None:
            ratio = (
                self.target.probabilities(inputs)[next_action]
                / self.behavior_policy.probabilities(inputs)[next_action]
            )
            window = window.scale_ratios(jnp.where(transition.terminated, 1, ratio))
        last_value = jnp.where(transition.terminated, 0, state.q[there, next_action])
        due, returns = window.ready(transition.done), window.returns(last_value, discount)

        def learn(i, state):
            pair = window.observations[i], window.actions[i]
            return self.update_towards(state, pair, returns[i], t, window.ratios[i], due[i])

        state = jax.lax.fori_loop(0, self.n, learn, state, unroll=min(self.n, 4))
        return state._replace(memory=window.without_ready(transition.done))


class TreeBackup(_NStep):
    r"""Off-policy control over :math:`n` steps without importance sampling: at every step the actions that were not taken count
    with their present values,

    .. math::
        G_\tau = R_{\tau+1} + \gamma \sum_{a \ne A_{\tau+1}} \pi(a \mid S_{\tau+1}) Q(S_{\tau+1}, a)
                 + \gamma \pi(A_{\tau+1} \mid S_{\tau+1}) G_{\tau+1},

    and at the last of them all actions do, :math:`R + \gamma \sum_a \pi(a \mid S) Q(S, a)`. With ``n = 1`` it is
    :class:`~purerl.agents.tabular.one_step.ExpectedSARSA`. Precup, Sutton & Singh, "Eligibility traces for off-policy policy
    evaluation" (ICML 2000); Sutton & Barto (2018), section 7.5.

    Attributes:
        n: steps, at least 1. Static.
        target: :math:`\pi`, any policy with ``probabilities``; the behavior by default.
        The others and errors: those of :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def learn(self, key, state, transition, t):
        there, discount = transition.next_observation, at(self.discount, t)
        next_action = self.behavior_policy.sample(key, self.policy_input(state, there, t))
        window = state.memory.push(
            transition.observation, transition.action, transition.reward, next_action
        )
        due = window.ready(transition.done)

        def expected(state):
            """The last step's bracket, and what the others are made of: of each entry but the oldest."""
            last = jnp.sum(
                self.target_probabilities(state, there, t) * self.q_values(state.q, there)
            )
            pi = jax.vmap(self.target_probabilities, (None, 0, None))(state, window.observations, t)
            q = jax.vmap(self.q_values, (None, 0))(state.q, window.observations)
            taken = jax.nn.one_hot(window.actions, q.shape[-1], dtype=q.dtype)
            return (
                jnp.where(transition.terminated, 0, last),
                jnp.sum(pi * q * (1 - taken), -1),
                jnp.sum(pi * taken, -1),
            )

        def learn(i, state):
            last, others, share = expected(state)

            def back(later, entry):
                reward, rest, weight = entry
                value = reward + discount * later
                return rest + weight * value, value

            _, returns = jax.lax.scan(back, last, (window.rewards, others, share), reverse=True)
            return self.update_towards(
                state, (window.observations[i], window.actions[i]), returns[i], t, where=due[i]
            )

        state = jax.lax.fori_loop(0, self.n, learn, state)
        return state._replace(memory=window.without_ready(transition.done))
