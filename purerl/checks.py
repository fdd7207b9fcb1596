"""What fields may be, checked at construction.

A frozen pytree may be constructed of anything that stands in a leaf's place: numbers, arrays, tracers, and ``in_axes``, which
are whole numbers and ``None``. So only single numbers of Python and NumPy are judged, and none of them where all leaves are
such as a tree of ``in_axes`` has. Arrays are taken as they are: they may be the lanes of a batch, and what JAX holds could not
be read without waiting for the device.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

# What a number may be: words for the error message, and the test.
Rule = tuple[str, Callable[[np.ndarray], np.ndarray]]

FINITE: Rule = ("a finite number", np.isfinite)
ABOVE_ZERO: Rule = ("a number above 0", lambda x: x > 0)
POSITIVE: Rule = ("a finite number above 0", lambda x: np.isfinite(x) & (x > 0))
NOT_NEGATIVE: Rule = ("a finite number of at least 0", lambda x: np.isfinite(x) & (x >= 0))
AT_LEAST_ONE: Rule = ("a number of at least 1", lambda x: x >= 1)
SWITCH: Rule = ("True or False", lambda x: (x == 0) | (x == 1))
UNIT_INTERVAL: Rule = ("a number in [0, 1]", lambda x: (x >= 0) & (x <= 1))


def check_values(owner: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check numbers, and arrays of them, by name. ``owner`` is who the message says they belong to.

    Raises:
        ValueError: naming the value, what it was and what is allowed.
    """
    for name, (allowed, accepts) in rules.items():
        value = values[name]
        if isinstance(value, (int, float, np.number, np.ndarray)) and not np.all(
            accepts(np.asarray(value))
        ):
            raise ValueError(f"{owner}: {name} is {value}; allowed: {allowed}")


def check_numbers(node: Any, **rules: Rule) -> None:
    """:func:`judge` the fields of a frozen pytree that hold numbers.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    if not all(type(leaf) is int for leaf in jax.tree.leaves(node)):
        single = {
            field: rule
            for field, rule in rules.items()
            if not isinstance(getattr(node, field), np.ndarray)
        }
        check_values(type(node).__name__, vars(node), single)


def check_choice(node: Any, **choices: Collection[Any]) -> None:
    """Check that fields are one of their choices.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    for field, allowed in choices.items():
        value = getattr(node, field)
        if value not in allowed:
            raise ValueError(
                f"{type(node).__name__}: {field} is {value!r}; allowed: {', '.join(map(repr, allowed))}"
            )


def check_size(node: Any, *fields: str, multiple_of: int = 1) -> None:
    """Check that fields are positive multiples of a whole number.

    Raises:
        ValueError: naming the field, what it was and what is allowed.
    """
    for field in fields:
        value = getattr(node, field)
        if type(value) is not int or value < 1 or value % multiple_of:
            what = (
                "a positive whole number"
                if multiple_of == 1
                else f"a positive multiple of {multiple_of}"
            )
            raise ValueError(f"{type(node).__name__}: {field} is {value!r}; allowed: {what}")


def check_index(agent: Any) -> None:
    """Refuse an agent whose ``env`` does not observe the index of its state.

    Raises:
        ValueError: naming the environment.
    """
    env = agent.env
    if hasattr(env, "num_actions") and not (
        hasattr(env, "num_states") and env.observation.shape == ()
    ):
        raise ValueError(
            f"{type(agent).__name__}: env is {env!r}; allowed: one with a finite number of states, env.num_states, "
            f"that observes their index"
        )
