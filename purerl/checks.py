"""Validation of constructor arguments.

Every refusal reads ``Class: field is value; allowed: ...``, with a guess of what was
meant where there is one (:func:`refusal`). Values are checked wherever they are known:
Python and NumPy numbers, and arrays entry by entry. Tracers are not known, and pass;
nodes that JAX rebuilds are not checked, since it does not call their constructors.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

# Which numbers are allowed: in words for the error message, and as a test.
Rule = tuple[str, Callable[[np.ndarray], np.ndarray]]

FINITE: Rule = ("a finite number", np.isfinite)
ABOVE_ZERO: Rule = ("a number above 0", lambda x: x > 0)
POSITIVE: Rule = ("a finite number above 0", lambda x: np.isfinite(x) & (x > 0))
NOT_NEGATIVE: Rule = ("a finite number of at least 0", lambda x: np.isfinite(x) & (x >= 0))
AT_LEAST_ONE: Rule = ("a number of at least 1", lambda x: x >= 1)
SWITCH: Rule = ("True or False", lambda x: (x == 0) | (x == 1))
WHOLE: Rule = (
    "a positive whole number",
    lambda x: np.issubdtype(x.dtype, np.integer) & (x >= 1),
)
UNIT_INTERVAL: Rule = ("a number in [0, 1]", lambda x: (x >= 0) & (x <= 1))

LONGEST = 80  # characters of a value in an error message
LONGEST_LIST = 150  # characters of a list of names in an error message


def shown(value: object) -> str:
    """A value as error messages show it: on one line, shortened, and without its data.

    Environments and agents are shown by their classes, from the outside in.

    >>> shown("0.5"), shown(np.float32(0.5)), shown(int), shown(np.zeros(3))
    ("'0.5'", '0.5', 'the class int', '[0. 0. 0.]')
    """
    kind = type(value)
    if isinstance(value, type):
        text = f"the class {value.__name__}"
    elif isinstance(value, str):
        text = repr(value)
    elif dataclasses.is_dataclass(value):
        inner = getattr(value, "env", None)
        text = kind.__name__ + (f"({shown(inner)})" if dataclasses.is_dataclass(inner) else "")
    elif callable(value) and hasattr(value, "__name__"):
        text = f"the function {value.__name__}"
    elif kind.__repr__ is object.__repr__:
        text = f"an object of class {kind.__name__}"
    else:
        text = str(value)
    return _shortened(text)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def refusal(owner: str, field: str, value: object, allowed: str, verb: str = "is") -> ValueError:
    """The error for a value that is not allowed.

    Args:
        owner: the class or function that refuses the value.
        field: the name of the field or argument.
        value: the value as text, or an object, see :func:`shown`; cut to ``LONGEST``
            characters.
        allowed: the allowed values in words.
        verb: what stands between field and value, such as ``"has shape"``.

    >>> print(refusal("DQN", "batch_size", 0, "a positive whole number"))
    DQN: batch_size is 0; allowed: a positive whole number
    """
    text = _shortened(value) if isinstance(value, str) else shown(value)
    return ValueError(f"{owner}: {field} {verb} {text}; allowed: {allowed}")


def meant(guess: object) -> str:
    """The guess at the end of an error message.

    >>> meant(0.5)
    ' (did you mean 0.5?)'
    """
    return f" (did you mean {guess}?)"


def listed(names: Iterable[object]) -> str:
    """Names for an error message; of many, the first few.

    >>> listed(["a", "b"])
    'a, b'
    """
    words = list(map(str, names))
    text = ", ".join(words) or "none"
    if len(text) <= LONGEST_LIST:
        return text
    few = text[:LONGEST_LIST].rsplit(", ", 1)[0]
    return f"{few}, ... ({len(words)} in all)"


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The one of some names that is spelled most similarly, if any is similar.

    Case, the folder in front and the version or number behind count less than the rest.

    >>> nearest("Breakout", ["Acrobot-v1", "MinAtar/Breakout-v1"])
    'MinAtar/Breakout-v1'
    """

    def core(text):
        return re.sub(r"(-v\d+|/\d+)$", "", text.lower()).rsplit("/", 1)[-1]

    def similarity(a, b):
        return difflib.SequenceMatcher(None, a, b).ratio()

    if not isinstance(name, str):
        return None
    scored = []
    for known in names:
        whole = similarity(name.lower(), known.lower())
        scored.append((max(similarity(core(name), core(known)), whole), whole, known))
    best = max(scored, default=(0.0, 0.0, ""))
    return best[-1] if best[0] >= 0.6 else None


def _known(value: Any, rule: Rule) -> np.ndarray | None:
    """The real numbers of a value as an array; None where it is anything else."""
    if isinstance(value, (bool, np.bool_)) and rule is not SWITCH:
        return None
    if not isinstance(value, (bool, int, float, np.generic, np.ndarray, jax.Array)):
        return None
    array = np.asarray(value)
    kinds = (np.bool_,) if rule is SWITCH else ()
    real = any(jnp.issubdtype(array.dtype, kind) for kind in (np.integer, np.floating, *kinds))
    return array if real else None


def _holds(value: Any, rule: Rule) -> bool:
    array = _known(value, rule)
    return array is not None and bool(np.all(rule[1](array)))


def _guess(field: str, value: Any, rule: Rule) -> str:
    """A guess at the value meant by one that is not allowed."""
    if isinstance(value, (list, tuple)):
        several = bool(value) and all(_holds(item, rule) for item in value)
        return meant(f"over={{{field!r}: {_shortened(str(list(value)))}}}") if several else ""
    if isinstance(value, (str, float, np.floating)):
        for kind in (int, float):
            try:
                number = kind(value)
            except (ValueError, OverflowError):
                continue
            if (isinstance(value, str) or number == value) and _holds(number, rule):
                return meant(number)
    return ""


def check_values(owner: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check numbers, and arrays of them, by name.

    Args:
        owner: the class or function named in the error message.
        values: the values by name.
        rules: the rule of each name to check.

    Raises:
        ValueError: a value breaks its rule or is no number; names the value and what is
            allowed.
    """
    for name, rule in rules.items():
        value = values[name]
        if not isinstance(value, Tracer) and not _holds(value, rule):
            raise refusal(owner, name, shown(value), rule[0] + _guess(name, value, rule))


def check_numbers(node: object, **rules: Rule) -> None:
    """Check the fields of a frozen dataclass that hold numbers.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    check_values(type(node).__name__, vars(node), rules)


def check_choice(node: object, **choices: Collection[Any]) -> None:
    """Check that fields are one of their choices.

    Raises:
        ValueError: names the field, its value, what is allowed, and the nearest choice
            if one is spelled similarly.
    """
    for field, choice in choices.items():
        value = getattr(node, field)
        if not any(type(value) is type(item) and value == item for item in choice):
            near = nearest(value, [name for name in choice if isinstance(name, str)])
            allowed = listed(map(repr, choice)) + (meant(repr(near)) if near else "")
            raise refusal(type(node).__name__, field, shown(value), allowed)


def whole(value: Any) -> int | None:
    """The whole number that a value is; None for all else, truth values included.

    >>> whole(np.int64(3)), whole(3.0), whole(True)
    (3, None, None)
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
        return int(value)
    return None


def check_size(node: object, *fields: str, multiple_of: int = 1) -> None:
    """Check that fields are positive multiples of a whole number.

    A whole number of NumPy is replaced by Python's.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    if multiple_of == 1:
        allowed = "a positive whole number"
    else:
        allowed = f"a positive multiple of {multiple_of}"
    rule = (allowed, lambda x: (x >= 1) & (x % multiple_of == 0))
    for field in fields:
        value = getattr(node, field)
        number = whole(value)
        if number is None or not rule[1](number):
            guess = _guess(field, value, rule)
            if number is not None and number > multiple_of:
                guess = meant(number // multiple_of * multiple_of)
            raise refusal(type(node).__name__, field, shown(value), allowed + guess)
        object.__setattr__(node, field, number)


def check_sizes(node: object, *fields: str) -> None:
    """Check that fields are tuples of positive whole numbers, possibly empty.

    Whole numbers of NumPy are replaced by Python's.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    for field in fields:
        value = getattr(node, field)
        sizes = [value] if whole(value) is not None else value
        numbers = list(map(whole, sizes)) if isinstance(sizes, (tuple, list)) else [None]
        fits = all(number is not None and number >= 1 for number in numbers)
        if not (fits and isinstance(value, tuple)):
            allowed = "a tuple of positive whole numbers"
            guess = meant(_shortened(str(tuple(numbers)))) if fits else ""
            raise refusal(type(node).__name__, field, shown(value), allowed + guess)
        object.__setattr__(node, field, tuple(numbers))
