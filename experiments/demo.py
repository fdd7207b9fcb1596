"""A demonstration: Q-learning and policy gradients against exact optima, and deep
Q-learning on CartPole.

    make demo

All run over many seeds. Run again, it continues what is in results/demo and computes
nothing if that is complete; remove the folder to start anew.
"""

import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import cartpole_dqn, cartpole_pqn, gridworld_q_learning, policy_gradient_grid

OUT = Path("results/demo")


def main() -> None:
    """Run the experiments at a small size and summarize them."""
    began = time.perf_counter()
    tabular = gridworld_q_learning.main(seeds=128, num_steps=1_000_000, out=OUT, resume=True)
    methods = "gradient, network", "Reinforce", "A2C", "PPO"
    grid = policy_gradient_grid.main(methods=methods, out=OUT / "policy-gradient", resume=True)
    deep = [
        cartpole_pqn.main(seeds=64, out=OUT / "CartPole-v1-PQN", resume=True),
        cartpole_dqn.main(seeds=8, num_steps=120_000, out=OUT / "CartPole-v1-DQN", resume=True),
    ]

    table = Table(
        "run",
        "learned policy",
        "optimum",
        "max |Q - Q*|",
        title="IQM over seeds [95% stratified bootstrap interval]",
    )
    for result in [*tabular, *grid]:
        optimum = (result.final["policy_value"] + result.final["policy_regret"])[0, 0]
        has_q = "q_error" in result.final
        table.add_row(
            result.label,
            str(result.interval("policy_value")),
            f"{optimum:.4f}",
            str(result.interval("q_error")).split(" (")[0] if has_q else "-",
        )
    for result in deep:
        table.add_row(result.label, str(result.interval("evaluation_return")), "500", "-")
    Console(width=120, markup=False).print(table)
    print(
        "learned policy: expected discounted return, of the greedy policy for Q-learning and of "
        "the stochastic one for policy gradients; mean return of 100 episodes per seed for PQN "
        "and DQN"
    )
    print(f"pictures: {OUT}/*/*.png")
    python = shlex.quote(sys.executable)
    print(f"one seed again, bit for bit: {python} -m purerl rerun {OUT}/CartPole-v1-PQN --seed 11")
    print(f"resume, after an interruption: make demo   (or {python} -m experiments.demo)")
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
