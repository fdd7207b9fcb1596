"""Finite Markov decision processes as data, and their exact solution."""

from purerl.mdp.build import from_dense, from_gymnasium, garnet
from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.solve import (
    Solution,
    backup,
    evaluate_policy,
    expected_return,
    finite_horizon,
    greedy,
    occupancy,
    optimal_q,
    policy_iteration,
    reachable,
    value_iteration,
)
from purerl.mdp.trajectory import discounted_return, returns_to_go, trajectory_log_probability

__all__ = [
    "FiniteMDP",
    "Solution",
    "action_probabilities",
    "backup",
    "discounted_return",
    "evaluate_policy",
    "expected_return",
    "finite_horizon",
    "from_dense",
    "from_gymnasium",
    "garnet",
    "greedy",
    "occupancy",
    "optimal_q",
    "policy_iteration",
    "reachable",
    "returns_to_go",
    "trajectory_log_probability",
    "value_iteration",
]
