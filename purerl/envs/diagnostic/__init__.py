"""Small problems with known answers, for testing algorithms."""

from functools import partial

from purerl.envs.diagnostic.access_control import access_control
from purerl.envs.diagnostic.baird import BairdStar, baird_star
from purerl.envs.diagnostic.boyan import boyan_chain
from purerl.envs.diagnostic.chain import Chain, Featured
from purerl.envs.diagnostic.gambler import gambler
from purerl.envs.diagnostic.garnet import garnet
from purerl.envs.diagnostic.maximization_bias import MaximizationBias, maximization_bias
from purerl.envs.diagnostic.probes import (
    probe_action,
    probe_constant,
    probe_context,
    probe_delay,
    probe_observation,
)
from purerl.envs.diagnostic.random_walk import random_walk
from purerl.envs.diagnostic.river_swim import river_swim
from purerl.envs.diagnostic.short_corridor import short_corridor
from purerl.envs.diagnostic.testbed import Testbed, TestbedState

__all__ = [
    "BairdStar",
    "Chain",
    "Featured",
    "MaximizationBias",
    "Testbed",
    "TestbedState",
    "access_control",
    "baird_star",
    "boyan_chain",
    "gambler",
    "garnet",
    "maximization_bias",
    "probe_action",
    "probe_constant",
    "probe_context",
    "probe_delay",
    "probe_observation",
    "random_walk",
    "river_swim",
    "short_corridor",
]

# name: (function that builds it, steps after which an episode is truncated)
ENVIRONMENTS = {
    "RandomWalk-v0": (random_walk, None),
    "RandomWalk5-v0": (partial(random_walk, 5, left_reward=0.0), None),
    "RandomWalk1000-v0": (partial(random_walk, 1000, reach=100), None),
    "BairdStar-v0": (baird_star, None),
    "BoyanChain-v0": (boyan_chain, None),
    "ShortCorridor-v0": (short_corridor, None),
    "MaximizationBias-v0": (maximization_bias, None),
    "RiverSwim-v0": (river_swim, None),
    "Gambler-v0": (gambler, None),
    "AccessControl-v0": (access_control, None),
    "Garnet-v0": (garnet, None),
    "Testbed-v0": (Testbed, None),
    "ProbeConstant-v0": (probe_constant, None),
    "ProbeObservation-v0": (probe_observation, None),
    "ProbeDelay-v0": (probe_delay, None),
    "ProbeAction-v0": (probe_action, None),
    "ProbeContext-v0": (probe_context, None),
}
