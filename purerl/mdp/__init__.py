"""Finite Markov decision processes as data, and their exact solution."""

from purerl.mdp.average import (
    AverageReward,
    average_reward,
    gains,
    mixing_time,
    optimal_average_reward,
    stationary,
    transition_matrix,
)
from purerl.mdp.build import from_dense, from_gymnasium, garnet, time_expanded
from purerl.mdp.evaluate import evaluate_policy, expected_return, occupancy, reachable, visits
from purerl.mdp.linear import LinearProgram, emphasis, linear_program, td_fixed_point
from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import Solution, backup, greedy
from purerl.mdp.solve import (
    epsilon_soft_optimal,
    finite_horizon,
    optimal_q,
    policy_iteration,
    soft_optimal,
    value_iteration,
)
from purerl.mdp.trajectory import discounted_return, returns_to_go, trajectory_log_probability

__all__ = [
    "AverageReward",
    "FiniteMDP",
    "LinearProgram",
    "Solution",
    "action_probabilities",
    "average_reward",
    "backup",
    "discounted_return",
    "emphasis",
    "epsilon_soft_optimal",
    "evaluate_policy",
    "expected_return",
    "finite_horizon",
    "from_dense",
    "from_gymnasium",
    "gains",
    "garnet",
    "greedy",
    "linear_program",
    "mixing_time",
    "occupancy",
    "optimal_average_reward",
    "optimal_q",
    "policy_iteration",
    "reachable",
    "returns_to_go",
    "soft_optimal",
    "stationary",
    "td_fixed_point",
    "time_expanded",
    "trajectory_log_probability",
    "transition_matrix",
    "value_iteration",
    "visits",
]
