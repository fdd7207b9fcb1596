"""Function approximators: flax modules, used by their pure ``init`` and ``apply``."""

from purerl.networks.actor_critic import ActorCritic
from purerl.networks.conv import NATURE, ConvNet
from purerl.networks.dueling import Dueling
from purerl.networks.fitting import fitted
from purerl.networks.implicit import ImplicitQuantiles
from purerl.networks.initializers import orthogonal
from purerl.networks.mlp import MLP
from purerl.networks.noisy import NoisyDense
from purerl.networks.norm import LayerNorm

__all__ = [
    "MLP",
    "NATURE",
    "ActorCritic",
    "ConvNet",
    "Dueling",
    "ImplicitQuantiles",
    "LayerNorm",
    "NoisyDense",
    "fitted",
    "orthogonal",
]
