"""Algorithms: ``init``, ``step`` and ``act`` over frozen pytrees, one file a family."""

from typing import NamedTuple

from purerl.agents.base import Agent, Episode, Mean, Metrics
from purerl.agents.dqn import DQN, DQNState
from purerl.agents.offline import Offline, collect
from purerl.agents.one_step import SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from purerl.agents.tabular import Tabular, TabularState


class Method(NamedTuple):
    """What is to be said of an agent in a table.

    Attributes:
        agent: the class.
        line: what it is, in one.
        paper: where it is from.
        about: whose values it learns: on-policy those of the behaviour, off-policy those of another policy.
        limit: what they go to, under the conditions in the class's docstring.
    """

    agent: type
    line: str
    paper: str
    about: str
    limit: str


METHODS = {
    "QLearning": Method(QLearning, "one-step targets with the best next action", "Watkins 1989", "off-policy", "Q*"),
    "DoubleQLearning": Method(
        DoubleQLearning, "two tables: one selects, one evaluates", "van Hasselt 2010", "off-policy", "Q*"
    ),
    "SARSA": Method(
        SARSA, "one-step targets with the next action taken", "Rummery & Niranjan 1994", "on-policy", "epsilon-soft optimum"
    ),
    "ExpectedSARSA": Method(
        ExpectedSARSA,
        "one-step targets with the mean over the next action",
        "van Seijen et al. 2009",
        "either",
        "epsilon-soft optimum, or Q of the target",
    ),
    "DQN": Method(DQN, "a network, a replay buffer and a target network", "Mnih et al. 2015", "off-policy", "no guarantee"),
}
AGENTS = {name: method.agent for name, method in METHODS.items()}

__all__ = [
    "AGENTS",
    "DQN",
    "METHODS",
    "SARSA",
    "Agent",
    "DQNState",
    "DoubleQLearning",
    "Episode",
    "ExpectedSARSA",
    "Mean",
    "Method",
    "Metrics",
    "Offline",
    "QLearning",
    "Tabular",
    "TabularState",
    "collect",
]
