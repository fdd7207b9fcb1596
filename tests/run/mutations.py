"""Damage to run folders, drawn from a seed."""

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from purerl.run.checkpoint import read_archive, write_arrays


def _file(draw: random.Random, folder: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".npz", ".json"))
    return draw.choice(files)


def flip(draw, folder, other):
    """One bit."""
    path = _file(draw, folder)
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def truncate(draw, folder, other):
    """The end is missing."""
    path = _file(draw, folder)
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def blank(draw, folder, other):
    """A block of zeros."""
    path = _file(draw, folder)
    data = bytearray(path.read_bytes())
    start = draw.randrange(len(data))
    size = min(draw.choice((1, 16, 512)), len(data) - start)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)


def append(draw, folder, other):
    """Something behind the end."""
    path = _file(draw, folder)
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice((1, 30, 4000))))


def remove(draw, folder, other):
    """A file is gone."""
    _file(draw, folder).unlink()


def swap(draw, folder, other):
    """Two chunks have changed places."""
    a, b = draw.sample(sorted((folder / "chunks").glob("*.npz")), 2)
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)


def foreign(draw, folder, other):
    """A file of another run."""
    path = _file(draw, folder)
    shutil.copy(other / path.relative_to(folder), path)


def rewrite(draw, folder, other):
    """A whole archive with other arrays, and with what it says about itself."""
    path = draw.choice(sorted(folder.rglob("*.npz")))
    about, arrays = read_archive(path)
    arrays = {name: array.copy() for name, array in arrays.items()}
    name = draw.choice(sorted(arrays))
    change = draw.randrange(5)
    if change == 0:
        del arrays[name]
    elif change == 1:
        arrays[name] = arrays[name].astype(np.float64 if arrays[name].dtype != float else np.int8)
    elif change == 2:
        arrays[name] = arrays[name].reshape(-1)[:-1]
    elif change == 3:
        arrays["curves.more"] = np.zeros((4, 4), np.float32)
    else:
        arrays = {f"{each}_": array for each, array in arrays.items()}
    about.pop("digest", None)
    write_arrays(path, arrays, about)


def compress(draw, folder, other):
    """An archive that inflates a thousandfold."""
    path = draw.choice(sorted(folder.rglob("*.npz")))
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))) as file:
        file.writestr("curves.q_error.npy", bytes(10**7))


def announce(draw, folder, other):
    """An array that says it has terabytes."""
    path = draw.choice(sorted(folder.rglob("*.npz")))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**42},), }}".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(path, "w") as file:
        file.comment = b"1 arrays"
        file.writestr("curves.q_error.npy", member + bytes(64))


VALUES = (None, True, 0, -1, 2**31, 10**400, 1.5, "", "x", [], {}, [[]], {"class": "os:system"})


def edit(draw, folder, other):
    """A value somewhere in the manifest is another one, or gone."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    places = list(_places(manifest))
    holder, key = draw.choice(places)
    if draw.random() < 0.3:
        del holder[key]
    else:
        holder[key] = draw.choice(VALUES)
    path.write_text(json.dumps(manifest))


def _places(data):
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield data, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def nest(draw, folder, other):
    """JSON a hundred thousand levels deep, or a number of five thousand digits."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    deep = "[" * 10**5 + "]" * 10**5
    text = json.dumps(manifest | {"points": "HERE"})
    path.write_text(text.replace('"HERE"', draw.choice((deep, "1" * 5000))))


MUTATIONS: tuple[Callable, ...] = (
    flip,
    truncate,
    blank,
    append,
    remove,
    swap,
    foreign,
    rewrite,
    compress,
    announce,
    edit,
    edit,
    nest,
)
