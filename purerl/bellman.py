r"""Targets and returns.

Every function here is pure and takes *one* transition or *one* stream of transitions;
``jax.vmap`` maps it over a batch. All share three conventions.

- They return **targets**, never temporal-difference errors or losses. With :math:`d`
  the terminated flag and :math:`\gamma` the discount, a one-step target is

  .. math:: G = R + \gamma \, (1 - d) \, v(S'),

  and the functions differ in how they obtain :math:`v(S')`.
- ``discount`` is the hyperparameter, not an array of flags. **Only termination stops
  bootstrapping**: if an episode was merely truncated, :math:`S'` has a value and the
  target uses it. Hence the one-step functions have no argument for truncation. The
  value of a terminal state is zero *by definition*, whatever was computed for it: an
  infinity or a NaN there does not reach the target.
- **No gradient is stopped.** A semi-gradient method applies
  ``jax.lax.stop_gradient`` to the target, once, in its loss; a residual-gradient
  method does not.

Wrong ranks, dtypes or lengths raise ``AssertionError`` while tracing, which costs
nothing at run time.
"""

import operator

import chex
import jax
import jax.numpy as jnp
from jax import lax

from purerl.checks import refusal


def one_step(
    reward: jax.Array, terminated: jax.Array, next_value: jax.Array, discount: float | jax.Array
) -> jax.Array:
    r"""The one-step target, :math:`R + \gamma (1 - d) \, v`.

    Args:
        reward: :math:`R`, float ``[]``.
        terminated: :math:`d`, whether :math:`S'` is terminal, bool ``[]``.
        next_value: :math:`v`, the value of :math:`S'`, float ``[]``.
        discount: :math:`\gamma`, ``[]``.

    Returns:
        The target, float ``[]``.

    >>> import jax.numpy as jnp
    >>> print(one_step(jnp.float32(1), jnp.bool_(False), jnp.float32(4), 0.5))
    3.0
    """
    chex.assert_rank([reward, terminated, next_value, discount], 0)
    chex.assert_type([reward, terminated], [float, bool])
    # A select and not a product: 0 * inf and 0 * nan are nan.
    return reward + discount * jnp.where(terminated, 0.0, next_value)


def q_learning(
    reward: jax.Array, terminated: jax.Array, next_q: jax.Array, discount: float | jax.Array
) -> jax.Array:
    r"""The Q-learning target, :math:`R + \gamma (1 - d) \max_a q(S', a)`.

    It is the sampled Bellman optimality operator. Watkins, *Learning from Delayed
    Rewards* (PhD thesis, Cambridge, 1989); Watkins & Dayan, "Q-learning" (Machine
    Learning 8, 1992).

    Args:
        reward: :math:`R`, float ``[]``.
        terminated: :math:`d`, whether :math:`S'` is terminal, bool ``[]``.
        next_q: :math:`q(S', \cdot)`, float ``[A]``.
        discount: :math:`\gamma`, ``[]``.

    Returns:
        The target, float ``[]``.

    >>> import jax.numpy as jnp
    >>> print(q_learning(jnp.float32(1), jnp.bool_(False), jnp.array([2.0, 4.0]), 0.5))
    3.0
    """
    chex.assert_rank(next_q, 1)
    return one_step(reward, terminated, jnp.max(next_q), discount)


def double_q(
    reward: jax.Array,
    terminated: jax.Array,
    next_q_online: jax.Array,
    next_q_target: jax.Array,
    discount: float | jax.Array,
) -> jax.Array:
    r"""The target of double Q-learning: one estimate selects, the other evaluates.

    .. math::
        R + \gamma (1 - d) \, q_\text{target}(S', \arg\max_a q_\text{online}(S', a))

    The maximum of one noisy estimate is biased upwards; with two estimates of
    independent errors it is not. van Hasselt, "Double Q-learning" (NeurIPS 2010); van
    Hasselt, Guez & Silver, "Deep reinforcement learning with double Q-learning" (AAAI
    2016), equation 4.

    Args:
        reward: :math:`R`, float ``[]``.
        terminated: :math:`d`, whether :math:`S'` is terminal, bool ``[]``.
        next_q_online: :math:`q_\text{online}(S', \cdot)`, float ``[A]``. The first of
            equal maxima is taken.
        next_q_target: :math:`q_\text{target}(S', \cdot)`, float ``[A]``.
        discount: :math:`\gamma`, ``[]``.

    Returns:
        The target, float ``[]``.

    >>> import jax.numpy as jnp
    >>> online, target = jnp.array([2.0, 4.0]), jnp.array([9.0, 3.0])
    >>> print(double_q(jnp.float32(1), jnp.bool_(False), online, target, 0.5))
    2.5
    """
    chex.assert_rank([next_q_online, next_q_target], 1)
    chex.assert_equal_shape([next_q_online, next_q_target])
    return one_step(reward, terminated, next_q_target[jnp.argmax(next_q_online)], discount)


def sarsa(
    reward: jax.Array,
    terminated: jax.Array,
    next_q: jax.Array,
    next_action: jax.Array,
    discount: float | jax.Array,
) -> jax.Array:
    r"""The Sarsa target, :math:`R + \gamma (1 - d) \, q(S', A')`.

    Rummery & Niranjan, "On-line Q-learning using connectionist systems"
    (CUED/F-INFENG/TR 166, 1994); Sutton & Barto, *Reinforcement Learning* (2nd ed.,
    2018), equation 6.7.

    Args:
        reward: :math:`R`, float ``[]``.
        terminated: :math:`d`, whether :math:`S'` is terminal, bool ``[]``.
        next_q: :math:`q(S', \cdot)`, float ``[A]``.
        next_action: :math:`A'`, integer ``[]``.
        discount: :math:`\gamma`, ``[]``.

    Returns:
        The target, float ``[]``.

    >>> import jax.numpy as jnp
    >>> next_q = jnp.array([2.0, 4.0])
    >>> print(sarsa(jnp.float32(1), jnp.bool_(False), next_q, jnp.int32(0), 0.5))
    2.0
    """
    chex.assert_rank([next_q, next_action], [1, 0])
    chex.assert_type(next_action, int)
    return one_step(reward, terminated, next_q[next_action], discount)


def expected_sarsa(
    reward: jax.Array,
    terminated: jax.Array,
    next_q: jax.Array,
    policy: jax.Array,
    discount: float | jax.Array,
) -> jax.Array:
    r"""The target of expected Sarsa: an expectation over the next action.

    .. math:: R + \gamma (1 - d) \sum_a \pi(a \mid S') \, q(S', a).

    van Seijen, van Hasselt, Whiteson & Wiering, "A theoretical and empirical analysis
    of expected Sarsa" (ADPRL 2009); Sutton & Barto (2018), equation 6.9.

    Args:
        reward: :math:`R`, float ``[]``.
        terminated: :math:`d`, whether :math:`S'` is terminal, bool ``[]``.
        next_q: :math:`q(S', \cdot)`, float ``[A]``.
        policy: the probabilities :math:`\pi(\cdot \mid S')`, which sum to one, float
            ``[A]``.
        discount: :math:`\gamma`, ``[]``.

    Returns:
        The target, float ``[]``.

    >>> import jax.numpy as jnp
    >>> next_q, pi = jnp.array([2.0, 4.0]), jnp.array([0.75, 0.25])
    >>> print(expected_sarsa(jnp.float32(1), jnp.bool_(False), next_q, pi, 0.5))
    2.25
    """
    chex.assert_rank([next_q, policy], 1)
    chex.assert_equal_shape([next_q, policy])
    return one_step(reward, terminated, jnp.sum(policy * next_q), discount)


def _stream(rewards, terminated, truncated, values_next, discount):
    """Check a stream; return its bootstrap values and the steps that end a return.

    Bootstrap values are zero at terminal states.
    """
    chex.assert_rank([rewards, terminated, truncated, values_next, discount], [1, 1, 1, 1, 0])
    chex.assert_type([rewards, terminated, truncated, values_next], [float, bool, bool, float])
    chex.assert_equal_shape([rewards, terminated, truncated, values_next])
    last = jnp.arange(len(rewards), dtype=jnp.int32) == len(rewards) - 1
    return jnp.where(terminated, 0.0, values_next), terminated | truncated | last


def n_step_return(
    rewards: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    values_next: jax.Array,
    discount: float | jax.Array,
    n: int,
) -> jax.Array:
    r"""The n-step return of every step of a stream that may hold several episodes.

    .. math:: G_t = \sum_{k=0}^{m-1} \gamma^k R_{t+k+1}
                    + \gamma^m (1 - d_{t+m-1}) \, v(S_{t+m}),

    where :math:`m \le n` is the number of steps taken: fewer than :math:`n` if the
    episode ends first, by termination or truncation, or if the stream ends. Later steps
    belong to another episode and are never read. Watkins (1989); Sutton & Barto (2018),
    equation 7.1; on truncation Pardo et al., "Time limits in reinforcement learning"
    (ICML 2018).

    It is computed by :math:`n` vectorized sweeps over the stream, since an n-step
    return is one step followed by an (n-1)-step return.

    Args:
        rewards: :math:`R_{t+1}`, float ``[T]``.
        terminated: whether step :math:`t` reached a terminal state, bool ``[T]``.
        truncated: whether the episode was truncated after step :math:`t`, bool ``[T]``.
            If both flags are set, the step terminated.
        values_next: the value of the state that step :math:`t` led to, never of the one
            after a reset, float ``[T]``.
        discount: :math:`\gamma`, ``[]``.
        n: steps, at least 1. Static. With ``n >= T`` returns reach to the end of the
            stream.

    Returns:
        :math:`G_t`, float ``[T]``.

    Raises:
        ValueError: ``n`` is less than 1.

    >>> import jax.numpy as jnp
    >>> no = jnp.zeros(3, bool)
    >>> rewards, values_next = jnp.array([1.0, 2.0, 4.0]), jnp.array([8.0, 8.0, 8.0])
    >>> print(n_step_return(rewards, no, no, values_next, 0.5, n=2))
    [4. 6. 8.]
    """
    n = operator.index(n)
    if n < 1:
        raise refusal("n_step_return", "n", n, "an integer of at least 1")
    values, ends = _stream(rewards, terminated, truncated, values_next, discount)

    def one_step_more(_, returns):
        return rewards + discount * jnp.where(ends, values, jnp.roll(returns, -1))

    # With a static number of rounds the loop can be differentiated in reverse; for
    # small n it becomes straight-line code.
    one_step = rewards + discount * values
    return lax.fori_loop(1, min(n, len(rewards)), one_step_more, one_step, unroll=8)


def lambda_return(
    rewards: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    values_next: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array,
) -> jax.Array:
    r"""The lambda-return of every step of a stream that may hold several episodes.

    .. math:: G_t = R_{t+1} + \gamma (1 - d_t)
                    \left[ (1 - \lambda) \, v(S_{t+1}) + \lambda \, G_{t+1} \right].

    If the episode was truncated after step :math:`t`, or the stream ends there, the
    bracket is :math:`v(S_{t+1})` alone, because later rewards belong to another episode
    or are not known. It is the mixture of all n-step returns with weights
    :math:`(1 - \lambda) \lambda^{n-1}`, with the remaining weight on the longest;
    :math:`\lambda = 0` is the one-step return. Watkins (1989); Sutton & Barto (2018),
    section 12.1 and equation 12.18.

    Args:
        rewards: :math:`R_{t+1}`, float ``[T]``.
        terminated: whether step :math:`t` reached a terminal state, bool ``[T]``.
        truncated: whether the episode was truncated after step :math:`t`, bool ``[T]``.
            If both flags are set, the step terminated.
        values_next: the value of the state that step :math:`t` led to, never of the one
            after a reset, float ``[T]``.
        discount: :math:`\gamma`, ``[]``.
        lambda_: :math:`\lambda` in ``[0, 1]``, ``[]``.

    Returns:
        :math:`G_t`, float ``[T]``.

    >>> import jax.numpy as jnp
    >>> no = jnp.zeros(2, bool)
    >>> rewards, values_next = jnp.array([1.0, 2.0]), jnp.array([8.0, 8.0])
    >>> print(lambda_return(rewards, no, no, values_next, 0.5, lambda_=0.5))
    [4.5 6. ]
    """
    values, ends = _stream(rewards, terminated, truncated, values_next, discount)
    chex.assert_rank(lambda_, 0)

    def backwards(later, step):
        reward, end, value = step
        now = reward + discount * jnp.where(end, value, (1 - lambda_) * value + lambda_ * later)
        return now, now

    # The last step is an end, so the return after it is never read; only its dtype
    # matters.
    beyond = jnp.zeros((), jnp.result_type(rewards, values, discount, lambda_))
    return lax.scan(backwards, beyond, (rewards, ends, values), reverse=True)[1]
