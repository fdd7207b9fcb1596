"""One learned policy as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from purerl.agents.base import Agent, Snapshot
from purerl.run import plain
from purerl.run.checkpoint import flatten, read_archive, unflatten, write_arrays
from purerl.run.folder import refused

_AGENT, _SNAPSHOT = "agent.", "snapshot."


def save_policy(path: str | Path, agent: Agent, snapshot: Snapshot) -> None:
    """Save one learned policy, without what only training needs.

    Args:
        path: of the file, an ``.npz`` archive.
        agent: whose policy it is.
        snapshot: of the agent, as :meth:`purerl.SweepResult.snapshot` gives it.

    Raises:
        TypeError: the agent has a part that cannot be recorded.

    >>> import tempfile, purerl
    >>> agent = purerl.QLearning(env=purerl.make("Grid2x3-v0"))
    >>> result = purerl.sweep(agent, 2, num_steps=1000, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     purerl.save_policy(f"{folder}/policy.npz", agent, result.snapshot(seed=1))
    ...     agent, snapshot = purerl.load_policy(f"{folder}/policy.npz")
    >>> env = agent.env
    >>> observation = env.observe(env.reset(purerl.random.key(0)))
    >>> print(agent.act(snapshot, purerl.random.key(1), observation).dtype)
    int32
    """
    arrays: dict[str, Any] = {}
    about = {"agent": plain.encode(agent, arrays)}
    arrays = {f"{_AGENT}{name}": array for name, array in arrays.items()}
    arrays |= {f"{_SNAPSHOT}{name}": array for name, array in flatten(snapshot).items()}
    write_arrays(path, arrays, about)


def load_policy(path: str | Path, classes: Sequence[Any] = ()) -> tuple[Any, Any]:
    """The agent and the snapshot that :func:`save_policy` saved.

    Args:
        path: of the file.
        classes: classes and functions of the agent that are not found by themselves, as
            for :func:`purerl.load`.

    Raises:
        ValueError: the file is damaged, or holds no policy.
    """
    about, arrays = read_archive(path)
    with refused(Path(path)):
        parts: dict[str, dict[str, Any]] = {_AGENT: {}, _SNAPSHOT: {}}
        for name, array in arrays.items():
            kind = next(kind for kind in parts if name.startswith(kind))
            parts[kind][name.removeprefix(kind)] = array
        agent = plain.decode(about["agent"], parts[_AGENT], plain.finder(classes))
        # The generator of the keys is that of the state the snapshot was taken from.
        like = jax.eval_shape(lambda: agent.snapshot(agent.init(jax.random.key(0))))
        snapshot = unflatten(parts[_SNAPSHOT], like)
    return agent, jax.tree.map(jnp.asarray, snapshot)
