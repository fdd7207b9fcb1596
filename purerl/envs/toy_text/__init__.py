"""Finite MDPs of Gymnasium's toy text family."""

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

# name: (what builds it, after how many steps an episode is truncated). Taxi's versions differ only in how Gymnasium's v3 made
# rain and fickle passengers, which v4 mended: here both are v4's.
ENVIRONMENTS = {
    "FrozenLake-v1": (frozen_lake, 100),
    "FrozenLake8x8-v1": (partial(frozen_lake, "8x8"), 200),
    "CliffWalking-v1": (cliff_walking, None),
    "CliffWalkingSlippery-v1": (partial(cliff_walking, slip=2 / 3), None),
    "Taxi-v3": (taxi, 200),
    "Taxi-v4": (taxi, 200),
    "Blackjack-v1": (blackjack, None),
}
