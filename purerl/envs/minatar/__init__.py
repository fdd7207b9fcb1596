"""MinAtar: five Atari games in miniature (Young & Tian, 2019), as in version 1.0.15."""

from functools import partial

from purerl.envs.minatar.asterix import Asterix
from purerl.envs.minatar.base import MinAtar
from purerl.envs.minatar.breakout import Breakout
from purerl.envs.minatar.freeway import Freeway
from purerl.envs.minatar.seaquest import Seaquest
from purerl.envs.minatar.space_invaders import SpaceInvaders
from purerl.envs.wrappers import StickyActions

__all__ = ["Asterix", "Breakout", "Freeway", "MinAtar", "Seaquest", "SpaceInvaders"]


def _plain(game, actions, /, *, sticky: float = 0.1) -> StickyActions:
    return StickyActions(game(actions=actions), sticky)


def _with_ramp(game, actions, /, *, sticky: float = 0.1, ramping: bool = True) -> StickyActions:
    return StickyActions(game(ramping=ramping, actions=actions), sticky)


# name: (function that builds it, steps after which an episode is truncated). As
# registered by MinAtar, v0 has all six actions and v1 those with an effect in the game;
# neither has a time limit.
ENVIRONMENTS = {
    f"MinAtar/{game.__name__}-v{version}": (partial(build, game, actions), None)
    for game, build in {
        Asterix: _with_ramp,
        Breakout: _plain,
        Freeway: _plain,
        Seaquest: _with_ramp,
        SpaceInvaders: _with_ramp,
    }.items()
    for version, actions in enumerate((tuple(range(6)), game.MINIMAL))
}
