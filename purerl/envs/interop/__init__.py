"""Adapters from and to other libraries.

Each is imported on first use, and needs its library installed.

=========================== ==========================================================
name                        result
=========================== ==========================================================
``from_gymnax``             a purerl environment from one of gymnax (1.0 or later)
``from_jumanji``            ... of jumanji
``from_navix``              ... of navix
``from_pgx``                ... of pgx, for its single-player games
``from_gymnasium``          a :class:`~purerl.mdp.FiniteMDP` from a tabular
                            environment of Gymnasium; :meth:`FiniteEnvironment.of
                            <purerl.envs.FiniteEnvironment.of>` makes an environment
                            of it
``to_gymnax``               a gymnax environment from any of purerl
``to_gymnasium``            a Gymnasium ``Env`` ...
``to_gymnasium_vector``     a Gymnasium ``VectorEnv`` of many, stepped as one ...
=========================== ==========================================================

Example:
    >>> import gymnasium
    >>> import purerl.envs
    >>> mdp = from_gymnasium(gymnasium.make("FrozenLake-v1"))
    >>> purerl.envs.FiniteEnvironment.of(mdp).num_states
    16
"""

import importlib
from typing import TYPE_CHECKING

from purerl.mdp import from_gymnasium

if TYPE_CHECKING:
    from purerl.envs.interop.gymnasium import to_gymnasium, to_gymnasium_vector
    from purerl.envs.interop.gymnax import from_gymnax, to_gymnax
    from purerl.envs.interop.jumanji import from_jumanji
    from purerl.envs.interop.navix import from_navix
    from purerl.envs.interop.pgx import from_pgx

_MODULES = {
    "from_gymnax": "gymnax",
    "from_jumanji": "jumanji",
    "from_navix": "navix",
    "from_pgx": "pgx",
    "to_gymnasium": "gymnasium",
    "to_gymnasium_vector": "gymnasium",
    "to_gymnax": "gymnax",
}

__all__ = [
    "from_gymnasium",
    "from_gymnax",
    "from_jumanji",
    "from_navix",
    "from_pgx",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_gymnax",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return sorted({*globals(), *_MODULES})
