"""Algorithms: ``init``, ``step`` and ``act`` over frozen pytrees, one file each."""

from purerl.agents.base import Agent, Episode, Mean, Metrics
from purerl.agents.dqn import DQN, DQNState
from purerl.agents.q_learning import QLearning, QLearningState

AGENTS = {"QLearning": QLearning, "DQN": DQN}

__all__ = ["AGENTS", "DQN", "Agent", "DQNState", "Episode", "Mean", "Metrics", "QLearning", "QLearningState"]
