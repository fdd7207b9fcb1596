"""Algorithms: ``init``, ``step`` and ``act`` over frozen pytrees, one file a family."""

from typing import NamedTuple

from purerl.agents.average_reward import DifferentialQLearning, RLearning
from purerl.agents.base import Agent, Episode, Mean, Metrics
from purerl.agents.dqn import DQN, DQNState
from purerl.agents.dyna import DynaQ, DynaQPlus, PrioritizedSweeping
from purerl.agents.gradient_bandit import GradientBandit
from purerl.agents.gradient_td import GTD2, TDC, EmphaticTD
from purerl.agents.lstd import LSTD
from purerl.agents.model_based import PSRL, RMax
from purerl.agents.monte_carlo import MonteCarlo, OffPolicyMonteCarlo
from purerl.agents.n_step import NStepSARSA, TreeBackup
from purerl.agents.offline import Offline, collect
from purerl.agents.one_step import SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from purerl.agents.optimistic import UCBQLearning
from purerl.agents.prediction import TD, MonteCarloPrediction, NStepTD, Prediction, PredictionState, TDLambda
from purerl.agents.tabular import Table, Tabular, TabularState
from purerl.agents.traces import TRACES, QLambda, SARSALambda


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


_ON, _OFF, _ANY = "on-policy", "off-policy", "either"
_SOFT, _BEST = "epsilon-soft optimum", "Q*"

METHODS = {
    method.agent.__name__: method
    for method in (
        Method(QLearning, "one-step targets with the best next action", "Watkins 1989", _OFF, _BEST),
        Method(DoubleQLearning, "two tables: one selects, one evaluates", "van Hasselt 2010", _OFF, _BEST),
        Method(SARSA, "one-step targets with the next action taken", "Rummery & Niranjan 1994", _ON, _SOFT),
        Method(ExpectedSARSA, "the mean over the next action", "van Seijen et al. 2009", _ANY, f"{_SOFT}; Q of a target"),
        Method(NStepSARSA, "targets of n steps", "Sutton & Barto 2018, 7.2", _ANY, f"{_SOFT}; Q of a target"),
        Method(TreeBackup, "n steps, without importance ratios", "Precup et al. 2000", _ANY, f"{_SOFT}; Q of a target"),
        Method(SARSALambda, "Sarsa with eligibility traces", "Rummery & Niranjan 1994", _ON, _SOFT),
        Method(QLambda, "Q-learning with traces, cut where it explores", "Watkins 1989", _OFF, _BEST),
        Method(MonteCarlo, "averages of returns", "Sutton & Barto 2018, 5.4", _ON, _SOFT),
        Method(OffPolicyMonteCarlo, "returns weighted by importance", "Sutton & Barto 2018, 5.7", _OFF, _BEST),
        Method(UCBQLearning, "optimism with a regret bound", "Jin et al. 2018", _OFF, "Q*, in time H"),
        Method(DifferentialQLearning, "no discount, the reward by the step", "Wan et al. 2021", _OFF, "the largest gain"),
        Method(RLearning, "the first of its kind", "Schwartz 1993", _OFF, "no guarantee"),
        Method(DynaQ, "Q-learning, and planning with a model", "Sutton 1990", _OFF, "Q*, of a deterministic model"),
        Method(DynaQPlus, "Dyna-Q that revisits what it has not tried", "Sutton 1990", _OFF, "Q*, for what it knows"),
        Method(
            PrioritizedSweeping, "planning where values change", "Moore & Atkeson 1993", _OFF, "Q*, of a deterministic model"
        ),
        Method(RMax, "what is not known is worth the most", "Brafman & Tennenholtz 2002", _OFF, "near-optimal, PAC"),
        Method(PSRL, "solves a model drawn from its posterior", "Strens 2000; Osband et al. 2013", _OFF, _BEST),
        Method(GradientBandit, "preferences by stochastic gradient", "Williams 1992", _ON, "the best action"),
        Method(TD, "predicts from the next prediction", "Sutton 1988", _ANY, "v, or TD's fixed point"),
        Method(NStepTD, "predicts over n steps", "Sutton & Barto 2018, 7.1", _ANY, "v, or its fixed point"),
        Method(TDLambda, "predicts with eligibility traces", "Sutton 1988", _ANY, "v, or its fixed point"),
        Method(MonteCarloPrediction, "predicts by averages of returns", "Sutton & Barto 2018, 5.1", _ANY, "v"),
        Method(GTD2, "gradient of the projected error", "Sutton et al. 2009", _ANY, "TD's fixed point"),
        Method(TDC, "TD with gradient correction", "Sutton et al. 2009", _ANY, "TD's fixed point"),
        Method(EmphaticTD, "TD weighted by what follows", "Sutton et al. 2016", _ANY, "the emphatic fixed point"),
        Method(LSTD, "solves for TD's fixed point", "Bradtke & Barto 1996", _ANY, "TD's fixed point"),
        Method(DQN, "a network, a replay buffer and a target network", "Mnih et al. 2015", _OFF, "no guarantee"),
    )
}
AGENTS = {name: method.agent for name, method in METHODS.items()}

__all__ = [
    "AGENTS",
    "DQN",
    "GTD2",
    "LSTD",
    "METHODS",
    "PSRL",
    "SARSA",
    "TD",
    "TDC",
    "TRACES",
    "Agent",
    "DQNState",
    "DifferentialQLearning",
    "DoubleQLearning",
    "DynaQ",
    "DynaQPlus",
    "EmphaticTD",
    "Episode",
    "ExpectedSARSA",
    "GradientBandit",
    "Mean",
    "Method",
    "Metrics",
    "MonteCarlo",
    "MonteCarloPrediction",
    "NStepSARSA",
    "NStepTD",
    "OffPolicyMonteCarlo",
    "Offline",
    "Prediction",
    "PredictionState",
    "PrioritizedSweeping",
    "QLambda",
    "QLearning",
    "RLearning",
    "RMax",
    "SARSALambda",
    "TDLambda",
    "Table",
    "Tabular",
    "TabularState",
    "TreeBackup",
    "UCBQLearning",
    "collect",
]
