"""The main job in a minute: tabular Q-learning against its exact optimum, then DQN on CartPole, each over many seeds.

    make demo

Run again, it goes on with what is in results/demo, which is nothing if it had finished; remove the folder to start afresh.
"""

import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import cartpole_dqn, gridworld_q_learning
from purerl import statistics

OUT = Path("results/demo")


def main() -> None:
    """Run both experiments in small and sum them up."""
    began = time.perf_counter()
    tabular = gridworld_q_learning.main(seeds=128, num_steps=1_000_000, out=OUT, resume=True)
    deep = cartpole_dqn.main(seeds=16, num_steps=60_000, out=OUT / "CartPole-v1", resume=True)

    import numpy as np

    table = Table(title="IQM over seeds [95% stratified bootstrap interval]")
    for column in ("run", "n", "greedy policy", "optimum", "max |Q - Q*|"):
        table.add_column(column)
    for result in (*tabular, deep):

        def cell(name, result=result):
            if name not in result.curves:
                return "-"
            scores = result.scores(name)
            return str(statistics.stratified_bootstrap(scores, statistics.iqm, np.random.default_rng(0))).split(" (n=")[0]

        exact = "policy_value" in result.curves
        score = "policy_value" if exact else "evaluation_return"
        optimum = f"{float((result.final['policy_value'] + result.final['policy_regret'])[0, 0]):.4f}" if exact else "500"
        table.add_row(result.label, str(len(result.scores(score))), cell(score), optimum, cell("q_error"))
    console = Console(width=120)
    console.print(table)
    print("greedy policy: expected discounted return for Q-learning; mean return of 100 episodes a seed for DQN")
    print(f"pictures: {', '.join(sorted(str(path) for path in OUT.glob('*/*.png')))}")
    python = shlex.quote(sys.executable)
    print(f"one seed again, bit for bit: {python} -m purerl replay {OUT}/CartPole-v1 --seed 11")
    print(f"resume, after an interruption: make demo   (or {python} -m experiments.demo)")
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
