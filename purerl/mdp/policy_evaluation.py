"""Evaluation of policies of a finite model: values, visits and fixed points."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.elimination import eliminate, limiting, total, visits
from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    Solution,
    backup,
    bounded,
    continuation_matrix,
    expected_reward,
    fixed_point,
    linear_solve,
    mean,
    rounding_errors,
    solver,
)

MARGIN = 1e-2  # for the rounding errors made in adding up a bound
LARGEST_MATRIX = 4096  # states; elimination then takes some 300 MB and ten seconds
PATIENCE = 20_000  # iterations after which elimination is faster


def _reaches(possible, next_state, goal):
    """The states from which a ``goal`` can be reached, goals included: bool ``[S]``."""

    def spread(carry):
        reached, _ = carry
        wider = reached | jnp.any(possible & reached[next_state], axis=(1, 2))
        return wider, jnp.any(wider != reached)

    return lax.while_loop(lambda carry: carry[1], spread, (goal, jnp.any(goal)))[0]


def _classify(chain, discount, reward):
    """States by the total reward that may follow.

    Returns:
        ``gains``: bool ``[S]``, the total is infinite upwards; ``loses``: downwards;
        ``nothing``: no reward can follow.
    """
    taken = chain.probability > 0
    reaches = functools.partial(_reaches, taken & ~chain.terminated, chain.next_state)
    may_end = jnp.any(taken & chain.terminated, axis=(1, 2))

    def outlook(earning):
        # A total is infinite if the chain can reach a set of states that it cannot
        # leave and in which it goes on earning.
        earns = reaches(earning)
        return earns, (discount == 1) & reaches(~reaches(may_end | ~earns))

    earns, (gains, loses) = jax.vmap(outlook)(jnp.stack([reward > 0, reward < 0]))
    return gains, loses, ~jnp.any(earns, axis=0)


def chain_of(mdp: FiniteMDP, policy: jax.Array) -> FiniteMDP:
    """The Markov chain of a policy, as a model with one action.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``; its entries are not checked.
    """
    if jnp.issubdtype(policy.dtype, jnp.floating):
        weight = jnp.where(policy > 0, policy, 0).astype(mdp.probability.dtype)
        probability = weight[..., None] * mdp.probability
        merge = functools.partial(jnp.reshape, shape=(mdp.num_states, 1, -1))
    else:
        probability = mdp.probability
        merge = functools.partial(jnp.take_along_axis, indices=policy[:, None, None], axis=1)
    return FiniteMDP(
        probability=merge(probability),
        next_state=merge(mdp.next_state),
        reward=merge(mdp.reward),
        terminated=merge(mdp.terminated),
        initial=mdp.initial,
    )


def _only(q):
    """``[S, 1]`` -> ``[S]``: the values of a model with one action."""
    return q[:, 0]


class _Equations(NamedTuple):
    """Solvers of ``x = side + P x``, of ``x = side + x P``, and the chain's limit."""

    total: Callable[[jax.Array], jax.Array]
    visits: Callable[[jax.Array], jax.Array]
    limiting: Callable[[jax.Array], jax.Array]


def _equations(
    chain: FiniteMDP, discount: float | jax.Array, known: jax.Array | bool = False
) -> _Equations:
    """Solvers of the equations of a chain with discount, differentiable.

    Args:
        chain: a model with one action.
        discount: in ``[0, 1]``.
        known: states in which the chain stops, bool ``[S]``.
    """
    size = chain.num_states
    stops = jnp.broadcast_to(known, (size,))
    weight = jnp.where(stops[:, None], 0, chain.probability[:, 0])
    terminated = chain.terminated[:, 0]
    ends = jnp.sum(weight * jnp.where(terminated, 1, 1 - discount), axis=-1)
    goes_on = discount * jnp.where(terminated, 0, weight)
    here = jnp.arange(size)[:, None]
    matrix = jnp.zeros((size, size), weight.dtype).at[here, chain.next_state[:, 0]].add(goes_on)
    # The last state stands for the end, and for what is discounted.
    factors = lax.stop_gradient(eliminate(jnp.pad(matrix, (0, 1)).at[:-1, -1].set(ends)))

    def with_end(function):
        def solve(side):
            return function(factors, jnp.pad(side, [(0, 1)] + [(0, 0)] * (side.ndim - 1)))[:-1]

        return solve

    def solver_of(matrix, solve, transposed):
        return lambda side: lax.custom_linear_solve(
            lambda x: x - matrix @ x,
            side,
            lambda _, side: solve(side),
            lambda _, side: transposed(side),
        )

    forwards, backwards = with_end(total), with_end(visits)
    return _Equations(
        solver_of(matrix, forwards, backwards),
        solver_of(matrix.T, backwards, forwards),
        with_end(limiting),
    )


class Evaluated(NamedTuple):
    """The values of a chain.

    Attributes:
        values: float ``[S]``.
        errors: the largest possible error of each, float ``[S]``; infinite if not
            known.
        iterations: int32 ``[]``; zero if equations were solved instead.
    """

    values: jax.Array
    errors: jax.Array
    iterations: jax.Array


def values_of(
    chain: FiniteMDP,
    discount: float | jax.Array,
    max_exact_states: int,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> Evaluated:
    """The values of a model with one action."""
    reward = _only(expected_reward(chain))
    gains, loses, nothing = _classify(chain, discount, reward)
    # All other states can leave every set in which rewards are yet to come, so their
    # linear equations have one solution. Those before which no reward is to come may
    # have many solutions, of which zero is the right one.
    known = gains | loses | nothing

    def improved(values):
        return jnp.where(known, 0, _only(backup(chain, values, discount)))

    def eliminated():
        total_of = _equations(chain, discount, known).total
        counted = jnp.where(known, 0, reward)
        values, sizes = total_of(jnp.stack([counted, jnp.abs(counted)], axis=1)).T
        of_step = jnp.abs(improved(values) - values)
        of_step = of_step + _only(rounding_errors(chain, values, discount))
        errors = total_of(jnp.where(known, 0, of_step))
        # Errors of single steps say little of long episodes. There it helps that each
        # elimination errs by a few roundings of a sum of up to S numbers, and that a
        # relative error of the probabilities changes no sum of positive rewards by more
        # than 2 S times as much.
        size = chain.num_states
        of_elimination = size**2 * (size + 10) * jnp.finfo(values.dtype).eps / 2
        return values, (1 + MARGIN) * jnp.minimum(errors, of_elimination * sizes)

    def iterated(most):
        return fixed_point(
            chain, discount, lambda q: jnp.where(known, 0, _only(q)), tolerance, most
        )

    if chain.num_states <= max_exact_states:
        values, errors = eliminated()
        iterations = jnp.int32(0)
    elif chain.num_states <= LARGEST_MATRIX and max_exact_states > 0:
        # Elimination takes seconds, and iteration usually much less, but near a
        # discount of 1 it may take much longer. A loop of at most one pass, unlike a
        # condition, costs nothing under vmap where no run needs it.
        most = jnp.minimum(max_iterations, PATIENCE)
        values, iterations = iterated(most)
        slow = (iterations >= PATIENCE) & (max_iterations > PATIENCE)
        start = values, jnp.full_like(values, jnp.inf), slow
        values, errors, _ = lax.while_loop(
            lambda carry: carry[2], lambda _: (*eliminated(), jnp.bool_(False)), start
        )
    else:
        values, iterations = iterated(max_iterations)
        errors = jnp.full_like(values, jnp.inf)
    infinite = jnp.where(gains, jnp.inf, 0) - jnp.where(loses, jnp.inf, 0)
    return Evaluated(values + infinite, errors, iterations)


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

    They are computed by elimination (:mod:`purerl.mdp.elimination`) for up to
    ``max_exact_states`` states, and by iterating ``v <- T_pi v`` from zero for more
    (Puterman, section 6.1). If that has not converged after ``PATIENCE`` iterations,
    models of up to ``LARGEST_MATRIX`` states are eliminated after all.

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
        max_exact_states: the largest ``S`` for immediate elimination, which takes
            ``S**2`` numbers and ``S**3`` operations. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for
            ``mdp``.
    """
    given = jnp.asarray(policy)
    chain = chain_of(mdp, given)
    found = values_of(chain, discount, max_exact_states, tolerance, max_iterations)
    reduce = functools.partial(mean, action_probabilities(mdp, given))
    return bounded(
        mdp, discount, reduce, found.values, lambda _: given, found.iterations, errors=found.errors
    )


def expected_return(mdp: FiniteMDP, policy: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """The expected return ``E[G_0] = sum_s initial(s) v_pi(s)``, float ``[]``.

    Arguments and errors are those of :func:`evaluate_policy`.
    """
    return mean(mdp.initial, evaluate_policy(mdp, policy, discount).values)


def _visits(mdp, policy, discount, max_exact_states):
    """``sum_t discount^t P(S_t = s, the episode has not ended)``, float ``[S]``."""
    chain = chain_of(mdp, policy)
    if mdp.num_states <= max_exact_states:
        equations = _equations(chain, discount)
        again_and_again = equations.limiting(mdp.initial) > 0
        return jnp.where(again_and_again, jnp.inf, equations.visits(mdp.initial))

    taken = chain.probability > 0
    may_end = jnp.any(taken & chain.terminated, axis=(1, 2))
    closed = (discount == 1) & ~_reaches(taken & ~chain.terminated, chain.next_state, may_end)
    for_ever = jnp.where(closed & reachable(chain), jnp.inf, 0)
    weight = discount * jnp.where(chain.terminated | closed[:, None, None], 0, chain.probability)

    def flow(carry):
        count, current, _ = carry
        current = jnp.zeros_like(current).at[chain.next_state].add(weight * current[:, None, None])
        return count + current, current, jnp.sum(current)

    # The terms still to come sum to at most the present one divided by 1 - discount, or
    # by the probability that a step ends the episode.
    precision = jnp.finfo(weight.dtype).eps
    smallest = precision * jnp.maximum(1 - discount, precision)
    start = mdp.initial, mdp.initial, jnp.ones((), weight.dtype)
    return lax.while_loop(lambda carry: carry[2] > smallest, flow, start)[0] + for_ever


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

    At ``discount == 1`` it is infinite for states to which an episode returns without
    end; with more than ``max_exact_states`` states for all that it enters and from
    which it cannot end.

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
    return _visits(mdp, jnp.asarray(policy), discount, max_exact_states)


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
    return (1 - discount) * _visits(mdp, jnp.asarray(policy), discount, max_exact_states)


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
    possible = mdp.available[..., None] & (mdp.probability > 0) & ~mdp.terminated

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
    chain = chain_of(mdp, jnp.asarray(policy))
    matrix = continuation_matrix(chain)
    reward = _only(expected_reward(chain))
    x = jnp.asarray(features, matrix.dtype)
    sides = jnp.concatenate([x - discount * matrix @ x, reward[:, None]], axis=1)
    traced = _equations(chain, discount * lambda_).total(sides)
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
    chain = chain_of(mdp, jnp.asarray(policy))
    interest = jnp.asarray(weights, mdp.probability.dtype)
    followon = _equations(chain, discount).visits(interest)
    return lambda_ * interest + (1 - lambda_) * followon
