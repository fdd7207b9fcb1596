"""Blackjack as an exact model."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.mdp.model import FiniteMDP

# Probability of each card value: an ace is 1; ten, jack, queen and king are 10.
CARDS = {value: 1 / 13 for value in range(1, 10)} | {10: 4 / 13}
STICK, HIT = 0, 1

# Hard hands of 4 to 31, soft hands of 12 to 21, naturals; each with ten dealer's cards.
_SOFT = 280
_NATURAL = 380
_NUM_STATES = 390


class Hand(NamedTuple):
    """The meaning of a state: Gymnasium's observation, and whether it is a natural.

    Attributes:
        player: the player's sum, in which a usable ace counts 11; above 21 the player
            is bust. int32 ``[]``.
        dealer: the dealer's visible card, 1 (an ace) to 10. int32 ``[]``.
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
        usable_ace = state >= _SOFT
        natural = state >= _NATURAL
        soft = 12 + (state - _SOFT) // 10
        hard = 4 + state // 10
        player = jnp.where(natural, 21, jnp.where(usable_ace, soft, hard))
        return Hand(player, state % 10 + 1, usable_ace, natural)

    def encode(
        self,
        player: ArrayLike,
        dealer: ArrayLike,
        usable_ace: ArrayLike,
        natural: ArrayLike = False,
    ) -> jax.Array:
        """The index of a hand, int32 ``[]``."""
        player = jnp.asarray(player, jnp.int32)
        soft = _SOFT + (player - 12) * 10
        hard = (player - 4) * 10
        first = jnp.where(natural, _NATURAL, jnp.where(usable_ace, soft, hard))
        return (first + jnp.asarray(dealer, jnp.int32) - 1).astype(jnp.int32)

    def render(self, state):
        """The sums of player and dealer as numbered piles, with a line at 21.

        The player's is blue (lighter where an ace counts ten more, red if bust), the
        dealer's orange.
        """
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
        picture = drawing.draw(shapes, -6, 22, -1, 35, width=196, background=drawing.PALE)
        for total, middle in ((player, 2), (dealer, 14)):
            drawing.write(picture, f"{total}", 7 * (35 - total) - 12, 7 * (middle + 6), size=3)
        return picture


def _draw(total: int, usable_ace: bool, card: int) -> tuple[int, bool]:
    """A hand with one more card: its sum, and whether an ace counts 11 in it."""
    if card == 1 and total + 11 <= 21:
        return total + 11, True
    total += card
    if usable_ace and total > 21:
        return total - 10, False
    return total, usable_ace


@functools.cache
def _dealt(total: int, usable_ace: bool) -> np.ndarray:
    """Distribution of the dealer's final sum: 17, ..., 21 and bust, ``[6]``."""
    if total >= 17:
        return np.eye(6)[min(total, 22) - 17]
    law = np.zeros(6)
    for card, p in CARDS.items():
        law = law + p * _dealt(*_draw(total, usable_ace, card))
    return law


def _stick(player: int, dealer: int, special: bool, sab: bool) -> np.ndarray:
    """Probabilities that the player loses, draws and wins, ``[3]``.

    Under ``sab``, naturals (``special``) have a rule of their own.
    """
    if special and sab:
        also = {1: CARDS[10], 10: CARDS[1]}.get(dealer, 0.0)
        return np.array([0.0, also, 1 - also])
    law = _dealt(*_draw(0, False, dealer))
    sums = np.array([17, 18, 19, 20, 21, 0])
    return np.array([law[sums > player].sum(), law[sums == player].sum(), law[sums < player].sum()])


def _index(player: int, usable_ace: bool, dealer: int, dealt: bool = False) -> int:
    """The index of a hand; ``dealt`` is whether it is a natural."""
    if dealt:
        first = _NATURAL
    elif usable_ace:
        first = _SOFT + (player - 12) * 10
    else:
        first = (player - 4) * 10
    return first + dealer - 1


def _initial() -> np.ndarray:
    """Distribution of the first state: two cards of the player, one of the dealer."""
    initial = np.zeros(_NUM_STATES)
    for first, p in CARDS.items():
        for second, q in CARDS.items():
            for dealer, r in CARDS.items():
                total, usable_ace = _draw(*_draw(0, False, first), second)
                initial[_index(total, usable_ace, dealer, dealt=total == 21)] += p * q * r
    return initial


def blackjack(*, natural: bool = False, sab: bool = True) -> Blackjack:
    """Blackjack of Sutton & Barto, Example 5.1, with Gymnasium's rules.

    *Reinforcement Learning: An Introduction*, 2nd edition; ``Blackjack-v1``, where
    ``sab`` is the default too. Cards come from an infinite deck; an ace counts 11
    unless that busts. The dealer shows one card, has another, and draws until the sum
    is 17 or more. The dealer's play does not depend on the player's, so the model
    integrates it out: sticking yields each reward with its probability.

    - Observation: the state, int32 ``[]`` in ``[0, 390)``, from which
      :meth:`Blackjack.decode` makes Gymnasium's triple. Hard hands of 4 to 31 come
      first, then soft ones of 12 to 21, then naturals; the dealer's card, 1 to 10,
      varies fastest.
    - Actions: 0 sticks, 1 hits.
    - Reward: 1 for a win, 0 for a draw, -1 for a loss. A natural (an ace and a ten
      dealt) wins under ``sab`` unless the dealer has one too, which is a draw. Under
      ``natural`` it earns 1.5 if it wins. Without either rule it counts as any other
      21, but keeps an index of its own.
    - Start: two cards each.
    - Termination: on sticking, and with more than 21.

    Args:
        natural: whether a win by a natural pays 1.5.
        sab: whether a natural beats every other 21 of the dealer.

    Returns:
        An environment whose ``mdp`` has ``S = 390``, ``A = 2``, ``K = 10``. On hitting,
        outcome ``k`` is a card of value ``k + 1``; on sticking, outcomes 0, 1, 2 are
        loss, draw, win.

    Raises:
        ValueError: both rules are requested (Gymnasium then ignores ``natural``).
    """
    if natural and sab:
        raise ValueError("natural is True; allowed together with sab=False only")
    shape = _NUM_STATES, 2, 10
    probability = np.zeros(shape)
    reward = np.zeros(shape)
    next_state = np.tile(np.arange(_NUM_STATES)[:, None, None], (1, 2, 10))
    terminated = np.zeros(shape, bool)

    hard = [(total, False, False) for total in range(4, 32)]
    soft = [(total, True, False) for total in range(12, 22)]
    for player, usable_ace, dealt in [*hard, *soft, (21, True, True)]:
        for dealer in CARDS:
            state = _index(player, usable_ace, dealer, dealt)
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
                next_state[state, HIT, k] = _index(total, still_usable, dealer)
                reward[state, HIT, k] = -1 if total > 21 else 0
                terminated[state, HIT, k] = total > 21

    return Blackjack.of(FiniteMDP(probability, next_state, reward, terminated, _initial()))
