"""The optimum by linear programming."""

from typing import NamedTuple

import numpy as np

from purerl.checks import refusal
from purerl.mdp.model import FiniteMDP


class LinearProgram(NamedTuple):
    """The optimum of the primal and the dual program.

    Attributes:
        values: of the primal, ``v*``, float64 ``[S]``.
        occupancy: of the dual, ``sum_t discount^t P(S_t = s, A_t = a)`` with uniform
            ``S_0``, float64 ``[S, A]``.
        policy: the action of largest occupancy, int32 ``[S]``.
    """

    values: np.ndarray
    occupancy: np.ndarray
    policy: np.ndarray


def linear_program(mdp: FiniteMDP, discount: float) -> LinearProgram:
    r"""The optimum by linear programming, sharing no code with the other solvers.

    .. math::
        \min_v \frac 1 S \sum_s v(s) \quad \text{where} \quad
        v(s) \ge \sum_k p_k \left(r_k + \gamma (1 - d_k) v(s'_k)\right)
        \quad \text{for all } s, a.

    It is solved in double precision by SciPy's HiGHS, with a sparse matrix, and cannot
    be used under ``jit``. d'Epenoux, "A probabilistic production and inventory problem"
    (Management Science 10, 1963); Puterman, section 6.9.

    Args:
        mdp: the model.
        discount: in ``[0, 1]``; 1 only if every policy ends episodes.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or no finite optimum was found.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    if not 0 <= discount <= 1:
        raise refusal("linear_program", "discount", discount, "a number in [0, 1]")
    probability = np.asarray(mdp.probability, float)
    size, actions, _ = probability.shape
    # One row per state and action: discount P(s' | s, a) - [s = s'].
    pairs = np.arange(size * actions)
    here = coo_array((np.ones(len(pairs)), (pairs, np.repeat(np.arange(size), actions))))
    row = np.broadcast_to(pairs.reshape(size, actions, 1), probability.shape).ravel()
    column = np.asarray(mdp.next_state).ravel()
    weight = np.where(mdp.terminated, 0, discount * probability).ravel()
    following = coo_array((weight, (row, column)), shape=here.shape)
    reward = (probability * np.asarray(mdp.reward, float)).sum(axis=-1).ravel()
    available = np.asarray(mdp.available).ravel()
    found = linprog(
        np.full(size, 1 / size),
        A_ub=(following - here).tocsr()[available],
        b_ub=-reward[available],
        bounds=(None, None),
        method="highs",
    )
    if not found.success:
        allowed = f"one with a finite optimum, but no finite optimum was found: {found.message}"
        raise refusal("linear_program", "discount", discount, allowed)
    occupancy = np.zeros(size * actions)
    occupancy[available] = -found.ineqlin.marginals
    occupancy = occupancy.reshape(size, actions)
    return LinearProgram(found.x, occupancy, occupancy.argmax(axis=1).astype(np.int32))
