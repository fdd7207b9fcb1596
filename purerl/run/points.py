"""The points of learning curves as columns of a table."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from purerl.figures.labels import factors


def columns(
    configurations: Sequence[Mapping[str, Any]],
    seeds: np.ndarray,
    curves: Mapping[str, np.ndarray],
    steps: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Columns with a row for each configuration, seed and step.

    They are ``configuration``, its number; the swept fields, called ``agent.name``
    where another column has that name; ``seed``; ``step``; and the curves, NaN where
    they have no point at the step.

    Args:
        configurations: the swept values of each.
        seeds: ``[N]``.
        curves: ``{name: [C, N, points, ...]}``.
        steps: ``{name: [points]}``.
    """
    every = np.unique(np.concatenate([steps[whole(name)] for name in curves] or [[]]))
    shape = len(configurations), len(seeds), len(every)
    numbers = np.indices(shape)[0].ravel()
    found: dict[str, Any] = {"configuration": numbers}
    taken = {"configuration", "seed", "step", *curves}
    for name in configurations[0]:
        column = [configurations[c][name] for c in numbers]
        found[f"agent.{name}" if name in taken else name] = column
    found["seed"] = np.broadcast_to(seeds[:, None], shape).ravel()
    found["step"] = np.broadcast_to(every, shape).ravel()
    for name, curve in curves.items():
        column = np.full((*shape, *curve.shape[3:]), np.nan, curve.dtype)
        column[:, :, np.searchsorted(every, steps[whole(name)])] = curve
        found[name] = column.reshape(-1, *curve.shape[3:])
    return found


def in_words(configurations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Configurations whose values are numbers, words or None.

    A field with other values, such as schedules, has short texts instead.
    """
    plain = [{name: _number(value) for name, value in c.items()} for c in configurations]
    texts = {factor.name: factor for factor in factors(configurations)}
    for name in configurations[0]:
        if all(c[name] is None or isinstance(c[name], (int, float, str)) for c in plain):
            continue
        for i, configuration in enumerate(plain):
            factor = texts.get(name)
            alike = str(configuration[name])
            configuration[name] = alike if factor is None else factor.texts[factor.index[i]]
    return plain


def _number(value):
    """The Python number of an array or NumPy scalar, and other values as they are."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def separated(arrays: Mapping[str, np.ndarray], axes: int) -> dict[str, np.ndarray]:
    """Arrays with more axes taken apart into one for each entry of those axes.

    >>> list(separated({"a": np.zeros(3), "b": np.zeros((3, 2))}, 1))
    ['a', 'b[0]', 'b[1]']
    """
    apart = {}
    for name, array in arrays.items():
        if array.ndim == axes:
            apart[name] = array
            continue
        for entry in np.ndindex(array.shape[axes:]):
            apart[f"{name}[{', '.join(map(str, entry))}]"] = array[(..., *entry)]
    return apart


def whole(name: str) -> str:
    """The name of the array that one of :func:`separated` was taken from.

    >>> whole("b[1]")
    'b'
    """
    return re.sub(r"\[[\d, ]+\]$", "", name)
