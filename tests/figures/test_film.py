"""Recordings show all or evenly spaced states of an episode; failures leave no file."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl.random
from purerl import mdp
from purerl.agents import QLearning
from purerl.envs import StickyActions, TimeLimit
from purerl.envs.base import Environment, Outcome
from purerl.envs.grids import dyna_maze, four_rooms
from purerl.figures.film import record
from purerl.pytree import Node

Image = pytest.importorskip("PIL.Image")
KEY = purerl.random.key(0)


def agent_and_state(env):
    """Q-learning that knows the optimum."""
    agent = QLearning(env=env, discount=0.95)
    return agent, agent.init(KEY)._replace(q=mdp.optimal_q(env.mdp, 0.95))


@pytest.fixture(scope="module")
def maze():
    return agent_and_state(dyna_maze())


def read(path):
    """Every picture of a file in RGB, and how long each lasts in milliseconds."""
    pictures, durations = [], []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            pictures.append(np.asarray(image.convert("RGB")))
            durations.append(image.info.get("duration"))
    return pictures, durations


def test_an_animation_shows_the_shortest_way_cell_by_cell(maze, tmp_path):
    """Fourteen steps make fifteen pictures, each of the state reached by hand.

    The last one shows the goal.
    """
    (agent, state), path = maze, tmp_path / "maze.gif"
    assert record(agent, state, path, key=KEY, fps=4) == path
    pictures, durations = read(path)
    assert len(pictures) == 15 and durations == [250] * 15
    cell = 18
    for picture in pictures:
        np.testing.assert_array_equal(picture, agent.env.render(cell))
        last, cell = cell, int(agent.env.mdp.next_state[cell, int(jnp.argmax(state.q[cell])), 0])
    assert last == 8
    with Image.open(path) as image:
        assert image.info["loop"] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["maze.gif"]


def test_a_strip_is_evenly_spaced_from_the_start_to_the_end(maze, tmp_path):
    (agent, state), path = maze, str(tmp_path / "maze.PNG")
    assert str(record(agent, state, path, key=KEY, pictures=3)) == path
    ((strip,), _) = read(path)
    height, width = 6 * 32, 9 * 32
    assert strip.shape == (height, 3 * width + 2 * 8, 3)
    middle = 18
    for _ in range(7):
        middle = int(agent.env.mdp.next_state[middle, int(jnp.argmax(state.q[middle])), 0])
    for i, cell in enumerate((18, middle, 8)):
        left = i * (width + 8)
        np.testing.assert_array_equal(strip[:, left : left + width], agent.env.render(cell))
        assert (strip[:, left + width : left + width + 8] == 255).all()


def test_a_strip_of_a_short_episode_has_no_picture_twice(maze, tmp_path):
    agent, state = maze
    ((strip,), _) = read(record(agent, state, tmp_path / "maze.png", key=KEY, max_steps=2))
    assert strip.shape == (6 * 32, 3 * 9 * 32 + 2 * 8, 3)


def test_an_episode_without_an_end_is_left_after_max_steps(maze, tmp_path):
    agent, state = maze
    pictures, _ = read(record(agent, state, tmp_path / "maze.gif", key=KEY, max_steps=5))
    assert len(pictures) == 6


def test_wrappers_end_and_draw_the_episode(maze, tmp_path):
    """A time limit truncates it; the picture is the inner environment's."""
    agent, state = maze
    agent = agent.replace(env=StickyActions(TimeLimit(agent.env, 4), probability=0.0))
    pictures, _ = read(record(agent, state, tmp_path / "maze.gif", key=KEY))
    assert len(pictures) == 5
    np.testing.assert_array_equal(pictures[0], dyna_maze().render(18))


def test_the_key_decides(tmp_path):
    agent, state = agent_and_state(four_rooms())
    first, again, other = (
        record(agent, state, tmp_path / "rooms.gif", key=purerl.random.key(seed)).read_bytes()
        for seed in (0, 0, 1)
    )
    assert first == again != other


class Counter(Node):
    """Counts to three; its pictures are small and grow."""

    num_actions = 1
    observation = jax.ShapeDtypeStruct((), jnp.int32)

    def reset(self, key):
        return jnp.int32(0)

    def step(self, key, state, action):
        return state + 1, Outcome(jnp.float32(0), state + 1 >= 3, jnp.bool_(False))

    def observe(self, state):
        return state

    def render(self, state):
        return np.full((2, 3 + int(state), 3), 40 * int(state), np.uint8)


class Zero(Node):
    """An agent that always chooses action 0."""

    env: Environment

    def act(self, state: Any, key, observation):
        return jnp.int32(0)


def test_small_pictures_are_enlarged_and_filled_up(tmp_path):
    """Six pixels wide at most, so enlarged 40 times; smaller ones are padded."""
    pictures, durations = read(record(Zero(Counter()), None, tmp_path / "count.gif", key=KEY))
    assert [picture.shape for picture in pictures] == [(80, 240, 3)] * 4 and durations == [100] * 4
    for count, picture in enumerate(pictures):
        edge = 40 * (3 + count)
        assert (picture[:, :edge] == 40 * count).all() and (picture[:, edge:] == 255).all()


@pytest.mark.parametrize(
    ("path", "numbers", "says"),
    [
        ("a.mp4", {}, "path is 'a.mp4'; its suffix must be one of .gif, .png"),
        ("gif", {}, "path is 'gif'; its suffix"),
        ("a.gif", {"max_steps": 0}, "max_steps is 0; allowed: a whole number of at least 1"),
        ("a.gif", {"max_steps": 10.0}, "max_steps is 10.0; allowed"),
        ("a.png", {"pictures": 1}, "pictures is 1; allowed: a whole number of at least 2"),
        ("a.gif", {"fps": 0}, r"fps is 0; allowed: a number in \(0, 100\]"),
        ("a.gif", {"fps": 101}, "fps is 101"),
        ("a.gif", {"fps": float("nan")}, "fps is nan"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_done(path, numbers, says):
    with pytest.raises(ValueError, match=says):
        record(None, None, path, key=None, **numbers)


@pytest.mark.parametrize("name", ["count.gif", "count.png"])
def test_a_failure_leaves_the_old_file_and_nothing_else(name, monkeypatch, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"old")

    def fail(self, file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        record(Zero(Counter()), None, path, key=KEY)
    assert [file.name for file in tmp_path.iterdir()] == [name] and path.read_bytes() == b"old"
