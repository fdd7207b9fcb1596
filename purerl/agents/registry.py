"""The agents by name, with what a table says of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

from purerl.agents.actor_critic import A2C, PPO
from purerl.agents.dqn import DQN
from purerl.agents.dqn_family import (
    C51,
    IQN,
    QRDQN,
    DoubleDQN,
    DuelingDQN,
    MunchausenDQN,
    Rainbow,
)
from purerl.agents.exact_policy_gradient import ExactPolicyGradient
from purerl.agents.linear import DifferentialSARSA, LinearQLearning, LinearSARSA
from purerl.agents.online_policy import ActorCriticLambda, Reinforce
from purerl.agents.pqn import PQN
from purerl.agents.prediction import (
    GTD2,
    LSTD,
    TD,
    TDC,
    EmphaticTD,
    MonteCarloPrediction,
    NStepTD,
    TDLambda,
)
from purerl.agents.tabular import (
    PSRL,
    SARSA,
    DifferentialQLearning,
    DoubleQLearning,
    DynaQ,
    DynaQPlus,
    ExpectedSARSA,
    GradientBandit,
    MonteCarlo,
    NStepSARSA,
    OffPolicyMonteCarlo,
    PrioritizedSweeping,
    QLambda,
    QLearning,
    RLearning,
    RMax,
    SARSALambda,
    TreeBackup,
    UCBQLearning,
)
from purerl.checks import listed, nearest, shown


class Method(NamedTuple):
    """A row of the table of agents.

    Attributes:
        agent: the class, or a function that makes one of its instances.
        summary: what it does, in one line.
        paper: its source.
        policy: whose values it learns: on-policy those of the behavior policy,
            off-policy those of another.
        limit: what it converges to, under the conditions in the class's docstring.
    """

    agent: Callable[..., Any]
    summary: str
    paper: str
    policy: str
    limit: str


_ON, _OFF, _ANY = "on-policy", "off-policy", "either"
_SOFT, _BEST = "epsilon-soft optimum", "Q*"
_TARGET = "epsilon-soft optimum; Q of a target policy"
_FIXED = "TD fixed point"
_MODEL = "Q*, if deterministic"
_NONE = "no guarantee"
_LOCAL = "a stationary point of the return"

_ROWS = (
    (QLearning, "one-step targets, best next action", "Watkins 1989", _OFF, _BEST),
    (DoubleQLearning, "two tables against overestimation", "van Hasselt 2010", _OFF, _BEST),
    (SARSA, "one-step targets, next action taken", "Rummery & Niranjan 1994", _ON, _SOFT),
    (
        ExpectedSARSA,
        "one-step targets, mean over actions",
        "van Seijen et al. 2009",
        _ANY,
        _TARGET,
    ),
    (NStepSARSA, "n-step targets", "Sutton & Barto 2018, 7.2", _ANY, _TARGET),
    (
        TreeBackup,
        "n-step targets without importance sampling",
        "Precup et al. 2000",
        _ANY,
        _TARGET,
    ),
    (SARSALambda, "Sarsa with eligibility traces", "Rummery & Niranjan 1994", _ON, _SOFT),
    (QLambda, "traces, cut at exploratory actions", "Watkins 1989", _OFF, _BEST),
    (MonteCarlo, "average returns", "Sutton & Barto 2018, 5.4", _ON, _SOFT),
    (
        OffPolicyMonteCarlo,
        "returns weighted by importance",
        "Sutton & Barto 2018, 5.7",
        _OFF,
        _BEST,
    ),
    (UCBQLearning, "optimism with a regret bound", "Jin et al. 2018", _OFF, "Q* of each stage"),
    (DifferentialQLearning, "average-reward control", "Wan et al. 2021", _OFF, "optimal gain"),
    (RLearning, "average reward instead of discounting", "Schwartz 1993", _OFF, _NONE),
    (DynaQ, "Q-learning and planning with a model", "Sutton 1990", _OFF, _MODEL),
    (DynaQPlus, "Dyna-Q with an exploration bonus", "Sutton 1990", _OFF, _MODEL),
    (
        PrioritizedSweeping,
        "planning where values change",
        "Moore & Atkeson 1993",
        _OFF,
        _MODEL,
    ),
    (
        RMax,
        "optimism under uncertainty",
        "Brafman & Tennenholtz 2002",
        _OFF,
        "near-optimal (PAC)",
    ),
    (PSRL, "posterior sampling", "Strens 2000; Osband et al. 2013", _OFF, _BEST),
    (GradientBandit, "stochastic gradient ascent", "Williams 1992", _ON, "the best action"),
    (
        ExactPolicyGradient,
        "exact gradient ascent on a model",
        "Kakade 2001; Mei et al. 2020",
        _ON,
        "optimal policy, as a table",
    ),
    (TD, "one-step prediction", "Sutton 1988", _ANY, f"v, or {_FIXED}"),
    (NStepTD, "n-step prediction", "Sutton & Barto 2018, 7.1", _ANY, "v, or its fixed point"),
    (TDLambda, "eligibility traces", "Sutton 1988", _ANY, "v, or its fixed point"),
    (MonteCarloPrediction, "average returns", "Sutton & Barto 2018, 5.1", _ANY, "v"),
    (GTD2, "gradient of the projected error", "Sutton et al. 2009", _ANY, _FIXED),
    (TDC, "TD with gradient correction", "Sutton et al. 2009", _ANY, _FIXED),
    (EmphaticTD, "TD with emphasis", "Sutton et al. 2016", _ANY, "emphatic fixed point"),
    (LSTD, "solves for the TD fixed point", "Bradtke & Barto 1996", _ANY, _FIXED),
    (LinearSARSA, "Sarsa with linear values", "Rummery & Niranjan 1994", _ON, "a region"),
    (LinearQLearning, "Q-learning with linear values", "Watkins 1989", _OFF, _NONE),
    (
        DifferentialSARSA,
        "average-reward Sarsa with linear values",
        "Sutton & Barto 2018, 10.3",
        _ON,
        _NONE,
    ),
    (DQN, "network, replay buffer, target network", "Mnih et al. 2015", _OFF, _NONE),
    (DoubleDQN, "the online network chooses", "van Hasselt et al. 2016", _OFF, _NONE),
    (DuelingDQN, "streams for state and actions", "Wang et al. 2016", _OFF, _NONE),
    (C51, "probabilities of fixed returns", "Bellemare et al. 2017", _OFF, _NONE),
    (QRDQN, "quantiles of the return", "Dabney et al. 2018a", _OFF, _NONE),
    (IQN, "the quantile function of the return", "Dabney et al. 2018b", _OFF, _NONE),
    (MunchausenDQN, "log-probabilities as rewards", "Vieillard et al. 2020", _OFF, _NONE),
    (PQN, "many environments instead of replay", "Gallici et al. 2025", _OFF, _NONE),
    (Reinforce, "policy gradient of whole episodes", "Williams 1992", _ON, _LOCAL),
    (
        ActorCriticLambda,
        "policy gradient and values with traces",
        "Sutton & Barto 2018, 13.5",
        _ON,
        _NONE,
    ),
    (A2C, "policy gradient with advantages", "Mnih et al. 2016", _ON, _NONE),
    (PPO, "epochs on a clipped objective", "Schulman et al. 2017", _ON, _NONE),
    (Rainbow, "six extensions of DQN", "Hessel et al. 2018", _OFF, _NONE),
)
METHODS = {row[0].__name__: Method(*row) for row in _ROWS}


def find(name: str) -> Callable[..., Any]:
    """The agent called ``name``: its class, or a function that makes it.

    Raises:
        ValueError: there is none; the nearest name is suggested.

    >>> find("QLearning").__name__
    'QLearning'
    """
    if not isinstance(name, str) or name not in METHODS:
        near = nearest(name, METHODS)
        guess = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"unknown agent {shown(name)}; {guess}known: {listed(METHODS)}")
    return METHODS[name].agent
