"""The folder of a run.

``manifest.json`` says what was run and where, ``agent.npz`` holds the agents' arrays,
and ``chunks/`` has an archive for each finished chunk. Everything is written under a
temporary name and then renamed; there is no pickle.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purerl.figures.files import write_atomically
from purerl.run.checkpoint import read_arrays, write_arrays
from purerl.run.spec import Spec

FORMAT = 2


def provenance() -> dict[str, Any]:
    """Everything besides the code that results depend on: versions, machine, flags."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "x64": bool(jax.config.read("jax_enable_x64")),
    }


def _cpu():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _git():
    def git(*words):
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None  # no repository here, or no git


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write ``manifest.json``, atomically."""
    text = json.dumps(manifest, indent=1, allow_nan=False)
    write_atomically(folder / "manifest.json", lambda file: file.write(text.encode()))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        ValueError: the folder holds no run, or a damaged manifest, or one of another
            format.
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


def read_spec(folder: str | Path) -> tuple[Spec, dict[str, Any]]:
    """The spec of a stored run, and its manifest.

    Raises:
        ValueError: the folder holds no run, or a damaged one.
    """
    manifest = read_manifest(folder)
    return Spec.from_json(manifest["identity"], read_agents(folder)), manifest


def recorded_lanes(folder: str | Path) -> int | None:
    """The width of the run in a folder; None where there is no run."""
    if not (Path(folder) / "manifest.json").is_file():
        return None
    return read_manifest(folder)["identity"].get("lanes")


def read_agents(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays that a run's agents refer to.

    Raises:
        ValueError: they are damaged, or not there.
    """
    path = Path(folder) / "agent.npz"
    if not path.is_file():
        raise ValueError(f"{path} is missing; without it the run cannot be read")
    return read_arrays(path)


def claim(
    folder: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray], resume: bool
) -> dict[str, Any]:
    """Claim a folder for a run, or find the same run in it.

    Args:
        folder: of the run.
        manifest: of the run that is about to start.
        arrays: those that its identity refers to.
        resume: whether the same run may be there.

    Returns:
        The manifest that is now in the folder.

    Raises:
        ValueError: there is another run, or the same one and ``resume`` is not set, or
            there are chunks without a manifest.
    """
    if (folder / "manifest.json").exists():
        there = read_manifest(folder)
        here = json.loads(json.dumps(manifest["identity"]))
        differing = list(_differences(there["identity"], here))
        if differing:
            raise ValueError(
                f"{folder} holds another run ({'; '.join(differing)}); choose another folder"
            )
        if not resume:
            raise ValueError(
                f"{folder} holds this run already; resume it, or choose another folder"
            )
        return there
    if any(folder.glob("chunks/*.npz")):
        raise ValueError(
            f"{folder} has chunks but no manifest.json that says which run they belong to; "
            "choose another folder"
        )
    (folder / "chunks").mkdir(parents=True, exist_ok=True)
    write_arrays(folder / "agent.npz", arrays)
    write_manifest(folder, manifest)
    return manifest


def _differences(there, here, name=""):
    """The differences between two identities, in words."""
    both = isinstance(there, dict) and isinstance(here, dict)
    if both and there.get("class") == here.get("class"):
        for key in sorted(there.keys() | here.keys()):
            inner = name if key in ("fields", "dict") else f"{name}.{key}".lstrip(".")
            yield from _differences(there.get(key), here.get(key), inner)
    elif there != here:
        yield f"{name}: {_short(there)} there, {_short(here)} here"


def new_manifest(identity: dict[str, Any], label: str) -> dict[str, Any]:
    """Manifest of a new run.

    Args:
        identity: all that determines its results.
        label: its name in tables and pictures.

    Returns:
        The identity, provenance and timings.
    """
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
    """The archive of a chunk."""
    return Path(folder) / "chunks" / f"{index:05d}.npz"
