"""Deep Q-learning and its descendants on CartPole and Acrobot, in one table.

    python -m experiments.classic_control CartPole-v1 --seeds 64

A run that was interrupted goes on.
"""

from pathlib import Path
from typing import Any, Literal

import purerl
from experiments.scores import Row, fill
from purerl.replay import Prioritized, Uniform
from purerl.schedule import linear

WARM_UP = 10_000
PUBLISHED = {"CartPole-v1": "498 (500k steps)", "Acrobot-v1": "-83.9 (300k steps)"}
# The range of discounted returns: at most one and at least minus one a step.
RANGE = {"CartPole-v1": (0.0, 100.0), "Acrobot-v1": (-100.0, 0.0)}


def agents(name: str, num_steps: int) -> dict[str, Any]:
    """The agents by what the table calls them.

    Args:
        name: of the environment.
        num_steps: of training.
    """
    env_name: Any = name
    env = purerl.make(env_name)
    low, high = RANGE[name]
    learning = num_steps - WARM_UP
    dqn: dict[str, Any] = {
        "learning_rate": linear(2e-3, 0.0, learning),
        "epsilon": linear(1.0, 0.05, learning // 5),
        "train_period": 5,
        # With one step, some seeds of CartPole lose late what they had learned.
        "replay": Uniform(100_000, n=3),
        "learning_starts": WARM_UP,
    }
    one_step: dict[str, Any] = dqn | {"replay": Uniform(100_000)}
    prioritized = Prioritized(100_000, 3, 0.5, linear(0.4, 1.0, learning))
    rainbow: dict[str, Any] = dqn | {"replay": prioritized}
    return {
        "DQN, one step": purerl.DQN(env=env, **one_step),
        "DQN": purerl.DQN(env=env, **dqn),
        "Double DQN": purerl.DoubleDQN(env, **dqn),
        "Munchausen DQN": purerl.MunchausenDQN(env, **one_step),
        "C51": purerl.C51(env, low, high, **dqn),
        "QR-DQN": purerl.QRDQN(env, 51, **dqn),
        "IQN": purerl.IQN(env, 32, 32, **dqn),
        "Rainbow": purerl.Rainbow(env, low, high, **rainbow),
        "PQN": purerl.PQN(env=env, epsilon=linear(1.0, 0.05, num_steps // 4)),
    }


def main(
    env: Literal["CartPole-v1", "Acrobot-v1"],
    /,
    seeds: int = 64,
    num_steps: int = 200_000,
    methods: tuple[str, ...] = (),
    out: Path = Path("results/classic_control"),
) -> None:
    """Fill the table of one environment.

    Args:
        env: its name.
        seeds: how many.
        num_steps: environment transitions of each run, warm-up included.
        methods: those to run, as the table calls them; none for all.
        out: folder of the runs and, in ``records``, of the scores.
    """
    rows = [
        Row(env, method, lambda agent=agent: agent, num_steps, PUBLISHED[env])
        for method, agent in agents(env, num_steps).items()
        if not methods or method in methods
    ]
    fill(env, rows, seeds, out, out / "records")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
