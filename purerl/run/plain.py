"""Agents, environments and evaluations as JSON and arrays, and back."""

import dataclasses
import functools
import hashlib
import importlib
import math
import sys
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from purerl.checks import shown


def encode(value: Any, arrays: dict[str, np.ndarray], functions: bool = False) -> Any:
    """A value as JSON.

    Args:
        value: numbers, strings, arrays, sequences, dictionaries by string, dataclasses.
        arrays: receives the arrays, by digest; the JSON refers to them.
        functions: whether functions are allowed. Only their names are recorded, so that
            :func:`decode` cannot read them back.

    Raises:
        TypeError: the value holds something else.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}  # JSON has no infinity
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        array = np.asarray(value)
        digest = hashlib.sha256(
            f"{array.dtype}{array.shape}".encode() + array.tobytes()
        ).hexdigest()[:16]
        arrays[digest] = array
        return {"array": digest}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item, arrays, functions) for key, item in value.items()}}
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return {type(value).__name__: [encode(item, arrays, functions) for item in value]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [
            f.name
            for f in dataclasses.fields(value)
            if f.init and not (isinstance(value, nn.Module) and f.name in _MODULE)
        ]
        kind = type(value)
        return {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "fields": {n: encode(getattr(value, n), arrays, functions) for n in names},
        }
    if functions and callable(value) and hasattr(value, "__qualname__"):
        return {"callable": f"{value.__module__}:{value.__qualname__}"}
    raise TypeError(
        f"{shown(value)} cannot be recorded; allowed: numbers, strings, arrays, sequences, "
        "dictionaries by string and dataclasses, such as the schedules of purerl"
    )


_MODULE = {"parent", "name"}  # fields that flax adds to every module


def decode(data: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value that :func:`encode` recorded.

    Only dataclasses are called: those of purerl, and those of modules that are imported
    already.

    Raises:
        ValueError: a class is from elsewhere, is no dataclass, is gone or lacks a field
            that it had; an array is missing; or there is a function.
    """
    if not isinstance(data, dict):
        return data
    if "array" in data:
        if data["array"] not in arrays:
            raise ValueError(f"array {data['array']} is missing")
        return arrays[data["array"]]
    if "float" in data:
        return float(data["float"])
    if "dict" in data:
        return {key: decode(item, arrays) for key, item in data["dict"].items()}
    if "callable" in data:
        raise ValueError(f"{data['callable']} is a function, which cannot be read back")
    if "class" not in data:
        ((kind, items),) = data.items()
        return {"tuple": tuple, "list": list}[kind](decode(item, arrays) for item in items)
    kind = _dataclass(data["class"])
    known = {field.name for field in dataclasses.fields(kind)}
    if gone := data["fields"].keys() - known:
        raise ValueError(f"{data['class']} has no field {', '.join(sorted(gone))} any more")
    return kind(**{name: decode(item, arrays) for name, item in data["fields"].items()})


def _dataclass(name):
    module, _, qualname = name.partition(":")
    if module not in sys.modules and not module.startswith("purerl."):
        raise ValueError(
            f"{module} is not imported; import it first (a file cannot import modules)"
        )
    try:
        kind = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no class {name} any more ({error})") from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{name} is no dataclass; no other class may be recorded")
    return kind
