"""Agents, environments and evaluations as JSON and arrays, and back.

Classes and functions are recorded by module and name. Reading a file back runs no code
of the file's choice: it builds only what :func:`find` accepts.
"""

import dataclasses
import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from purerl.checks import shown
from purerl.mdp import FiniteMDP
from purerl.pytree import Node

# Modules whose functions may be read back: mathematics without side effects.
FUNCTIONS = jax.nn, jax.numpy, nn
Named = Callable[[str], Any]


def digest(array: np.ndarray) -> str:
    """The name of an array, which follows from its contents."""
    about = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(about + array.tobytes()).hexdigest()[:16]


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON.

    Args:
        value: numbers, strings, arrays, sequences, dictionaries by string, dataclasses,
            and functions, of which only the name is recorded.
        arrays: receives the arrays, by digest; the JSON refers to them.

    Raises:
        TypeError: the value holds something else.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}  # JSON has no infinity
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        array = np.asarray(value)
        name = digest(array)
        arrays[name] = array
        return {"array": name}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item, arrays) for key, item in value.items()}}
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return {type(value).__name__: [encode(item, arrays) for item in value]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [
            f.name
            for f in dataclasses.fields(value)
            if f.init and not (isinstance(value, nn.Module) and f.name in _MODULE)
        ]
        fields = {name: encode(getattr(value, name), arrays) for name in names}
        return {"class": _name(type(value)), "fields": fields}
    bound = getattr(value, "__self__", None)  # a method has lost more than its name
    if callable(value) and hasattr(value, "__qualname__") and not isinstance(bound, Node):
        return {"function": _name(value)}
    raise TypeError(
        f"{shown(value)} cannot be recorded; allowed: numbers, strings, arrays, sequences, "
        "dictionaries by string, dataclasses and functions"
    )


_MODULE = {"parent", "name"}  # fields that flax adds to every module


def _name(value):
    return f"{value.__module__}:{value.__qualname__}"


def names(data: Any) -> Iterator[str]:
    """The classes and functions that an encoded value refers to."""
    if isinstance(data, dict):
        yield from (data[kind] for kind in ("class", "function") if isinstance(data.get(kind), str))
        for item in data.values():
            yield from names(item)
    elif isinstance(data, list):
        for item in data:
            yield from names(item)


def references(data: Any) -> Iterator[str]:
    """The arrays that an encoded value refers to."""
    if isinstance(data, dict):
        if isinstance(data.get("array"), str) and len(data) == 1:
            yield data["array"]
        for item in data.values():
            yield from references(item)
    elif isinstance(data, list):
        for item in data:
            yield from references(item)


def fleeting(data: Any) -> list[str]:
    """The names that another process will not find by importing modules."""
    gone = ("__main__:", "<locals>", "<lambda>")
    return sorted({name for name in names(data) if any(part in name for part in gone)})


class Missing:
    """A recorded value whose class or function was not found.

    It prints as the value did.
    """

    def __init__(self, name: str, fields: dict[str, Any] | None, reason: str):
        self.name, self.fields, self.reason = name, fields, reason

    def __repr__(self):
        short = self.name.partition(":")[2]
        if self.fields is None:
            return short
        return f"{short}({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"


def decode(
    data: Any, arrays: dict[str, np.ndarray], named: Named | None = None, tolerant: bool = False
) -> Any:
    """The value that :func:`encode` recorded.

    Args:
        data: the JSON.
        arrays: those it refers to.
        named: the class or function of a name; by default :func:`find`.
        tolerant: whether a value whose class is not found becomes :class:`Missing`.

    Raises:
        ValueError: a class or function is not found, a class does not have a field that
            it had, an array is missing, or the data has another form.
    """
    named = find if named is None else named
    if not isinstance(data, dict):
        if isinstance(data, list):
            raise ValueError("a list stands where a value should be")
        return data
    if "class" in data or "function" in data:
        name, inner = data.get("class", data.get("function")), data.get("fields", {})
        if not isinstance(name, str) or not isinstance(inner, dict):
            raise ValueError(f"{shown(data)} names no class with fields")
        fields = {field: decode(item, arrays, named, tolerant) for field, item in inner.items()}
        try:
            kind = named(name)
            if "function" in data:
                return kind
            return _build(kind, name, fields)
        except ValueError as error:
            if not tolerant:
                raise
            return Missing(name, fields if "class" in data else None, str(error))
    if len(data) != 1:
        raise ValueError(f"{shown(data)} is no recorded value")
    ((kind, item),) = data.items()
    if kind == "array":
        if item not in arrays:
            raise ValueError(f"array {shown(item)} is missing")
        return arrays[item]
    if kind == "float" and item in ("inf", "-inf", "nan"):
        return float(item)
    if kind == "dict" and isinstance(item, dict):
        return {key: decode(value, arrays, named, tolerant) for key, value in item.items()}
    if kind in _SEQUENCES and isinstance(item, list):
        return _SEQUENCES[kind](decode(value, arrays, named, tolerant) for value in item)
    raise ValueError(f"{shown(data)} is no recorded value")


_SEQUENCES: dict[str, Callable[..., Any]] = {"tuple": tuple, "list": list}


def _build(kind, name, fields):
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{name} is no class of agents, environments or networks")
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    if gone := fields.keys() - known:
        raise ValueError(f"{name} has no field {', '.join(sorted(gone))} any more")
    try:
        return kind(**fields)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{name} cannot be built: {error}") from error


def find(name: str) -> Any:
    """The class or function of a recorded name, if it may be read back.

    Classes are those derived from :class:`~purerl.pytree.Node` or ``flax.linen.Module``
    in modules that are imported; functions are those of ``jax.nn``, ``jax.numpy`` and
    ``flax.linen``. Nothing is imported, and a class is found under its own name only.

    Raises:
        ValueError: there is no such class or function.
    """
    module, _, qualname = name.partition(":")
    if module not in sys.modules:
        raise ValueError(f"{name} is not found: {module} is not imported")
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        space = vars(found) if inspect.ismodule(found) or isinstance(found, type) else {}
        if part not in space:
            raise ValueError(f"there is no {name} any more")
        found = space[part]
    if isinstance(found, type):
        allowed = issubclass(found, (Node, nn.Module, FiniteMDP)) and _name(found) == name
    else:
        allowed = any(vars(space).get(qualname) is found for space in FUNCTIONS)
    if not allowed:
        raise ValueError(
            f"{name} may not be read back; allowed: classes derived from purerl.pytree.Node or "
            "flax.linen.Module, or what is passed as classes"
        )
    return found


def finder(classes: Sequence[Any]) -> Named:
    """:func:`find`, with further classes and functions that the caller trusts.

    They are found under their module and name, or under their name alone, as it differs
    between a script and the module that imports it.
    """
    trusted = {_name(each): each for each in classes}
    trusted |= {each.__qualname__: each for each in classes}

    def named(name):
        found = trusted.get(name, trusted.get(name.partition(":")[2]))
        return find(name) if found is None else found

    return named
