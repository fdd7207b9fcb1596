"""Policy gradients on classic control, in one table beside published scores.

    python -m experiments.policy_gradient CartPole

A run that was interrupted goes on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import purerl
from experiments.scores import Row, fill
from purerl.envs import EpisodeStatistics, ObservationNormalize, RewardNormalize, TimeLimit
from purerl.envs.classic import MountainCarContinuous, Pendulum
from purerl.schedule import linear


class Task(NamedTuple):
    """What is learned in one environment.

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
        epochs=4,
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
    return purerl.PPO(
        env=normalized(TimeLimit(Pendulum(), 200), 0.9),
        learning_rate=linear(1e-3, 0.0, num_steps),
        discount=0.9,
        lambda_=0.95,
        num_envs=4,
        rollout_length=1024,
        epochs=10,
        minibatches=64,
    )


def mountain_car_continuous(num_steps: int) -> Any:
    return purerl.PPO(
        env=normalized(TimeLimit(MountainCarContinuous(), 999), 0.9999),
        learning_rate=1e-3,
        discount=0.9999,
        lambda_=0.9,
        initial_std=1.0,
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
    "MountainCarContinuous": Task(mountain_car_continuous, 100_000, "90"),
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
