"""The Behaviour Suite: small experiments, each for one ability of an agent, with a score from 0 to 1.

Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020), in the numbers of bsuite 0.3.6, without its three
experiments on MNIST: 20 experiments of 408 settings, named ``bsuite/EXPERIMENT/SETTING``. :mod:`purerl.bsuite` runs and scores
them.
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

# name: (what builds it, after how many steps an episode is truncated)
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
