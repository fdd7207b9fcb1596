"""Algorithms: ``init``, ``step`` and ``act`` over frozen pytrees, one file a family."""

from purerl.agents.base import Agent, Episode, Mean, Metrics
from purerl.agents.dqn import DQN, DQNState
from purerl.agents.offline import Offline, collect
from purerl.agents.one_step import SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from purerl.agents.tabular import Tabular, TabularState

AGENTS = {
    "QLearning": QLearning,
    "DoubleQLearning": DoubleQLearning,
    "SARSA": SARSA,
    "ExpectedSARSA": ExpectedSARSA,
    "DQN": DQN,
}

__all__ = [
    "AGENTS",
    "DQN",
    "SARSA",
    "Agent",
    "DQNState",
    "DoubleQLearning",
    "Episode",
    "ExpectedSARSA",
    "Mean",
    "Metrics",
    "Offline",
    "QLearning",
    "Tabular",
    "TabularState",
    "collect",
]
