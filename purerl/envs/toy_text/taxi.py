"""Taxi: a passenger to be fetched and taken to a destination."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.checks import UNIT_INTERVAL, check_values
from purerl.envs import drawing
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.grids.gridworld import MOVES
from purerl.mdp.model import FiniteMDP

STANDS = ((0, 0), (0, 4), (4, 0), (4, 3))  # red, green, yellow, blue
WALLS = ((0, 1), (1, 1), (3, 0), (3, 2), (4, 0), (4, 2))  # each on the east side of its cell
HEADINGS = ("down", "up", "right", "left")  # of actions 0 to 3
LEFT_OF = (2, 3, 1, 0)  # heading to the driver's left, by heading
RIGHT_OF = (3, 2, 0, 1)
IN_TAXI = 4

# Gymnasium's 500 states, [row, column, passenger, destination] unrolled.
_SHAPE = (5, 5, 5, 4)
_ROW, _COLUMN, _PASSENGER, _DESTINATION = np.unravel_index(np.arange(500), _SHAPE)
_CELL = _ROW * 5 + _COLUMN
_STAND = np.array([row * 5 + column for row, column in STANDS])

# States where the destination may still change: the passenger waits, or has been picked
# up and not moved yet.
_WAITING = (_PASSENGER < IN_TAXI) & (_PASSENGER != _DESTINATION)
_BOARDED = (_PASSENGER == IN_TAXI) & np.isin(_CELL, _STAND) & (_STAND[_DESTINATION] != _CELL)
_UNSETTLED = np.flatnonzero(_WAITING | _BOARDED)
_UNSETTLED_INDEX = np.full(500, -1)
_UNSETTLED_INDEX[_UNSETTLED] = 500 + np.arange(len(_UNSETTLED))


class TaxiState(NamedTuple):
    """The parts of a state, int32 ``[]`` each except ``settled``, bool ``[]``.

    Attributes:
        row: of the taxi.
        column: of the taxi.
        passenger: a stand (0 red, 1 green, 2 yellow, 3 blue), or 4 in the taxi.
        destination: a stand.
        settled: False while the destination may still change.
    """

    row: jax.Array
    column: jax.Array
    passenger: jax.Array
    destination: jax.Array
    settled: jax.Array


class Taxi(FiniteEnvironment):
    """The model of :func:`taxi`, with names for its states."""

    def decode(self, state) -> TaxiState:
        """The state of an index.

        >>> [int(part) for part in taxi().decode(328)]
        [3, 1, 2, 0, 1]
        """
        state = jnp.asarray(state, jnp.int32)
        settled = state < 500
        unsettled = jnp.asarray(_UNSETTLED, jnp.int32)[jnp.maximum(state - 500, 0)]
        index = jnp.where(settled, state, unsettled)
        row, column, passenger, destination = jnp.unravel_index(index, _SHAPE)
        return TaxiState(row, column, passenger, destination, settled)

    def encode(
        self,
        row: jax.Array | int,
        column: jax.Array | int,
        passenger: jax.Array | int,
        destination: jax.Array | int,
        settled: jax.Array | bool = True,
    ) -> jax.Array:
        """The index of a state, int32 ``[]``.

        It is -1 for an unsettled state whose destination can no longer change.
        """
        index = ((row * 5 + column) * 5 + passenger) * 4 + destination
        return jnp.where(settled, index, jnp.asarray(_UNSETTLED_INDEX, jnp.int32)[index]).astype(
            jnp.int32
        )

    def render(self, state):
        """The city, with its stands in their colors.

        The passenger is black, the destination a target, the taxi orange.
        """
        row, column, passenger, destination, _ = map(int, self.decode(int(state)))
        shapes = [drawing.box(c, -r, 0.94, 0.94, drawing.PALE) for r in range(5) for c in range(5)]
        stand_colors = (drawing.RED, drawing.GREEN, drawing.YELLOW, drawing.BLUE)
        for (r, c), color in zip(STANDS, stand_colors, strict=True):
            shapes.append(drawing.box(c, -r, 0.94, 0.94, color))
        r, c = STANDS[destination]
        target = (0.42, drawing.WHITE), (0.34, drawing.BLACK), (0.26, drawing.WHITE)
        shapes += [drawing.disc(c, -r, radius, color) for radius, color in target]
        shapes += [
            drawing.line((c + 0.5, 0.5 - r), (c + 0.5, -0.5 - r), 0.1, drawing.BLACK)
            for r, c in WALLS
        ]
        shapes += [drawing.box(x, -2, 0.1, 5.1, drawing.BLACK) for x in (-0.5, 4.5)]
        shapes += [drawing.box(2, y, 5.1, 0.1, drawing.BLACK) for y in (0.5, -4.5)]
        shapes += [drawing.box(column, -row - 0.05, 0.66, 0.3, drawing.ORANGE)]
        shapes += [drawing.box(column, 0.17 - row, 0.36, 0.2, drawing.ORANGE)]
        shapes += [drawing.disc(column + x, -row - 0.22, 0.1, drawing.BLACK) for x in (-0.18, 0.18)]
        if passenger == IN_TAXI:
            shapes.append(drawing.disc(column, 0.16 - row, 0.1, drawing.BLACK))
        else:
            r, c = STANDS[passenger]
            shapes += [
                drawing.box(c - 0.27, -r - 0.14, 0.2, 0.36, drawing.BLACK),
                drawing.disc(c - 0.27, 0.17 - r, 0.14, drawing.BLACK),
            ]
        return drawing.draw(shapes, -0.65, 4.65, -4.65, 0.65, width=318)


def _neighbors():
    """The neighboring cell of each cell in each direction, ``[25, 4]``.

    It is the cell itself where a wall or the border is in the way.
    """
    row, column = np.divmod(np.arange(25), 5)
    reached = []
    for down, right in (MOVES[heading] for heading in HEADINGS):
        to_row = np.clip(row + down, 0, 4)
        to_column = np.clip(column + right, 0, 4)
        walled = [
            right != 0 and (r, min(a, b)) in WALLS
            for r, a, b in zip(row, column, to_column, strict=True)
        ]
        reached.append(np.where(walled, row * 5 + column, to_row * 5 + to_column))
    return np.stack(reached, axis=1)


def _city(straight):
    """The tables of a city where the destination never changes.

    Args:
        straight: probabilities of going ahead, to the left and to the right, or of
            going ahead only; their number is ``K``.

    Returns:
        Probability, next state, reward and termination, ``[500, 6, K]`` each.
    """
    num_outcomes = len(straight)
    probability = np.tile(np.eye(1, num_outcomes), (500, 6, 1))
    next_state = np.tile(np.arange(500)[:, None, None], (1, 6, num_outcomes))
    reward = np.full((500, 6, num_outcomes), -1.0)
    terminated = np.zeros((500, 6, num_outcomes), bool)

    neighbors = _neighbors()[_CELL]
    turns = np.stack([np.arange(4), LEFT_OF, RIGHT_OF], axis=1)[:, :num_outcomes]
    blocked = neighbors == _CELL[:, None]
    cell = np.where(blocked[..., None], _CELL[:, None, None], neighbors[:, turns])
    probability[:, :4] = straight
    next_state[:, :4] += (cell - _CELL[:, None, None]) * 20

    stand = np.argmax(_CELL[:, None] == _STAND, axis=1)
    at_stand = np.isin(_CELL, _STAND)
    boards = at_stand & (stand == _PASSENGER)
    alights = at_stand & (_PASSENGER == IN_TAXI)
    arrives = alights & (stand == _DESTINATION)
    next_state[:, 4] += ((IN_TAXI - _PASSENGER) * boards * 4)[:, None]
    next_state[:, 5] += ((stand - _PASSENGER) * alights * 4)[:, None]
    reward[~boards, 4] = -10
    reward[~alights, 5] = -10
    reward[arrives, 5] = 20
    terminated[arrives, 5] = True
    return probability, next_state, reward, terminated


def _fickle(probability, next_state, reward, terminated, change):
    """The tables with states added in which the destination may change.

    They are ``[812, 6, 4 K]``. Outcome ``j * K + k`` is outcome ``k`` with the
    destination moved on by ``j``.
    """
    origin = np.concatenate([np.arange(500), _UNSETTLED])
    unsettled = (np.arange(len(origin)) >= 500)[:, None, None]
    probability = probability[origin]
    next_state = next_state[origin]
    reward = reward[origin]
    terminated = terminated[origin]

    aboard = (_PASSENGER[origin] == IN_TAXI)[:, None, None]
    driven = _CELL[next_state] != _CELL[origin][:, None, None]
    decides = unsettled & aboard & driven
    settled = terminated | decides | ~unsettled
    unchanged = np.where(settled, next_state, _UNSETTLED_INDEX[next_state])
    destination = _DESTINATION[next_state]
    changed = [next_state - destination + (destination + j) % 4 for j in (1, 2, 3)]
    chance = np.where(decides, change, 0.0)
    probabilities = [probability * (1 - chance), *[probability * chance / 3] * 3]
    return (
        np.concatenate(probabilities, axis=-1),
        np.concatenate([unchanged, *changed], axis=-1),
        np.tile(reward, 4),
        np.tile(terminated, 4),
    )


def taxi(
    *,
    is_rainy: bool = False,
    fickle_passenger: bool = False,
    rainy_probability: float = 0.8,
    fickle_probability: float = 0.3,
    mask_actions: bool = False,
) -> Taxi:
    """The taxi of Dietterich (2000), with Gymnasium's tables (``Taxi-v4``).

    "Hierarchical reinforcement learning with the MAXQ value function decomposition"
    (JAIR 13), sections 2 and 7.1. A city of five by five cells has walls and four
    stands: red, green, yellow and blue.

    - Observation: the state,
      ``((row * 5 + column) * 5 + passenger) * 4 + destination``, int32 ``[]`` in
      ``[0, 500)``; see :class:`TaxiState` for the parts, and below for the 312
      additional states of a fickle passenger.
    - Actions: 0 south, 1 north, 2 east, 3 west, 4 picks the passenger up, 5 puts them
      down.
    - Reward: 20 for putting the passenger down at the destination; -10 for picking up
      nobody, and for putting down nobody or away from a stand; -1 otherwise.
    - Start: taxi anywhere, passenger at a stand, destination another one: 300 states,
      equally likely.
    - Termination: the passenger is put down at the destination.

    **Rain.** If the way ahead is free, the taxi goes ahead with probability
    ``rainy_probability`` and to either side of it with half of the remainder each (and
    stays, if there is a wall on that side). If the way ahead is not free, it stays.

    **A fickle passenger** changes destination with probability ``fickle_probability``,
    to any other stand equally likely, when first driven from one cell to another, and
    never again. So the future depends on whether that has happened. In states 0 to 499
    it has happened, and their rows are Gymnasium's. State ``500 + i`` is the ``i``-th,
    in Gymnasium's order, of those states in which it may still happen: the passenger
    waits at a stand other than the destination (300, where episodes start), or sits in
    the taxi at such a stand (12). All of these states are necessary, because each can
    be reached and its future differs from that of its number below 500. Gymnasium shows
    the number below 500 in both cases, which is not a Markov state. It also draws the
    change of mind at the start of the episode and hides it, while here it is drawn when
    it takes effect; observations have the same distribution.

    Args:
        is_rainy: whether it rains.
        fickle_passenger: whether the destination may change.
        rainy_probability: in ``[0, 1]``.
        fickle_probability: in ``[0, 1]``.
        mask_actions: whether only actions that change the state are available, those of
            Gymnasium's ``info["action_mask"]``.

    Returns:
        An environment whose ``mdp`` has ``A = 6``, ``S = 500`` (fickle: 812), and ``K``
        = 1 (rain: 3; four times as many if fickle).

    Raises:
        ValueError: a number is not a probability.
    """
    chances = {"rainy_probability": rainy_probability, "fickle_probability": fickle_probability}
    check_values("taxi", chances, dict.fromkeys(chances, UNIT_INTERVAL))
    aside = (1.0 - rainy_probability) / 2.0
    straight = (rainy_probability, aside, aside) if is_rainy else (1.0,)
    tables = _city(straight)
    initial = np.zeros(500 + len(_UNSETTLED) * fickle_passenger)
    initial[_UNSETTLED_INDEX[_WAITING] if fickle_passenger else _WAITING] = 1 / np.sum(_WAITING)
    if fickle_passenger:
        tables = _fickle(*tables, fickle_probability)
    probability, next_state, reward, terminated = tables
    available = None
    if mask_actions:
        here = np.arange(len(initial))[:, None, None]
        changes = (next_state != here) | terminated
        available = np.any((probability > 0) & changes, axis=-1)
    return Taxi.of(FiniteMDP(probability, next_state, reward, terminated, initial, available))
