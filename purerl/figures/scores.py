"""Scores of runs, reduced to one number, and estimates with their intervals.

The definitions, the shapes and the treatment of NaN are those of
:mod:`purerl.figures.statistics`, which has all these names, too.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Statistic = Callable[[np.ndarray], np.ndarray]

FEW = 10  # seeds below which a percentile bootstrap interval is clearly too short

_NAMED = 8  # missing scores, named in an error before "..."


class Interval(NamedTuple):
    """An estimate, its confidence interval, and the number of seeds behind it.

    ``str`` shows four significant digits of the largest number, and the others to the
    same decimal place; a format specification applies to each number. Fewer than 10
    seeds are said to be too few, see
    :func:`~purerl.figures.statistics.bootstrap_curves`.

    Attributes:
        point: the statistic of the scores themselves.
        low: lower end; nan for a single seed, which has no spread.
        high: upper end; likewise.
        n: number of seeds (of each task).

    >>> print(Interval(498.23, 495.08, 500.0, n=64))
    498.2 [495.1, 500.0] (n=64)
    >>> f"{Interval(0.125, 0.0625, 0.25, n=8):.2e}"
    '1.25e-01 [6.25e-02, 2.50e-01] (n=8: too few)'
    """

    point: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        numbers = self[:3]
        if not spec:
            largest = max((abs(x) for x in numbers if math.isfinite(x)), default=0.0)
            decimals = 3 - math.floor(math.log10(largest)) if largest else 1
            spec = f".{max(decimals, 0)}f" if decimals <= 6 else ".3e"
        point, low, high = (format(x, spec) for x in numbers)
        few = ": too few" if self.n < FEW else ""
        return f"{point} [{low}, {high}] (n={self.n}{few})"

    def __str__(self) -> str:
        return format(self)


class Band(NamedTuple):
    """Estimates with their confidence intervals, arrays of one shape.

    Attributes:
        point: the estimates.
        low: lower ends.
        high: upper ends.
    """

    point: np.ndarray
    low: np.ndarray
    high: np.ndarray


def checked_scores(
    values: ArrayLike, name: str, ndims: tuple[int, ...] | None = None
) -> np.ndarray:
    """Numbers as float64.

    Args:
        values: not empty.
        name: of the argument, for the error.
        ndims: the numbers of axes that are allowed; by default any.

    Raises:
        ValueError: a NaN, or a wrong shape.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or values.ndim == 0 or (ndims and values.ndim not in ndims):
        allowed = " or ".join(map(str, ndims)) if ndims else "at least 1"
        raise ValueError(
            f"{name} has shape {values.shape}; it needs {allowed} axes, none of them empty"
        )
    missing = np.argwhere(np.isnan(values))
    if len(missing):
        named = ", ".join(str(i.tolist()) for i in missing[:_NAMED])
        more = ", ..." if len(missing) > _NAMED else ""
        raise ValueError(
            f"{len(missing)} of {values.size} {name} are NaN (at {named}{more}); "
            "decide first how a failed seed counts"
        )
    return values


def _strata(scores: ArrayLike) -> np.ndarray:
    scores = checked_scores(scores, "scores")
    return scores[None] if scores.ndim == 1 else scores


def _pooled(scores: ArrayLike) -> np.ndarray:
    scores = _strata(scores)
    return scores.reshape(*scores.shape[:-2], -1)


def mean(scores: ArrayLike) -> np.ndarray:
    """The mean over all runs.

    Args:
        scores: ``[N]`` or ``[..., M, N]``.

    Returns:
        ``[...]``, float64.

    Raises:
        ValueError: a score is NaN, or there is none.
    """
    return _pooled(scores).mean(axis=-1)


def median(scores: ArrayLike) -> np.ndarray:
    """The median over tasks of each task's mean; for one task, that over its seeds.

    Args:
        scores: ``[N]`` or ``[..., M, N]``.

    Returns:
        ``[...]``, float64.

    Raises:
        ValueError: a score is NaN, or there is none.
    """
    scores = _strata(scores)
    return np.median(scores[..., 0, :] if scores.shape[-2] == 1 else scores.mean(axis=-1), axis=-1)


def iqm(scores: ArrayLike) -> np.ndarray:
    r"""The interquartile mean: the mean of the middle half of all runs.

    Of the ``n = M N`` scores of all tasks together, sorted as
    :math:`x_{(1)} \le \dots \le x_{(n)}`,

    .. math:: \frac{1}{n - 2k} \sum_{i=k+1}^{n-k} x_{(i)},
              \qquad k = \lfloor n / 4 \rfloor.

    It is more robust than the mean to single failed or lucky runs, and more efficient
    than the median (Agarwal et al., 2021, section 4.3).

    Args:
        scores: ``[N]`` or ``[..., M, N]``.

    Returns:
        ``[...]``, float64.

    Raises:
        ValueError: a score is NaN, or there is none.

    >>> float(iqm([0, 1, 2, 3, 4, 5, 6, 1000]))
    3.5
    """
    ordered = np.sort(_pooled(scores), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> np.ndarray:
    r"""The amount by which runs fall short of a target, on average.

    .. math:: \gamma - \frac{1}{M N} \sum_{m=1}^M \sum_{n=1}^N \min(x_{m,n}, \gamma)

    What a run has above the target :math:`\gamma` makes up for nothing. Less is better
    (Agarwal et al., 2021, section 4.3).

    Args:
        scores: ``[N]`` or ``[..., M, N]``.
        target: :math:`\gamma`, such as 1 for scores that are 1 at a human's level.

    Returns:
        ``[...]``, float64.

    Raises:
        ValueError: a score is NaN, or there is none.

    >>> float(optimality_gap([0.5, 1.0, 3.0, 0.5]))
    0.25
    """
    return target - np.minimum(_pooled(scores), target).mean(axis=-1)
