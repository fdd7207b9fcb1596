"""The exact solution of finite Markov decision processes: what learning is measured against.

Notation: for values ``v`` let ``(T v)(s) = max_a q(s, a)`` with ``q = backup(mdp, v, discount)``, and ``T_pi`` the same with
the mean under ``pi(a | s)`` in place of the maximum. ``v* = T v*`` and ``v_pi = T_pi v_pi`` (Bellman, *Dynamic Programming*,
1957; Puterman, *Markov Decision Processes*, 1994, chapters 5-7).

Everything here is a pure function that works under ``jit`` and ``vmap``, over stacked models, policies and discounts. Each is
compiled as a whole when called; what it is asked (a discount outside ``[0, 1]``, something that is no policy) is checked when
its value is known, that is, not inside another transformation. Models need ``S * A * K`` numbers, never ``S * S``, but for the
direct linear solve, which is used for up to ``max_exact_states`` states.

**Error bounds.** Both operators contract the largest difference by ``m``, which is ``discount`` times the largest probability
that an episode goes on. So for any ``v``, computed ``w = T v`` up to rounding errors of at most ``e``, and fixed point ``v*``:
``max |w - v*| <= (m max |w - v| + e) / (1 - m)``, from which a bound for ``q`` follows. The one reported is for both, with
``e`` bounded from the number of operations and the precision of the dtype. It is about the model as stored, and the discount
rounded to the same dtype.

**At** ``discount == 1`` values are expected total rewards. ``m`` is then one, unless every action may end the episode, and the
bound infinite: how far there is to go cannot be told from the last change. Iteration from zero still converges to the
optimal values where rewards have one sign (Puterman, sections 7.2 and 7.3), or where some policy surely ends every episode
and those that do not lose without limit (Bertsekas & Tsitsiklis, "An analysis of stochastic shortest path problems",
Mathematics of Operations Research 16, 1991).
"""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.mdp.model import FiniteMDP, action_probabilities, check_policy, is_concrete

LARGE, UNROLLED = 2**16, 32  # the least numbers in a table, and the most of a state, for a backup written out term by term


class Solution(NamedTuple):
    """What is known of an optimal policy, or of a given one.

    Attributes:
        q: action values, float ``[S, A]``.
        values: state values, float ``[S]``: the maximum of ``q``, or its mean under the given policy.
        policy: the policy found (int32 ``[S]``), or the one given.
        iterations: how many it took, int32 ``[]``.
        error_bound: no entry of ``q`` and ``values`` is farther than this from the truth, float ``[]``; maybe infinite.
    """

    q: jax.Array
    values: jax.Array
    policy: jax.Array
    iterations: jax.Array
    error_bound: jax.Array


_ALLOWED = {  # of arguments beside policy and discount
    "epsilon": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "temperature": ("a finite number above 0", lambda x: 0 < x < np.inf),
    "lambda_": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
}


def solver(function=None, *, static=(), below_one=False):
    """Check the arguments that go by the names ``policy``, ``discount`` and those in ``_ALLOWED``, and compile the rest as one
    program."""
    if function is None:
        return functools.partial(solver, static=static, below_one=below_one)
    compiled = jax.jit(function, static_argnames=static)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if "policy" in given:
            given["policy"] = check_policy(given["mdp"], given["policy"])
        dtype = given["mdp"].reward.dtype
        for name in given.keys() & _ALLOWED.keys():
            allowed, accepts = _ALLOWED[name]
            if is_concrete(given[name]) and not (np.shape(given[name]) == () and accepts(given[name])):
                raise ValueError(f"{name} is {given[name]}; allowed: {allowed}")
            given[name] = jnp.asarray(given[name], dtype)
        if "discount" not in given:
            return compiled(**given)
        if is_concrete(given["discount"]):
            discount = np.asarray(given["discount"]).astype(dtype)
            if not (discount.shape == () and 0 <= discount <= 1 and (discount < 1 or not below_one)):
                raise ValueError(f"discount is {given['discount']}; allowed: a number in [0, 1{')' if below_one else ']'}")
        given["discount"] = jnp.asarray(given["discount"], dtype)
        return compiled(**given)

    return checked


def _mean(weights, values, axis=-1):
    """A weighted sum where weight zero outweighs even an infinite value."""
    return jnp.sum(jnp.where(weights > 0, weights * values, 0), axis)


def expected(mdp: FiniteMDP, value: Callable[..., jax.Array]) -> jax.Array:
    """``sum_k probability value(next_state, reward, terminated)``, float ``[S, A]``, where an outcome of probability zero
    counts for nothing, even with an infinite value. ``value`` works element by element."""

    def term(*at):
        probability, *outcome = (table[at] for table in (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated))
        return jnp.where(probability > 0, probability * value(*outcome), 0)

    actions, outcomes = range(mdp.num_actions), range(mdp.num_outcomes)
    if mdp.reward.size < LARGE or len(actions) * len(outcomes) > UNROLLED:
        return jnp.sum(term(...), axis=-1)
    # One loop over the states that stores nothing between: three times as fast as sums over an array [S, A, K], in less memory,
    # for a second more of compilation.
    return jnp.stack([functools.reduce(operator.add, [term(..., a, k) for k in outcomes]) for a in actions], axis=-1)


def backup(mdp: FiniteMDP, values: jax.Array, discount: float | jax.Array) -> jax.Array:
    """``q(s, a) = sum_k probability (reward + discount (1 - terminated) values[next_state])``.

    Args:
        mdp: the model.
        values: of the states, float ``[S]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[S, A]``.
    """

    def returns(next_state, reward, terminated):
        # Indices are known to be in range. To look for others would take time, and the memory of another table.
        value = jnp.asarray(values).at[next_state].get(mode="promise_in_bounds", wrap_negative_indices=False)
        return reward + discount * jnp.where(terminated, 0, value)

    return expected(mdp, returns)


def greedy(q: jax.Array) -> jax.Array:
    """The first of the best actions in each state: float ``[S, A]`` -> int32 ``[S]``."""
    return jnp.argmax(q, axis=-1).astype(jnp.int32)


def _best(q):
    return jnp.max(q, axis=-1)


def _precision(mdp):
    """A bound on the relative error of one backup: each entry passes through this many roundings, at most, of half of ``eps``;
    the other half covers the products of such errors."""
    return (mdp.num_outcomes + mdp.num_actions + 4) * jnp.finfo(mdp.reward.dtype).eps


def _rounding(mdp, discount):
    """How far rounding can take a backup of ``values`` from the true one: a function of ``values``."""
    size = expected(mdp, lambda next_state, reward, terminated: jnp.abs(reward))
    largest = jnp.max(lax.optimization_barrier(size))  # or XLA would keep every term for it
    return lambda values: _precision(mdp) * (largest + discount * jnp.max(jnp.abs(values)))


def _distance(x, y):
    return jnp.max(jnp.where(x == y, 0, jnp.abs(x - y)))  # infinities of one sign are equal


def _solution(mdp, discount, reduce, values, policy, iterations, weigh=None, more_rounding=0.0):
    """The solution and its error bound from ``values`` near a fixed point of ``reduce(backup(.))``.

    ``policy`` is a function of ``q``. By how much ``reduce`` can differ between two ``q`` is ``weigh`` of how much they do,
    which is ``reduce`` itself where it is linear or a maximum. ``more_rounding`` is what it errs beside sums and products.
    """
    weigh = reduce if weigh is None else weigh
    q = lax.optimization_barrier(backup(mdp, values, discount))  # as in _rounding
    reduced = reduce(q)
    change, rounding = _distance(reduced, values), _rounding(mdp, discount)(values) + more_rounding
    goes_on = discount * (1 + _precision(mdp)) * expected(mdp, lambda next_state, reward, terminated: 1.0 - terminated)
    modulus = jnp.max(weigh(goes_on))
    of_values = (modulus * change + rounding) / (1 - modulus)
    # q is off by what the values put in were, as far as the action goes on: maybe more than the policy's own actions do.
    of_q = jnp.max(goes_on) * (change + of_values) + rounding
    return Solution(q, reduced, policy(q), iterations, jnp.where(modulus < 1, of_q, jnp.inf))


def _fixed_point(mdp, discount, reduce, tolerance, max_iterations):
    """Iterate ``values = reduce(backup(values))`` from zero until the largest change is at most ``tolerance``.

    Once the change is of the size of rounding errors it may stay there for ever, but often still shrinks: so many iterations as
    it took to come there are left then. Returns values and the number of iterations.
    """
    rounding = _rounding(mdp, discount)

    def unfinished(carry):
        _, change, iterations, limit = carry
        return ~(change <= tolerance) & (iterations < limit)

    def sweep(carry):
        values, _, iterations, limit = carry
        updated, iterations = reduce(backup(mdp, values, discount)), iterations + 1
        change = _distance(updated, values)
        limit = jnp.where(change <= rounding(updated), jnp.minimum(limit, 2 * iterations), limit)
        return updated, change, iterations, limit

    dtype = mdp.reward.dtype
    start = jnp.zeros(mdp.num_states, dtype), jnp.array(jnp.inf, dtype), jnp.int32(0), jnp.int32(max_iterations)
    values, _, iterations, _ = lax.while_loop(unfinished, sweep, start)
    return values, iterations


@solver
def value_iteration(
    mdp: FiniteMDP, discount: float | jax.Array, tolerance: float = 0.0, max_iterations: int = 1_000_000
) -> Solution:
    """Optimal values by ``v <- T v`` from zero (Puterman, section 6.3).

    After ``n`` iterations ``v`` holds the best expected returns within ``n`` steps. Iteration stops when no value changes by
    more than ``tolerance``, or some time after the changes have become as small as rounding errors; so the default goes as
    far as the dtype does.

    At ``discount == 1``, where reward can be gathered for ever, only ``max_iterations`` ends the growth. ``policy``, greedy in
    ``q``, need not be optimal there: among actions of equal ``q`` it may take one that puts the reward off for ever.
    :func:`policy_iteration` does not.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        tolerance: the largest change to stop at.
        max_iterations: the most sweeps over all states.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    values, iterations = _fixed_point(mdp, discount, _best, tolerance, max_iterations)
    return _solution(mdp, discount, _best, values, greedy, iterations)


def optimal_q(
    mdp: FiniteMDP, discount: float | jax.Array, tolerance: float = 0.0, max_iterations: int = 1_000_000
) -> jax.Array:
    """``q*``, float ``[S, A]``: the action values of :func:`value_iteration`, as near as the dtype allows by default.

    Example:
        A coin is tossed (action 0) until heads, which pays 3 and ends the episode; action 1 waits:

        >>> coin = FiniteMDP(
        ...     probability=[[[0.5, 0.5], [1.0, 0.0]]],
        ...     next_state=[[[0, 0], [0, 0]]],
        ...     reward=[[[3.0, 0.0], [0.0, 0.0]]],
        ...     terminated=[[[True, False], [False, False]]],
        ...     initial=[1.0],
        ... )
        >>> optimal_q(coin, 0.5).round(4).tolist()  # v = 3/2 + v/4
        [[2.0, 1.0]]
    """
    return value_iteration(mdp, discount, tolerance, max_iterations).q


@solver
def epsilon_soft_optimal(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    epsilon: float | jax.Array,
    tolerance: float = 0.0,
    max_iterations: int = 1_000_000,
) -> Solution:
    r"""The best of the policies that take every action with probability :math:`\epsilon / A` at least:

    .. math::
        \tilde q(s, a) = \sum_k p_k \left(r_k + \gamma (1 - d_k) \tilde v(s'_k)\right), \qquad
        \tilde v(s) = (1 - \epsilon) \max_a \tilde q(s, a) + \frac{\epsilon}{A} \sum_a \tilde q(s, a).

    It is what on-policy control with an epsilon-greedy behaviour goes to. Sutton & Barto (2018), section 5.4; John, "When the
    best move isn't optimal: Q-learning with exploration" (AAAI 1994). ``policy`` is float ``[S, A]``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        epsilon: in ``[0, 1]``.
        tolerance: the largest change to stop at.
        max_iterations: the most sweeps over all states.

    Raises:
        ValueError: ``discount`` or ``epsilon`` is not in ``[0, 1]``.
    """

    def reduce(q):
        return (1 - epsilon) * _best(q) + epsilon * jnp.mean(q, axis=-1)

    def policy(q):
        return epsilon / mdp.num_actions + (1 - epsilon) * jax.nn.one_hot(greedy(q), mdp.num_actions, dtype=q.dtype)

    values, iterations = _fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    return _solution(mdp, discount, reduce, values, policy, iterations)


@solver
def soft_optimal(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    temperature: float | jax.Array,
    tolerance: float = 0.0,
    max_iterations: int = 1_000_000,
) -> Solution:
    r"""The optimum where every decision also earns its entropy, :math:`\tau H(\pi(\cdot \mid s))`:

    .. math::
        v(s) = \tau \ln \sum_a e^{q(s, a) / \tau}, \qquad \pi(a \mid s) = e^{(q(s, a) - v(s)) / \tau}.

    As :math:`\tau` falls to zero it becomes the ordinary optimum, from which :math:`v` is never farther than :math:`\tau \ln A
    / (1 - \gamma)`. Ziebart, *Modeling purposeful adaptive behavior with the principle of maximum causal entropy* (PhD thesis,
    CMU, 2010); Haarnoja, Tang, Abbeel & Levine, "Reinforcement learning with deep energy-based policies" (ICML 2017).
    ``policy`` is float ``[S, A]``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; at 1 values are finite only where every policy ends soon enough.
        temperature: :math:`\tau`, above 0.
        tolerance: the largest change to stop at.
        max_iterations: the most sweeps over all states.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``temperature`` not above 0.
    """

    def reduce(q):
        return temperature * jax.nn.logsumexp(q / temperature, axis=-1)

    values, iterations = _fixed_point(mdp, discount, reduce, tolerance, max_iterations)
    # The sum of exponentials errs by A + 8 roundings of its terms at most, and what is divided by the temperature by one.
    eps = jnp.finfo(values.dtype).eps
    entropy = temperature * jnp.log(jnp.asarray(mdp.num_actions, values.dtype))
    more_rounding = eps * (2 * jnp.max(jnp.abs(values)) + (mdp.num_actions + 8) * temperature + 2 * entropy)
    return _solution(
        mdp, discount, reduce, values, lambda q: jax.nn.softmax(q / temperature, axis=-1), iterations, _best, more_rounding
    )


def _reaches(possible, next_state, goal):
    """The states from which a ``goal`` can be reached, itself counted: bool ``[S]``."""

    def spread(carry):
        reached, _ = carry
        wider = reached | jnp.any(possible & reached[next_state], axis=(1, 2))
        return wider, jnp.any(wider != reached)

    return lax.while_loop(lambda carry: carry[1], spread, (goal, jnp.any(goal)))[0]


def _evaluate(mdp, pi, discount, max_exact_states, tolerance=0.0, max_iterations=1_000_000):
    """``v_pi`` of ``pi [S, A]``, and the iterations that it took."""
    zeros = jnp.zeros(mdp.num_states, mdp.reward.dtype)
    reward = _mean(pi, backup(mdp, zeros, 0))
    taken = (pi[..., None] > 0) & (mdp.probability > 0)
    reaches = functools.partial(_reaches, taken & ~mdp.terminated, mdp.next_state)
    may_end = jnp.any(taken & mdp.terminated, axis=(1, 2))

    def outlook(counts):
        # A total is infinite where the chain can come to a place that it cannot leave, and where it earns for ever.
        earns = reaches(counts)
        return earns, (discount == 1) & reaches(~reaches(may_end | ~earns))

    earns, (gains, loses) = jax.vmap(outlook)(jnp.stack([reward > 0, reward < 0]))
    # The rest can leave every place where rewards are yet to come, so its linear equations have one solution. Where none is
    # to come they may have many, of which zero is the right one.
    known = gains | loses | ~jnp.any(earns, axis=0)
    if mdp.num_states <= max_exact_states:
        weight = discount * pi[..., None] * jnp.where(mdp.terminated | known[:, None, None], 0, mdp.probability)
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=reward.dtype).at[here, mdp.next_state].add(-weight)
        values, iterations = jnp.linalg.solve(matrix, jnp.where(known, 0, reward)), jnp.int32(0)
    else:
        values, iterations = _fixed_point(mdp, discount, lambda q: jnp.where(known, 0, _mean(pi, q)), tolerance, max_iterations)
    return values + jnp.where(gains, jnp.inf, 0) - jnp.where(loses, jnp.inf, 0), iterations


@solver(static=("max_exact_states",))
def evaluate_policy(
    mdp: FiniteMDP,
    policy: jax.Array,
    discount: float | jax.Array,
    tolerance: float = 0.0,
    max_iterations: int = 1_000_000,
    max_exact_states: int = 2048,
) -> Solution:
    """The values of a policy, ``v_pi = (I - discount P_pi)^-1 r_pi`` (Puterman, section 6.1).

    By one linear solve for up to ``max_exact_states`` states, and by ``v <- T_pi v`` from zero beyond.

    At ``discount == 1`` values are expected total rewards, also for a policy that may never end an episode: ``inf`` or ``-inf``
    from where it may go on gaining or losing for ever, ``nan`` where both (per-step expected rewards of both signs, for ever),
    and otherwise finite, rewards having ceased.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        tolerance: of the iteration, as in :func:`value_iteration`.
        max_iterations: of the iteration, likewise.
        max_exact_states: the largest ``S`` for the linear solve, which takes ``S**2`` numbers and ``S**3`` operations. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    values, iterations = _evaluate(mdp, pi, discount, max_exact_states, tolerance, max_iterations)
    return _solution(mdp, discount, functools.partial(_mean, pi), values, lambda _: policy, iterations)


@solver(static=("max_exact_states",))
def policy_iteration(
    mdp: FiniteMDP, discount: float | jax.Array, max_iterations: int = 1000, max_exact_states: int = 2048
) -> Solution:
    """Optimal values by evaluating a policy and making it greedy in turn (Howard, *Dynamic Programming and Markov Processes*,
    1960; Puterman, section 6.4), from the policy that is greedy for the next reward; at ``discount == 1`` from the one that
    :func:`value_iteration` finds.

    An action gives way only to one that is better by more than the equations' numerical residual, so that ties cannot make it
    cycle. At ``discount == 1`` a policy that ends episodes is not given up for one of equal ``q`` that does not: ``policy``
    attains ``values``.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        max_iterations: the most policies to evaluate.
        max_exact_states: as in :func:`evaluate_policy`.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    rounding = _rounding(mdp, discount)

    def unfinished(carry):
        _, _, iterations, stable = carry
        return ~stable & (iterations < max_iterations)

    def improve(carry):
        policy, _, iterations, _ = carry
        values, _ = _evaluate(mdp, action_probabilities(mdp, policy), discount, max_exact_states)
        q = backup(mdp, values, discount)
        kept = jnp.take_along_axis(q, policy[:, None], axis=-1)[:, 0]
        finite = jnp.isfinite(values)
        residual = jnp.max(jnp.where(finite, jnp.abs(kept - values), 0))
        better = _best(q) > kept + residual + rounding(jnp.where(finite, values, 0))
        return jnp.where(better, greedy(q), policy), values, iterations + 1, ~jnp.any(better)

    # Improvement cannot start from a policy that loses for ever: all that may lead back to it looks infinitely bad. The greedy
    # policy for optimal values is none, unless all are.
    values, _ = _fixed_point(mdp, discount, _best, 0.0, jnp.where(discount < 1, 0, 1_000_000))
    start = greedy(backup(mdp, values, discount)), values, jnp.int32(0), jnp.bool_(False)
    policy, values, iterations, _ = lax.while_loop(unfinished, improve, start)
    return _solution(mdp, discount, _best, values, lambda _: policy, iterations)


def expected_return(mdp: FiniteMDP, policy: jax.Array, discount: float | jax.Array) -> jax.Array:
    """``E[G_0] = sum_s initial(s) v_pi(s)``, float ``[]``; see :func:`evaluate_policy`."""
    return _mean(mdp.initial, evaluate_policy(mdp, policy, discount).values)


def _visits(mdp, pi, discount, max_exact_states):
    """``sum_t discount^t P(S_t = s, the episode not over before t)``, float ``[S]``."""
    weight = discount * pi[..., None] * jnp.where(mdp.terminated, 0, mdp.probability)
    if mdp.num_states <= max_exact_states:
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=weight.dtype).at[mdp.next_state, here].add(-weight)
        return jnp.linalg.solve(matrix, mdp.initial)

    def flow(carry):
        total, current, _ = carry
        current = jnp.zeros_like(current).at[mdp.next_state].add(weight * current[:, None, None])
        return total + current, current, jnp.sum(current)

    # What is still to come sums to at most the present sum divided by 1 - discount, or by the chance that a step ends it all.
    precision = jnp.finfo(weight.dtype).eps
    start = mdp.initial, mdp.initial, jnp.ones((), weight.dtype)
    return lax.while_loop(lambda carry: carry[2] > precision * jnp.maximum(1 - discount, precision), flow, start)[0]


@solver(static=("max_exact_states",))
def visits(mdp: FiniteMDP, policy: jax.Array, discount: float | jax.Array = 1.0, max_exact_states: int = 2048) -> jax.Array:
    """How often an episode is in each state: ``sum_t discount^t P(S_t = s, the episode not over before t)``, by default without
    discount, as in the box of Sutton & Barto (2018), section 9.2. Divided by its sum it is the on-policy distribution.

    At ``discount == 1`` every episode must surely end; nothing is promised otherwise.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.

    Example:
        A coin is tossed until heads: two tosses are to be expected.

        >>> coin = FiniteMDP([[[0.5, 0.5]]], [[[0, 0]]], [[[1.0, 0.0]]], [[[True, False]]], [1.0])
        >>> visits(coin, np.array([0])).tolist()
        [2.0]
    """
    return _visits(mdp, action_probabilities(mdp, policy), discount, max_exact_states)


@solver(static=("max_exact_states",), below_one=True)
def occupancy(mdp: FiniteMDP, policy: jax.Array, discount: float | jax.Array, max_exact_states: int = 2048) -> jax.Array:
    """The discounted state occupancy ``(1 - discount) sum_t discount^t P(S_t = s, the episode not over before t)``.

    An episode that is over is nowhere: the sum over states is one where no outcome terminates, and less by the discounted time
    after the end otherwise. So always ``expected_return == sum_s occupancy(s) r_pi(s) / (1 - discount)``
    (Puterman, section 6.9). Iterated beyond ``max_exact_states``, until what is left is below the dtype's precision.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1)``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or ``policy`` is not a policy for ``mdp``.
    """
    return (1 - discount) * _visits(mdp, action_probabilities(mdp, policy), discount, max_exact_states)


@solver
def finite_horizon(mdp: FiniteMDP, horizon: int | jax.Array, discount: float | jax.Array = 1.0) -> jax.Array:
    """The best expected return within ``horizon`` steps, by a policy that may depend on time: ``T^horizon 0``
    (Puterman, section 4.5). What a learner can reach at most under a time limit.

    Args:
        mdp: the model.
        horizon: the number of steps, int ``[]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``.
    """
    zeros = jnp.zeros(mdp.num_states, mdp.reward.dtype)
    return lax.fori_loop(0, horizon, lambda _, values: _best(backup(mdp, values, discount)), zeros)


@jax.jit
def reachable(mdp: FiniteMDP) -> jax.Array:
    """The states in which an action can ever be taken: reached from a start without terminating. bool ``[S]``.

    Example:
        The second of two states is only ever entered by terminating in it:

        >>> ends = FiniteMDP(
        ...     probability=[[[1.0]], [[1.0]]], next_state=[[[1]], [[1]]], reward=[[[0.0]], [[0.0]]],
        ...     terminated=[[[True]], [[True]]], initial=[1.0, 0.0],
        ... )
        >>> reachable(ends).tolist()
        [True, False]
    """
    possible = (mdp.probability > 0) & ~mdp.terminated

    def spread(found):
        return found[1], found[1].at[mdp.next_state].max(possible & found[1][:, None, None])

    start = mdp.initial > 0
    return jax.lax.while_loop(lambda found: (found[0] != found[1]).any(), spread, (jnp.zeros_like(start), start))[1]
