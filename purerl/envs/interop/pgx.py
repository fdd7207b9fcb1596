"""pgx (https://github.com/sotetsuk/pgx): its single-player games.

Tried with version 2.6.0.
"""

import importlib
from typing import Any

import jax.numpy as jnp

from purerl.envs.base import Outcome
from purerl.envs.interop.common import Foreign, described, strong


class Pgx(Foreign):
    """A pgx game with one player, whose state is pgx's ``State``.

    Make one with :func:`from_pgx`.
    """

    @staticmethod
    def make(name):
        return importlib.import_module("pgx").make(name)

    @property
    def num_actions(self) -> int:
        return self.theirs.num_actions

    def reset(self, key):
        return strong(self.theirs.init(key))

    def step(self, key, state, action):
        reached = strong(self.theirs.step(state, action, key))
        truncated = reached.truncated & ~reached.terminated
        return reached, Outcome(jnp.float32(reached.rewards[0]), reached.terminated, truncated)


def from_pgx(env: Any) -> Pgx:
    """A single-player game of pgx as an environment of purerl.

    These are ``"2048"`` and, with ``pgx-minatar`` installed, ``"minatar-..."``. pgx
    ends an episode at an illegal action, with a reward of -1;
    ``state.legal_action_mask`` marks the legal ones, and purerl's agents do not read
    it. There are no time limits.

    Args:
        env: a name that ``pgx.make`` knows, or a game of pgx.

    Raises:
        ValueError: an unknown name, or a game with more than one player.

    Example::

        env = from_pgx("2048")
    """
    made = Pgx(**described(env, {}))
    if made.theirs.num_players != 1:
        raise ValueError(f"{made.theirs.id} has {made.theirs.num_players} players; allowed: one")
    return made
