"""Policy gradients on classic control, in one table beside published scores.

    python -m experiments.policy_gradient CartPole

A run that was interrupted goes on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import purerl
from experiments.scores import Row, fill
from purerl.envs import (
    ActionRepeat,
    EpisodeStatistics,
    ObservationNormalize,
    RewardNormalize,
    RewardScale,
    TimeLimit,
)
from purerl.envs.classic import MountainCarContinuous, Pendulum
from purerl.schedule import linear


class Task(NamedTuple):
    """An agent for an environment, and the length of its training.

    Attributes:
        make: ``num_steps -> agent``.
        num_steps: transitions of training.
        published: scores of PPO in the collection of Stable-Baselines3, one run each.
    """

    make: Callable[[int], Any]
    num_steps: int
    published: str


def normalized(env: Any, discount: float) -> Any:
    """An environment whose observations and rewards are of the size of one."""
    return ObservationNormalize(RewardNormalize(EpisodeStatistics(env), discount))


def cartpole(num_steps: int) -> Any:
    return purerl.PPO(
        env=purerl.make("CartPole-v1"),
        learning_rate=linear(1e-3, 0.0, num_steps),
        discount=0.98,
        lambda_=0.8,
        epochs=20,
        minibatches=1,
        num_envs=8,
        rollout_length=32,
    )


def acrobot(num_steps: int) -> Any:
    return purerl.PPO(
        env=normalized(purerl.make("Acrobot-v1"), 0.99),
        learning_rate=linear(1e-3, 0.0, num_steps),
        lambda_=0.94,
        num_envs=16,
        rollout_length=256,
        epochs=10,
        minibatches=16,
    )


def mountain_car(num_steps: int) -> Any:
    return purerl.PPO(
        env=normalized(purerl.make("MountainCar-v0"), 0.99),
        learning_rate=linear(1e-3, 0.0, num_steps),
        lambda_=0.98,
        num_envs=16,
        rollout_length=64,
        epochs=4,
        minibatches=4,
    )


def pendulum(num_steps: int) -> Any:
    env = EpisodeStatistics(TimeLimit(Pendulum(), 200))
    return purerl.PPO(
        env=RewardScale(env, 0.1),
        learning_rate=linear(1e-3, 0.0, num_steps),
        discount=0.9,
        num_envs=4,
        rollout_length=1024,
        epochs=10,
        minibatches=64,
    )


def mountain_car_continuous(num_steps: int) -> Any:
    # Noise of single steps cancels out before the car has moved.
    env = ActionRepeat(TimeLimit(MountainCarContinuous(), 999), 8)
    return purerl.PPO(
        env=ObservationNormalize(RewardScale(EpisodeStatistics(env), 0.1)),
        learning_rate=linear(1e-3, 0.0, num_steps),
        num_envs=8,
        rollout_length=128,
        epochs=10,
        minibatches=16,
    )


TASKS = {
    "CartPole": Task(cartpole, 102_400, "500"),
    "Acrobot": Task(acrobot, 500_000, "-73.5 (1M)"),
    "MountainCar": Task(mountain_car, 1_000_000, "-110.4"),
    "Pendulum": Task(pendulum, 100_000, "-172 to -230"),
    "MountainCarContinuous": Task(mountain_car_continuous, 20_480, "90"),
}
Name = Literal["CartPole", "Acrobot", "MountainCar", "Pendulum", "MountainCarContinuous"]


def main(name: Name, /, seeds: int = 16, out: Path = Path("results/policy_gradient")) -> None:
    """Train PPO in one environment.

    Args:
        name: of the environment.
        seeds: how many.
        out: folder of the runs and, in ``records``, of the scores.
    """
    task = TASKS[name]
    row = Row(name, "PPO", lambda: task.make(task.num_steps), task.num_steps, task.published)
    fill(name, [row], seeds, out, out / "records")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
