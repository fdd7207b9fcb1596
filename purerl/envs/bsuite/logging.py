"""What the Behaviour Suite writes down of a run, and scores."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs.base import Outcome, Wrapper, restart
from purerl.metrics import CompensatedSum, Mean
from purerl.pytree import static

# What a step adds to a column that is a sum.
SUMS: dict[str, Callable[[Outcome, jax.Array], jax.Array]] = {
    "total_return": lambda outcome, done: outcome.reward,
    "total_regret": lambda outcome, done: jnp.where(done, 1 - outcome.reward, 0.0),
    "total_perfect": lambda outcome, done: jnp.where(done & (outcome.reward > 0), 1.0, 0.0),
    "total_upright": lambda outcome, done: outcome.metrics["upright"].total,
    "total_bad_episodes": lambda outcome, done: outcome.metrics["bad_episode"].total,
    "denoised_return": lambda outcome, done: outcome.metrics["denoised_return"].total,
}
COLUMNS = (*SUMS, "best_episode", "solved_episode")
LONGEST_RUN = 10_000  # episodes; bsuite has no longer one


def logged_episodes(last: int) -> tuple[int, ...]:
    """The episodes after which bsuite writes a row, up to ``last``.

    >>> logged_episodes(100)
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
    """
    tenths = (10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90)
    candidates = [t * 10**k for k in range(len(str(last))) for t in tenths]
    return tuple(c // 10 for c in candidates if c % 10 == 0 and c <= 10 * last)


class RecordState(NamedTuple):
    """``episodes``: how many have ended, int32 ``[]``; ``episode_return``: of the one under way, float32 ``[]``; ``sums``:
    :class:`~purerl.metrics.CompensatedSum` by column; ``best``, float32 ``[]``; ``solved``, int32 ``[]``."""

    inner: Any
    episodes: jax.Array
    episode_return: jax.Array
    sums: dict[str, CompensatedSum]
    best: jax.Array
    solved: jax.Array


class Record(Wrapper):
    """Statistics over the first episodes of a run, reported as metrics; from then on they stand still.

    A run goes on as long as episodes begin with :func:`~purerl.envs.base.restart`; a plain ``reset`` begins another. What is
    inside is recorded: under wrappers that add noise to the reward or scale it, a record knows neither, as bsuite's.

    ====================== ===========================================================================================
    column                 value
    ====================== ===========================================================================================
    ``total_return``       the sum of all rewards (bsuite's ``raw_return`` too)
    ``total_regret``       the sum over episodes of 1 less the last reward
    ``total_perfect``      episodes whose last reward is positive
    ``total_upright``      steps with the pole upright (:class:`~purerl.envs.bsuite.CartpoleSwingup`)
    ``best_episode``       the largest return of an episode, at least 0
    ``total_bad_episodes`` episodes that left the diagonal on purpose (:class:`~purerl.envs.bsuite.DeepSea`)
    ``denoised_return``    episodes that found the treasure (likewise)
    ``solved_episode``     the first of the :func:`logged_episodes`, from ``solved_from`` on, by which less than
                           ``solved_tenths`` tenths of the episodes were bad (likewise); 0 before
    ====================== ===========================================================================================

    At every step each column's value is a metric, counted once, and so are ``episodes``, how many have ended, and
    ``finished``, whether all have. Where ``finished`` is 1 on average over a stretch of steps, the other averages are the
    final values, to float32's rounding.

    Attributes:
        episodes: how many are recorded, at most 10,000. A leaf.
        columns: which columns. Static.
        solved_tenths: see above. A leaf.
        solved_from: see above. A leaf.

    Raises:
        ValueError: an unknown column.
    """

    episodes: int | jax.Array
    columns: tuple[str, ...] = static()
    solved_tenths: int | jax.Array = 9
    solved_from: int | jax.Array = 1

    def __post_init__(self):
        for column in self.columns:
            if column not in COLUMNS:
                raise ValueError(f"Record: columns has {column!r}; allowed: {', '.join(COLUMNS)}")

    @property
    def _summed(self):
        needed = {
            *self.columns,
            *(["total_bad_episodes"] if "solved_episode" in self.columns else []),
        }
        return [name for name in SUMS if name in needed]

    def wrap_state(self, inner):
        zero = jnp.float32(0)
        sums = {name: CompensatedSum(zero, zero) for name in self._summed}
        return RecordState(inner, jnp.int32(0), zero, sums, best=zero, solved=jnp.int32(0))

    def inner(self, state):
        return state.inner

    def restart(self, key, reached):
        return reached._replace(inner=restart(self.env, key, reached.inner))

    def step(self, key, state, action):
        inner, outcome = self.env.step(key, state.inner, action)
        done = outcome.done
        open_ = state.episodes < self.episodes

        def grown(total, name):
            more = total.add(SUMS[name](outcome, done))
            return jax.tree.map(lambda new, old: jnp.where(open_, new, old), more, total)

        sums = {name: grown(total, name) for name, total in state.sums.items()}
        episodes = state.episodes + (open_ & done)
        so_far = state.episode_return + outcome.reward
        best = jnp.where(open_ & done, jnp.maximum(state.best, so_far), state.best)
        solved = state.solved
        if "solved_episode" in self.columns:
            few = (
                10 * sums["total_bad_episodes"].total.astype(jnp.int32)
                < self.solved_tenths * episodes
            )
            judged = jnp.any(episodes == jnp.array(logged_episodes(LONGEST_RUN))) & (
                episodes >= self.solved_from
            )
            solved = jnp.where((solved == 0) & judged & few, episodes, solved)

        values = {name: total.total for name, total in sums.items()} | {
            "best_episode": best,
            "solved_episode": solved.astype(jnp.float32),
        }
        reported = {name: values[name] for name in self.columns} | {
            "episodes": episodes.astype(jnp.float32),
            "finished": (episodes >= self.episodes).astype(jnp.float32),
        }
        metrics = outcome.metrics | {
            name: Mean(value, jnp.float32(1)) for name, value in reported.items()
        }
        state = RecordState(inner, episodes, jnp.where(done, 0, so_far), sums, best, solved)
        return state, outcome._replace(metrics=metrics)


class Setting(Wrapper):
    """An experiment's environment that knows which it is: ``str`` is short, for tables and legends.

    Attributes:
        experiment: its name. Static.
        index: which setting. A leaf, so that the settings of an experiment may be the lanes of one program.
    """

    experiment: str = static()
    index: int | jax.Array

    def __str__(self):
        return f"{self.experiment}/{self.index}"

    @property
    def longest_episode(self) -> int:
        """Steps after which an episode has ended, whatever was done."""
        env = self.env
        while not hasattr(env, "longest_episode"):
            env = env.env
        return env.longest_episode
