"""Jobs in other threads, processes and machines, under the conditions of the caller.

Other settings of JAX or other versions give other bits. So a job is sent together with
the caller's conditions (:func:`conditions`): the worker takes over the settings while
the job runs, and refuses it where anything else differs (:func:`under`).
"""

import collections
import contextlib
import copy
import dataclasses
import functools
import os
import platform
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import jax

from purerl.run.program import Task

# Settings that change results, or where a run stops. Each has a context manager of its
# name in `jax`, which sets it for one thread: another thread may serve another caller.
SETTINGS = (
    "enable_x64",
    "default_prng_impl",
    "enable_custom_prng",
    "legacy_prng_key",
    "threefry_partitionable",
    "default_matmul_precision",
    "softmax_custom_jvp",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "debug_nans",
    "debug_infs",
)
# Settings that change results and can be set for a whole process only.
_FIXED = "random_seed_offset", "high_dynamic_range_gumbel"
_PACKAGES = "jax", "jaxlib", "numpy", "flax", "optax", "purerl"


class Conditions(NamedTuple):
    """What results depend on, besides the job and the kind of machine.

    Attributes:
        settings: those of JAX, by name.
        versions: of Python and of packages, by name.
        backend: JAX's, such as ``"cpu"``.
        flags: those of XLA, in order.
    """

    settings: dict[str, Any]
    versions: dict[str, str]
    backend: str
    flags: tuple[str, ...]


def conditions() -> Conditions:
    """The conditions of this thread."""
    settings = {name: getattr(jax.config, f"jax_{name}", None) for name in SETTINGS + _FIXED}
    # The number of devices decides where something is computed, not what.
    flags = tuple(
        flag
        for flag in sorted(os.environ.get("XLA_FLAGS", "").split())
        if not flag.startswith("--xla_force_host_platform_device_count")
    )
    return Conditions(settings, _versions(), jax.default_backend(), flags)


@functools.cache
def _versions():
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python} | {name: version(name) for name in _PACKAGES}


@contextlib.contextmanager
def under(caller: Conditions) -> Iterator[None]:
    """Take over the caller's settings in this thread.

    Raises:
        ValueError: something differs that cannot be taken over.
    """
    here = conditions()
    with contextlib.ExitStack() as stack:
        for name in SETTINGS:
            if here.settings[name] != caller.settings[name]:
                stack.enter_context(getattr(jax, name)(caller.settings[name]))
        differing = list(_differences(conditions(), caller))
        if differing:
            raise ValueError(
                f"the worker on {platform.node()} would compute something else: "
                f"{'; '.join(differing)}; allowed: the same in all workers"
            )
        yield


def _differences(here: Conditions, caller: Conditions) -> Iterator[str]:
    """The differences between two conditions, in words."""
    for name, value in caller.versions.items():
        if here.versions[name] != value:
            yield f"{name} is {here.versions[name]}, and {value} where the jobs come from"
    for name, value in caller.settings.items():
        if here.settings[name] != value:
            yield f"jax_{name} is {here.settings[name]}, and {value} where the jobs come from"
    if here.backend != caller.backend:
        yield f"JAX computes on {here.backend}, and on {caller.backend} where the jobs come from"
    if here.flags != caller.flags:
        there, those = (" ".join(flags) or "not set" for flags in (here.flags, caller.flags))
        yield f"XLA_FLAGS is {there}, and {those} where the jobs come from"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a job returned, or the error that it raised.

    An error that an executor reports by itself is thus never the job's.
    """

    value: Any = None
    error: Exception | None = None

    def __reduce__(self):
        # On its way to another process an error loses its traceback.
        error = None if self.error is None else _portable(self.error)
        return Outcome, (self.value, error)


def _portable(error):
    """The error, or if it cannot be sent one that says the same, with its traceback
    as a note."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    whole = _is_plain(error)
    sent = error if whole else RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"Raised in process {os.getpid()} on {platform.node()}:\n{trace}")
    return sent


def _is_plain(error):
    """Whether another process can make the same error from its class and arguments."""
    kind = type(error)
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    plain = all(isinstance(x, (str, int, float, type(None))) for x in error.args)
    if found is not kind or not plain or vars(error).keys() - {"__notes__"}:
        return False
    try:
        return type(copy.copy(error)) is kind
    except Exception:  # whatever a constructor of the user's may raise
        return False


def attempt(job: Callable[[], Any], caller: Conditions) -> Outcome:
    """Run a job under the caller's conditions, in a thread of the caller's process."""
    try:
        with under(caller):
            return Outcome(job())
    except Exception as error:
        return Outcome(error=error)


def remote(job: Callable[[], Any], caller: Conditions) -> Outcome:
    """Run a job under the caller's conditions, on a device of this process.

    Args:
        job: called without arguments. If it is a ``functools.partial`` with a
            :class:`~purerl.run.program.Task`, the task runs on the device of this
            process that has the fewest jobs: the caller's may have other devices.
        caller: the caller's conditions.
    """

    def here():
        with _device() as device:
            return _moved(job, device)()

    return attempt(here, caller)


def _moved(job, device):
    if not isinstance(job, functools.partial):
        return job
    arguments = (x._replace(device=device) if isinstance(x, Task) else x for x in job.args)
    return functools.partial(job.func, *arguments, **job.keywords)


_jobs: collections.Counter[int] = collections.Counter()  # that run now, by device
_choosing = threading.Lock()


@contextlib.contextmanager
def _device():
    with _choosing:
        device = min(range(jax.local_device_count()), key=_jobs.__getitem__)
        _jobs[device] += 1
    try:
        yield device
    finally:
        with _choosing:
            _jobs[device] -= 1
