"""The specification of a run, from which manifest, chunks and reader follow."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Agent, check_agent
from purerl.checks import check_choice, check_size, meant, refusal, shown, whole
from purerl.pytree import replace_paths
from purerl.random import IMPLEMENTATIONS, Impl
from purerl.run import plain, training
from purerl.run.evaluation import Evaluation, Exact, check_evaluation
from purerl.run.evaluation import default as default_evaluation
from purerl.run.over_seeds import deal, num_cores
from purerl.run.program import Settings, Task
from purerl.timescan import block_length

Keep = Literal["snapshot", "state", "nothing"]  # of the final states
StopWhen = Callable[[dict[str, float]], bool]
Over = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]

LANES = 8  # of an agent that does not say
ACCELERATOR_LANES = 256  # on a GPU or TPU


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that determines the results of a sweep, apart from code and machine.

    Attributes:
        agent: the algorithm with its hyperparameters and environment.
        over: lists of values by field, of which all combinations are run, or a list of
            configurations; a dotted name reaches inside.
        seeds: distinct, in ``[0, 2**31)``.
        num_steps: environment transitions of each run after the agent's warm-up.
        points: points of each curve.
        evaluation: how learned policies are evaluated.
        evaluations: at how many of the points, evenly spread, the last one included.
        lanes: ``W``, runs side by side in one program.
        base_seed: the run of seed ``i`` starts from ``seed_key(base_seed, i, impl)``.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        keep: what is kept of the final states.
        stop_when: ends training early, see :func:`purerl.sweep`.

    Raises:
        ValueError: a field out of its range.
    """

    agent: Agent
    over: dict[str, list[Any]] | list[dict[str, Any]]
    seeds: tuple[int, ...]
    num_steps: int
    points: int
    evaluation: Evaluation
    evaluations: int
    lanes: int
    base_seed: int
    impl: Impl
    keep: Keep
    stop_when: StopWhen | None = None

    @classmethod
    def new(
        cls,
        agent: Agent,
        seeds: int | Sequence[int],
        over: Over | None = None,
        *,
        num_steps: int,
        points: int = 100,
        evaluation: Evaluation | None = None,
        evaluations: int | None = None,
        lanes: int | None = None,
        base_seed: int = 0,
        impl: Impl = "threefry",
        keep: Keep = "snapshot",
        stop_when: StopWhen | None = None,
    ) -> Self:
        """A spec with defaults filled in. Arguments as in :func:`purerl.sweep`."""
        check_agent("sweep", agent)
        if any(leaf is agent for leaf in jax.tree.leaves(agent)):
            allowed = "a pytree, such as a class derived from purerl.pytree.Node"
            raise refusal("Spec", "agent", agent, allowed)
        count = whole(seeds)
        several = np.asarray(seeds) if count is None else np.arange(count)
        if several.ndim != 1 or several.dtype.kind not in "iu":
            raise refusal("Spec", "seeds", shown(seeds), _SEEDS)
        grid = _grid({} if over is None else over)
        evaluation = default_evaluation(agent) if evaluation is None else evaluation
        check_evaluation("sweep", evaluation)
        if evaluations is None:
            evaluations = points if isinstance(evaluation, Exact) else 1
        if lanes is None:
            lanes = fitting_lanes(agent, len(several) * len(configurations(grid)))
        return cls(
            agent=agent,
            over=grid,
            seeds=tuple(several.tolist()),
            num_steps=num_steps,
            points=points,
            evaluation=evaluation,
            evaluations=evaluations,
            lanes=lanes,
            base_seed=base_seed,
            impl=impl,
            keep=keep,
            stop_when=stop_when,
        )

    def __post_init__(self):
        seeds = self.seeds
        if not seeds or len(seeds) != len(set(seeds)) or min(seeds) < 0 or max(seeds) >= 2**31:
            raise refusal("Spec", "seeds", list(seeds), _SEEDS)
        check_size(self, "num_steps", "points", "lanes", "evaluations")
        base_seed = whole(self.base_seed)
        if base_seed is None or not 0 <= base_seed < 2**31:
            raise refusal("Spec", "base_seed", shown(self.base_seed), "an integer in [0, 2**31)")
        check_choice(self, impl=IMPLEMENTATIONS, keep=get_args(Keep))
        if not (self.stop_when is None or callable(self.stop_when)):
            raise refusal("Spec", "stop_when", shown(self.stop_when), "a function of values")
        if self.points % self.evaluations:
            allowed = f"a divisor of points, {self.points}"
            raise refusal("Spec", "evaluations", self.evaluations, allowed)
        if isinstance(self.over, list) and not self.over:
            raise refusal("Spec", "over", "empty", "at least one configuration")
        for name, values in self.over.items() if isinstance(self.over, dict) else ():
            if not values:
                raise refusal("Spec", f"over[{name!r}]", "empty", "at least one value")

    @functools.cached_property
    def configurations(self) -> list[dict[str, Any]]:
        """The ``C`` combinations of the swept values, or the configurations given."""
        return configurations(self.over)

    @functools.cached_property
    def agents(self) -> list[Agent]:
        """The agent of each configuration."""
        return [replace_paths(self.agent, configuration) for configuration in self.configurations]

    def identity(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Everything that decides what one run of a seed computes, as JSON.

        How many seeds and points there are, and what is kept, is no part of it.
        """
        return {
            "agent": plain.encode(self.agent, arrays),
            "over": plain.encode(self.over, arrays),
            "evaluation": plain.encode(self.evaluation, arrays),
            "steps_per_point": self.num_steps // self.points,
            "points_per_evaluation": self.points // self.evaluations,
            "lanes": self.lanes,
            "base_seed": self.base_seed,
            "impl": self.impl,
            "stop_when": plain.encode(self.stop_when, arrays),
        }


def configurations(over: dict[str, list[Any]] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ``C`` combinations of lists of values, or the configurations given."""
    if isinstance(over, list):
        return [dict(configuration) for configuration in over]
    values = itertools.product(*over.values())
    return [dict(zip(over, combination, strict=True)) for combination in values]


_SEEDS = "a number of at least 1, or distinct integers in [0, 2**31)"


def _grid(over: Any) -> dict[str, list[Any]] | list[dict[str, Any]]:
    """Lists of values by field, or a list of configurations.

    Raises:
        ValueError: something else; names what was meant.
    """
    if isinstance(over, Sequence) and all(isinstance(each, Mapping) for each in over):
        return [dict(configuration) for configuration in over]
    if not isinstance(over, Mapping) or not all(isinstance(name, str) for name in over):
        allowed = "lists of values by the names of fields, or a list of configurations"
        raise refusal("Spec", "over", shown(over), allowed)
    grid = {}
    for name, values in over.items():
        one = isinstance(values, (str, Mapping)) or not np.iterable(values)
        if one or isinstance(values, (set, frozenset)):
            is_value = isinstance(values, (bool, int, float, str, np.generic))
            guess = meant(f"[{shown(values)}]") if is_value else ""
            raise refusal("Spec", f"over[{name!r}]", shown(values), "a list of values" + guess)
        grid[name] = list(values)
    return grid


def fitting_lanes(agent: Agent, num_runs: int) -> int:
    """The width of a sweep's program.

    On a CPU it is what the agent says. Between its ``fewest_lanes`` and its ``lanes``,
    where the bits of a run do not depend on the width, it is the share of the runs that
    falls to each core, rounded up to a power of two.
    """
    if jax.default_backend() != "cpu":
        return ACCELERATOR_LANES
    most = getattr(agent, "lanes", LANES)
    fewest = getattr(agent, "fewest_lanes", most)
    share = -(-num_runs // num_cores())
    return max(fewest, min(most, 1 << (share - 1).bit_length()))


def groups(spec: Spec) -> list[list[int]]:
    """The configurations by the structure of their agents, and so by program."""
    found: dict[Any, list[int]] = {}
    for c, agent in enumerate(spec.agents):
        found.setdefault(_structure(agent), []).append(c)
    return list(found.values())


class Layout(NamedTuple):
    """Which runs are computed in which chunk and lane.

    Attributes:
        lanes: ``W``.
        groups: the configurations of each program.
        parts: seeds; first those that the run was begun with, then those added later.
            Chunks of one part are full but for the last one of each program.
    """

    lanes: int
    groups: list[list[int]]
    parts: list[list[int]]

    def chunks(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """The group of each chunk, and its runs ``(configuration, seed)`` by lane."""
        found = []
        for seeds in self.parts:
            for number, members in enumerate(self.groups):
                runs = list(itertools.product(members, seeds))
                for numbers in deal(len(runs), self.lanes):
                    found.append((number, [runs[n] for n in numbers]))
        return found

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """``{(configuration, seed): (chunk, lane)}``."""
        places = {}
        for index, (_, runs) in enumerate(self.chunks()):
            for lane, run in reversed(list(enumerate(runs))):  # not the padding
                places[run] = index, lane
        return places


def tasks(spec: Spec, layout: Layout) -> list[Task]:
    """The chunks of a spec.

    Raises:
        ValueError: ``num_steps`` cannot be cut into ``points``.
    """
    made = []
    prepared = []
    for members in layout.groups:
        first = spec.agents[members[0]]
        length = training.iterations_per_point(first, spec.num_steps, spec.points)
        block = block_length(length)
        settings = Settings(
            lanes=spec.lanes,
            impl=spec.impl,
            block=block,
            evaluation=spec.evaluation,
            evaluate_one_by_one=_lanes_vary(first),
        )
        leaves = [list(map(_array, jax.tree.leaves(spec.agents[c]))) for c in members]
        columns = list(zip(*leaves, strict=True))
        batched = tuple(map(_needs_lanes, columns))
        prepared.append((settings, length // block, columns, batched))
    for index, (group, runs) in enumerate(layout.chunks()):
        settings, blocks, columns, batched = prepared[group]
        members = layout.groups[group]
        rows = [members.index(configuration) for configuration, _ in runs]
        stacked = [
            np.stack([column[row] for row in rows]) if has_lanes else column[0]
            for column, has_lanes in zip(columns, batched, strict=True)
        ]
        task = Task(
            settings=settings,
            agent=jax.tree.unflatten(jax.tree.structure(spec.agents[members[0]]), stacked),
            batched=batched,
            base_seed=spec.base_seed,
            seeds=np.array([seed for _, seed in runs], np.int32),
            device=index % jax.local_device_count(),
            blocks=blocks,
            points=spec.points,
            every=spec.points // spec.evaluations,
            keep=spec.keep,
            stop_when=spec.stop_when,
        )
        made.append(task)
    return made


def _lanes_vary(agent):
    """Test for an agent whose sweeps have different widths."""
    most = getattr(agent, "lanes", LANES)
    return jax.default_backend() == "cpu" and getattr(agent, "fewest_lanes", most) < most


def _needs_lanes(column):
    """Test for leaves with a lane axis: numbers always do, so that a run is the same
    program in a grid and on its own; arrays do where configurations differ."""
    first = column[0]
    return first.ndim == 0 or any(x.tobytes() != first.tobytes() for x in column)


def _array(leaf):
    return np.asarray(leaf, jnp.result_type(leaf))


def _structure(agent):
    leaves, treedef = jax.tree.flatten(agent)
    return treedef, tuple((x.shape, x.dtype.name) for x in map(_array, leaves))
