"""bsuite's scores, in ``[0, 1]``, of the numbers that its experiments record."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Columns = Mapping[str, np.ndarray]
Settings = Sequence[Mapping[str, Any]]
Score = Callable[[Columns, Settings, int], np.ndarray]


def score(
    experiment: str, settings: Settings, columns: Mapping[str, ArrayLike], episodes: int
) -> np.ndarray:
    """bsuite's score of an experiment, in ``[0, 1]``: float64 ``[N]``.

    Args:
        experiment: its name.
        settings: the ``I`` settings that were run.
        columns: the recorded numbers, ``[I, N]`` each, see
            :class:`~purerl.envs.bsuite.Record`.
        episodes: the number of episodes of each run.

    Example:
        >>> score("catch", [{}], {"total_regret": [[0, 800, 1600]]}, episodes=1_000)
        array([1. , 0.5, 0. ])
    """
    arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    name, _, form = experiment.rpartition("_")
    if form not in ("noise", "scale"):
        return _SCORES[experiment](arrays, settings, episodes)
    field = "noise_scale" if form == "noise" else "reward_scale"
    sizes = np.array([setting[field] for setting in settings])
    each = [
        _SCORES[name]({c: v[sizes == size] for c, v in arrays.items()}, settings, episodes)
        for size in np.unique(sizes)
    ]
    mean = np.mean(each, axis=0)
    spread = np.std(each, axis=0)
    return (np.clip(mean, 0, 1) + np.clip(mean - spread, 0, 1)) / 2


def _small_regret(regret, worst):
    """1 for no regret per episode, 0 for the worst and beyond, ``[...]``."""
    return np.clip((worst - regret) / worst, 0, 1)


def _mean_regret(worst: float) -> Score:
    return lambda columns, settings, episodes: _small_regret(
        columns["total_regret"].mean(axis=0) / episodes, worst
    )


def _mountain_car(columns, settings, episodes):
    regret = -100 - columns["total_return"].mean(axis=0) / episodes
    return _small_regret(regret, 1000)


def _cartpole(columns, settings, episodes):
    regret = 1000 - columns["total_return"].mean(axis=0) / episodes
    balanced = (columns["best_episode"] > 500).mean(axis=0)
    return (_small_regret(regret, 1000) + balanced) / 2


def _cartpole_swingup(columns, settings, episodes):
    regret = 700 - columns["total_return"] / episodes
    swung_up = columns["best_episode"] > 100
    return ((_small_regret(regret, 700) + swung_up) / 2).mean(axis=0)


def _deep_sea(columns, settings, episodes):
    solved = columns["solved_episode"]
    size = np.array([setting["size"] for setting in settings])
    return ((solved > 0) & (solved < 2.0 ** size[:, None] + 100)).mean(axis=0)


def _discounting_chain(columns, settings, episodes):
    mean_return = columns["total_return"].mean(axis=0) / episodes
    return np.clip(1 - 10 * (1.1 - mean_return), 0, 1)


def _memory(columns, settings, episodes):
    return ((episodes - columns["total_perfect"]) / 0.5 / episodes < 0.75).mean(axis=0)


def _umbrella(columns, settings, episodes):
    return (columns["total_regret"] / episodes < 0.5).mean(axis=0)


_SCORES: dict[str, Score] = {
    "bandit": _mean_regret(0.5),
    "catch": _mean_regret(1.6),
    "mountain_car": _mountain_car,
    "cartpole": _cartpole,
    "cartpole_swingup": _cartpole_swingup,
    "deep_sea": _deep_sea,
    "deep_sea_stochastic": _deep_sea,
    "discounting_chain": _discounting_chain,
    "memory_len": _memory,
    "memory_size": _memory,
    "umbrella_length": _umbrella,
    "umbrella_distract": _umbrella,
}
