"""Statistics that the Behaviour Suite records of a run and scores."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purerl.checks import AT_LEAST_ONE, FINITE, check_numbers, listed, refusal
from purerl.envs.base import E, Outcome, Wrapper, restart
from purerl.metrics import CompensatedSum, Mean
from purerl.pytree import static

# Amount that a step adds to each column that is a sum
SUMS: dict[str, Callable[[Outcome, jax.Array], jax.Array]] = {
    "total_return": lambda outcome, done: outcome.reward,
    "total_regret": lambda outcome, done: jnp.where(done, 1 - outcome.reward, 0.0),
    "total_perfect": lambda outcome, done: jnp.where(done & (outcome.reward > 0), 1.0, 0.0),
    "total_upright": lambda outcome, done: outcome.metrics["upright"].total,
    "total_bad_episodes": lambda outcome, done: outcome.metrics["bad_episode"].total,
    "denoised_return": lambda outcome, done: outcome.metrics["denoised_return"].total,
}
COLUMNS = (*SUMS, "best_episode", "solved_episode")
LONGEST_RUN = 10_000  # episodes, the most in bsuite


def logged_episodes(last: int) -> tuple[int, ...]:
    """The episodes after which bsuite writes a row, up to ``last``.

    >>> logged_episodes(50)
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25, 30, 40, 50)
    """
    tenths = (10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90)
    candidates = [t * 10**k for k in range(len(str(last))) for t in tenths]
    return tuple(c // 10 for c in candidates if c % 10 == 0 and c <= 10 * last)


class RecordState(NamedTuple):
    """The inner state, and the statistics so far.

    Attributes:
        inner: state of the inner environment.
        episodes: number of episodes that have ended, int32 ``[]``.
        episode_return: of the current episode, float32 ``[]``.
        sums: by column.
        best: largest return of an episode, float32 ``[]``.
        solved: the column ``solved_episode``, int32 ``[]``.
    """

    inner: Any
    episodes: jax.Array
    episode_return: jax.Array
    sums: dict[str, CompensatedSum]
    best: jax.Array
    solved: jax.Array


class Record(Wrapper[E]):
    """Records statistics over the first episodes of a run, and reports them as metrics.

    After those episodes the statistics stay constant. A run continues as long as
    episodes begin with :func:`~purerl.envs.base.restart`; a plain ``reset`` begins
    another run. The inner environment is recorded: wrappers around a record that add
    noise to the reward or scale it do not affect it, as in bsuite.

    ====================== =============================================================
    column                 value
    ====================== =============================================================
    ``total_return``       sum of all rewards (also bsuite's ``raw_return``)
    ``total_regret``       sum over episodes of 1 minus the last reward
    ``total_perfect``      number of episodes whose last reward is positive
    ``total_upright``      number of steps with the pole upright
                           (:class:`~purerl.envs.bsuite.CartpoleSwingup`)
    ``best_episode``       the largest return of an episode, at least 0
    ``total_bad_episodes`` number of episodes that left the diagonal by an action
                           (:class:`~purerl.envs.bsuite.DeepSea`)
    ``denoised_return``    number of episodes that found the treasure (DeepSea)
    ``solved_episode``     the first of the :func:`logged_episodes`, from
                           ``solved_from`` on, by which less than ``solved_tenths``
                           tenths of the episodes were bad (DeepSea); 0 before
    ====================== =============================================================

    At every step, each column's value is a metric, counted once. So are ``episodes``,
    the number of episodes that have ended, and ``finished``, whether all have. If
    ``finished`` averages 1 over some steps, the other averages are the final values, up
    to rounding in float32.

    Attributes:
        episodes: number of recorded episodes, at most 10,000. A leaf.
        columns: names of the columns. Static.
        solved_tenths: see ``solved_episode``. A leaf.
        solved_from: see ``solved_episode``. A leaf.

    Raises:
        ValueError: an unknown column.
    """

    episodes: int | jax.Array
    columns: tuple[str, ...] = static()
    solved_tenths: int | jax.Array = 9
    solved_from: int | jax.Array = 1

    def __post_init__(self):
        super().__post_init__()
        for column in self.columns:
            if column not in COLUMNS:
                raise refusal("Record", "columns", repr(column), listed(COLUMNS), "has")
        check_numbers(self, episodes=AT_LEAST_ONE, solved_tenths=FINITE, solved_from=FINITE)

    @property
    def _summed(self):
        needed = set(self.columns)
        if "solved_episode" in needed:
            needed.add("total_bad_episodes")
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
            bad = sums["total_bad_episodes"].total.astype(jnp.int32)
            few = 10 * bad < self.solved_tenths * episodes
            logged = jnp.any(episodes == jnp.array(logged_episodes(LONGEST_RUN), jnp.int32))
            counts = logged & (episodes >= self.solved_from)
            solved = jnp.where((solved == 0) & counts & few, episodes, solved)

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


class Setting(Wrapper[E]):
    """An experiment's environment together with its id.

    ``str`` gives the short form ``experiment/index``, for tables and legends.

    Attributes:
        experiment: its name. Static.
        index: of the setting. A leaf, so that the settings of an experiment may be the
            lanes of one program.
    """

    experiment: str = static()
    index: int | jax.Array

    def __str__(self):
        return f"{self.experiment}/{self.index}"

    @property
    def longest_episode(self) -> int:
        """Largest number of steps in an episode."""
        env: Any = self.env
        while not hasattr(env, "longest_episode"):
            env = env.env
        return env.longest_episode
