"""Reinforcement-learning research as pure functions, in JAX.

Everything that learns is a pair of pure functions over an immutable pytree, ``init(key) -> state`` and ``step(state, t) ->
(state, metrics)``; an experiment is a scan of ``step``, a sweep a ``vmap`` of the experiment over seeds and hyperparameters.
"""

from purerl import agents, bellman, envs, exploration, mdp, networks, policy, random, replay, schedule
from purerl.agents import DQN, SARSA, DoubleQLearning, ExpectedSARSA, QLearning
from purerl.envs import make
from purerl.recording import record
from purerl.sweep import SweepResult, load, rerun, sweep
from purerl.training import train

__all__ = [
    "DQN",
    "SARSA",
    "DoubleQLearning",
    "ExpectedSARSA",
    "QLearning",
    "SweepResult",
    "agents",
    "bellman",
    "envs",
    "exploration",
    "load",
    "make",
    "mdp",
    "networks",
    "policy",
    "random",
    "record",
    "replay",
    "rerun",
    "schedule",
    "sweep",
    "train",
]
