"""Exact checkpoints of pytrees: every leaf's bits, written atomically, without pickle.

A file is a NumPy ``.npz`` archive with one array for each leaf, named by its path in
the tree. A random key is stored as its words, with the name of its generator. Archives
carry a checksum for every array, which reading verifies.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.figures.files import write_atomically
from purerl.random import IMPLEMENTATIONS

_KEY = "@key:"  # marks the words of a key; the generator's name follows


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf as a NumPy array, by its path."""
    arrays = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            name, leaf = f"{name}{_KEY}{_generator(leaf)}", jax.random.key_data(leaf)
        if name in arrays:
            raise ValueError(f"two leaves of the tree are called {name!r}")
        arrays[name] = np.asarray(leaf)
    return arrays


def unflatten(arrays: dict[str, np.ndarray], like: Any) -> Any:
    """The tree of :func:`flatten`, with the structure of ``like`` (arrays or
    ``jax.ShapeDtypeStruct``).

    Raises:
        ValueError: a leaf is missing, left over, or of another shape or dtype.
    """
    arrays = dict(arrays)
    leaves = []
    for path, leaf in jax.tree.leaves_with_path(like):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
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


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays to ``path``, atomically.

    Raises:
        ValueError: an array is of objects, or of a dtype that NumPy's format does not
            know (such as bfloat16).
    """
    for name, array in arrays.items():
        if array.dtype.kind in "OV":
            raise ValueError(
                f"{name!r} has dtype {array.dtype}, which an .npz archive cannot hold without "
                "pickle"
            )

    def write(file):
        # As np.savez writes it, but with any name: its keyword arguments clash with a
        # leaf called "file".
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = _comment(arrays)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    write_atomically(path, write)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read and verify all of :func:`write_arrays`.

    Raises:
        ValueError: the file is not a whole archive of arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                name.removesuffix(".npy"): _read_member(archive, name)
                for name in archive.namelist()
            }
            if archive.comment != _comment(arrays):
                raise ValueError(
                    f"it says that it holds {archive.comment.decode(errors='replace')}, and has "
                    f"{len(arrays)}"
                )
            return arrays
    except FileNotFoundError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        EOFError,
        KeyError,
        OSError,
        RuntimeError,
    ) as error:
        raise ValueError(
            f"{path} is damaged ({error}); move it away to have it computed again"
        ) from error


def _comment(arrays):
    """The archive's comment: the number of its arrays.

    A damaged directory that ends before its last member is still a valid one.
    """
    return f"{len(arrays)} arrays".encode()


def _read_member(archive, name):
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # reading to the end is what verifies the checksum
            raise ValueError(f"{name} is longer than its array")
        return array


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
