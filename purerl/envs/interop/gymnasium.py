"""Gymnasium (https://gymnasium.farama.org): purerl's environments there."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

import purerl.random
from purerl.checks import check_size, shown, whole
from purerl.envs.base import Environment, State, can_render, limits_actions, restart
from purerl.envs.contract import check_environment, check_shapes
from purerl.envs.interop.common import bounds, num_states


class Lane(NamedTuple):
    """One running environment.

    Its ``count``-th draw, whether a step or a reset, uses ``fold_in(key, count)``.
    """

    key: jax.Array
    count: jax.Array
    state: State


def _begin(env, seed):
    key = purerl.random.key(seed)
    lane = Lane(key, jnp.int32(1), env.reset(jax.random.fold_in(key, 0)))
    return lane, env.observe(lane.state)


def _again(env, lane):
    state = restart(env, jax.random.fold_in(lane.key, lane.count), lane.state)
    return Lane(lane.key, lane.count + 1, state), env.observe(state)


def _advance(env, lane, action):
    state, outcome = env.step(jax.random.fold_in(lane.key, lane.count), lane.state, action)
    return Lane(lane.key, lane.count + 1, state), env.observe(state), outcome[:3]


def _advance_same_step(env, lane, ended, action):
    reached, final, outcome = _advance(env, lane, action)
    done = outcome[1] | outcome[2]
    lane, observation = _where(done, _again(env, reached), (reached, final))
    return lane, observation, outcome, final


def _advance_next_step(env, lane, ended, action):
    reached, final, outcome = _advance(env, lane, action)
    (lane, observation), outcome = _where(
        ended,
        (_again(env, lane), jax.tree.map(jnp.zeros_like, outcome)),
        ((reached, final), outcome),
    )
    return lane, observation, outcome, final


def _reset_one(env, lane, seed, chosen, seeded):
    """Reset a lane where it is chosen, with a seed or without."""
    fresh = _where(seeded, _begin(env, seed), _again(env, lane))
    return _where(chosen, fresh, (lane, env.observe(lane.state)))


def _where(condition, yes, no):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _lanes(function):
    return jax.jit(lambda env, *args: jax.vmap(partial(function, env))(*args))


# The environment is an argument, so that environments of one type share programs.
_begin_one, _again_one, _advance_one = map(jax.jit, (_begin, _again, _advance))
_begin_all, _again_all, _reset_some = map(_lanes, (_begin, _again, _reset_one))
_ADVANCE_ALL = {
    AutoresetMode.SAME_STEP: _lanes(_advance_same_step),
    AutoresetMode.NEXT_STEP: _lanes(_advance_next_step),
}


_available_one = jax.jit(lambda env, observation: env.available(observation))
_available_all = jax.jit(lambda env, observations: jax.vmap(env.available)(observations))


def _masks(env, available, observation):
    """``info`` with the actions that are available, if not all are everywhere."""
    if not limits_actions(env):
        return {}
    return {"action_mask": np.asarray(available(env, observation), np.int8)}


def _observation_space(env):
    states = num_states(env)
    if states is not None:
        return spaces.Discrete(states)
    low, high = bounds(env)
    return spaces.Box(low, high, env.observation.shape, env.observation.dtype)


def _refused(action, num_actions, many=""):
    allowed = f"{many}an integer in [0, {num_actions})"
    return ValueError(f"action is {shown(action)}; allowed: {allowed}")


def _picture(env: Environment, state: State) -> np.ndarray:
    if not can_render(env):
        raise NotImplementedError(f"{type(env).__name__} has no render")
    return env.render(state)


def _check_render_mode(render_mode):
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode is {render_mode!r}; allowed: None, 'rgb_array'")
    return render_mode


class ToGymnasium(gymnasium.Env):
    """A purerl environment in Gymnasium. Make one with :func:`to_gymnasium`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (Gymnasium's way)

    def __init__(self, env: Environment, render_mode: str | None = None):
        check_environment("to_gymnasium", env)
        check_shapes(env)
        self.source = env
        # Otherwise every step would transfer the environment's numbers to the device.
        self.device_source = jax.tree.map(jnp.asarray, env)
        self.render_mode = _check_render_mode(render_mode)
        self.action_space = spaces.Discrete(env.num_actions)
        self.observation_space = _observation_space(env)
        self.lane = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if seed is None and self.lane is not None:
            self.lane, observation = _again_one(self.device_source, self.lane)
        else:
            seed = int(self.np_random.integers(2**32)) if seed is None else seed
            self.lane, observation = _begin_one(self.device_source, np.uint32(seed % 2**32))
        return self._shown(observation), _masks(self.device_source, _available_one, observation)

    def step(self, action):
        if self.lane is None:
            raise gymnasium.error.ResetNeeded("step before the first reset")
        if not self.action_space.contains(action):
            raise _refused(action, self.source.num_actions)
        self.lane, observation, outcome = _advance_one(
            self.device_source, self.lane, np.int32(action)
        )
        reward, terminated, truncated = map(np.asarray, outcome)
        info = _masks(self.device_source, _available_one, observation)
        return self._shown(observation), float(reward), bool(terminated), bool(truncated), info

    def render(self):
        if self.render_mode is None:
            return None
        if self.lane is None:
            raise gymnasium.error.ResetNeeded("render before the first reset")
        return _picture(self.source, self.lane.state)

    def _shown(self, observation):
        if isinstance(self.observation_space, spaces.Discrete):
            return int(observation)
        return np.array(observation)


class ToGymnasiumVector(gymnasium.vector.VectorEnv):
    """Several copies of a purerl environment in Gymnasium.

    Make them with :func:`to_gymnasium_vector`.
    """

    def __init__(
        self,
        env: Environment,
        num_envs: int,
        autoreset_mode: AutoresetMode,
        render_mode: str | None,
    ):
        check_environment("to_gymnasium_vector", env)
        check_shapes(env)
        if autoreset_mode not in _ADVANCE_ALL:
            raise ValueError(
                f"autoreset_mode is {autoreset_mode}; allowed: {', '.join(map(str, _ADVANCE_ALL))}"
            )
        self.source = env
        self.device_source = jax.tree.map(jnp.asarray, env)
        self.num_envs = num_envs
        check_size(self, "num_envs")
        self.metadata = ToGymnasium.metadata | {"autoreset_mode": autoreset_mode}
        self.render_mode = _check_render_mode(render_mode)
        self.single_action_space = spaces.Discrete(env.num_actions)
        self.single_observation_space = _observation_space(env)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.lanes = None
        self.ended = np.zeros(num_envs, bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ):
        """Reset all environments, or those of a mask.

        Args:
            seed: of all, environment ``i`` gets ``seed + i``; or one each, of which
                those that are None are reset without a seed.
            options: ``{"reset_mask": mask}``, a bool ``[num_envs]`` array, resets the
                environments where it is true and leaves the others as they are. Other
                options have no effect.

        Raises:
            ValueError: a seed or a mask of another kind or length.
        """
        super().reset(seed=whole(seed))
        mask = self._mask(options)
        seeds = self._seeds(seed)
        if self.lanes is None:
            if not mask.all():
                raise gymnasium.error.ResetNeeded("reset of some environments before all")
            drawn = int(self.np_random.integers(2**32))
            seeds = [drawn + i if one is None else one for i, one in enumerate(seeds)]
        seeded = np.array([one is not None for one in seeds])
        words = np.array([0 if one is None else one % 2**32 for one in seeds], np.uint32)
        if seeded.all() and mask.all():
            self.lanes, observation = _begin_all(self.device_source, words)
        elif not seeded.any() and mask.all():
            self.lanes, observation = _again_all(self.device_source, self.lanes)
        else:
            self.lanes, observation = _reset_some(
                self.device_source, self.lanes, words, mask, seeded
            )
        self.ended = self.ended & ~mask
        return self._shown(observation), self._masks(observation)

    def _mask(self, options):
        """Which environments are reset, bool ``[num_envs]``."""
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        allowed = f"a bool array [{self.num_envs}], true somewhere"
        is_mask = isinstance(mask, np.ndarray) and mask.dtype == bool
        if not is_mask or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask'] is {shown(mask)}; allowed: {allowed}")
        return mask

    def _seeds(self, seed):
        """The seed of each environment, or None."""
        if seed is None:
            return [None] * self.num_envs
        first = whole(seed)
        if first is not None:
            return [first + i for i in range(self.num_envs)]
        several = list(seed) if np.iterable(seed) and not isinstance(seed, str) else []
        known = all(one is None or whole(one) is not None for one in several)
        if len(several) != self.num_envs or not known:
            allowed = f"None, an integer, or {self.num_envs} of them, one for each environment"
            raise ValueError(f"seed is {shown(seed)}; allowed: {allowed}")
        return [None if one is None else whole(one) for one in several]

    def step(self, actions):
        if self.lanes is None:
            raise gymnasium.error.ResetNeeded("step before the first reset")
        advance = _ADVANCE_ALL[self.metadata["autoreset_mode"]]
        self.lanes, observation, outcome, final = advance(
            self.device_source, self.lanes, self.ended, self._actions(actions)
        )
        rewards, terminated, truncated = map(np.array, outcome)
        self.ended = terminated | truncated
        infos = self._masks(observation)
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and self.ended.any():
            final = self._shown(final)
            for i in np.flatnonzero(self.ended):
                infos = self._add_info(infos, {"final_obs": final[i], "final_info": {}}, int(i))
        return self._shown(observation), rewards, terminated, truncated, infos

    def render(self):
        if self.render_mode is None:
            return None
        if self.lanes is None:
            raise gymnasium.error.ResetNeeded("render before the first reset")
        states = jax.device_get(self.lanes.state)
        return tuple(
            _picture(self.source, jax.tree.map(lambda x, i=i: x[i], states))
            for i in range(self.num_envs)
        )

    def _masks(self, observation):
        infos = _masks(self.device_source, _available_all, observation)
        # As Gymnasium tells which environments have an entry.
        return infos | {f"_{name}": np.ones(self.num_envs, bool) for name in infos}

    def _actions(self, actions):
        """The actions as int32 ``[num_envs]``, if they are allowed."""
        given = np.asarray(actions)
        fits = given.shape == (self.num_envs,) and given.dtype.kind in "iu"
        number = self.source.num_actions
        is_next_step = self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        ignored = self.ended & is_next_step
        if not fits or not np.all((given >= 0) & (given < number) | ignored):
            raise _refused(actions, number, f"{self.num_envs} of them, each ")
        return given.astype(np.int32)

    def _shown(self, observation):
        return np.array(observation, self.observation_space.dtype)


def to_gymnasium(env: Environment, render_mode: str | None = None) -> ToGymnasium:
    """A purerl environment as Gymnasium's ``Env``.

    Actions are ``Discrete``; observations too if they are the states of a finite model,
    and ``Box`` otherwise. Steps are truncated as ``env`` does it, that is, by its
    :class:`~purerl.envs.TimeLimit`.

    After ``reset(seed=s)``, the ``n``-th draw uses the key
    ``fold_in(purerl.random.key(s), n)``, with ``s`` modulo ``2**32``. That reset is
    number 0, and later steps and unseeded resets are counted in order. A seeded reset
    starts everything anew; an unseeded one keeps what ``env`` carries from one episode
    to the next.

    Where not every action is available everywhere, ``info["action_mask"]`` says which
    are, int8 ``[A]``, as Gymnasium's Taxi does.

    Args:
        env: any environment.
        render_mode: None or ``"rgb_array"``.

    Raises:
        ValueError: another ``render_mode``.

    Example:
        >>> import purerl
        >>> env = to_gymnasium(purerl.make("CartPole-v1"))
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step(1)
        >>> np.shape(observation), reward, terminated, truncated
        ((4,), 1.0, False, False)
    """
    return ToGymnasium(env, render_mode)


def to_gymnasium_vector(
    env: Environment,
    num_envs: int,
    autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    render_mode: str | None = None,
) -> ToGymnasiumVector:
    """A purerl environment as Gymnasium's ``VectorEnv``, ``num_envs`` stepped as one.

    It draws the same as a ``SyncVectorEnv`` of equally many :func:`to_gymnasium` with
    the same mode: after ``reset(seed=s)``, environment ``i`` is the one with seed
    ``s + i``.

    Args:
        env: any environment.
        num_envs: at least 1.
        autoreset_mode: when an episode is followed by the next, also found in
            ``metadata``. ``NEXT_STEP``: the step after the end resets, ignores its
            action and yields a reward of 0. ``SAME_STEP``: the step that ends the
            episode returns the next episode's first observation; the last one of the
            ended episode is ``infos["final_obs"][i]``.
        render_mode: None or ``"rgb_array"``, for a tuple of pictures.

    Raises:
        ValueError: another ``num_envs``, ``autoreset_mode`` or ``render_mode``.
    """
    return ToGymnasiumVector(env, num_envs, autoreset_mode, render_mode)
