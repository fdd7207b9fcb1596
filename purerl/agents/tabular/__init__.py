"""Control with a table of action values, one file a family."""

from purerl.agents.tabular.average_reward import DifferentialQLearning, RLearning
from purerl.agents.tabular.base import IncrementalControl, TabularControl, TabularState
from purerl.agents.tabular.dyna import DynaQ, DynaQPlus, PrioritizedSweeping
from purerl.agents.tabular.gradient_bandit import GradientBandit
from purerl.agents.tabular.model_based import PSRL, RMax
from purerl.agents.tabular.monte_carlo import MonteCarlo, OffPolicyMonteCarlo
from purerl.agents.tabular.n_step import NStepSARSA, TreeBackup
from purerl.agents.tabular.offline import Offline, collect
from purerl.agents.tabular.one_step import SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from purerl.agents.tabular.optimistic import UCBQLearning
from purerl.agents.tabular.traces import TRACES, QLambda, SARSALambda

__all__ = [
    "PSRL",
    "SARSA",
    "TRACES",
    "DifferentialQLearning",
    "DoubleQLearning",
    "DynaQ",
    "DynaQPlus",
    "ExpectedSARSA",
    "GradientBandit",
    "IncrementalControl",
    "MonteCarlo",
    "NStepSARSA",
    "OffPolicyMonteCarlo",
    "Offline",
    "PrioritizedSweeping",
    "QLambda",
    "QLearning",
    "RLearning",
    "RMax",
    "SARSALambda",
    "TabularControl",
    "TabularState",
    "TreeBackup",
    "UCBQLearning",
    "collect",
]
