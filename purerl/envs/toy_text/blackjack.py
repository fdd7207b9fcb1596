"""Blackjack: twenty-one against a dealer, as an exact model."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.model import FiniteMDP

CARDS = {value: 1 / 13 for value in range(1, 10)} | {
    10: 4 / 13
}  # an ace is 1; tens are 10, jack, queen, king
STICK, HIT = 0, 1

# Layout: hard hands of 4 to 31, soft hands of 12 to 21, naturals; of each, ten dealer's cards.
_SOFT, _NATURAL, _NUM_STATES = 280, 380, 390


class Hand(NamedTuple):
    """What a state means: Gymnasium's observation, and whether it is a natural.

    Attributes:
        player: the player's sum, in which a usable ace counts 11; above 21 the player is bust. int32 ``[]``.
        dealer: the dealer's card that shows, 1 (an ace) to 10. int32 ``[]``.
        usable_ace: whether an ace counts 11. bool ``[]``.
        natural: whether the first two cards made 21. bool ``[]``.
    """

    player: jax.Array
    dealer: jax.Array
    usable_ace: jax.Array
    natural: jax.Array


class Blackjack(FiniteEnvironment):
    """The model of :func:`blackjack`, with names for its states."""

    def decode(self, state) -> Hand:
        """The hand of an index.

        >>> [int(part) for part in blackjack().decode(379)]
        [21, 10, 1, 0]
        """
        state = jnp.asarray(state, jnp.int32)
        usable_ace, natural = state >= _SOFT, state >= _NATURAL
        player = jnp.where(
            natural, 21, jnp.where(usable_ace, 12 + (state - _SOFT) // 10, 4 + state // 10)
        )
        return Hand(player, state % 10 + 1, usable_ace, natural)

    def encode(self, player, dealer, usable_ace, natural=False) -> jax.Array:
        """The index of a hand, int32 ``[]``."""
        first = jnp.where(
            natural, _NATURAL, jnp.where(usable_ace, _SOFT + (player - 12) * 10, (player - 4) * 10)
        )
        return (first + dealer - 1).astype(jnp.int32)

    def render(self, state):
        """The player's sum as a blue pile (lighter where an ace lends ten, red if bust), the dealer's orange; a line at 21."""
        player, dealer, usable_ace, _ = map(int, self.decode(int(state)))
        colors = [drawing.RED if player > 21 else drawing.BLUE] * player
        if usable_ace:
            colors[-10:] = [drawing.SKY] * 10
        shapes = [drawing.line((-8, 21), (24, 21), 0.3, drawing.BLACK)]
        shapes += [
            drawing.box(2, height + 0.5, 8, 0.7, color) for height, color in enumerate(colors)
        ]
        shapes += [
            drawing.box(14, height + 0.5, 8, 0.7, drawing.ORANGE) for height in range(dealer)
        ]
        return drawing.draw(shapes, -6, 22, -1, 32, width=196, background=drawing.PALE)


def _draw(total, usable_ace, card):
    """A hand with one card more: its sum, and whether an ace counts 11 in it."""
    if card == 1 and total + 11 <= 21:
        return total + 11, True
    total += card
    return (total - 10, False) if usable_ace and total > 21 else (total, usable_ace)


@functools.cache
def _dealt(total, usable_ace):
    """The law of the dealer's last sum: probabilities of 17, ..., 21 and bust, [6]."""
    if total >= 17:
        return np.eye(6)[min(total, 22) - 17]
    return sum(p * _dealt(*_draw(total, usable_ace, card)) for card, p in CARDS.items())


def _stick(player, dealer, special, sab):
    """Probabilities that the player loses, draws and wins, [3]. ``special`` naturals have a law of their own under ``sab``."""
    if special and sab:
        also = {1: CARDS[10], 10: CARDS[1]}.get(dealer, 0.0)
        return np.array([0.0, also, 1 - also])
    law = _dealt(*_draw(0, False, dealer))
    sums = np.array([17, 18, 19, 20, 21, 0])
    return np.array([law[sums > player].sum(), law[sums == player].sum(), law[sums < player].sum()])


def blackjack(*, natural: bool = False, sab: bool = True) -> Blackjack:
    """Blackjack as in Sutton & Barto, *Reinforcement Learning: An Introduction*, 2nd edition, Example 5.1, with Gymnasium's
    rules (``Blackjack-v1``, where ``sab`` is the default too).

    Cards come from an infinite deck; an ace counts 11 where that does not bust. The dealer shows one card, has another, and
    draws until the sum is 17 or more. The dealer's play does not depend on the player's, so the model has integrated it out:
    to stick yields each reward with its probability.

    - Observation: the state, int32 ``[]`` in ``[0, 390)``; :meth:`Blackjack.decode` makes Gymnasium's triple of it. Hard hands
      of 4 to 31 come first, then soft ones of 12 to 21, then naturals; the dealer's card, 1 to 10, runs fastest.
    - Actions: 0 sticks, 1 hits.
    - Reward: 1 for a win, 0 for a draw, -1 for a loss. A natural (an ace and a ten dealt) wins under ``sab`` unless the dealer
      has one too, which is a draw, and earns 1.5 if it wins under ``natural``. Without either it is any 21, and kept apart for
      the sake of one numbering.
    - Start: two cards each.
    - Termination: on sticking, and with more than 21.

    Args:
        natural: whether a win by a natural pays 1.5.
        sab: whether a natural beats any other 21 of the dealer's.

    Returns:
        An environment whose ``mdp`` has ``S = 390``, ``A = 2``, ``K = 10``. Hitting, outcome ``k`` is a card of value
        ``k + 1``; sticking, outcomes 0, 1, 2 are loss, draw, win.

    Raises:
        ValueError: both rules are asked for (Gymnasium then forgets about ``natural``).
    """
    if natural and sab:
        raise ValueError("natural is True; allowed together with sab=False alone")
    shape = _NUM_STATES, 2, 10
    probability, reward = np.zeros(shape), np.zeros(shape)
    next_state = np.tile(np.arange(_NUM_STATES)[:, None, None], (1, 2, 10))
    terminated = np.zeros(shape, bool)
    initial = np.zeros(_NUM_STATES)

    def index(player, usable_ace, dealer, dealt=False):
        first = (
            _NATURAL if dealt else _SOFT + (player - 12) * 10 if usable_ace else (player - 4) * 10
        )
        return first + dealer - 1

    hands = [(total, False, False) for total in range(4, 32)] + [
        (total, True, False) for total in range(12, 22)
    ]
    for player, usable_ace, dealt in [*hands, (21, True, True)]:
        for dealer in CARDS:
            state = index(player, usable_ace, dealer, dealt)
            if player > 21:
                probability[state, :, 0] = 1
                terminated[state] = True
                continue
            probability[state, STICK, :3] = _stick(player, dealer, dealt, sab)
            reward[state, STICK, :3] = -1, 0, 1.5 if dealt and natural else 1
            terminated[state, STICK] = True
            for k, (card, p) in enumerate(CARDS.items()):
                total, still_usable = _draw(player, usable_ace, card)
                probability[state, HIT, k] = p
                next_state[state, HIT, k] = index(total, still_usable, dealer)
                reward[state, HIT, k] = -1 if total > 21 else 0
                terminated[state, HIT, k] = total > 21

    for first, p in CARDS.items():
        for second, q in CARDS.items():
            for dealer, r in CARDS.items():
                total, usable_ace = _draw(*_draw(0, False, first), second)
                initial[index(total, usable_ace, dealer, dealt=total == 21)] += p * q * r
    return Blackjack.of(FiniteMDP(probability, next_state, reward, terminated, initial))
