"""The key and the door: every transition and the optimum, by a player who only looks at
the map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl import mdp
from purerl.envs.grids import key_door
from purerl.envs.grids.key_door import ROOM

MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]


def play(grid, place, holds, is_open, action):
    """What happens to a player at ``place``, a dictionary of letters being the room."""
    if action < 4:
        there = place[0] + MOVES[action][0], place[1] + MOVES[action][1]
        letter = grid.get(there, "#")
        if letter != "#" and (letter != "D" or is_open):
            place = there
    elif action == 4:
        holds = holds or grid[place] == "K"
    elif holds:
        is_open = is_open or any(grid.get((place[0] + i, place[1] + j)) == "D" for i, j in MOVES)
    return place, holds, is_open


def grid_of(rows):
    return {(i, j): letter for i, row in enumerate(rows) for j, letter in enumerate(row)}


def shortest(rows):
    """Steps from each place, without and with the key, to the goal (None: no way)."""
    grid = grid_of(rows)
    (start,) = [place for place, letter in grid.items() if letter == "S"]
    border, steps = [(start, False, False)], {(start, False, False): 0}
    for node in border:
        if grid[node[0]] == "G":
            return steps[node]
        for action in range(6):
            there = play(grid, *node, action)
            if there not in steps:
                steps[there] = steps[node] + 1
                border.append(there)
    return None


def test_the_default_room_takes_nineteen_steps():
    """6 to the key, 1 to take it, 5 to the door, 1 to open it, 2 through it and 4 to
    the goal."""
    assert shortest(ROOM) == 19
    model = key_door().mdp
    value = float(np.sum(model.initial * mdp.value_iteration(model, 0.9).values))
    assert value == pytest.approx(0.9**18, rel=1e-5)


@st.composite
def rooms(draw):
    height, width = draw(st.sampled_from([(2, 4), (3, 3)]))
    letters = list("SKDG") + draw(
        st.lists(st.sampled_from("..#"), min_size=height * width - 4, max_size=height * width - 4)
    )
    letters = draw(st.permutations(letters))
    return ["".join(letters[i * width : (i + 1) * width]) for i in range(height)]


@settings(max_examples=60)
@given(rooms())
def test_any_room_agrees_with_a_player(rows):
    grid, width, cells = grid_of(rows), len(rows[0]), len(rows) * len(rows[0])
    model = key_door(rows).mdp
    next_state, reward, terminated = (
        np.asarray(x)[..., 0] for x in (model.next_state, model.reward, model.terminated)
    )
    for stage, (holds, is_open) in enumerate([(False, False), (True, False), (True, True)]):
        for (i, j), letter in grid.items():
            state = stage * cells + i * width + j
            if letter in "#G" or (letter == "D" and not is_open):
                assert (
                    (next_state[state] == state).all()
                    and terminated[state].all()
                    and not reward[state].any()
                )
                continue
            for action in range(6):
                place, has, opened = play(grid, (i, j), holds, is_open, action)
                assert (
                    next_state[state, action]
                    == (has + opened) * cells + place[0] * width + place[1]
                )
                assert terminated[state, action] == reward[state, action] == (grid[place] == "G")
    np.testing.assert_array_equal(np.flatnonzero(model.initial), ["".join(rows).index("S")])


@pytest.mark.parametrize(
    "rows",
    [
        ["S.K", ".#D", "##G"],
        ["S.#", ".KD", "G##"],  # the door leads nowhere
        ["SDK", "##.", "##G"],  # the key is behind the door
        ["SK.", "D#.", "G.."],  # there is a way round the door
    ],
)
def test_optima_of_odd_rooms(rows):
    steps = shortest(rows)
    model = key_door(rows).mdp
    value = float(np.sum(model.initial * mdp.value_iteration(model, 0.9).values))
    assert value == pytest.approx(0.9 ** (steps - 1) if steps else 0.0, rel=1e-5)


def test_several_starts_are_equally_likely():
    initial = key_door(["SSK", "D.S", "G.."]).mdp.initial
    np.testing.assert_allclose(initial, np.isin(np.arange(27), [0, 1, 5]) / 3)


def test_ascii_shows_the_key_and_the_door():
    env = key_door(["SKDG", "####"])
    state, seen = 0, []
    for action in (1, 4, 3, 1, 5, 1):
        seen.append(env.ascii(state).split("\n")[0])
        state = env.mdp.next_state[state, action, 0]
    assert [*seen, env.ascii(state).split("\n")[0]] == [
        "@KDG",
        "S@DG",
        "S@DG",
        "@.DG",
        "S@DG",
        "S@'G",
        "S.@G",
    ]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "rows is .*; allowed: strings of equal length"),
        (["SKD", "G"], "allowed: strings of equal length"),
        ("", "allowed: strings of equal length"),
        (["SKDH"], "rows has the letter 'H'; allowed: . S # G K D"),
        (["SKKDG"], "rows has 2 of 'K'; allowed: one key"),
        (["SKG"], "rows has 0 of 'D'; allowed: one door"),
        (["KDG"], "allowed: at least one start, 'S'"),
    ],
)
def test_wrong_rooms_are_refused(rows, says):
    with pytest.raises(ValueError, match=says):
        key_door(rows)
