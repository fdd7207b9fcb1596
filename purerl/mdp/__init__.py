"""Finite Markov decision processes as data, and their exact solution.

The page ``README.md`` in this folder lists the functions by question.
"""

from purerl.mdp import sequences
from purerl.mdp.average import (
    AverageReward,
    average_reward,
    gains,
    mixing_time,
    optimal_average_reward,
    stationary,
    transition_matrix,
)
from purerl.mdp.construct import from_dense, from_gymnasium, garnet, time_expanded
from purerl.mdp.divergence import Gibbs, gibbs, kl_divergence
from purerl.mdp.linear_program import LinearProgram, linear_program
from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import Solution, backup, greedy
from purerl.mdp.optimal import (
    epsilon_soft_optimal,
    finite_horizon,
    modified_policy_iteration,
    soft_optimal,
    value_iteration,
)
from purerl.mdp.policy_evaluation import (
    evaluate_policy,
    expected_return,
    expected_visits,
    occupancy,
    reachable,
    trajectory_kl,
)
from purerl.mdp.policy_gradient import (
    PolicyGradient,
    natural_parameter_gradient,
    natural_policy_gradient,
    parameter_gradient,
    policy_gradient,
    softmax_policy,
)
from purerl.mdp.policy_iteration import optimal_q, policy_iteration, solve
from purerl.mdp.temporal_difference import emphasis, td_fixed_point
from purerl.mdp.trajectory import discounted_return, returns_to_go, trajectory_log_probability

__all__ = [
    "AverageReward",
    "FiniteMDP",
    "Gibbs",
    "LinearProgram",
    "PolicyGradient",
    "Solution",
    "action_probabilities",
    "average_reward",
    "backup",
    "discounted_return",
    "emphasis",
    "epsilon_soft_optimal",
    "evaluate_policy",
    "expected_return",
    "expected_visits",
    "finite_horizon",
    "from_dense",
    "from_gymnasium",
    "gains",
    "garnet",
    "gibbs",
    "greedy",
    "kl_divergence",
    "linear_program",
    "mixing_time",
    "modified_policy_iteration",
    "natural_parameter_gradient",
    "natural_policy_gradient",
    "occupancy",
    "optimal_average_reward",
    "optimal_q",
    "parameter_gradient",
    "policy_gradient",
    "policy_iteration",
    "reachable",
    "returns_to_go",
    "sequences",
    "soft_optimal",
    "softmax_policy",
    "solve",
    "stationary",
    "td_fixed_point",
    "time_expanded",
    "trajectory_kl",
    "trajectory_log_probability",
    "transition_matrix",
    "value_iteration",
]
