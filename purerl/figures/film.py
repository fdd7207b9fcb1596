"""Recordings: one episode of an agent, as an animated GIF or as a strip of pictures.

Pillow is imported only when an episode is recorded: importing purerl stays fast.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Agent, check_agent, start_state
from purerl.checks import check_values, refusal, shown, whole
from purerl.envs.base import can_render
from purerl.figures.files import write_atomically
from purerl.random import as_key

_LEAST_SIDE = 240  # pixels of a picture's longer side
_GAP = 8  # pixels between the pictures of a strip


def record(
    agent: Agent,
    snapshot: Any,
    path: str | Path,
    *,
    key: jax.Array,
    max_steps: int = 1000,
    fps: float = 10.0,
    pictures: int = 8,
) -> Path:
    """Roll out ``agent.act`` in ``agent.env`` for an episode and write its pictures.

    The first picture is of the start, the last of the state in which the episode ended
    (or was stopped, after ``max_steps``), not of one after a reset. Pictures smaller
    than 240 pixels are enlarged by the smallest whole factor that makes them as large;
    where sizes differ within an episode, pictures are padded with white at the right
    and below.

    Args:
        agent: one whose environment has ``render``.
        snapshot: of the agent, ``agent.snapshot(state)``.
        path: ends in ``.gif``, for an animation of every state that repeats endlessly,
            or in ``.png``, for ``pictures`` states side by side, evenly spaced in time.
            An animation shows at most 256 colors at once, and equal pictures in a row
            are merged into one that lasts longer.
        key: consumed; another key gives another episode.
        max_steps: the step at which an episode that has not ended is stopped.
        fps: states per second in an animation, in ``(0, 100]``; the time of each is
            rounded to hundredths of a second.
        pictures: how many there are in a strip, at least 2; fewer where the episode has
            fewer states.

    Returns:
        ``path``.

    Raises:
        TypeError: the environment has no ``render``.
        ValueError: a number out of its range, or ``path`` has another suffix.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".gif", ".png"):
        raise ValueError(f"path is {str(path)!r}; its suffix must be one of .gif, .png")
    for name, number, least in (("max_steps", max_steps, 1), ("pictures", pictures, 2)):
        if whole(number) is None or number < least:
            raise refusal("record", name, shown(number), f"a whole number of at least {least}")
    at_most_100 = ("a number in (0, 100]", lambda x: (x > 0) & (x <= 100))
    check_values("record", {"fps": fps}, {"fps": at_most_100})
    check_agent("record", agent, ("env", "act"))
    from PIL import Image

    env = agent.env
    if not can_render(env):
        raise TypeError(refusal(type(agent).__name__, "env", env, "one with render"))

    states, steps = _episode(agent, snapshot, as_key(key), max_steps)
    times = np.arange(int(steps) + 1)
    if kind == ".png":
        times = times[np.unique(np.linspace(0, int(steps), pictures).round().astype(int))]
    frames = _of_one_size([env.render(_at(states, t)) for t in times])
    if kind == ".png":
        gap = np.full((len(frames[0]), _GAP, 3), 255, np.uint8)
        strip = Image.fromarray(np.hstack([part for frame in frames for part in (gap, frame)][1:]))
        write_atomically(path, lambda file: strip.save(file, format="PNG"))
    else:
        first, *others = map(Image.fromarray, frames)
        milliseconds = 10 * round(100 / fps)
        write_atomically(
            path,
            lambda file: first.save(
                file,
                format="GIF",
                save_all=True,
                append_images=others,
                duration=milliseconds,
                loop=0,
            ),
        )
    return path


@functools.partial(jax.jit, static_argnames="max_steps")
def _episode(agent, snapshot, key, max_steps):
    """The states of an episode, ``[max_steps + 1, ...]``, and its number of steps.

    States after that many steps are meaningless.
    """
    env = agent.env
    reset_key, key = jax.random.split(key)

    def step(env_state, t):
        act_key, step_key = jax.random.split(jax.random.fold_in(key, t))
        action = agent.act(snapshot, act_key, env.observe(env_state))
        reached, outcome = env.step(step_key, env_state, action)
        return reached, (reached, outcome.done)

    start = start_state(agent, snapshot, reset_key)
    _, (reached, done) = jax.lax.scan(step, start, jnp.arange(max_steps, dtype=jnp.int32))
    states = jax.tree.map(
        lambda first, others: jnp.concatenate([first[None], others]), start, reached
    )
    return states, jnp.where(done.any(), jnp.argmax(done) + 1, max_steps)


@jax.jit
def _at(states, t):
    return jax.tree.map(lambda leaf: leaf[t], states)


def _of_one_size(frames):
    """Pictures padded to one size and enlarged to a visible one."""
    height, width = np.max([frame.shape[:2] for frame in frames], axis=0)
    factor = -(-_LEAST_SIDE // max(height, width))
    padded = [
        np.pad(f, ((0, height - len(f)), (0, width - f.shape[1]), (0, 0)), constant_values=255)
        for f in frames
    ]
    return [frame.repeat(factor, axis=0).repeat(factor, axis=1) for frame in padded]
