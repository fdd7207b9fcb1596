"""Deep Q-learning's descendants: functions that put a DQN together from other parts.

Each sets what its paper changed, with the paper's numbers; everything else is an
argument, as of :class:`~purerl.agents.dqn.DQN`. Learning rates, periods and sizes of
networks stay those of DQN: the papers' were chosen for pixels and millions of frames.
"""

from typing import Any

from purerl.agents.dqn import DQN
from purerl.envs.base import Environment
from purerl.heads import Categorical, Huber, Implicit, Quantile, Scalar
from purerl.networks import MLP, Dueling
from purerl.optimizers import Adam
from purerl.policy import Greedy
from purerl.replay import Prioritized
from purerl.schedule import linear
from purerl.targets import DoubleQ, Munchausen


def DoubleDQN(env: Environment, **fields: Any) -> DQN:
    """Double DQN: the online network chooses the action whose target value is read.

    van Hasselt, Guez & Silver, "Deep reinforcement learning with double Q-learning"
    (AAAI 2016).

    Args:
        env: the environment.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {"target": DoubleQ()}
    return DQN(env=env, **parts | fields)


def DuelingDQN(env: Environment, **fields: Any) -> DQN:
    """Dueling double DQN: separate streams for the state and for the actions.

    Wang et al., "Dueling network architectures for deep reinforcement learning" (ICML
    2016), who also clip the norm of gradients to 10.

    Args:
        env: the environment.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {
        "target": DoubleQ(),
        "network": Dueling(MLP((120,)), (84,)),
        "max_grad_norm": 10.0,
    }
    return DQN(env=env, **parts | fields)


def C51(
    env: Environment, low: float = -10.0, high: float = 10.0, atoms: int = 51, **fields: Any
) -> DQN:
    """Categorical DQN: the distribution of the return over 51 atoms.

    Bellemare, Dabney & Munos, "A distributional perspective on reinforcement learning"
    (ICML 2017).

    Args:
        env: the environment.
        low, high: the range of discounted returns, which the paper gets by clipping
            rewards to [-1, 1]. A return outside is taken for the nearest end.
        atoms: of the distribution.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {
        "head": Categorical(low, high, atoms),
        "optimizer": Adam(eps=0.01 / 32),
    }
    return DQN(env=env, **parts | fields)


def QRDQN(env: Environment, count: int = 200, kappa: float = 1.0, **fields: Any) -> DQN:
    """Quantile-regression DQN: quantiles of the return at fixed fractions.

    Dabney, Rowland, Bellemare & Munos, "Distributional reinforcement learning with
    quantile regression" (AAAI 2018).

    Args:
        env: the environment.
        count: of quantiles.
        kappa: where the loss becomes linear.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {"head": Quantile(count, kappa), "optimizer": Adam(eps=0.01 / 32)}
    return DQN(env=env, **parts | fields)


def IQN(
    env: Environment, count: int = 64, target_count: int = 64, kappa: float = 1.0, **fields: Any
) -> DQN:
    """Implicit quantile networks: the quantile function, at fractions that are drawn.

    Dabney, Ostrovski, Silver & Munos, "Implicit quantile networks for distributional
    reinforcement learning" (ICML 2018).

    Args:
        env: the environment.
        count: fractions of the online network.
        target_count: fractions of the target network.
        kappa: where the loss becomes linear.
        fields: further fields of DQN.
    """
    head = Implicit(count, kappa, target_count)
    parts: dict[str, Any] = {"head": head, "optimizer": Adam(eps=0.01 / 32)}
    return DQN(env=env, **parts | fields)


def MunchausenDQN(env: Environment, **fields: Any) -> DQN:
    """Munchausen DQN: soft values, and the log-probability of actions as a reward.

    Vieillard, Pietquin & Geist, "Munchausen reinforcement learning" (NeurIPS 2020), who
    take the Huber loss.

    Args:
        env: the environment.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {"target": Munchausen(), "head": Scalar(Huber())}
    return DQN(env=env, **parts | fields)


def Rainbow(
    env: Environment, low: float = -10.0, high: float = 10.0, atoms: int = 51, **fields: Any
) -> DQN:
    r"""Rainbow: six extensions of DQN in one.

    Double Q-learning, prioritized replay, dueling and noisy networks, returns of three
    steps and a distribution over atoms. Exploration is the network's noise alone. The
    correction of priorities grows from 0.4 to 1 over as many transitions as a run is
    meant to have, by default 200,000: change it with ``replay``. Hessel et al.,
    "Rainbow: combining improvements in deep reinforcement learning" (AAAI 2018).

    Args:
        env: the environment.
        low, high: the range of discounted returns, as of :func:`C51`.
        atoms: of the distribution.
        fields: further fields of DQN.
    """
    parts: dict[str, Any] = {
        "head": Categorical(low, high, atoms),
        "target": DoubleQ(),
        "replay": Prioritized(n=3, exponent=0.5, correction=linear(0.4, 1.0, 200_000)),
        "network": Dueling(MLP((120,)), (84,), noisy=True),
        "behavior": Greedy(),
        "optimizer": Adam(eps=1.5e-4),
        "max_grad_norm": 10.0,
    }
    return DQN(env=env, **parts | fields)
