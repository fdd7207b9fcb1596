"""What results depend on besides the run: code, versions, machine; and differences."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import purerl


def provenance() -> dict[str, Any]:
    """Everything besides the run that its bits may depend on: code, versions, machine,
    flags."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "purerl")
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
        "source": _source(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "x64": bool(jax.config.read("jax_enable_x64")),
    }


def _source():
    """A digest of purerl's own source code."""
    folder = Path(str(purerl.__file__)).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _cpu():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def git_state() -> dict[str, Any] | None:
    """The commit of the working directory, and whether it has changes."""

    def git(*words):
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None  # no repository here, or no git


def differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """The differences between two JSON values, in words."""
    both = isinstance(there, dict) and isinstance(here, dict)
    if both and there.get("class") == here.get("class"):
        for key in sorted(there.keys() | here.keys()):
            inner = name if key in ("fields", "dict") else f"{name}.{key}".lstrip(".")
            yield from differences(there.get(key), here.get(key), inner)
    elif there != here:
        note = _PROGRAM if name == "programs" else ""
        yield f"{name}: {_short(there)} there, {_short(here)} here{note}"


_PROGRAM = ", so the code of the agent, its environment or the library is another"


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
