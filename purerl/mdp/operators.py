"""Bellman operators of finite models, their fixed points, and bounds on the error.

Notation: for values ``v`` let ``(T v)(s) = max_a q(s, a)`` with
``q = backup(mdp, v, discount)``, and let ``T_pi`` be the same with the mean under
``pi(a | s)`` in place of the maximum. ``v* = T v*`` and ``v_pi = T_pi v_pi`` (Bellman,
*Dynamic Programming*, 1957; Puterman, *Markov Decision Processes*, 1994, chapters 5-7).

Everything here and in the modules built on it (:mod:`~purerl.mdp.optimal`,
:mod:`~purerl.mdp.policy_evaluation`, :mod:`~purerl.mdp.average`) is a pure function
that works under ``jit`` and ``vmap``, over stacked models, policies and discounts. Each
call runs one compiled program. Arguments (such as a discount outside ``[0, 1]``) are
checked if their value is known, that is, not inside another transformation. Models need
``S * A * K`` numbers, never ``S * S``, except for the direct linear solve, which is
used for up to ``max_exact_states`` states.

**Error bounds.** Both operators contract the largest difference by ``m``, which is
``discount`` times the largest probability that an episode continues. So for any ``v``,
computed ``w = T v`` with rounding errors of at most ``e``, and fixed point ``v*``:
``max |w - v*| <= (m max |w - v| + e) / (1 - m)``, from which a bound for ``q`` follows.
The one reported holds for both, with ``e`` bounded from the number of operations, the
precision of the dtype, and the numbers that each state's own best action meets. It
refers to the model as stored, and to the discount rounded to the same dtype.

**At** ``discount == 1`` values are expected total rewards. Unless every action may end
the episode, ``m`` is then one and the bound infinite: the last change says nothing
about the remaining distance. Iteration from zero still converges to the optimal values
if rewards have one sign (Puterman, sections 7.2 and 7.3), or if some policy ends every
episode with probability one and all others lose without limit (Bertsekas & Tsitsiklis,
"An analysis of stochastic shortest path problems", Mathematics of Operations Research
16, 1991).
"""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from purerl import linalg
from purerl.checks import refusal
from purerl.mdp.model import FiniteMDP, check_policy, is_concrete

P = ParamSpec("P")
R = TypeVar("R")

# A backup is written out term by term for tables of at least LARGE numbers, if a state
# has at most UNROLLED of them.
LARGE = 2**16
UNROLLED = 32

# Indices of states are in range. Checking them would take time, and the memory of
# another table.
IN_RANGE: dict[str, Any] = {"mode": "promise_in_bounds", "wrap_negative_indices": False}

# The change of a value: tolerated, no more than rounding errors, more than that.
STOPPED, SETTLED, MOVING = np.arange(3, dtype=np.int32)


class Solution(NamedTuple):
    """Values of an optimal policy, or of a given one.

    Attributes:
        q: action values, float ``[S, A]``.
        values: state values, float ``[S]``: the maximum of ``q``, or its mean under the
            given policy.
        policy: the policy found (int32 ``[S]``), or the one given.
        iterations: the number of iterations, int32 ``[]``.
        error_bound: the largest possible error of any entry of ``q`` and ``values``,
            float ``[]``; may be infinite.
        errors: the largest possible error of each of ``values``, float ``[S]``. A large
            number somewhere, such as a penalty of -1e9 for a forbidden action, makes
            ``error_bound`` large, but not these.
    """

    q: jax.Array
    values: jax.Array
    policy: jax.Array
    iterations: jax.Array
    error_bound: jax.Array
    errors: jax.Array


_ALLOWED = {  # the numbers that a solver checks, apart from the discount
    "epsilon": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "temperature": ("a finite number above 0", lambda x: 0 < x < np.inf),
    "lambda_": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
}

_POLICIES = "policy", "prior", "reference"  # the arguments that are policies


def linear_solve(matrix: jax.Array, side: jax.Array) -> jax.Array:
    """``x`` of ``matrix @ x = side``, differentiable: :func:`purerl.linalg.solve`."""
    return lax.custom_linear_solve(
        lambda x: matrix @ x,
        side,
        lambda _, side: linalg.solve(matrix, side),
        lambda _, side: linalg.solve(matrix.T, side),
    )


def _check_number(owner, name, value, allowed, accepts, dtype):
    """A number as an array of ``dtype``; its value is checked if it is known."""
    if is_concrete(value) and not (np.shape(value) == () and accepts(np.asarray(value))):
        raise refusal(owner, name, value, allowed)
    return jnp.asarray(value, dtype)


def _check_discount(owner, discount, below_one, dtype):
    """The discount as an array; it is checked as rounded to the dtype of the model."""
    allowed = "a number in [0, 1)" if below_one else "a number in [0, 1]"

    def accepts(value):
        rounded = value.astype(dtype)
        return 0 <= rounded <= 1 and (rounded < 1 or not below_one)

    return _check_number(owner, "discount", discount, allowed, accepts, dtype)


@overload
def solver(function: Callable[P, R]) -> Callable[P, R]: ...
@overload
def solver(
    *, static: Sequence[str] = (), below_one: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def solver(
    function: Callable[..., Any] | None = None,
    *,
    static: Sequence[str] = (),
    below_one: bool = False,
) -> Callable[..., Any]:
    """Check the arguments of a function of a model, and compile it as one program.

    The arguments checked are ``discount`` and those named in ``_POLICIES`` and
    ``_ALLOWED``.

    Args:
        function: its first parameter is ``mdp``.
        static: names of the parameters on which the program depends.
        below_one: refuse a discount of 1.
    """
    if function is None:
        return functools.partial(solver, static=static, below_one=below_one)
    owner = getattr(function, "__name__", "solver")
    compiled = jax.jit(function, static_argnames=tuple(static))
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        dtype = given["mdp"].reward.dtype
        for name in _POLICIES:
            if given.get(name) is not None:
                given[name] = check_policy(given["mdp"], given[name], owner, name)
        for name in given.keys() & _ALLOWED.keys():
            given[name] = _check_number(owner, name, given[name], *_ALLOWED[name], dtype)
        if "discount" in given:
            given["discount"] = _check_discount(owner, given["discount"], below_one, dtype)
        return compiled(**given)

    return checked


def mean(weights: jax.Array, values: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """A weighted sum in which weight zero excludes even an infinite value."""
    counts = weights > 0
    # Both sides of a select are differentiated, so neither may multiply by infinity.
    return jnp.sum(jnp.where(counts, weights * jnp.where(counts, values, 0), 0), axis)


def expected(
    mdp: FiniteMDP,
    value: Callable[..., jax.Array],
    *own: jax.Array,
    unavailable: float | None = None,
) -> jax.Array:
    """``sum_k probability value(next_state, reward, terminated)``, float ``[S, A]``.

    An outcome of probability zero contributes nothing, even if its value is infinite.

    Args:
        mdp: the model.
        value: works element by element.
        own: numbers of the state that is left, ``[S]``; further arguments of ``value``.
        unavailable: instead of the sum for an action that is not available.
    """

    def term(*at):
        tables = (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
        probability, *outcome = (table[at] for table in tables)
        here = (table[:, None, None][at if at == (...,) else (..., 0, 0)] for table in own)
        return jnp.where(probability > 0, probability * value(*outcome, *here), 0)

    def masked(sums, at: Any = ...):
        return sums if unavailable is None else jnp.where(mdp.available[at], sums, unavailable)

    actions = range(mdp.num_actions)
    outcomes = range(mdp.num_outcomes)
    if mdp.reward.size < LARGE or len(actions) * len(outcomes) > UNROLLED:
        return masked(jnp.sum(term(...), axis=-1))
    # One loop over the states that stores no intermediate results: three times as fast
    # as sums over an array [S, A, K], in less memory, for a second more of compilation.
    columns = [functools.reduce(operator.add, [term(..., a, k) for k in outcomes]) for a in actions]
    return jnp.stack([masked(column, (..., a)) for a, column in enumerate(columns)], axis=-1)


def look_ahead(
    mdp: FiniteMDP, values: ArrayLike, discount: float | jax.Array, ended: float | jax.Array
) -> jax.Array:
    """:func:`backup` with value ``ended`` after the end of an episode: ``[S, A]``."""
    table = jnp.asarray(values)

    def returns(next_state, reward, terminated):
        value = table.at[next_state].get(**IN_RANGE)
        return reward + discount * jnp.where(terminated, ended, value)

    return expected(mdp, returns, unavailable=-jnp.inf)


def backup(mdp: FiniteMDP, values: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """Action values of one step followed by ``values``.

    With ``t`` the flag of termination and ``s'`` the next state of outcome ``k``,
    ``q(s, a) = sum_k probability (reward + discount (1 - t) values[s'])``.

    Args:
        mdp: the model.
        values: of the states, float ``[S]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[S, A]``; ``-inf`` for an action that is not available.
    """
    return look_ahead(mdp, values, discount, 0)


def carried_on(mdp: FiniteMDP, values: jax.Array, discount: float | jax.Array) -> jax.Array:
    """The part of :func:`backup` that is not reward, float ``[S, A]``."""

    def following(next_state, reward, terminated):
        return jnp.where(terminated, 0, values[next_state])

    return discount * expected(mdp, following)


def expected_reward(mdp: FiniteMDP) -> jax.Array:
    """``r(s, a)``, float ``[S, A]``."""
    return expected(mdp, lambda next_state, reward, terminated: reward)


def greedy(q: jax.Array) -> jax.Array:
    """The first best action in each state: float ``[S, A]`` -> int32 ``[S]``."""
    return jnp.argmax(q, axis=-1).astype(jnp.int32)


def best(q: jax.Array) -> jax.Array:
    """The largest action value in each state: float ``[S, A]`` -> float ``[S]``."""
    return jnp.max(q, axis=-1)


def precision(mdp):
    """A bound on the relative error of one backup.

    Each entry passes through at most this many roundings of half of ``eps``; the other
    half covers the products of such errors.
    """
    return (mdp.num_outcomes + mdp.num_actions + 4) * jnp.finfo(mdp.reward.dtype).eps


def rounding_errors(mdp: FiniteMDP, values: jax.Array, discount: float | jax.Array) -> jax.Array:
    """Bounds on the rounding errors of :func:`backup`, float ``[S, A]``.

    They scale with what an action itself collects and leads to: a large number
    elsewhere in the model does not count.
    """
    table, relative = jnp.abs(values), precision(mdp)

    def sizes(next_state, reward, terminated):
        value = table.at[next_state].get(**IN_RANGE)
        # The factor stands here, where a loop over the states takes it in.
        return relative * (jnp.abs(reward) + discount * jnp.where(terminated, 0, value))

    return expected(mdp, sizes)


def reduction_errors(
    reduce: Callable[[jax.Array], jax.Array], q: jax.Array, errors: jax.Array
) -> jax.Array:
    """Bounds on the error of ``reduce(q)``, float ``[S]``, from those of ``q [S, A]``.

    ``reduce`` grows with every entry of ``q``. An action that could not be the best one
    even with its error, such as a forbidden one of reward -1e9, does not count in a
    maximum.
    """
    reduced = reduce(q)
    errors = jnp.where(jnp.isfinite(q), errors, 0)
    above = reduce(q + errors) - reduced
    below = reduced - reduce(q - errors)
    return jnp.where(jnp.isfinite(reduced), jnp.maximum(above, below), 0)


def _distance(x, y):
    """The differences ``|x - y|``; infinities of one sign are equal."""
    return jnp.where(x == y, 0, jnp.abs(x - y))


def bounded(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    reduce: Callable[[jax.Array], jax.Array],
    values: jax.Array,
    policy: Callable[[jax.Array], jax.Array],
    iterations: jax.Array,
    weigh: Callable[[jax.Array], jax.Array] | None = None,
    more_rounding: float | jax.Array = 0.0,
    errors: jax.Array | None = None,
) -> Solution:
    """The solution and its error bound, from values near a fixed point.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``.
        reduce: state values from action values; the fixed point is that of
            ``reduce(backup(.))``.
        values: near the fixed point, float ``[S]``.
        policy: the policy from action values.
        iterations: reported in the solution.
        weigh: a bound on the difference of ``reduce`` of two action values, as a
            function of their difference. By default ``reduce`` itself, which is right
            if it is linear or a maximum.
        more_rounding: a bound on the rounding error of ``reduce`` in each state, in
            addition to sums and products.
        errors: bounds on the errors of ``values`` that are known already, and hold
            after one more backup, too; float ``[S]``.
    """
    weigh = reduce if weigh is None else weigh
    q = lax.optimization_barrier(backup(mdp, values, discount))  # or every term is kept
    of_backup = lax.optimization_barrier(rounding_errors(mdp, values, discount))
    reduced = reduce(q)
    rounding = reduction_errors(reduce, q, of_backup) + more_rounding
    continues = expected(mdp, lambda next_state, reward, terminated: 1.0 - terminated)
    factor = discount * (1 + precision(mdp)) * jnp.where(mdp.available, continues, 0)
    modulus = jnp.max(weigh(factor))
    change = jnp.max(_distance(reduced, values))
    of_reduced = (modulus * change + jnp.max(rounding)) / (1 - modulus)
    of_values = jnp.where(modulus < 1, change + of_reduced, jnp.inf)
    bounds = jnp.full_like(values, jnp.where(modulus < 1, of_reduced, jnp.inf))
    if errors is not None:
        of_values = jnp.minimum(of_values, jnp.max(errors))
        bounds = jnp.minimum(bounds, errors)
    # The error of q is that of the values it was computed from, times the probability
    # that they count. The modulus of a policy does not tell this of actions that it
    # does not take.
    of_q = jnp.max(factor) * of_values + jnp.max(jnp.where(mdp.available, of_backup, 0))
    return Solution(q, reduced, policy(q), iterations, of_q, bounds)


def fixed_point(
    mdp: FiniteMDP,
    discount: float | jax.Array,
    reduce: Callable[[jax.Array], jax.Array],
    tolerance: float | jax.Array,
    max_iterations: int | jax.Array,
    follow: Callable[[jax.Array, jax.Array], jax.Array] = lambda q, values: values,
    first: float | jax.Array = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Iterate ``values = reduce(backup(values))`` from ``first``, the same everywhere.

    ``follow(q, values)`` may bring the values of every iteration nearer to the fixed
    point.

    Iteration stops when the largest change is at most ``tolerance``. A change of the
    size of rounding errors may never shrink further, but often does: from where the
    changes of all states are as small, as many iterations are allowed as it took to get
    there.

    Returns:
        The values, float ``[S]``, and the number of iterations, int32 ``[]``.
    """

    def stage(carry):
        # Rounding errors are bounded anew at the first iteration of each stage, which
        # brings the number of iterations to eight times what it was: a bound costs as
        # much as ten iterations. A bound that has grown old only ends its stage.
        values, _, begin, limit = carry
        q = lax.optimization_barrier(backup(mdp, values, discount))
        of_backup = lax.optimization_barrier(rounding_errors(mdp, values, discount))
        negligible = reduction_errors(reduce, q, of_backup)
        end = 8 * jnp.maximum(begin, 2)

        def sweep(carry):
            values, _, iterations, limit = carry
            q = backup(mdp, values, discount)
            updated = reduce(q)
            changes = _distance(updated, values)
            kind = jnp.where(changes <= negligible, SETTLED, MOVING)
            kind = jnp.max(jnp.where(changes <= tolerance, STOPPED, kind))
            counts = (iterations == begin) | (limit < max_iterations)
            iterations = iterations + 1
            sooner = jnp.minimum(limit, 2 * iterations)
            limit = jnp.where(counts & (kind <= SETTLED), sooner, limit)
            return follow(q, updated), kind, iterations, limit

        def unfinished_stage(carry):
            _, kind, iterations, limit = carry
            goes_on = (kind == MOVING) | (limit < max_iterations)
            return unfinished(carry) & goes_on & (iterations < end)

        start = values, jnp.asarray(MOVING), begin, limit
        return lax.while_loop(unfinished_stage, sweep, start)

    def unfinished(carry):
        _, kind, iterations, limit = carry
        return (kind != STOPPED) & (iterations < limit)

    values = jnp.full(mdp.num_states, first, mdp.reward.dtype)
    start = values, jnp.asarray(MOVING), jnp.int32(0), jnp.int32(max_iterations)
    values, _, iterations, _ = lax.while_loop(unfinished, stage, start)
    return values, iterations


def continuation_matrix(chain: FiniteMDP) -> jax.Array:
    """``P(s', the episode continues | s)`` of a model with one action: ``[S, S]``."""
    weight = jnp.where(chain.terminated, 0, chain.probability)[:, 0]
    here = jnp.arange(chain.num_states)[:, None]
    matrix = jnp.zeros((chain.num_states,) * 2, weight.dtype)
    return matrix.at[here, chain.next_state[:, 0]].add(weight)
