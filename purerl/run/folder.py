"""The folder of a run.

``manifest.json`` says what was run and where, ``agent.npz`` holds the agents' arrays,
and ``chunks/`` has an archive for each finished chunk, and parts of those that are
being computed. Everything is written under a temporary name and then renamed; there is
no pickle. One process at a time computes a run.
"""

import contextlib
import datetime
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from purerl.checks import shown
from purerl.figures.files import sweep_away, write_atomically
from purerl.run import plain
from purerl.run.archive import Arrays, Owner, Place, Shapes
from purerl.run.checkpoint import read_arrays, write_arrays
from purerl.run.provenance import differences, git_state, provenance
from purerl.run.spec import Layout, Spec

FORMAT = 3
LARGEST = 2**26  # bytes of a manifest
MOST_RUNS = 10**7


def new_manifest(spec: Spec, layout: Layout, label: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a new run.

    Args:
        spec: what is run.
        layout: which run is where.
        label: its name in tables and pictures.
        arrays: receives the arrays that the identity refers to.
    """
    return {
        "format": FORMAT,
        "label": label,
        "identity": spec.identity(arrays),
        "num_steps": spec.num_steps,
        "points": spec.points,
        "keep": spec.keep,
        "groups": layout.groups,
        "parts": layout.parts,
        "warm_ups": [int(getattr(agent, "warm_up", 0)) for agent in spec.agents],
        "shapes": [],
        "origins": [provenance() | {"programs": []}],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git": git_state(),
        "seconds": 0.0,
        "compile_seconds": 0.0,
    }


def identity_digest(manifest: Mapping[str, Any]) -> str:
    """The digest by which archives say to which run they belong."""
    text = json.dumps(manifest["identity"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: Path, manifest: dict[str, Any], new: bool = False) -> None:
    """Write ``manifest.json``, atomically.

    Raises:
        FileExistsError: it is there, and ``new`` is set.
    """
    text = json.dumps(manifest, indent=1, allow_nan=False)
    write_atomically(folder / "manifest.json", lambda file: file.write(text.encode()), new)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a run, with everything of the form that it must have.

    Raises:
        ValueError: the folder holds no run, or a damaged manifest, or one of another
            format.
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no run: there is no {path.name}")
    with refused(path):
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        manifest = json.loads(path.read_text())
        if not isinstance(manifest, dict) or "format" not in manifest:
            raise ValueError("there is no format")
        found = manifest["format"]
    if found != FORMAT:
        raise ValueError(f"{path} has format {shown(found)}; this version reads {FORMAT}")
    with refused(path):
        _check(manifest)
    return manifest


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file leads to into a ``ValueError`` that names it."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except Exception as error:
        raise ValueError(f"{path} is damaged: {shown(str(error)) or type(error).__name__}") from (
            error
        )


_FORM = {  # of a manifest
    "label": str,
    "identity": dict,
    "num_steps": int,
    "points": int,
    "keep": str,
    "groups": list,
    "parts": list,
    "shapes": list,
    "origins": list,
    "command": list,
    "seconds": (int, float),
    "compile_seconds": (int, float),
}
_IDENTITY = {
    "agent": dict,
    "over": dict,
    "evaluation": dict,
    "steps_per_point": int,
    "points_per_evaluation": int,
    "lanes": int,
    "base_seed": int,
    "impl": str,
}


def _check(manifest):
    """Check the form of a manifest.

    Raises:
        ValueError: names what is wrong.
    """
    identity = manifest.get("identity")
    for form, data in ((_FORM, manifest), (_IDENTITY, identity)):
        for name, kind in form.items():
            if not isinstance(data, dict) or not isinstance(data.get(name), kind):
                raise ValueError(f"{name} is {shown(data and data.get(name))}")
            if isinstance(data[name], bool):
                raise ValueError(f"{name} is {data[name]}")
    positive = {
        "lanes": identity["lanes"],
        "points": manifest["points"],
        "steps_per_point": identity["steps_per_point"],
        "points_per_evaluation": identity["points_per_evaluation"],
    }
    for name, value in positive.items():
        if not 1 <= value < 2**31:
            raise ValueError(f"{name} is {shown(value)}")
    if identity["lanes"] > MOST_RUNS or manifest["points"] % identity["points_per_evaluation"]:
        raise ValueError("lanes or points_per_evaluation is out of range")
    if manifest["num_steps"] != manifest["points"] * identity["steps_per_point"]:
        raise ValueError("num_steps does not follow from points")
    seeds = [seed for part in manifest["parts"] for seed in part]
    members = [c for group in manifest["groups"] for c in group]
    for name, numbers in (("parts", seeds), ("groups", members)):
        whole = all(type(number) is int and 0 <= number < 2**31 for number in numbers)
        if not whole or not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"{name} has no distinct whole numbers")
    if sorted(members) != list(range(len(members))):
        raise ValueError("groups does not have each configuration once")
    warm_ups = manifest.get("warm_ups", [0] * len(members))  # missing in older folders
    if len(warm_ups) != len(members) or not all(type(n) is int and n >= 0 for n in warm_ups):
        raise ValueError("warm_ups does not have a whole number for each configuration")
    if len(seeds) * len(members) > MOST_RUNS:
        raise ValueError(f"it has more than {MOST_RUNS} runs")
    for origin in manifest["origins"]:
        if len(origin["programs"]) != len(manifest["groups"]):
            raise ValueError("programs does not have one for each group")
    if len(manifest["shapes"]) != len(manifest["groups"]) or not manifest["origins"]:
        raise ValueError("shapes does not have one for each group")
    for shapes in manifest["shapes"]:
        for section in Shapes(**shapes):
            for shape, dtype in section.values():
                np.dtype(dtype)
                if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
                    raise ValueError(f"a shape is {shown(shape)}")


def layout_of(manifest: Mapping[str, Any]) -> Layout:
    """Which run is in which chunk and lane."""
    return Layout(manifest["identity"]["lanes"], manifest["groups"], manifest["parts"])


def places(folder: Path, manifest: Mapping[str, Any]) -> list[tuple[Place, Shapes]]:
    """Where each chunk is stored, and the shapes of what it holds."""
    digest = identity_digest(manifest)
    found = []
    for index, (group, runs) in enumerate(layout_of(manifest).chunks()):
        owner = Owner(
            run=digest,
            chunk=index,
            configurations=[configuration for configuration, _ in runs],
            seeds=[seed for _, seed in runs],
        )
        path = Path(folder) / "chunks" / f"{index:05d}.npz"
        programs = [origin["programs"][group] for origin in manifest["origins"]]
        found.append((Place(str(path), owner, programs), Shapes(**manifest["shapes"][group])))
    return found


def finished(folder: Path, manifest: Mapping[str, Any]) -> dict[int, Arrays]:
    """The chunks with all points, by index.

    Raises:
        ValueError: one is damaged, or does not belong to this run.
    """
    chunks = {}
    for index, (place, shapes) in enumerate(places(folder, manifest)):
        found = place.read(shapes)
        if found is not None and found[1]["points"] == manifest["points"]:
            chunks[index] = found[0]
    return chunks


def read_agents(folder: str | Path, manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that a run's agents refer to, verified by their digests.

    Raises:
        ValueError: they are damaged, or not there.
    """
    path = Path(folder) / "agent.npz"
    try:
        arrays = read_arrays(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; without it the run cannot be read") from None
    for name, array in arrays.items():
        if plain.digest(array) != name:
            raise ValueError(f"{path} is damaged: {shown(name)} is not the digest of its array")
    for name in plain.references(manifest["identity"]):
        if name not in arrays:
            raise ValueError(f"{path} is damaged: array {shown(name)} is missing")
    return arrays


def read_spec(folder: str | Path, manifest: Mapping[str, Any], classes: Sequence[Any] = ()) -> Spec:
    """The spec of a stored run.

    Args:
        folder: of the run.
        manifest: of the run.
        classes: classes and functions that it refers to and that are not found by
            themselves.

    Raises:
        ValueError: the arrays are damaged, or a class is not found.
    """
    arrays, identity = read_agents(folder, manifest), manifest["identity"]
    named = plain.finder(classes)
    with refused(Path(folder) / "manifest.json"):
        return Spec(
            agent=plain.decode(identity["agent"], arrays, named),
            over=plain.decode(identity["over"], arrays, named),
            evaluation=plain.decode(identity["evaluation"], arrays, named),
            seeds=tuple(seed for part in manifest["parts"] for seed in part),
            num_steps=manifest["num_steps"],
            points=manifest["points"],
            evaluations=manifest["points"] // identity["points_per_evaluation"],
            lanes=identity["lanes"],
            base_seed=identity["base_seed"],
            impl=identity["impl"],
            keep=manifest["keep"],
            stop_when=plain.decode(identity.get("stop_when"), arrays, named),
        )


def recorded_lanes(folder: str | Path) -> int | None:
    """The width of the run in a folder; None where there is no run."""
    if not (Path(folder) / "manifest.json").is_file():
        return None
    return read_manifest(folder)["identity"]["lanes"]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder for this process.

    The lock is the operating system's, which takes it back when the process ends,
    however it ends.

    Raises:
        ValueError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"{folder} is in use: another process computes a run there; wait for it, or choose "
            "another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def claim(
    folder: Path,
    manifest: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    resume: bool,
    accept_changes: bool,
) -> dict[str, Any]:
    """Claim a locked folder for a run, or find the same run in it.

    A run that is resumed may have more seeds, and more points.

    Args:
        folder: of the run.
        manifest: of the run that is about to start.
        arrays: those that its identity refers to.
        resume: whether the same run may be there.
        accept_changes: whether it may come from another program or machine.

    Returns:
        The manifest that is now in the folder.

    Raises:
        ValueError: there is another run, or the same one and ``resume`` is not set, or
            there are chunks without a manifest.
    """
    if not (folder / "manifest.json").exists():
        if any(folder.glob("chunks/*.npz")):
            raise ValueError(
                f"{folder} has chunks but no manifest.json that says which run they belong to; "
                "choose another folder"
            )
        (folder / "chunks").mkdir(exist_ok=True)
        sweep_away(folder)
        write_arrays(folder / "agent.npz", arrays)
        write_manifest(folder, manifest, new=True)
        return manifest
    there, here = read_manifest(folder), json.loads(json.dumps(manifest))
    differing = [
        *differences(there["identity"], here["identity"]),
        *differences(there["groups"], here["groups"], "groups"),
    ]
    if differing:
        raise ValueError(
            f"{folder} holds another run ({'; '.join(differing)}); choose another folder"
        )
    if not resume:
        raise ValueError(f"{folder} holds this run already; resume it, or choose another folder")
    read_agents(folder, there)
    (folder / "chunks").mkdir(exist_ok=True)
    sweep_away(folder)
    sweep_away(folder / "chunks")
    return _extended(folder, there, here, accept_changes)


def _extended(folder, there, here, accept_changes):
    """The manifest of a resumed run, written if anything is new."""
    extended = dict(there)
    origin, *_ = here["origins"]
    changes = list(differences(there["origins"][-1], origin))
    if changes and not accept_changes:
        raise ValueError(
            f"{folder} was computed by another program or machine ({'; '.join(changes)}); go on "
            "with accept_changes, which records the change, or choose another folder"
        )
    if changes:
        extended["origins"] = [*there["origins"], origin]
    (seeds,) = here["parts"]
    known = {seed for part in there["parts"] for seed in part}
    if missing := sorted(known - set(seeds)):
        raise ValueError(
            f"{folder} holds another run (seeds: {shown(missing)} there, but not here); allowed: "
            "the same seeds, or more"
        )
    if added := [seed for seed in seeds if seed not in known]:
        extended["parts"] = [*there["parts"], added]
    if here["points"] < there["points"]:
        raise ValueError(
            f"{folder} holds another run (num_steps: {there['num_steps']} there, "
            f"{here['num_steps']} here); allowed: as many steps, or more"
        )
    for name in ("num_steps", "points", "keep"):
        extended[name] = here[name]
    if extended != there:
        write_manifest(folder, extended)
    return extended
