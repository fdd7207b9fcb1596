"""A finite Markov decision process as an environment."""

import math
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.checks import meant, refusal
from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.mdp.model import FiniteMDP, is_concrete
from purerl.pytree import Node, static

MOST_NUMBERED = 144  # largest number of states whose cells are numbered in pictures


def _thresholds(probability):
    """Points at which the inverse of the distribution function jumps.

    Outcome ``k`` has ``thresholds[k-1] <= u < thresholds[k]``, for ``u`` in ``[0, 1)``.

    float ``[..., K]`` -> float32 ``[..., K - 1]``, never decreasing. An outcome of
    probability zero gets an empty interval even after rounding: before the last
    possible outcome it repeats its predecessor's threshold, and from there on the
    threshold is infinite, so that padding is never drawn.
    """
    if is_concrete(probability):  # in NumPy, so that making an environment compiles nothing
        probability = np.asarray(probability, np.float32)
        possible = probability > 0
        total = np.maximum.accumulate(
            np.where(possible, np.cumsum(probability, axis=-1), 0), axis=-1
        )
        possible_later = np.maximum.accumulate(possible[..., :0:-1], axis=-1)[..., ::-1]
        return jnp.asarray(
            np.where(possible_later, total[..., :-1], np.inf).astype(probability.dtype)
        )
    probability = probability.astype(jnp.float32)
    possible = probability > 0
    total = lax.cummax(
        jnp.where(possible, jnp.cumsum(probability, axis=-1), 0), axis=probability.ndim - 1
    )
    possible_later = (
        lax.cummax(possible.astype(jnp.int32), axis=probability.ndim - 1, reverse=True)[..., 1:] > 0
    )
    return jnp.where(possible_later, total[..., :-1], jnp.inf)


def _following(mdp: FiniteMDP) -> dict[str, Any]:
    """The fields of an environment that follow from its model."""
    known = is_concrete(mdp.initial)
    starts = np.flatnonzero(np.asarray(mdp.initial) > 0) if known else np.arange(mdp.num_states)
    return {
        "outcome_thresholds": _thresholds(mdp.probability),
        "start_states": jnp.asarray(starts, jnp.int32),
        "start_thresholds": _thresholds(mdp.initial[starts]),
        "masked": not (is_concrete(mdp.available) and bool(np.all(mdp.available))),
    }


class FiniteEnvironment(Node):
    """Episodes of a :class:`~purerl.mdp.model.FiniteMDP`. Make one with :meth:`of`.

    The state and the observation are the MDP's state index, int32 ``[]``. A step draws
    one uniform number ``u`` and yields outcome ``k`` of the current state and action
    where ``F[k-1] <= u < F[k]``, with ``F`` the distribution function of
    ``probability[state, action]`` (probabilities are resolved to ``u``'s ``2**-23``).
    If there is only a single outcome (``K == 1``) or a single start, nothing is drawn
    and the key is not used.

    Attributes:
        mdp: the exact model.
        outcome_thresholds: ``F`` without its last entry, float32 ``[S, A, K - 1]``.
        start_states: the states an episode can start in, int32 ``[N]``, ascending.
        start_thresholds: the distribution function over ``start_states`` without its
            last entry, float32 ``[N - 1]``.
        masked: whether some actions are not available in some states; under ``vmap`` or
            ``jit``, where this is not known, true. Static.

    The last four follow from the first, and ``env.replace(mdp=...)`` makes them anew,
    as sweeps over parts of the model do.

    Example:
        >>> import jax
        >>> from purerl.envs.toy_text import frozen_lake
        >>> env = FiniteEnvironment.of(frozen_lake(slip=0.0).mdp)
        >>> start = env.reset(jax.random.key(1))
        >>> state, outcome = env.step(jax.random.key(0), start, 2)
        >>> int(state), float(outcome.reward)
        (1, 0.0)
    """

    mdp: FiniteMDP
    outcome_thresholds: jax.Array
    start_states: jax.Array
    start_thresholds: jax.Array
    masked: bool = static(default=False, kw_only=True)

    @classmethod
    def of(cls, mdp: FiniteMDP, **fields: Any) -> Self:
        """Make the environment of a model.

        Args:
            mdp: the model. Under ``vmap`` or ``jit``, where the values of ``initial``
                are unknown, every state counts as a possible start.
            **fields: further fields of a subclass.

        Raises:
            ValueError: ``mdp`` is something else.
        """
        if not isinstance(mdp, FiniteMDP):
            named = {"mdp": "env.mdp", "unwrapped": "from_gymnasium(env)"}
            guess = next((meant(call) for name, call in named.items() if hasattr(mdp, name)), "")
            raise refusal(cls.__name__, "mdp", mdp, "a FiniteMDP" + guess)
        return cls(mdp=mdp, **_following(mdp), **fields)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; a new model brings its own thresholds."""
        if "mdp" in changes:
            changes = _following(changes["mdp"]) | changes
        return super().replace(**changes)

    @property
    def num_states(self) -> int:
        """``S``."""
        return self.mdp.num_states

    @property
    def num_actions(self) -> int:
        """``A``."""
        return self.mdp.num_actions

    @property
    def observation(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((), jnp.int32)

    def states(self) -> jax.Array:
        """Every state, int32 ``[S]``."""
        return jnp.arange(self.num_states, dtype=jnp.int32)

    @property
    def available(self) -> Callable[[jax.Array], jax.Array]:
        """The actions available in a state, as :class:`~purerl.envs.LimitsActions`
        says; missing where all are."""
        if not self.masked:
            raise AttributeError("available: every action is available in every state")
        return lambda observation: self.mdp.available[observation]

    def reset(self, key):
        if self.start_states.shape[-1] == 1:
            return self.start_states[0]
        # There may be as many starts as states, so the search is binary.
        u = jax.random.uniform(key, dtype=jnp.float32)
        return self.start_states[
            jnp.searchsorted(self.start_thresholds, u, side="right", method="scan_unrolled")
        ]

    def step(self, key, state, action):
        if self.outcome_thresholds.shape[-1] == 0:
            k = 0
        else:
            # Outcomes are few: counting the thresholds passed needs no branch.
            u = jax.random.uniform(key, dtype=jnp.float32)
            thresholds = self.outcome_thresholds.at[state, action].get(mode="promise_in_bounds")
            k = jnp.sum(u >= thresholds, dtype=jnp.int32)

        def drawn(table):
            return table.at[state, action, k].get(mode="promise_in_bounds")

        mdp = self.mdp
        outcome = Outcome(
            drawn(mdp.reward).astype(jnp.float32), drawn(mdp.terminated), jnp.bool_(False)
        )
        return drawn(mdp.next_state), outcome

    def observe(self, state):
        return state

    def render(self, state):
        """A square of cells, one a state; the present state is blue.

        Up to 144 cells are numbered.
        """
        side = math.ceil(math.sqrt(self.num_states))
        colors = np.full((side * side, 3), drawing.WHITE)
        colors[: self.num_states] = drawing.PALE
        colors[int(state)] = drawing.BLUE
        numbered = self.num_states <= MOST_NUMBERED
        size = 32 if numbered else 16
        picture = drawing.cells(colors.reshape(side, side, 3), size)
        for i in range(self.num_states if numbered else 0):
            row, column = divmod(i, side)
            ink = drawing.WHITE if i == int(state) else drawing.GRAY
            drawing.write(picture, f"{i}", size * row + 16, size * column + 16, ink)
        return picture
