"""Blackjack: every entry of the model from Gymnasium's own functions, its games by
chi-square, and the book's policy."""

import collections
import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text import blackjack as theirs
from scipy import stats

import purerl
from purerl import mdp
from purerl.envs import drawing
from purerl.envs.toy_text import blackjack
from tests import quick

RULES = [
    {"natural": False, "sab": True},
    {"natural": True, "sab": False},
    {"natural": False, "sab": False},
]
STICK, HIT = 0, 1


@functools.cache
def model(natural, sab):
    env = blackjack(natural=natural, sab=sab)
    tables = env.mdp.probability, env.mdp.next_state, env.mdp.reward, env.mdp.terminated
    return env, [np.asarray(table) for table in tables]


@functools.cache
def optimum(natural, sab):
    return mdp.policy_iteration(model(natural, sab)[0].mdp, 1.0)


def law(rules, state, action):
    """Probabilities by (next state, reward, terminated)."""
    found = collections.Counter()
    for p, *outcome in zip(
        *(table[state, action].tolist() for table in model(**rules)[1]), strict=True
    ):
        found[tuple(outcome)] += p
    return {outcome: p for outcome, p in found.items() if p > 0}


class Cards:
    """A generator that draws from a sequence by numbers made beforehand, as fast as
    Python can."""

    def __init__(self, seed, n):
        self.numbers = iter(np.random.default_rng(seed).random(n).tolist())

    def choice(self, options):
        return options[int(next(self.numbers) * len(options))]


def a_hand(player, usable_ace, natural):
    """Cards that make a state."""
    if natural:
        return [1, 10]
    if usable_ace:
        return {12: [1, 1], 21: [1, 4, 6]}.get(player, [1, player - 11])
    cards = [2, 2]
    while sum(cards) < player:
        cards.append(min(10, player - sum(cards)))
        if cards[-1] == 1:
            cards[-2:] = [cards[-2] + 1]
    return cards


@functools.cache
def dealers_ends(card):
    """The hands at which Gymnasium's dealer stops, one for each score and whether it is
    a natural, with its probability."""
    playing, found = {(card,): 1.0}, {}
    while playing:
        dealt = collections.Counter()
        for hand, p in playing.items():
            if theirs.sum_hand(hand) >= 17:
                kind = theirs.score(hand), theirs.is_natural(hand)
                found[kind] = hand, found.get(kind, (hand, 0.0))[1] + p
            else:
                for card, times in collections.Counter(theirs.deck).items():
                    dealt[tuple(sorted([*hand, card]))] += p * times / 13
        playing = dealt
    return list(found.values())


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_every_row_is_what_gymnasiums_rules_make_of_it(rules):
    """All 390 states and both actions, by enumeration of cards; nothing is left to
    chance."""
    env, _ = model(**rules)
    reference = gymnasium.make("Blackjack-v1", **rules).unwrapped
    hands = [np.asarray(part).tolist() for part in env.decode(jnp.arange(390))]
    seen = collections.Counter()
    for state, (player, dealer, usable_ace, natural) in enumerate(zip(*hands, strict=True)):
        cards = a_hand(player, usable_ace, natural)
        assert theirs._hand_sum_and_usable_ace(cards) == (player, usable_ace), cards
        assert theirs.is_natural(cards) == natural
        if player > 21:
            assert law(rules, state, STICK) == law(rules, state, HIT) == {(state, 0, True): 1}
            continue
        hit, stick = collections.Counter(), collections.Counter()
        for card in theirs.deck:
            reference.np_random = type("", (), {"choice": lambda _, options, card=card: card})()
            reference.player, reference.dealer = [*cards], [dealer, 10]
            (total, showing, usable), reward, ends, _, _ = reference.step(HIT)
            hit[
                int(env.encode(total, showing, usable))
                if usable
                else (total - 4) * 10 + showing - 1,
                reward,
                ends,
            ] += 1 / 13
        for last, p in dealers_ends(dealer):
            reference.player, reference.dealer = [*cards], [*last]
            _, reward, ends, _, _ = reference.step(STICK)
            stick[state, reward, ends] += p
            seen[reward] += 1
        assert law(rules, state, HIT) == pytest.approx(hit, abs=1e-6)
        assert law(rules, state, STICK) == pytest.approx(stick, abs=1e-6)
    assert set(seen) == ({-1, 0, 1, 1.5} if rules["natural"] else {-1, 0, 1})


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_games_follow_the_law(rules):
    """Gymnasium's, 60,000 of them played at random, against the tables: starts, and
    steps of each state and action."""
    games = 60_000
    env, _ = model(**rules)
    reference = gymnasium.make("Blackjack-v1", **rules).unwrapped
    reference.np_random = Cards(0, 20 * games)
    actions = iter(np.random.default_rng(1).integers(2, size=20 * games).tolist())
    index = {
        tuple(map(int, hand)): i
        for i, hand in enumerate(np.stack(env.decode(jnp.arange(390)), 1).tolist())
    }
    starts, steps = np.zeros(390), collections.defaultdict(collections.Counter)
    for _ in range(games):
        observation, _ = reference.reset()
        state = index[*observation, int(theirs.is_natural(reference.player))]
        starts[state] += 1
        ends = False
        while not ends:
            action = next(actions)
            observation, reward, ends, _, _ = reference.step(action)
            reached = state if action == STICK else index[*observation, 0]
            steps[state, action][reached, reward, ends] += 1
            state = reached

    def pooled(counts, expected):
        """Chi-square and its degrees of freedom, cells of fewer than five together."""
        counts, expected = np.array(counts, float), np.array(expected, float)
        few = expected < 5
        counts, expected = (np.append(x[~few], x[few].sum()) for x in (counts, expected))
        counts, expected = counts[expected > 0], expected[expected > 0]
        return np.sum((counts - expected) ** 2 / expected), len(counts) - 1

    initial = np.asarray(env.mdp.initial, float)
    assert starts[initial == 0].sum() == 0
    assert stats.chi2.sf(*pooled(starts, games * initial)) > 1e-4
    assert len(steps) == 580  # both actions in all states in which a game can be
    total, freedom = 0.0, 0
    for (state, action), counts in steps.items():
        expected = law(rules, state, action)
        assert counts.keys() <= expected.keys()
        n = sum(counts.values())
        statistic, degrees = pooled(
            [counts[outcome] for outcome in expected], [n * p for p in expected.values()]
        )
        total, freedom = total + statistic, freedom + degrees
    assert freedom > 1000
    assert stats.chi2.sf(total, freedom) > 1e-4


def test_the_policy_is_that_of_the_book():
    """Sutton & Barto, 2nd edition, Figure 5.2: where to stick, by the dealer's card
    from ace to ten."""
    env, _ = model(natural=False, sab=True)
    policy = np.asarray(optimum(natural=False, sab=True).policy)
    without_ace = [17, 13, 13, 12, 12, 12, 17, 17, 17, 17]
    with_ace = [19, 18, 18, 18, 18, 18, 18, 18, 19, 19]
    for dealer in range(1, 11):
        for player in range(4, 22):
            state = int(env.encode(player, dealer, False))
            assert policy[state] == (HIT if player < without_ace[dealer - 1] else STICK), (
                player,
                dealer,
            )
        for player in range(12, 22):
            state = int(env.encode(player, dealer, True))
            assert policy[state] == (HIT if player < with_ace[dealer - 1] else STICK), (
                player,
                dealer,
            )
        assert policy[int(env.encode(21, dealer, True, True))] == STICK


def test_the_dealer_goes_bust_as_often_as_published():
    """The usual table for an infinite deck and a dealer who stands on every 17, in per
    cent, ace to ten."""
    env, (probability, _, reward, _) = model(natural=False, sab=False)
    of_four = np.asarray(
        env.encode(4, jnp.arange(1, 11), False)
    )  # with four one wins if the dealer goes bust
    assert (reward[of_four, STICK, 2] == 1).all()
    published = [11.53, 35.36, 37.39, 39.45, 41.64, 42.32, 26.23, 24.47, 22.84, 21.21]
    np.testing.assert_allclose(100 * probability[of_four, STICK, 2], published, atol=0.0051)


@pytest.mark.parametrize(
    ("rules", "value"), list(zip(RULES, [-0.04311, -0.02573, -0.04656], strict=True)), ids=str
)
def test_the_value_of_the_game_is_what_playing_it_yields(rules, value):
    """The optimum, and the mean of 50,000 of Gymnasium's games under the optimal
    policy, within four standard errors of it."""
    games = 50_000
    env, _ = model(**rules)
    solution = optimum(**rules)
    expected = float(jnp.sum(env.mdp.initial * solution.values))
    assert expected == pytest.approx(value, abs=5e-6)
    hands = zip(*(part.tolist() for part in env.decode(jnp.arange(380))[:3]), strict=True)
    policy = dict(zip(hands, solution.policy[:380].tolist(), strict=True))
    reference = gymnasium.make("Blackjack-v1", **rules).unwrapped
    reference.np_random = Cards(2, 20 * games)
    rewards = []
    for _ in range(games):
        observation, ends = reference.reset()[0], False
        while not ends:
            observation, reward, ends, _, _ = reference.step(policy[observation])
        rewards.append(reward)
    assert abs(np.mean(rewards) - expected) < 4 * np.std(rewards) / np.sqrt(games)


def test_hands_are_numbered_back_and_forth():
    env, _ = model(natural=False, sab=True)
    states = jnp.arange(env.num_states)
    hands = env.decode(states)
    np.testing.assert_array_equal(quick.optimizing_jit(env.encode)(*hands), states)
    assert [part.dtype for part in hands] == [jnp.int32, jnp.int32, jnp.bool_, jnp.bool_]
    assert env.observation == jax.ShapeDtypeStruct((), jnp.int32)
    assert purerl.make("Blackjack-v1").mdp.reward.max() == 1


def test_one_rule_at_a_time():
    with pytest.raises(ValueError, match="natural is True; allowed together with sab=False only"):
        blackjack(natural=True)


def test_pictures_show_the_hand():
    env, _ = model(natural=False, sab=True)
    hands = [(18, 10, True), (18, 10, False), (18, 9, False), (26, 9, False)]
    pictures = [env.render(int(env.encode(*hand))) for hand in hands]
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert all(
        picture.shape == pictures[0].shape and picture.dtype == np.uint8 for picture in pictures
    )


def test_pictures_state_the_sums():
    """At the middle of the player's pile, above its 18 chips of seven pixels each."""
    env, _ = model(natural=False, sab=True)
    expected = np.full((15, 21, 3), drawing.PALE, np.uint8)
    drawing.write(expected, "18", 7, 10, size=3)
    picture = env.render(int(env.encode(18, 10, False)))
    top = 7 * (35 - 18) - 12 - 7
    np.testing.assert_array_equal(picture[top : top + 15, 56 - 10 : 56 + 11], expected)
