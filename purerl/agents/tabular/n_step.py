r"""Control by n-step targets: n-step Sarsa and n-step tree backup.

A pair is updated :math:`n` steps after it was visited. When the episode ends, those
still waiting are updated at once, oldest first, as in the boxes of Sutton & Barto
(2018), chapter 7. :class:`Window` holds the last :math:`n` steps in order, the newest
at the end.
"""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from purerl.agents.tabular.base import IncrementalControl
from purerl.checks import check_size
from purerl.policy import Policy, check_policies
from purerl.pytree import static
from purerl.schedule import at

INDEX = jax.ShapeDtypeStruct((), jnp.int32)  # of an observation that is an index


class Window(NamedTuple):
    """The last ``n`` steps, kept until they have been learned from.

    Attributes:
        observations: int32 ``[n]``; or what else stands for a state, ``[n, ...]``.
        actions: int32 ``[n]``.
        rewards: float32 ``[n]``.
        ratios: for each entry the product of the importance ratios of the actions after
            it, float32 ``[n]``.
        size: how many of the last entries belong to this episode and wait for their
            update, int32 ``[]``.
        next_action: the next action, int32 ``[]``; -1 where an episode begins.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    ratios: jax.Array
    size: jax.Array
    next_action: jax.Array

    @classmethod
    def empty(cls, n: int, observation: jax.ShapeDtypeStruct = INDEX) -> Self:
        """A window without entries, of observations of some shape and dtype."""
        observations = jnp.zeros((n, *observation.shape), observation.dtype)
        actions = jnp.zeros(n, jnp.int32)
        rewards = jnp.zeros(n, jnp.float32)
        ratios = jnp.ones_like(rewards)
        return cls(observations, actions, rewards, ratios, jnp.int32(0), jnp.int32(-1))

    def push(self, observation, action, reward, next_action=-1) -> Self:
        """Add a step, and drop the oldest if the window is full."""
        entries = zip(self[:4], (observation, action, reward, 1.0), strict=True)
        size = jnp.minimum(self.size + 1, len(self.rewards))
        shifted = [jnp.roll(old, -1, axis=0).at[-1].set(new) for old, new in entries]
        return self._make([*shifted, size, jnp.int32(next_action)])

    def scale_ratios(self, ratio) -> Self:
        """Multiply by the importance ratio of one more action."""
        return self._replace(ratios=self.ratios * ratio)

    def returns(self, last_value, discount) -> jax.Array:
        """Returns of all entries, before a state worth ``last_value``, ``[n]``."""

        def back(later, reward):
            now = reward + discount * later
            return now, now

        return jax.lax.scan(back, last_value, self.rewards, reverse=True)[1]

    def ready(self, done: jax.Array) -> jax.Array:
        """Entries to update now, bool ``[n]``: the oldest if the window is full, and
        all at the end of an episode."""
        age = jnp.arange(len(self.rewards), dtype=jnp.int32)
        return (age >= len(age) - self.size) & (done | (age == 0))

    def without_ready(self, done: jax.Array) -> Self:
        """The window without the entries that :meth:`ready` names."""
        full = self.size == len(self.rewards)
        size = jnp.where(done, 0, self.size - full.astype(jnp.int32))
        return self._replace(size=size, next_action=jnp.where(done, -1, self.next_action))


class _NStep(IncrementalControl):
    n: int = static(default=4)
    target: Policy | None = None

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "n")
        check_policies(self, "target")

    def init_memory(self, q):
        return Window.empty(self.n)

    def choose(self, key, state, t):
        planned = state.memory.next_action
        return jnp.where(planned < 0, super().choose(key, state, t), planned)

    def target_pi(self, state, observation, t):
        """The target policy in a state, float32 ``[A]``."""
        policy = self.behavior_policy if self.target is None else self.target
        return policy.probabilities(self.policy_input(state, observation, t))


class NStepSARSA(_NStep):
    r"""n-step Sarsa, on-policy or with importance sampling.

    .. math::
        Q(S_\tau, A_\tau) \leftarrow Q(S_\tau, A_\tau)
            + \alpha \rho \left( G - Q(S_\tau, A_\tau) \right), \qquad
        G = \sum_{i=1}^{n} \gamma^{i-1} R_{\tau+i}
            + \gamma^n Q(S_{\tau+n}, A_{\tau+n})

    The sum ends with the episode, without the last term where it terminates. Where the
    episode is truncated, the last term is the value of the state reached and of an
    action drawn for it, before the last updates of the episode. On-policy
    :math:`\rho = 1`, and ``n = 1`` is :class:`~purerl.agents.tabular.one_step.SARSA`.
    Off-policy

    .. math::
        \rho = \prod_{i=1}^{n}
            \frac{\pi(A_{\tau+i} \mid S_{\tau+i})}{b(A_{\tau+i} \mid S_{\tau+i})},

    each factor with the policies as they were when the action was chosen. Sutton &
    Barto (2018), sections 7.2 and 7.3.

    Attributes:
        n: steps, at least 1. Static.
        target: :math:`\pi`, a policy with ``probabilities``, which the behavior then
            needs too; the behavior by default.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def learn(self, key, state, transition, t):
        next_state = transition.next_observation
        inputs = self.policy_input(state, next_state, t)
        next_action = self.behavior_policy.sample(key, inputs)
        window = state.memory.push(*transition.pair, transition.reward, next_action)
        if self.target is not None:
            pi = self.target.probabilities(inputs)[next_action]
            ratio = pi / self.behavior_policy.probabilities(inputs)[next_action]
            window = window.scale_ratios(jnp.where(transition.terminated, 1, ratio))
        last_value = jnp.where(transition.terminated, 0, state.q[next_state, next_action])
        returns = window.returns(last_value, at(self.discount, t))
        ready = window.ready(transition.done)

        def learn(i, state):
            pair = window.observations[i], window.actions[i]
            return self.update_towards(state, pair, returns[i], t, window.ratios[i], ready[i])

        state = jax.lax.fori_loop(0, self.n, learn, state, unroll=min(self.n, 4))
        return state._replace(memory=window.without_ready(transition.done))


class TreeBackup(_NStep):
    r"""n-step tree backup: off-policy control without importance sampling.

    At every step, the actions not taken count with their current values,

    .. math::
        G_\tau = R_{\tau+1}
            + \gamma \sum_{a \ne A_{\tau+1}} \pi(a \mid S_{\tau+1}) Q(S_{\tau+1}, a)
            + \gamma \pi(A_{\tau+1} \mid S_{\tau+1}) G_{\tau+1},

    and at the last step all actions do,
    :math:`R + \gamma \sum_a \pi(a \mid S) Q(S, a)`. With ``n = 1`` it is
    :class:`~purerl.agents.tabular.one_step.ExpectedSARSA`. Precup, Sutton & Singh,
    "Eligibility traces for off-policy policy evaluation" (ICML 2000); Sutton & Barto
    (2018), section 7.5.

    Attributes:
        n: steps, at least 1. Static.
        target: :math:`\pi`, a policy with ``probabilities``; the behavior by default.
        The others, and errors: as in
            :class:`~purerl.agents.tabular.base.IncrementalControl`.
    """

    def learn(self, key, state, transition, t):
        next_state = transition.next_observation
        discount = at(self.discount, t)
        inputs = self.policy_input(state, next_state, t)
        next_action = self.behavior_policy.sample(key, inputs)
        window = state.memory.push(*transition.pair, transition.reward, next_action)
        ready = window.ready(transition.done)

        def expectations(state):
            """The bracket of the last step; and for every entry, the part of the
            actions not taken and the probability of the one taken."""
            # Unmasked, since what is not available has probability zero.
            values = state.q[next_state]
            last = jnp.sum(self.target_pi(state, next_state, t) * values)
            pi = jax.vmap(self.target_pi, (None, 0, None))(state, window.observations, t)
            q = state.q[window.observations]
            taken = jax.nn.one_hot(window.actions, q.shape[-1], dtype=q.dtype)
            others = jnp.sum(pi * q * (1 - taken), -1)
            return jnp.where(transition.terminated, 0, last), others, jnp.sum(pi * taken, -1)

        def learn(i, state):
            last, others, taken = expectations(state)

            def back(later, entry):
                reward, rest, weight = entry
                value = reward + discount * later
                return rest + weight * value, value

            entries = window.rewards, others, taken
            _, returns = jax.lax.scan(back, last, entries, reverse=True)
            pair = window.observations[i], window.actions[i]
            return self.update_towards(state, pair, returns[i], t, where=ready[i])

        state = jax.lax.fori_loop(0, self.n, learn, state)
        return state._replace(memory=window.without_ready(transition.done))
