"""Validation of constructor arguments.

Every refusal reads ``Class: field is value; allowed: ...``, see :func:`refusal`. Python
and NumPy scalars are checked. Arrays and tracers are not: they may be batched or not
yet known, and reading an array that JAX holds would wait for the device. Nor is
anything checked where all leaves are whole numbers, as in a tree of ``in_axes``.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import jax
import numpy as np

# Which numbers are allowed: in words for the error message, and as a test.
Rule = tuple[str, Callable[[np.ndarray], np.ndarray]]

FINITE: Rule = ("a finite number", np.isfinite)
ABOVE_ZERO: Rule = ("a number above 0", lambda x: x > 0)
POSITIVE: Rule = ("a finite number above 0", lambda x: np.isfinite(x) & (x > 0))
NOT_NEGATIVE: Rule = ("a finite number of at least 0", lambda x: np.isfinite(x) & (x >= 0))
AT_LEAST_ONE: Rule = ("a number of at least 1", lambda x: x >= 1)
SWITCH: Rule = ("True or False", lambda x: (x == 0) | (x == 1))
UNIT_INTERVAL: Rule = ("a number in [0, 1]", lambda x: (x >= 0) & (x <= 1))

LONGEST = 200  # characters of a value in an error message


class _HasEnvironment(Protocol):
    @property
    def env(self) -> Any: ...


def refusal(owner: str, field: str, value: object, allowed: str, verb: str = "is") -> ValueError:
    """The error for a value that is not allowed.

    Args:
        owner: the class or function that refuses the value.
        field: the name of the field or argument.
        value: the value as text, or an object to be converted with ``str``; cut to
            ``LONGEST`` characters.
        allowed: the allowed values in words.
        verb: what stands between field and value, such as ``"has shape"``.

    >>> print(refusal("DQN", "batch_size", 0, "a positive whole number"))
    DQN: batch_size is 0; allowed: a positive whole number
    """
    text = str(value)
    if len(text) > LONGEST:
        text = text[: LONGEST - 3] + "..."
    return ValueError(f"{owner}: {field} {verb} {text}; allowed: {allowed}")


def check_values(owner: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check numbers, and NumPy arrays of them, by name.

    Args:
        owner: the class or function named in the error message.
        values: the values by name.
        rules: the rule of each name to check.

    Raises:
        ValueError: a value breaks its rule or is text; names the value and what is
            allowed.
    """
    for name, (allowed, accepts) in rules.items():
        value = values[name]
        if isinstance(value, str):
            raise refusal(owner, name, repr(value), allowed)
        is_known = isinstance(value, (int, float, np.number, np.ndarray))
        if is_known and not np.all(accepts(np.asarray(value))):
            raise refusal(owner, name, value, allowed)


def check_numbers(node: object, **rules: Rule) -> None:
    """Check the fields of a frozen pytree that hold single numbers.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    if all(type(leaf) is int for leaf in jax.tree.leaves(node)):
        return
    single = {
        field: rule
        for field, rule in rules.items()
        if not isinstance(getattr(node, field), np.ndarray)
    }
    check_values(type(node).__name__, vars(node), single)


def check_choice(node: object, **choices: Collection[Any]) -> None:
    """Check that fields are one of their choices.

    Raises:
        ValueError: names the field, its value, what is allowed, and the nearest choice
            if one is spelled similarly.
    """
    for field, choice in choices.items():
        value = getattr(node, field)
        if value not in choice:
            allowed = ", ".join(map(repr, choice))
            names = [name for name in choice if isinstance(name, str)]
            if isinstance(value, str) and (near := difflib.get_close_matches(value, names, n=1)):
                allowed += f" (did you mean {near[0]!r}?)"
            raise refusal(type(node).__name__, field, repr(value), allowed)


def check_size(node: object, *fields: str, multiple_of: int = 1) -> None:
    """Check that fields are positive multiples of a whole number.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    if multiple_of == 1:
        allowed = "a positive whole number"
    else:
        allowed = f"a positive multiple of {multiple_of}"
    for field in fields:
        value = getattr(node, field)
        if type(value) is not int or value < 1 or value % multiple_of:
            raise refusal(type(node).__name__, field, repr(value), allowed)


def check_index(agent: _HasEnvironment) -> None:
    """Refuse an agent whose ``env`` does not observe the index of its state.

    Raises:
        ValueError: names the environment.
    """
    env = agent.env
    is_finite = hasattr(env, "num_states")
    if hasattr(env, "num_actions") and not (is_finite and env.observation.shape == ()):
        raise refusal(
            type(agent).__name__,
            "env",
            repr(env),
            "an environment with a finite number of states, env.num_states, that observes "
            "the index of its state",
        )
