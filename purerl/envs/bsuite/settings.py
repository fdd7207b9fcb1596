"""What settings may be, and what bsuite's ``mapping_seed`` shuffles, shuffled alike."""

from typing import Any

import numpy as np

from purerl.checks import AT_LEAST_ONE, check_values


def generator(owner: str, mapping_seed: int) -> np.random.RandomState:
    """NumPy's legacy generator, whose stream for a seed is the same in every version.

    Raises:
        ValueError: ``mapping_seed`` is not a whole number in ``[0, 2**32)``; the message names the ``owner``.
    """
    if (
        isinstance(mapping_seed, bool)
        or not isinstance(mapping_seed, (int, np.integer))
        or not 0 <= mapping_seed < 2**32
    ):
        raise ValueError(
            f"{owner}: mapping_seed is {mapping_seed!r}; allowed: a whole number in [0, 2**32)"
        )
    return np.random.RandomState(mapping_seed)


def check_length(node: Any, field: str) -> None:
    """Check a length that may be the only leaf: a whole 0 is let through, which in its place is an axis for ``vmap``.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    value = getattr(node, field)
    if not ((type(value) is int and value == 0) or isinstance(value, np.ndarray)):
        check_values(type(node).__name__, {field: value}, {field: AT_LEAST_ONE})
