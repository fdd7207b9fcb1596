"""The experiments of the Behaviour Suite as data."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from purerl.envs.base import Environment
from purerl.envs.bsuite.bandit import Bandit
from purerl.envs.bsuite.cartpole import Cartpole, CartpoleSwingup
from purerl.envs.bsuite.catch import Catch
from purerl.envs.bsuite.deep_sea import DeepSea
from purerl.envs.bsuite.discounting_chain import DiscountingChain
from purerl.envs.bsuite.logging import LONGEST_RUN, Record, Setting
from purerl.envs.bsuite.memory_chain import MemoryChain
from purerl.envs.bsuite.mountain_car import MountainCar
from purerl.envs.bsuite.umbrella_chain import UmbrellaChain
from purerl.envs.wrappers import RewardNoise, RewardScale


class Experiment(NamedTuple):
    """One experiment.

    Attributes:
        build: makes the environment of a setting, ``build(**setting)``, without noise
            and scale.
        settings: parameters that vary, under bsuite's names. Equal ones stand for
            independent runs.
        episodes: number of episodes in a run.
        tags: abilities that are tested.
        columns: quantities that are recorded.
        options: further arguments of :class:`~purerl.envs.bsuite.Record`.
    """

    build: Callable[..., Environment]
    settings: tuple[dict[str, Any], ...]
    episodes: int
    tags: tuple[str, ...]
    columns: tuple[str, ...]
    options: dict[str, int] = {}  # noqa: RUF012 (never mutated)


def _varied(name, values):
    return tuple({name: value} for value in values)


def _in_three_forms(name, plain, tags):
    """A basic experiment; the same with reward noise, and with other reward scales."""
    forms = {"noise": (0.1, 0.3, 1.0, 3.0, 10.0), "scale": (0.001, 0.03, 1.0, 30.0, 1000.0)}
    yield name, plain
    for form, sizes in forms.items():
        parameter = {"noise": "noise_scale", "scale": "reward_scale"}[form]
        settings = tuple(
            {parameter: size} | setting for size in sizes for setting in plain.settings[:4]
        )
        yield f"{name}_{form}", plain._replace(settings=settings, tags=(form, *tags))


_UP_TO_25 = (*range(1, 11), 12, 14, 17, 20, 25)
_UP_TO_100 = (*_UP_TO_25, *range(30, 101, 10))
_SEEDS = _varied("mapping_seed", range(20))
_RUNS = ({},) * 20
_SEAS = tuple({"size": size, "mapping_seed": 42} for size in range(10, 51, 2))
_HEIGHTS = tuple({"height_threshold": n / 20, "x_reward_threshold": 1 - n / 20} for n in range(20))
_LENGTHS = tuple({"chain_length": length, "n_distractor": 20} for length in _UP_TO_100)

_REGRET = ("total_regret",)
_BALANCE = ("total_return", "best_episode")
_SEA = ("total_bad_episodes", "denoised_return", "solved_episode")


def _umbrella(n_distractor, chain_length=20):
    return UmbrellaChain(chain_length, n_distractor)


# As in bsuite 0.3.6, without mnist, mnist_noise and mnist_scale, which need a data set
EXPERIMENTS: dict[str, Experiment] = {
    **dict(
        _in_three_forms("bandit", Experiment(Bandit.of, _SEEDS, 10_000, ("basic",), _REGRET), ())
    ),
    **dict(
        _in_three_forms(
            "cartpole",
            Experiment(
                Cartpole, _RUNS, 1_000, ("basic", "credit_assignment", "generalization"), _BALANCE
            ),
            ("generalization",),
        )
    ),
    "cartpole_swingup": Experiment(
        CartpoleSwingup,
        _HEIGHTS,
        1_000,
        ("exploration", "generalization"),
        (*_BALANCE, "total_upright"),
    ),
    **dict(
        _in_three_forms(
            "catch",
            Experiment(Catch, _RUNS, 10_000, ("basic", "credit_assignment"), _REGRET),
            ("credit_assignment",),
        )
    ),
    "deep_sea": Experiment(DeepSea.of, _SEAS, 10_000, ("exploration",), _SEA),
    "deep_sea_stochastic": Experiment(
        partial(DeepSea.of, stochastic=True),
        _SEAS,
        10_000,
        ("exploration", "noise"),
        _SEA,
        {"solved_tenths": 8, "solved_from": 100},
    ),
    "discounting_chain": Experiment(
        DiscountingChain.of, _SEEDS, 1_000, ("credit_assignment",), ("total_return",)
    ),
    "memory_len": Experiment(
        MemoryChain,
        _varied("memory_length", _UP_TO_100),
        10_000,
        ("memory",),
        ("total_perfect", "total_regret"),
    ),
    "memory_size": Experiment(
        partial(MemoryChain, memory_length=2),
        _varied("num_bits", (*_UP_TO_25, 30, 40)),
        10_000,
        ("memory",),
        ("total_perfect", "total_regret"),
    ),
    **dict(
        _in_three_forms(
            "mountain_car",
            Experiment(MountainCar, _RUNS, 1_000, ("basic", "generalization"), ("total_return",)),
            ("generalization",),
        )
    ),
    "umbrella_distract": Experiment(
        _umbrella,
        _varied("n_distractor", _UP_TO_100),
        10_000,
        ("credit_assignment", "noise"),
        _REGRET,
    ),
    "umbrella_length": Experiment(
        _umbrella, _LENGTHS, 10_000, ("credit_assignment", "noise"), _REGRET
    ),
}


def load(experiment: str, index: int = 0, episodes: int | None = None) -> Setting:
    """Make the environment of bsuite's id ``experiment/index``, with its record.

    Args:
        experiment: a name in :data:`EXPERIMENTS`.
        index: of the setting. The environment has the noise or reward scale of that
            setting.
        episodes: number of recorded episodes; the experiment's own by default.

    Raises:
        ValueError: there is no such experiment or setting, or ``episodes`` is out of
            range.

    Example:
        >>> env = load("catch_noise", 7)
        >>> str(env), env.env.scale
        ('catch_noise/7', 0.3)
    """
    if experiment not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {experiment!r}; known: {', '.join(EXPERIMENTS)}")
    about = EXPERIMENTS[experiment]
    if not 0 <= index < len(about.settings):
        raise ValueError(
            f"{experiment} has no setting {index!r}; allowed: 0 to {len(about.settings) - 1}"
        )
    episodes = about.episodes if episodes is None else episodes
    if type(episodes) is not int or not 0 < episodes <= LONGEST_RUN:
        raise ValueError(f"episodes is {episodes!r}; allowed: a whole number in [1, {LONGEST_RUN}]")
    setting = dict(about.settings[index])
    noise = setting.pop("noise_scale", None)
    scale = setting.pop("reward_scale", None)
    env = Record(about.build(**setting), episodes, about.columns, **about.options)
    if noise is not None:
        env = RewardNoise(env, scale=noise)
    if scale is not None:
        env = RewardScale(env, scale=scale)
    return Setting(env, experiment, index)
