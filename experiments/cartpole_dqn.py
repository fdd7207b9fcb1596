"""DQN on CartPole: how reliably does it balance the pole after 200,000 steps?

    python -m experiments.cartpole_dqn --seeds 64

Ten thousand of the steps are the replay buffer's warm-up. The final greedy policy of
every seed is evaluated by 100 episodes.
"""

from pathlib import Path

import purerl
from purerl.run.report import show
from purerl.schedule import linear

WARM_UP = 10_000


def main(
    seeds: int = 64,
    num_steps: int = 200_000,
    out: Path = Path("results/cartpole_dqn"),
    resume: bool = False,
) -> purerl.SweepResult:
    """Run DQN on CartPole-v1, and report it.

    Args:
        seeds: how many.
        num_steps: environment transitions of each run, warm-up included.
        out: folder of the results.
        resume: continue the run in that folder.
    """
    learning = num_steps - WARM_UP
    agent = purerl.DQN(
        env=purerl.make("CartPole-v1"),
        learning_rate=linear(2e-3, 0.0, learning),
        epsilon=linear(1.0, 0.05, learning // 5),
        train_period=5,
        replay=purerl.replay.Uniform(100_000),
        learning_starts=WARM_UP,
    )
    result = purerl.sweep(
        agent, seeds, num_steps=learning, out=out, resume=resume, label="DQN on CartPole-v1"
    )
    show(result, out, ["episode_return", "evaluation_return"])
    return result


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
