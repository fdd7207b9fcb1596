"""Exact checkpoints of pytrees: every leaf's bits, written atomically, without pickle.

A file is a NumPy ``.npz`` archive with one array for each leaf, named by its path in
the tree. A random key is stored as its words, with the name of its generator. Archives
carry a checksum for every array, which reading verifies, and may say what they are.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.figures.files import write_atomically
from purerl.random import IMPLEMENTATIONS

_KEY = "@key:"  # marks the words of a key; the generator's name follows
_ABOUT = "about.json"
_MOST = 2**24  # bytes of what an archive says about itself
_KINDS = "biufcSU"  # of dtypes that an archive may hold


def path_of(path: Any) -> str:
    """The name of a leaf: its path in the tree, with dots."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf as a NumPy array, by its path."""
    arrays = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = path_of(path)
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            name, leaf = f"{name}{_KEY}{_generator(leaf)}", jax.random.key_data(leaf)
        if name in arrays:
            raise ValueError(f"two leaves of the tree are called {name!r}")
        arrays[name] = np.asarray(leaf)
    return arrays


def unflatten(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """The tree of :func:`flatten`, with the structure of ``like`` (arrays or
    ``jax.ShapeDtypeStruct``).

    Raises:
        ValueError: a leaf is missing, left over, or of another shape or dtype.
    """
    arrays = dict(arrays)
    leaves = []
    for path, leaf in jax.tree.leaves_with_path(like):
        name = path_of(path)
        stored = next((stored for stored in arrays if stored.split(_KEY)[0] == name), None)
        if stored is None:
            raise ValueError(f"no leaf {name!r}; there are: {', '.join(arrays) or 'none'}")
        value = arrays.pop(stored)
        if _KEY in stored:
            generator = stored.split(_KEY)[1]
            words = jax.device_put(value)
            value = jax.random.wrap_key_data(words, impl=IMPLEMENTATIONS.get(generator, generator))
        if value.shape != np.shape(leaf) or value.dtype != leaf.dtype:
            raise ValueError(
                f"leaf {name!r} is {value.dtype}{value.shape}; allowed: "
                f"{leaf.dtype}{np.shape(leaf)}"
            )
        leaves.append(value)
    if arrays:
        raise ValueError(f"leaves that the tree does not have: {', '.join(arrays)}")
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def flat_shapes(tree: Any) -> dict[str, tuple[list[int], str]]:
    """Shape and dtype of every array of :func:`flatten`, for a tree of
    ``jax.ShapeDtypeStruct``."""
    named = {}

    def words(leaves):
        for path, leaf in leaves:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                key = f"{path}{_KEY}{_generator(leaf)}"
                named[key] = jax.eval_shape(jax.random.key_data, leaf)
            else:
                named[path] = leaf

    leaves = [(path_of(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]
    names = [name for name, _ in leaves]
    jax.eval_shape(lambda *x: words(zip(names, x, strict=True)), *(leaf for _, leaf in leaves))
    return {name: (list(x.shape), np.dtype(x.dtype).str) for name, x in named.items()}


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any] | None = None
) -> None:
    """Write named arrays to ``path``, atomically.

    Args:
        path: the file.
        arrays: by name.
        about: JSON that is stored beside them, with a digest of the arrays.

    Raises:
        ValueError: an array is of objects, or of a dtype that NumPy's format does not
            know (such as bfloat16).
    """
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise ValueError(
                f"{name!r} has dtype {array.dtype}, which an .npz archive cannot hold without "
                "pickle"
            )

    def write(file):
        # As np.savez writes it, but with any name: its keyword arguments clash with a
        # leaf called "file".
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = _comment(arrays)
            if about is not None:
                text = json.dumps({"digest": _digest(arrays), **about})
                archive.writestr(_ABOUT, text)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    write_atomically(path, write)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read and verify all of :func:`write_arrays`.

    Raises:
        ValueError: the file is not a whole archive of arrays.
    """
    return read_archive(path)[1]


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """An archive's description of itself and its arrays, all verified.

    Raises:
        ValueError: the file is not a whole archive of arrays.
        FileNotFoundError: there is none.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                return _read(file, size)
            except OSError:
                raise
            except Exception as error:  # whatever damaged bytes lead to
                raise ValueError(
                    f"{path} is damaged ({error or type(error).__name__}); move it away to have "
                    "it computed again"
                ) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read(file, size):
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # Nothing is compressed, so that nothing inflates; and members do not overlap.
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise ValueError("a member is compressed")
        if sum(m.file_size for m in members) > size:
            raise ValueError("its members are larger than the file")
        if len({m.filename for m in members}) < len(members):
            raise ValueError("two members have one name")
        about: dict[str, Any] = {}
        arrays = {}
        for member in members:
            if member.filename == _ABOUT:
                if member.file_size > _MOST:
                    raise ValueError(f"{_ABOUT} is too large")
                about = json.loads(archive.read(member))
                if not isinstance(about, dict):
                    raise ValueError(f"{_ABOUT} is no dictionary")
            else:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _read_member(archive, member)
        if archive.comment != _comment(arrays):
            raise ValueError(
                f"it says that it holds {archive.comment.decode(errors='replace')}, and has "
                f"{len(arrays)}"
            )
    if about and about.get("digest") != _digest(arrays):
        raise ValueError("its arrays are not those it was written with")
    return about, arrays


def _digest(arrays):
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype.str}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _comment(arrays):
    """The archive's comment: the number of its arrays.

    A damaged directory that ends before its last member is still a valid one.
    """
    return f"{len(arrays)} arrays".encode()


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_member(archive, info):
    name = info.filename
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise ValueError(f"{name} has the unknown format {version}")
        shape, fortran, dtype = _HEADERS[version](member)
        if dtype.kind not in _KINDS or dtype.itemsize == 0:
            raise ValueError(f"{name} has dtype {dtype}")
        # Before memory is taken for it.
        announced, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if min(shape, default=0) < 0 or announced != there:
            raise ValueError(f"{name} announces {announced} bytes and has {there}")
        data = member.read()  # to the end, which verifies the checksum
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def save(path: str | Path, tree: Any) -> None:
    """Save a pytree of arrays and keys.

    >>> import tempfile, jax, purerl
    >>> from purerl.run import checkpoint
    >>> tree = {"key": purerl.random.key(0, "pcg4d"), "q": jax.numpy.arange(3.0)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint.save(f"{folder}/tree.npz", tree)
    ...     print(checkpoint.load(f"{folder}/tree.npz", like=tree)["q"])
    [0. 1. 2.]
    """
    write_arrays(path, flatten(tree))


def load(path: str | Path, like: Any) -> Any:
    """Load what :func:`save` saved, bit for bit, into the structure of ``like``.

    Raises:
        ValueError: the file is damaged, or holds another tree.
    """
    return unflatten(read_arrays(path), like)


def _generator(key):
    spec = jax.random.key_impl(key)
    return next((name for name, known in IMPLEMENTATIONS.items() if known == spec), str(spec))
