"""Wrappers that transform observations, actions and rewards, and one for statistics.

The first argument of each is the inner environment. The order of nesting matters:
``RewardScale(EpisodeStatistics(env), 0.1)`` reports the returns of ``env``, and the
agent learns from a tenth of each reward.
"""

from purerl.envs.wrappers.interaction import (
    ActionRepeat,
    DiscretizedActions,
    EpisodeStatistics,
    EpisodeStatisticsState,
    RewardNoise,
    RewardNormalize,
    RewardNormalizeState,
    RewardScale,
    ScaledActions,
    StickyActions,
    StickyActionsState,
)
from purerl.envs.wrappers.observations import (
    Flatten,
    FrameStack,
    FrameStackState,
    ObservationNormalize,
    ObservationNormalizeState,
    OneHot,
)

__all__ = [
    "ActionRepeat",
    "DiscretizedActions",
    "EpisodeStatistics",
    "EpisodeStatisticsState",
    "Flatten",
    "FrameStack",
    "FrameStackState",
    "ObservationNormalize",
    "ObservationNormalizeState",
    "OneHot",
    "RewardNoise",
    "RewardNormalize",
    "RewardNormalizeState",
    "RewardScale",
    "ScaledActions",
    "StickyActions",
    "StickyActionsState",
]
