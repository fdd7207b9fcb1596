"""DQN on MinAtar's Breakout: how much does it learn in a million steps?

    python -m experiments.breakout_dqn --seeds 4

Ten thousand steps before them are the replay buffer's warm-up. Actions are sticky, as
in MinAtar. The final greedy policy of every seed is evaluated by 100 episodes, and an
episode of the first seed is drawn.
"""

from pathlib import Path

import purerl
from purerl.networks import MLP, ConvNet
from purerl.run.report import show
from purerl.schedule import linear

WARM_UP = 10_000


def main(
    seeds: int = 4,
    num_steps: int = 1_000_000,
    out: Path = Path("results/breakout_dqn"),
    convolution: bool = False,
    resume: bool = False,
) -> purerl.SweepResult:
    """Run DQN on MinAtar/Breakout-v1, and report it.

    Args:
        seeds: how many.
        num_steps: environment transitions of each run, after the warm-up.
        out: folder of the results.
        convolution: whether to use the network of the MinAtar paper, 16 channels and
            then 128 units, instead of two layers of 128 units.
        resume: continue the run in that folder.
    """
    agent = purerl.DQN(
        env=purerl.make("MinAtar/Breakout-v1"),
        learning_rate=linear(5e-4, 0.0, num_steps),
        epsilon=linear(1.0, 0.02, num_steps // 5),
        network=ConvNet((16,), (128,)) if convolution else MLP((128, 128)),
        target_period=1_000,
        train_period=4,
        num_envs=2,
        batch_size=64,
        replay=purerl.replay.Uniform(100_000),
        learning_starts=WARM_UP,
    )
    result = purerl.sweep(
        agent,
        seeds,
        num_steps=num_steps,
        lanes=2,
        out=out,
        resume=resume,
        label="DQN on MinAtar/Breakout-v1",
    )
    show(result, out)
    policy = result.snapshot(seed=0)
    episode = purerl.record(
        agent, policy, out / "episode.gif", key=purerl.random.key(0), max_steps=300, fps=12
    )
    print(f"picture: {episode}")
    return result


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
