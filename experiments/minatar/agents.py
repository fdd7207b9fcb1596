"""The agents of the tables: DQN as published and its descendants, PQN, PPO, and
actor-critic with traces as published."""

from typing import Any

import flax.linen as nn
import jax
import optax

import purerl
from purerl.heads import Categorical, Huber, Quantile, Scalar
from purerl.networks import ActorCritic, ConvNet, Dueling
from purerl.optimizers import Adam, Optimizer, RMSProp
from purerl.policy import Greedy
from purerl.replay import Prioritized, Uniform
from purerl.schedule import linear
from purerl.targets import DoubleQ, Munchausen

GAMES = ("Breakout", "Asterix", "Freeway", "Seaquest", "SpaceInvaders")
WARM_UP = 5_000

# The best of the step sizes that Young & Tian tried, by game.
STEP_SIZES: dict[str, float] = dict(
    zip(GAMES, (2**-9, 2**-13, 2**-11, 2**-13, 2**-12), strict=True)
)


def make(game: str) -> Any:
    """A game as MinAtar first had it: six actions, no time limit."""
    name: Any = f"MinAtar/{game}-v0"
    return purerl.make(name)


def published_dqn(game: str, learning_rate: float | None = None) -> purerl.DQN:
    """DQN with the settings of Young & Tian, "MinAtar" (2019).

    Args:
        game: one of :data:`GAMES`.
        learning_rate: of RMSprop; by default the best one of that game.
    """
    return purerl.DQN(
        env=make(game),
        learning_rate=STEP_SIZES[game] if learning_rate is None else learning_rate,
        epsilon=linear(1.0, 0.1, 100_000),
        head=Scalar(Huber()),
        replay=Uniform(100_000),
        optimizer=RMSProp(decay=0.95, eps=0.01),
        network=ConvNet((16,), (128,)),
        target_period=1_000,
        train_period=1,
        batch_size=32,
        learning_starts=WARM_UP,
    )


def sparse_dqn(game: str, **fields: Any) -> purerl.DQN:
    """DQN that takes a gradient step in four transitions, one of each of four
    environments, with the settings of Obando-Ceron & Castro, "Revisiting Rainbow"
    (ICML 2021), and Young & Tian's network.

    Args:
        game: one of :data:`GAMES`.
        fields: of DQN, in place of these.
    """
    settings: dict[str, Any] = {
        "learning_rate": 2.5e-4,
        "epsilon": linear(1.0, 0.01, 250_000),
        "replay": Uniform(100_000),
        "optimizer": Adam(eps=3.125e-4),
        "network": ConvNet((16,), (128,)),
        "target_period": 4_000,
        "train_period": 1,
        "num_envs": 4,
        "batch_size": 32,
        "learning_starts": 1_000,
    }
    return purerl.DQN(env=make(game), **settings | fields)


PRIORITIES = {"exponent": 0.5, "correction": linear(0.4, 1.0, 1_000_000)}
DUELING = Dueling(ConvNet((16,)), (128,))
NOISY = {"network": ConvNet((16,), (128,), noisy=True), "behavior": Greedy()}
ATOMS = Categorical(-10.0, 100.0)
COMPONENTS: dict[str, dict[str, Any]] = {
    "DQN": {},
    "+ double": {"target": DoubleQ()},
    "+ 3 steps": {"replay": Uniform(100_000, n=3)},
    "+ priorities": {"replay": Prioritized(100_000, **PRIORITIES)},
    "+ dueling": {"network": DUELING},
    "+ noisy": NOISY,
    "+ atoms (C51)": {"head": ATOMS},
    "+ quantiles (QR)": {"head": Quantile(51)},
    "+ Munchausen": {"head": Scalar(Huber()), "target": Munchausen()},
    "Rainbow": {
        "head": ATOMS,
        "target": DoubleQ(),
        "replay": Prioritized(100_000, n=3, **PRIORITIES),
        "network": DUELING.clone(noisy=True),
        "behavior": Greedy(),
    },
}


def pqn(game: str, num_steps: int) -> purerl.PQN:
    """PQN with the settings of its authors for MinAtar.

    Args:
        game: one of :data:`GAMES`.
        num_steps: over which the step size falls to 0.
    """
    return purerl.PQN(
        env=make(game),
        learning_rate=linear(5e-4, 0.0, num_steps),
        epsilon=linear(1.0, 0.05, num_steps // 10),
        network=ConvNet((16,), (128,), layer_norm=True),
        lambda_=0.65,
        num_envs=128,
        rollout_length=32,
        epochs=2,
        minibatches=32,
    )


def ppo(game: str, num_steps: int) -> purerl.PPO:
    """PPO with the network of the other tables, whose torso policy and value share.

    Args:
        game: one of :data:`GAMES`.
        num_steps: over which the step size falls to 0.
    """
    return purerl.PPO(
        env=make(game),
        learning_rate=linear(1e-3, 0.0, num_steps),
        network=ActorCritic((), torso=ConvNet((16,), (128,))),
        entropy_weight=0.01,
        num_envs=64,
        rollout_length=32,
        epochs=4,
        minibatches=8,
    )


class PublishedRMSProp(Optimizer):
    """RMSprop whose average is corrected for its start, with epsilon in the root."""

    def transformation(self):
        return optax.scale_by_rms(decay=0.999, eps=4e-4, bias_correction=True)


class PublishedTorso(nn.Module):
    """The layers that policy and value of the published actor-critic share."""

    @nn.compact
    def __call__(self, board: jax.Array) -> jax.Array:
        """Map a board ``[..., H, W, C]`` to features ``[..., 128]``."""
        cells = ConvNet((16,), activation=nn.silu)(board)
        x = nn.Dense(128)(cells)
        gate = nn.sigmoid(x)
        return gate * (1 + x * (1 - gate))


def published_ac(game: str) -> purerl.ActorCriticLambda:
    """Actor-critic with traces with the settings of Young & Tian, "MinAtar" (2019).

    They follow half the policy's gradient beside the value's. Here the former has the
    weight 1, so the value's and that of the entropy are twice theirs; RMSprop forgets
    the common factor but for its epsilon, which is four times theirs.
    """
    return purerl.ActorCriticLambda(
        env=make(game),
        learning_rate=2**-11,
        lambda_=0.8,
        value_weight=2.0,
        entropy_weight=0.02,
        discounted_states=False,
        optimizer=PublishedRMSProp(),
        network=ActorCritic((), torso=PublishedTorso()),
    )
