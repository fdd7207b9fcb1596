"""Evaluation of policies of a finite model: values, visits and fixed points."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    Solution,
    bounded,
    continuation_matrix,
    expected_reward,
    fixed_point,
    linear_solve,
    mean,
    solver,
)


def _reaches(possible, next_state, goal):
    """The states from which a ``goal`` can be reached, goals included: bool ``[S]``."""

    def spread(carry):
        reached, _ = carry
        wider = reached | jnp.any(possible & reached[next_state], axis=(1, 2))
        return wider, jnp.any(wider != reached)

    return lax.while_loop(lambda carry: carry[1], spread, (goal, jnp.any(goal)))[0]


def _classify(mdp, pi, discount, reward):
    """States by the total reward that may follow.

    Returns:
        ``gains``: bool ``[S]``, the total is infinite upwards; ``loses``: downwards;
        ``nothing``: no reward can follow.
    """
    taken = (pi[..., None] > 0) & (mdp.probability > 0)
    reaches = functools.partial(_reaches, taken & ~mdp.terminated, mdp.next_state)
    may_end = jnp.any(taken & mdp.terminated, axis=(1, 2))

    def outlook(earning):
        # A total is infinite if the chain can reach a set of states that it cannot
        # leave and in which it goes on earning.
        earns = reaches(earning)
        return earns, (discount == 1) & reaches(~reaches(may_end | ~earns))

    earns, (gains, loses) = jax.vmap(outlook)(jnp.stack([reward > 0, reward < 0]))
    return gains, loses, ~jnp.any(earns, axis=0)


def values_of(
    mdp: FiniteMDP,
    pi: jax.Array,
    discount: float | jax.Array,
    max_exact_states: int,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> tuple[jax.Array, jax.Array]:
    """``v_pi`` of ``pi [S, A]``, float ``[S]``, and the number of iterations."""
    reward = mean(pi, expected_reward(mdp))
    gains, loses, nothing = _classify(mdp, pi, discount, reward)
    # All other states can leave every set in which rewards are yet to come, so their
    # linear equations have one solution. Those before which no reward is to come may
    # have many solutions, of which zero is the right one.
    known = gains | loses | nothing
    if mdp.num_states <= max_exact_states:
        continues = jnp.where(mdp.terminated | known[:, None, None], 0, mdp.probability)
        weight = discount * pi[..., None] * continues
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=reward.dtype).at[here, mdp.next_state].add(-weight)
        values = linear_solve(matrix, jnp.where(known, 0, reward))
        iterations = jnp.int32(0)
    else:
        values, iterations = fixed_point(
            mdp, discount, lambda q: jnp.where(known, 0, mean(pi, q)), tolerance, max_iterations
        )
    return values + jnp.where(gains, jnp.inf, 0) - jnp.where(loses, jnp.inf, 0), iterations


@solver(static=("max_exact_states",))
def evaluate_policy(
    mdp: FiniteMDP,
    policy: ArrayLike,
    discount: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
    max_exact_states: int = 2048,
) -> Solution:
    """The values of a policy, ``v_pi = (I - discount P_pi)^-1 r_pi``.

    They are computed by one linear solve for up to ``max_exact_states`` states, and by
    iterating ``v <- T_pi v`` from zero for more (Puterman, section 6.1).

    At ``discount == 1`` values are expected total rewards, also of a policy that may
    never end an episode. A value is ``inf`` or ``-inf`` if the policy may then gain or
    lose without end, ``nan`` if both (expected rewards per step of both signs, without
    end), and otherwise finite.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        tolerance: of the iteration, as in :func:`~purerl.mdp.optimal.value_iteration`.
        max_iterations: of the iteration, likewise.
        max_exact_states: the largest ``S`` for the linear solve, which takes ``S**2``
            numbers and ``S**3`` operations. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for
            ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    values, iterations = values_of(mdp, pi, discount, max_exact_states, tolerance, max_iterations)
    reduce = functools.partial(mean, pi)
    return bounded(mdp, discount, reduce, values, lambda _: jnp.asarray(policy), iterations)


def expected_return(mdp: FiniteMDP, policy: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """The expected return ``E[G_0] = sum_s initial(s) v_pi(s)``, float ``[]``.

    Arguments and errors are those of :func:`evaluate_policy`.
    """
    return mean(mdp.initial, evaluate_policy(mdp, policy, discount).values)


def _visits(mdp, pi, discount, max_exact_states):
    """``sum_t discount^t P(S_t = s, the episode has not ended)``, float ``[S]``."""
    weight = discount * pi[..., None] * jnp.where(mdp.terminated, 0, mdp.probability)
    if mdp.num_states <= max_exact_states:
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=weight.dtype).at[mdp.next_state, here].add(-weight)
        return linear_solve(matrix, mdp.initial)

    def flow(carry):
        total, current, _ = carry
        current = jnp.zeros_like(current).at[mdp.next_state].add(weight * current[:, None, None])
        return total + current, current, jnp.sum(current)

    # The terms still to come sum to at most the present one divided by 1 - discount, or
    # by the probability that a step ends the episode.
    precision = jnp.finfo(weight.dtype).eps
    smallest = precision * jnp.maximum(1 - discount, precision)
    start = mdp.initial, mdp.initial, jnp.ones((), weight.dtype)
    return lax.while_loop(lambda carry: carry[2] > smallest, flow, start)[0]


@solver(static=("max_exact_states",))
def expected_visits(
    mdp: FiniteMDP,
    policy: ArrayLike,
    discount: float | jax.Array = 1.0,
    max_exact_states: int = 2048,
) -> jax.Array:
    """The expected number of visits of an episode to each state.

    ``sum_t discount^t P(S_t = s, the episode has not ended before t)``, by default
    undiscounted, as in the box of Sutton & Barto (2018), section 9.2. Divided by its
    sum it is the on-policy distribution.

    At ``discount == 1`` every episode must end with probability one; otherwise the
    result is meaningless.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for
            ``mdp``.

    Example:
        A coin is tossed until heads, on average twice:

        >>> coin = FiniteMDP(
        ...     probability=[[[0.5, 0.5]]],
        ...     next_state=[[[0, 0]]],
        ...     reward=[[[1.0, 0.0]]],
        ...     terminated=[[[True, False]]],
        ...     initial=[1.0],
        ... )
        >>> expected_visits(coin, [0]).tolist()
        [2.0]
    """
    return _visits(mdp, action_probabilities(mdp, policy), discount, max_exact_states)


@solver(static=("max_exact_states",), below_one=True)
def occupancy(
    mdp: FiniteMDP, policy: ArrayLike, discount: float | jax.Array, max_exact_states: int = 2048
) -> jax.Array:
    """The discounted state occupancy: :func:`expected_visits` times ``1 - discount``.

    After its end an episode is in no state: the sum over states is one if no outcome
    terminates, and otherwise smaller by the discounted time after the end. So always
    ``expected_return == sum_s occupancy(s) r_pi(s) / (1 - discount)`` (Puterman,
    section 6.9). With more than ``max_exact_states`` states it is computed by
    iteration, until the remainder is below the precision of the dtype.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1)``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or ``policy`` is not a policy for
            ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    return (1 - discount) * _visits(mdp, pi, discount, max_exact_states)


@jax.jit
def reachable(mdp: FiniteMDP) -> jax.Array:
    """The states in which an action can ever be taken, bool ``[S]``.

    They are the states that can be reached from a first state without terminating.

    Example:
        The second of two states is entered only by terminating in it:

        >>> ends = FiniteMDP(
        ...     probability=[[[1.0]], [[1.0]]],
        ...     next_state=[[[1]], [[1]]],
        ...     reward=[[[0.0]], [[0.0]]],
        ...     terminated=[[[True]], [[True]]],
        ...     initial=[1.0, 0.0],
        ... )
        >>> reachable(ends).tolist()
        [True, False]
    """
    possible = (mdp.probability > 0) & ~mdp.terminated

    def spread(found):
        return found[1], found[1].at[mdp.next_state].max(possible & found[1][:, None, None])

    start = mdp.initial > 0
    found = (jnp.zeros_like(start), start)
    return lax.while_loop(lambda found: (found[0] != found[1]).any(), spread, found)[1]


@solver
def td_fixed_point(
    mdp: FiniteMDP,
    features: ArrayLike,
    policy: ArrayLike,
    weights: ArrayLike,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The fixed point of linear temporal-difference learning.

    The solution :math:`w` of :math:`A w = b`, with

    .. math::
        A = X^\top D (I - \gamma \lambda P)^{-1} (I - \gamma P) X, \qquad
        b = X^\top D (I - \gamma \lambda P)^{-1} r,

    :math:`P` the transitions of the policy that do not terminate, and
    :math:`D = \text{diag}(\text{weights})`. With one-hot features it gives
    :math:`v_\pi`, for any weights above zero. If states are updated as often as the
    policy visits them, TD(:math:`\lambda`) converges to it; with other weights only
    off-policy methods do (Tsitsiklis & Van Roy, "An analysis of temporal-difference
    learning with function approximation", IEEE Transactions on Automatic Control 42,
    1997; Sutton & Barto, 2018, section 9.4).

    Args:
        mdp: the model.
        features: :math:`X`, float ``[S, d]``, of full column rank over the states with
            positive weight.
        policy: the policy to evaluate, int ``[S]`` or float ``[S, A]``.
        weights: of the states, float ``[S]``, not negative.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[d]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is
            not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix = continuation_matrix(mdp, pi)
    reward = mean(pi, expected_reward(mdp))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    x = jnp.asarray(features, matrix.dtype)
    sides = jnp.concatenate([(identity - discount * matrix) @ x, reward[:, None]], axis=1)
    traced = linear_solve(identity - discount * lambda_ * matrix, sides)
    equations = x.T @ (jnp.asarray(weights)[:, None] * traced)
    return linear_solve(equations[:, :-1], equations[:, -1])


@solver
def emphasis(
    mdp: FiniteMDP,
    policy: ArrayLike,
    weights: ArrayLike,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The state weights of emphatic TD(:math:`\lambda`) with an interest of one.

    .. math:: m = \lambda d + (1 - \lambda) (I - \gamma P^\top)^{-1} d,

    with :math:`P` the transitions of the target policy that do not terminate, and
    :math:`d` the fraction of time that the behavior policy spends in each state. The
    fixed point of emphatic TD is :func:`td_fixed_point` with these weights (Sutton,
    Mahmood & White, "An emphatic approach to the problem of off-policy
    temporal-difference learning", JMLR 17, 2016, section 5).

    Args:
        mdp: the model.
        policy: the target policy, int ``[S]`` or float ``[S, A]``.
        weights: :math:`d`, float ``[S]``.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is
            not a policy for ``mdp``.
    """
    matrix = continuation_matrix(mdp, action_probabilities(mdp, policy))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    followon = linear_solve(identity - discount * matrix.T, jnp.asarray(weights, matrix.dtype))
    return lambda_ * jnp.asarray(weights) + (1 - lambda_) * followon
