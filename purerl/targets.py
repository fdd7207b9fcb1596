r"""Targets of deep Q-learning: which return of the next state is backed up.

A target reads action values and answers with a :class:`Backup`: probabilities of the
next action, and what is added to the reward and to the next value,

.. math::
    G = R + b + \gamma (1 - d) \left( \sum_a w_a Z(S', a) + h \right),

where :math:`Z(S', a)` is whatever the :mod:`head <purerl.heads>` estimates of the
return, by the target network. So every target works with every head. All functions take
one transition; the agent maps them over a batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.checks import FINITE, POSITIVE, UNIT_INTERVAL, check_numbers, refusal, shown
from purerl.pytree import Node


class ActionValues(NamedTuple):
    r"""The action values that a target may read.

    Those that are functions need another pass through a network, which is made only
    where they are called. An action that is not available has the value ``-inf``.

    Attributes:
        next_target: :math:`Q_{\theta^-}(S', \cdot)`, float32 ``[A]``.
        next_online: gives :math:`Q_\theta(S', \cdot)`, float32 ``[A]``.
        target: gives :math:`Q_{\theta^-}(S, \cdot)`, float32 ``[A]``.
    """

    next_target: jax.Array
    next_online: Callable[[], jax.Array]
    target: Callable[[], jax.Array]


class Backup(NamedTuple):
    """What is backed up from the next state.

    Attributes:
        weights: :math:`w`, probabilities of the next action, float32 ``[A]``.
        bonus: :math:`b`, added to the reward, float32 ``[]``.
        entropy: :math:`h`, added to the value of the next state, float32 ``[]``.
    """

    weights: jax.Array
    bonus: float | jax.Array = 0.0
    entropy: float | jax.Array = 0.0


class Target(Node):
    """Base class of targets.

    ``one_step`` is True for targets that are not defined for returns of several steps.
    """

    one_step = False

    def backup(self, values: ActionValues, action: jax.Array) -> Backup:
        """What is backed up after ``action``, int32 ``[]``."""
        raise NotImplementedError(f"{type(self).__name__} does not define backup")


def check_target(node: object, field: str) -> None:
    """Check that a field is a target.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    value = getattr(node, field)
    if not isinstance(value, Target):
        allowed = "a target, such as purerl.targets.DoubleQ()"
        raise refusal(type(node).__name__, field, shown(value), allowed)


class QLearning(Target):
    r"""The best next action according to the target network.

    .. math:: G = R + \gamma (1 - d) \max_a Q_{\theta^-}(S', a).

    Mnih et al., "Human-level control through deep reinforcement learning" (Nature 518,
    2015). Of equal values the first is taken.

    >>> import jax.numpy as jnp
    >>> q = jnp.array([1.0, 3.0])
    >>> values = ActionValues(q, next_online=lambda: q, target=lambda: q)
    >>> print(QLearning().backup(values, jnp.int32(0)).weights)
    [0. 1.]
    """

    def backup(self, values: ActionValues, action: jax.Array) -> Backup:
        return Backup(_greedy(values.next_target))


class DoubleQ(Target):
    r"""The best next action according to the online network.

    .. math:: G = R + \gamma (1 - d) \, Q_{\theta^-}(S', \arg\max_a Q_\theta(S', a)).

    The maximum of noisy estimates is biased upwards; here the estimate that selects has
    other errors than the one that is read. van Hasselt, Guez & Silver, "Deep
    reinforcement learning with double Q-learning" (AAAI 2016).

    >>> import jax.numpy as jnp
    >>> q, online = jnp.array([1.0, 3.0]), jnp.array([2.0, 1.0])
    >>> values = ActionValues(q, next_online=lambda: online, target=lambda: q)
    >>> print(DoubleQ().backup(values, jnp.int32(0)).weights)
    [1. 0.]
    """

    def backup(self, values: ActionValues, action: jax.Array) -> Backup:
        return Backup(_greedy(values.next_online()))


class Munchausen(Target):
    r"""Soft Q-learning with the log-probability of the action as a bonus.

    With :math:`\pi = \text{softmax}(Q_{\theta^-} / \tau)`,

    .. math::
        G = R + \alpha \, [\tau \ln \pi(A \mid S)]_{l}^0
            + \gamma (1 - d) \sum_a \pi(a \mid S') \left(
                Q_{\theta^-}(S', a) - \tau \ln \pi(a \mid S') \right),

    where the bracket is clipped to :math:`[l, 0]`. Vieillard, Pietquin & Geist,
    "Munchausen reinforcement learning" (NeurIPS 2020). A distributional head moves the
    whole distribution by the bonus and by the entropy. The bonus belongs to every
    reward, but only the first action of a return is known with its policy, so returns
    have one step.

    Attributes:
        temperature: :math:`\tau`, above 0.
        scale: :math:`\alpha` in ``[0, 1]``; 0 is soft Q-learning.
        clip: :math:`l`, at most 0.
    """

    temperature: float | jax.Array = 0.03
    scale: float | jax.Array = 0.9
    clip: float | jax.Array = -1.0

    one_step = True

    def __post_init__(self):
        not_positive = ("a finite number of at most 0", lambda x: FINITE[1](x) & (x <= 0))
        check_numbers(self, temperature=POSITIVE, scale=UNIT_INTERVAL, clip=not_positive)

    def backup(self, values: ActionValues, action: jax.Array) -> Backup:
        log_pi = self.temperature * jax.nn.log_softmax(values.target() / self.temperature)
        next_log_pi = jax.nn.log_softmax(values.next_target / self.temperature)
        pi = jnp.exp(next_log_pi)
        # An action that is not available has probability 0 and an infinite logarithm.
        surprise = -pi * jnp.where(pi > 0, next_log_pi, 0.0)
        return Backup(
            weights=pi,
            bonus=self.scale * jnp.clip(log_pi[action], self.clip, 0.0),
            entropy=self.temperature * jnp.sum(surprise),
        )


def _greedy(values):
    return jax.nn.one_hot(jnp.argmax(values), values.shape[0], dtype=jnp.float32)
