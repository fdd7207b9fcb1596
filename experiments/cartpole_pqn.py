"""PQN on CartPole: how soon do all seeds balance the pole?

    python -m experiments.cartpole_pqn --seeds 64

The final greedy policy of every seed is evaluated by 100 episodes.
"""

from pathlib import Path

import purerl
from purerl.run.report import show
from purerl.schedule import linear


def main(
    seeds: int = 64,
    num_steps: int = 163_840,
    out: Path = Path("results/cartpole_pqn"),
    resume: bool = False,
) -> purerl.SweepResult:
    """Run PQN on CartPole-v1, and report it.

    Args:
        seeds: how many.
        num_steps: environment transitions of each run.
        out: folder of the results.
        resume: continue the run in that folder.
    """
    agent = purerl.PQN(
        env=purerl.make("CartPole-v1"),
        learning_rate=linear(4e-3, 0.0, num_steps),
        discount=0.995,  # an episode has 500 steps: what comes after 100 must count
        epsilon=linear(1.0, 0.05, num_steps // 4),
    )
    result = purerl.sweep(
        agent,
        seeds,
        num_steps=num_steps,
        points=20,
        out=out,
        resume=resume,
        label="PQN on CartPole-v1",
    )
    show(result, out, ["episode_return", "evaluation_return"])
    return result


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
