"""Small agents to sweep, and the comparison of results bit for bit."""

from typing import Any

import purerl
from purerl.run.checkpoint import flatten

TABULAR = purerl.QLearning(env=purerl.make("Grid2x3-v0"), learning_rate=0.3)
DEEP = purerl.DQN(
    env=purerl.make("CartPole-v1"),
    network=purerl.networks.MLP((8,)),
    batch_size=8,
    replay=purerl.replay.Uniform(200),
    learning_starts=20,
    target_period=50,
)
POLICY = purerl.PPO(
    env=purerl.envs.TimeLimit(purerl.envs.Pendulum(), 30),
    network=purerl.networks.ActorCritic((8,)),
    squash=True,
    num_envs=2,
    rollout_length=5,
    minibatches=2,
)


def bits(*trees: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """All there is to compare: names, dtypes, shapes, bytes; of keys their words."""
    return {name: (x.dtype.str, x.shape, x.tobytes()) for name, x in flatten(trees).items()}
