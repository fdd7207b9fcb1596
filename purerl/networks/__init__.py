"""Function approximators: flax modules, used by their pure ``init`` and ``apply``."""

from purerl.networks.conv import ConvNet
from purerl.networks.initializers import orthogonal
from purerl.networks.mlp import MLP

__all__ = ["MLP", "ConvNet", "orthogonal"]
