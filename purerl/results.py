"""What a sweep leaves on disk, and how it is read back.

A run is a folder: ``manifest.json`` says what was run and where, ``agent.npz`` holds the agents' arrays, and ``chunks/`` has an
archive for each finished chunk. Everything is written under a temporary name and then renamed; there is no pickle.
"""

import dataclasses
import datetime
import functools
import hashlib
import importlib
import io
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from purerl import plotting, statistics
from purerl.checkpoint import read_arrays, write_arrays, write_atomically

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep: ``C`` configurations by ``N`` seeds.

    Attributes:
        configurations: ``C`` dictionaries, the swept hyperparameters of each.
        agents: the agent of each configuration.
        seeds: int64 ``[N]``.
        curves: ``{name: [C, N, points]}``, each point the mean over the stretch that ends there, or an evaluation made there.
            NaN where there was nothing to average, or a seed failed.
        steps: ``{name: [points]}``, the environment transitions at which a curve has its points.
        final: ``{name: [C, N]}``, the last point of each curve.
        failures: the runs whose state became infinite or NaN: ``{"configuration": c, "seed": i, "reason": ...}``.
        manifest: what was run, with which versions, on what.
        state: the agents' final states with leading axes ``[C, N]``, where ``keep_state`` was set.
    """

    configurations: list[dict[str, Any]]
    agents: list[Any]
    seeds: np.ndarray
    curves: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    failures: list[dict[str, Any]]
    manifest: dict[str, Any]
    state: Any = None

    @property
    def final(self) -> dict[str, np.ndarray]:
        return {name: curve[..., -1] for name, curve in self.curves.items()}

    def scores(self, name: str, configuration: int = 0) -> np.ndarray:
        """The final values of one measure over the seeds that have one, ``[<= N]``."""
        values = self.final[name][configuration]
        return values[np.isfinite(values)]

    def interval(self, name: str, configuration: int = 0) -> statistics.Interval | None:
        """The interquartile mean of a final measure with its 95% bootstrap interval; None where no seed has a value."""
        scores = self.scores(name, configuration)
        return statistics.stratified_bootstrap(scores, statistics.iqm, np.random.default_rng(0)) if scores.size else None

    def table(self, names: Sequence[str] | None = None) -> str:
        """The interquartile mean of every final measure with its 95% bootstrap interval, a row for each configuration."""
        names = list(self.curves) if names is None else list(names)
        table = Table(title=f"{self.label}: IQM over seeds [95% interval]")
        for column in ("configuration", "seeds", "failed", *names):
            table.add_column(column, overflow="fold")
        for c, configuration in enumerate(self.configurations):
            failed = sum(failure["configuration"] == c for failure in self.failures)
            cells = [self._cell(name, c) for name in names]
            table.add_row(describe(configuration) or "-", str(len(self.seeds)), str(failed), *cells)
        text = io.StringIO()
        Console(file=text, width=60 + 34 * len(names), markup=False).print(table)
        return text.getvalue()

    def _cell(self, name, c):
        return str(self.interval(name, c) or "-").removesuffix(f" (n={len(self.seeds)})")

    def plot(self, path: str | Path, name: str = "episode_return", **options) -> Path:
        """Draw the curves of one measure, a line for each configuration; see :func:`purerl.plotting.learning_curves`."""
        labels = [describe(configuration) or self.label for configuration in self.configurations]
        curves = dict(zip(labels, self.curves[name], strict=True))
        return plotting.learning_curves(path, curves, self.steps[name], **({"ylabel": name.replace("_", " ")} | options))

    @property
    def label(self) -> str:
        return self.manifest["label"]


def describe(configuration: dict[str, Any]) -> str:
    """``learning_rate=0.1, epsilon=0.2``."""
    return ", ".join(f"{name}={value}" for name, value in configuration.items())


def environment() -> dict[str, Any]:
    """What results depend on beside the program: versions, machine, flags."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "x64": bool(jax.config.jax_enable_x64),
    }


def _cpu():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _git():
    def git(*words):
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None  # no repository here, or no git


# ---- agents as data -------------------------------------------------------------------------------------------------


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON; arrays are put into ``arrays`` and referred to by name and digest.

    Raises:
        TypeError: it holds something that is neither data nor a dataclass.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}  # JSON has no infinity
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        array = np.asarray(value)
        digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:16]
        arrays[digest] = array
        return {"array": digest}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: encode(item, arrays) for key, item in value.items()}}
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return {type(value).__name__: [encode(item, arrays) for item in value]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [
            f.name for f in dataclasses.fields(value) if f.init and not (isinstance(value, nn.Module) and f.name in _MODULE)
        ]
        kind = type(value)
        return {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "fields": {n: encode(getattr(value, n), arrays) for n in names},
        }
    raise TypeError(
        f"{value!r} cannot be recorded; allowed: numbers, strings, arrays, sequences, dictionaries by string and dataclasses"
    )


_MODULE = {"parent", "name"}  # fields that flax adds to every module


def decode(data: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What :func:`encode` recorded. Dataclasses, and nothing else, are called: purerl's, or those of modules imported already.

    Raises:
        ValueError: a class is from elsewhere, no dataclass, gone or without a field it had; or an array is missing.
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
        raise ValueError(f"{module} is not imported: import it first, so that no class of a file's choice is")
    try:
        kind = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no class {name} any more ({error})") from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{name} is no dataclass; no other class may be recorded")
    return kind


# ---- the folder -----------------------------------------------------------------------------------------------------


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, allow_nan=False)
    write_atomically(folder / "manifest.json", lambda file: file.write(text.encode()))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        ValueError: the folder holds no run, or a damaged manifest, or one of another format.
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no run: there is no {path.name}")
    try:
        manifest = json.loads(path.read_text())
        found, _ = manifest["format"], manifest["identity"]["agent"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if found != FORMAT:
        raise ValueError(f"{path} has format {found!r}; this version reads {FORMAT}")
    return manifest


def read_agents(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays that a run's agents refer to.

    Raises:
        ValueError: they are damaged, or not there.
    """
    path = Path(folder) / "agent.npz"
    if not path.is_file():
        raise ValueError(f"{path} is missing; without it the run cannot be read")
    return read_arrays(path)


def begin(folder: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray], resume: bool) -> dict[str, Any]:
    """Claim a folder for a run, or find the same run in it. Returns the manifest that is now there.

    Raises:
        ValueError: there is another run, or the same one and ``resume`` is not set, or chunks of nobody knows which.
    """
    if (folder / "manifest.json").exists():
        there = read_manifest(folder)
        differing = list(_differences(there["identity"], json.loads(json.dumps(manifest["identity"]))))
        if differing:
            raise ValueError(f"{folder} holds another run ({'; '.join(differing)}); choose another folder")
        if not resume:
            raise ValueError(f"{folder} holds this run already; resume it, or choose another folder")
        return there
    if any(folder.glob("chunks/*.npz")):
        raise ValueError(f"{folder} has chunks and no manifest.json that says whose they are; choose another folder")
    (folder / "chunks").mkdir(parents=True, exist_ok=True)
    write_arrays(folder / "agent.npz", arrays)
    write_manifest(folder, manifest)
    return manifest


def _differences(there, here, name=""):
    """What differs between two identities, in words."""
    if isinstance(there, dict) and isinstance(here, dict) and there.get("class") == here.get("class"):
        for key in sorted(there.keys() | here.keys()):
            inner = name if key in ("fields", "dict") else f"{name}.{key}".lstrip(".")
            yield from _differences(there.get(key), here.get(key), inner)
    elif there != here:
        yield f"{name}: {_short(there)} there, {_short(here)} here"


def new_manifest(identity: dict[str, Any], label: str) -> dict[str, Any]:
    """What is said of a run: its identity, on which its results depend, and where they came from and how long they took."""
    return {
        "format": FORMAT,
        "label": label,
        "identity": identity,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git": _git(),
        "seconds": 0.0,
        "compile_seconds": 0.0,
    }


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def chunk_path(folder: Path, index: int) -> Path:
    return Path(folder) / "chunks" / f"{index:05d}.npz"
