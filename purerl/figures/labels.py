"""Short names of configurations: what differs between them, in few characters.

>>> from purerl.schedule import linear
>>> grid = [
...     {"learning_rate": 1e-4, "epsilon": linear(1.0, 0.05, 5_000)},
...     {"learning_rate": 1e-3, "epsilon": linear(1.0, 0.05, 5_000)},
... ]
>>> labels(grid)
['lr 1e-4', 'lr 0.001']
>>> labels([*grid, {"learning_rate": 1e-4, "epsilon": 0.1}])[0]
'lr 1e-4, eps 1 to 0.05 in 5k'
"""

import collections
import dataclasses
import math
import numbers
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl import schedule

_LONGEST = 40  # characters of a value that has no shorter form
_PLAIN = (str, int, float)
_GLUE = "\N{NO-BREAK SPACE}"
_SHORT = {"learning_rate": "lr", "epsilon": "eps"}
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Factor(NamedTuple):
    """A swept field that differs between configurations.

    Attributes:
        name: of the field, which may be dotted.
        word: a short name, unique among the factors; empty for an environment.
        values: its different values.
        texts: a text for each of them, no two equal.
        index: the position of each configuration's value among them.
    """

    name: str
    word: str
    values: list[Any]
    texts: list[str]
    index: list[int]

    def label(self, level: int) -> str:
        """A value with the short name of its field, such as ``lr 0.1``."""
        return f"{self.word} {self.texts[level]}".strip()


def factors(configurations: Sequence[Mapping[str, Any]]) -> list[Factor]:
    """The swept fields that differ between configurations.

    Args:
        configurations: the swept values of each, all with the same fields.
    """
    names = list(configurations[0]) if configurations else []
    last = collections.Counter(name.rpartition(".")[2] for name in names)
    found = []
    for name in names:
        values, index = _levels([configuration[name] for configuration in configurations])
        if len(values) > 1:
            end = name.rpartition(".")[2]
            word = _word(end if last[end] == 1 else name)
            found.append(Factor(name, word, values, _numbered(_texts(values)), index))
    return found


def labels(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each configuration, made of what differs, no two of them equal.

    Configurations that do not differ are told apart by their numbers; a single one has
    an empty label.

    >>> labels([{"epsilon": 0.1}, {"epsilon": 0.1}])
    ['#0', '#1']
    """
    varied = factors(configurations)
    texts = [
        ", ".join(factor.label(factor.index[c]) for factor in varied)
        for c in range(len(configurations))
    ]
    counts = collections.Counter(texts)
    return [f"{text} #{c}".strip() if counts[text] > 1 else text for c, text in enumerate(texts)]


def short(value: Any) -> str:
    """A value in few characters.

    >>> [short(value) for value in (1e-4, 0.05, 20_000, 12_345, True, (64, 64))]
    ['1e-4', '0.05', '20k', '12345', 'True', '(64, 64)']
    >>> short(schedule.exponential(1.0, half_life=1_000, floor=0.01))
    '1 halved every 1k down to 0.01'
    """
    if isinstance(value, (np.ndarray, jax.Array)) and value.ndim:
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        value = np.asarray(value).item()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return _number(float(value))
    if isinstance(value, schedule.Schedule):
        return _schedule(value)
    if isinstance(value, (tuple, list)):
        inside = ", ".join(map(short, value))
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = getattr(value, "env", None)
        return type(value).__name__ if inner is None else short(inner)
    text = getattr(value, "__name__", None) or " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def wrapped(text: str, width: int) -> str:
    """A text whose lines are broken behind commas rather than at other spaces.

    >>> wrapped("lr 1e-4, eps 1 to 0.05 in 5k", width=20).split("\\n")
    ['lr 1e-4,', 'eps 1 to 0.05 in 5k']
    """
    lines = []
    for line in text.split("\n"):
        glued = line.replace(" ", _GLUE).replace(f",{_GLUE}", ", ")
        lines += textwrap.wrap(glued, width) if len(line) > width else [line]
    return "\n".join(lines).replace(_GLUE, " ")


def _number(value):
    if not math.isfinite(value):
        return str(value)
    for unit, letter in _UNITS:
        tenths = 10 * value / unit
        if abs(value) >= unit and tenths == round(tenths):
            return f"{value / unit:g}{letter}"
    if abs(value) >= 1000:
        return f"{value:.12g}"
    # A root of ten needs no six digits, 0.99999 as a float32 does.
    digits = 6 if math.isclose(float(f"{value:.6g}"), value, rel_tol=1e-7) else 4
    plain = f"{value:.{digits}g}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    powers = f"{float(mantissa):g}e{int(exponent)}"
    return powers if "e" in plain or len(powers) < len(plain) - 1 else plain


def _schedule(value):
    match value:
        case schedule.Constant():
            return short(value.value)
        case schedule.Linear():
            text = f"{short(value.start)} to {short(value.end)} in {short(value.steps)}"
            begin = short(value.begin)
            return text if begin == "0" else f"{text} from {begin}"
        case schedule.Exponential():
            text = f"{short(value.start)} halved every {short(value.half_life)}"
            floor = short(value.floor)
            return text if floor == "0" else f"{text} down to {floor}"
        case schedule.Power():
            timescale = short(value.timescale)
            time = "t" if timescale == "1" else f"t/{timescale}"
            return f"{short(value.start)} (1 + {time})^-{short(value.exponent)}"
        case schedule.Function():
            return short(value.function)
    return type(value).__name__


def _word(name):
    """A short name of a field."""
    if name.rpartition(".")[2] == "env":
        return ""
    for long, abbreviation in _SHORT.items():
        name = name.replace(long, abbreviation)
    return name.replace("_", " ")


def _levels(values):
    """The different values in order, and the position of each value among them."""
    different: list[Any] = []
    index = []
    for value in values:
        for i, other in enumerate(different):
            if _same(value, other):
                index.append(i)
                break
        else:
            index.append(len(different))
            different.append(value)
    return different, index


def _same(a, b):
    if a is b:
        return True
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return a == b
    (leaves, structure), (others, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    return structure == other and all(map(_same_leaf, leaves, others))


def _same_leaf(a, b):
    if type(a) is type(b) and type(a).__eq__ is object.__eq__:
        return repr(a) == repr(b)  # objects that are not compared by what they are
    return np.array_equal(a, b)


def _texts(values):
    """Texts of different values; those of one class by the fields that differ."""
    kinds = collections.defaultdict(list)
    for i, value in enumerate(values):
        plain = isinstance(value, (type, schedule.Schedule))
        kinds[type(value) if dataclasses.is_dataclass(value) and not plain else None].append(i)
    texts = [short(value) for value in values]
    for kind, members in kinds.items():
        if kind is None or len(members) == 1:
            continue
        for i, inside in zip(members, _insides(kind, [values[i] for i in members]), strict=True):
            alone = len(members) == len(values) and inside
            texts[i] = inside if alone else f"{texts[i]} {inside}".strip()
    return texts


def _insides(kind, values):
    """Differences between dataclasses of one class, as texts."""
    parts: list[list[str]] = [[] for _ in values]
    for field in dataclasses.fields(kind):
        different, index = _levels([getattr(value, field.name) for value in values])
        texts = _texts(different)
        if len(set(texts)) == 1 or any(np.ndim(value) for value in different):
            continue  # the shape of an array says little
        for part, i in zip(parts, index, strict=True):
            part.append(f"{_word(field.name)} {texts[i]}".strip())
    return [", ".join(part) for part in parts]


def _numbered(texts):
    """The texts, with numbers behind those that occur more than once."""
    counts = collections.Counter(texts)
    seen: collections.Counter[str] = collections.Counter()
    numbered = []
    for text in texts:
        seen[text] += 1
        numbered.append(f"{text} ({seen[text]})" if counts[text] > 1 else text)
    return numbered
