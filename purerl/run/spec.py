"""The specification of a run, from which manifest, chunks and reader follow."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Agent, check_agent
from purerl.checks import check_choice, check_size, meant, refusal, shown, whole
from purerl.pytree import replace_paths
from purerl.random import IMPLEMENTATIONS, Impl
from purerl.run import plain, training
from purerl.run.chunk import Settings, Task
from purerl.run.evaluation import Evaluation, Exact, check_evaluation
from purerl.run.evaluation import default as default_evaluation
from purerl.run.over_seeds import deal, num_cores

LANES = 8  # of an agent that does not say
ACCELERATOR_LANES = 256  # on a GPU or TPU
# Runs for each core up to which a program of one lane, whose state stays in registers,
# is faster than a wider one.
ONE_BY_ONE = 8


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that determines the results of a sweep, apart from code and machine.

    Attributes:
        agent: the algorithm with its hyperparameters and environment.
        over: lists of values by field; a dotted name reaches inside.
        seeds: distinct, in ``[0, 2**31)``.
        num_steps: environment transitions of each run after the agent's warm-up.
        points: points of each curve.
        evaluation: how learned policies are evaluated.
        evaluations: at how many of the points, evenly spread, the last one included.
        lanes: ``W``, runs side by side in one program.
        base_seed: the run of seed ``i`` starts from ``seed_key(base_seed, i, impl)``.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        keep_state: whether final states are kept.

    Raises:
        ValueError: a field out of its range.
    """

    agent: Agent
    over: Mapping[str, list[Any]]
    seeds: tuple[int, ...]
    num_steps: int
    points: int
    evaluation: Evaluation
    evaluations: int
    lanes: int
    base_seed: int
    impl: Impl
    keep_state: bool

    @classmethod
    def new(
        cls,
        agent: Agent,
        seeds: int | Sequence[int],
        over: Mapping[str, Sequence[Any]] | None = None,
        *,
        num_steps: int,
        points: int = 100,
        evaluation: Evaluation | None = None,
        evaluations: int | None = None,
        lanes: int | None = None,
        base_seed: int = 0,
        impl: Impl = "threefry",
        keep_state: bool = False,
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
            many = int(np.prod([len(values) for values in grid.values()], dtype=int))
            lanes = fitting_lanes(agent, len(several) * many)
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
            keep_state=keep_state,
        )

    def __post_init__(self):
        seeds = self.seeds
        if not seeds or len(seeds) != len(set(seeds)) or min(seeds) < 0 or max(seeds) >= 2**31:
            raise refusal("Spec", "seeds", list(seeds), _SEEDS)
        check_size(self, "num_steps", "points", "lanes", "evaluations")
        base_seed = whole(self.base_seed)
        if base_seed is None or not 0 <= base_seed < 2**31:
            raise refusal("Spec", "base_seed", shown(self.base_seed), "an integer in [0, 2**31)")
        check_choice(self, impl=IMPLEMENTATIONS)
        if self.points % self.evaluations:
            allowed = f"a divisor of points, {self.points}"
            raise refusal("Spec", "evaluations", self.evaluations, allowed)
        for name, values in self.over.items():
            if not values:
                raise refusal("Spec", f"over[{name!r}]", "empty", "at least one value")

    @functools.cached_property
    def configurations(self) -> list[dict[str, Any]]:
        """The ``C`` combinations of the swept values."""
        values = itertools.product(*self.over.values())
        return [dict(zip(self.over, combination, strict=True)) for combination in values]

    @functools.cached_property
    def agents(self) -> list[Agent]:
        """The agent of each configuration."""
        return [replace_paths(self.agent, configuration) for configuration in self.configurations]

    def to_json(self, arrays: dict[str, np.ndarray], functions: bool = False) -> dict[str, Any]:
        """All fields as JSON, by :func:`~purerl.run.plain.encode`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        encoded = {
            "agent": plain.encode(self.agent, arrays, functions),
            "over": plain.encode(dict(self.over), arrays, functions),
            "evaluation": plain.encode(self.evaluation, arrays, functions),
            "seeds": list(self.seeds),
        }
        return fields | encoded

    @classmethod
    def from_json(cls, data: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """The spec of :meth:`to_json`; further keys of ``data`` are ignored."""
        fields: dict[str, Any] = {f.name: data[f.name] for f in dataclasses.fields(cls)}
        for name in ("agent", "over", "evaluation"):
            fields[name] = plain.decode(fields[name], arrays)
        fields["seeds"] = tuple(fields["seeds"])
        return cls(**fields)


_SEEDS = "a number of at least 1, or distinct integers in [0, 2**31)"


def _grid(over: Any) -> dict[str, list[Any]]:
    """Lists of values by field.

    Raises:
        ValueError: something else; names what was meant.
    """
    if not isinstance(over, Mapping) or not all(isinstance(name, str) for name in over):
        raise refusal("Spec", "over", shown(over), "lists of values by the names of fields")
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


class Plan(NamedTuple):
    """The chunks of a spec.

    Attributes:
        tasks: one for each chunk.
        places: ``{(configuration, seed): (chunk, lane)}``.
    """

    tasks: list[Task]
    places: dict[tuple[int, int], tuple[int, int]]


def plan(spec: Spec) -> Plan:
    """Tasks of full width, those of one structure together.

    Raises:
        ValueError: ``num_steps`` cannot be cut into ``points``, or states are to be
            kept and have different shapes.
    """
    groups: dict[Any, list[int]] = {}
    for c, agent in enumerate(spec.agents):
        groups.setdefault(_structure(agent), []).append(c)
    if spec.keep_state:
        shapes = [state_shapes(spec.agents[c], spec.impl) for c, *_ in groups.values()]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                "keep_state is True; allowed: only where the states of all configurations have "
                "the same shapes"
            )
    tasks: list[Task] = []
    places = {}
    for (treedef, _), members in groups.items():
        first = spec.agents[members[0]]
        settings = Settings(
            lanes=spec.lanes,
            impl=spec.impl,
            length=training.iterations_per_point(first, spec.num_steps, spec.points),
            points=spec.points,
            evaluation=spec.evaluation,
            evaluations=spec.evaluations,
            keep_state=spec.keep_state,
            evaluate_one_by_one=_lanes_vary(first),
        )
        leaves = [list(map(_array, jax.tree.leaves(spec.agents[c]))) for c in members]
        columns = list(zip(*leaves, strict=True))
        batched = tuple(map(_needs_lanes, columns))
        runs = list(itertools.product(range(len(members)), spec.seeds))
        for numbers in deal(len(runs), spec.lanes):
            chunk = [runs[number] for number in numbers]
            for lane, (member, seed) in reversed(list(enumerate(chunk))):  # not the padding
                places[members[member], seed] = len(tasks), lane
            stacked = [
                np.stack([column[member] for member, _ in chunk]) if has_lanes else column[0]
                for column, has_lanes in zip(columns, batched, strict=True)
            ]
            task = Task(
                settings=settings,
                agent=jax.tree.unflatten(treedef, stacked),
                batched=batched,
                base_seed=spec.base_seed,
                seeds=np.array([seed for _, seed in chunk], np.int32),
                device=len(tasks) % jax.local_device_count(),
            )
            tasks.append(task)
    return Plan(tasks, places)


def state_shapes(agent: Agent, impl: Impl) -> Any:
    """Shapes and dtypes of an agent's state."""
    return jax.eval_shape(lambda: agent.init(jax.random.key(0, impl=IMPLEMENTATIONS[impl])))


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
