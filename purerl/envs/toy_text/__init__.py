"""Gymnasium's toy text family, as finite MDPs."""

from functools import partial

from purerl.envs.toy_text.blackjack import Blackjack, Hand, blackjack
from purerl.envs.toy_text.cliff_walking import cliff_walking
from purerl.envs.toy_text.frozen_lake import FROZEN_LAKES, frozen_lake
from purerl.envs.toy_text.taxi import Taxi, TaxiState, taxi

__all__ = [
    "FROZEN_LAKES",
    "Blackjack",
    "Hand",
    "Taxi",
    "TaxiState",
    "blackjack",
    "cliff_walking",
    "frozen_lake",
    "taxi",
]

# name: (function that builds it, steps after which an episode is truncated).
# Gymnasium's Taxi-v4 corrected rain and fickle passengers of v3; here both are as in
# v4.
ENVIRONMENTS = {
    "FrozenLake-v1": (frozen_lake, 100),
    "FrozenLake8x8-v1": (partial(frozen_lake, "8x8"), 200),
    "CliffWalking-v1": (cliff_walking, None),
    "CliffWalkingSlippery-v1": (partial(cliff_walking, slip=2 / 3), None),
    "Taxi-v3": (taxi, 200),
    "Taxi-v4": (taxi, 200),
    "Blackjack-v1": (blackjack, None),
}
