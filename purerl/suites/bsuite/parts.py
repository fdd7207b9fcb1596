"""Settings of an experiment that share one program."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl.envs.bsuite import EXPERIMENTS, Setting, load


class Part(NamedTuple):
    """Settings that share one program.

    Attributes:
        name: of its folder.
        environments: the different ones, the one with the longest episodes last.
        members: for each environment, the indices of the settings that are equal to it.
        repeats: the largest number of equal settings.
    """

    name: str
    environments: list[Setting]
    members: list[list[int]]
    repeats: int


def parts(experiment: str, episodes: int, indices: Sequence[int]) -> Iterator[Part]:
    """Group settings of one structure, with episodes of lengths within a factor of two.

    Args:
        experiment: its name.
        episodes: the number of episodes of each run.
        indices: of the settings that are run.
    """
    settings = EXPERIMENTS[experiment].settings
    members: dict[str, list[int]] = {}
    for index in indices:
        members.setdefault(repr(settings[index]), []).append(index)
    groups: dict[Any, list[tuple[Setting, list[int]]]] = {}
    for equal in members.values():
        env = load(experiment, equal[0], episodes)
        leaves, structure = jax.tree.flatten(env)
        groups.setdefault((structure, *map(np.shape, leaves)), []).append((env, equal))
    for group in groups.values():
        rest = sorted(group, key=lambda one: one[0].longest_episode)
        while rest:
            longest = rest[-1][0].longest_episode
            part = [one for one in rest if 2 * one[0].longest_episode > longest]
            rest = rest[: -len(part)]
            equals = [equal for _, equal in part]
            yield Part(
                name=f"{experiment}-{min(map(min, equals))}",
                environments=[env for env, _ in part],
                members=equals,
                repeats=max(map(len, equals)),
            )
