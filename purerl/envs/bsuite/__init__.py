"""The Behaviour Suite: small experiments, each testing one ability of an agent.

Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020), with the
parameters of bsuite 0.3.6, without its three experiments on MNIST: 20 experiments with
408 settings, named ``bsuite/EXPERIMENT/SETTING``. :mod:`purerl.suites.bsuite` runs them
and computes their scores from 0 to 1.
"""

from functools import partial

from purerl.envs.bsuite.bandit import Bandit
from purerl.envs.bsuite.cartpole import Cartpole, CartpoleSwingup
from purerl.envs.bsuite.catch import Catch
from purerl.envs.bsuite.deep_sea import DeepSea
from purerl.envs.bsuite.discounting_chain import DiscountingChain
from purerl.envs.bsuite.experiments import EXPERIMENTS, Experiment, load
from purerl.envs.bsuite.logging import Record, Setting
from purerl.envs.bsuite.memory_chain import MemoryChain
from purerl.envs.bsuite.mountain_car import MountainCar
from purerl.envs.bsuite.umbrella_chain import UmbrellaChain

# name: (function that builds it, steps after which an episode is truncated)
ENVIRONMENTS = {
    f"bsuite/{name}/{index}": (partial(load, name, index), None)
    for name, experiment in EXPERIMENTS.items()
    for index in range(len(experiment.settings))
}

__all__ = [
    "ENVIRONMENTS",
    "EXPERIMENTS",
    "Bandit",
    "Cartpole",
    "CartpoleSwingup",
    "Catch",
    "DeepSea",
    "DiscountingChain",
    "Experiment",
    "MemoryChain",
    "MountainCar",
    "Record",
    "Setting",
    "UmbrellaChain",
    "load",
]
