"""``python -m purerl``: run sweeps, report them, and compute single runs again."""

import ast
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import purerl
from purerl import envs, policy, schedule
from purerl.agents.registry import METHODS, find
from purerl.pytree import replace_path
from purerl.random import Impl
from purerl.run.report import has_map, show

# Functions and classes that a value of --set may call.
_SCHEDULES = "constant", "linear", "exponential", "power"
_POLICIES = "Greedy", "EpsilonGreedy", "Softmax", "UCB", "CountBonus", "Thompson"
_BUILDERS = {name: getattr(schedule, name) for name in _SCHEDULES}
_BUILDERS |= {name: getattr(policy, name) for name in _POLICIES}


def parse(text: str) -> tuple[str, list[Any]]:
    """A name and its values from ``name=v1,v2,...``.

    Values are Python literals, bare words, schedules and policies.

    Raises:
        ValueError: the text is not of that form.

    >>> parse("epsilon=0.1,linear(1.0, 0.1, steps=100)")[1][1](100)
    Array(0.1, dtype=float32)
    >>> parse("target=q_learning,double_q")
    ('target', ['q_learning', 'double_q'])
    """
    name, equals, values = text.partition("=")
    try:
        if not (equals and name and values):
            raise SyntaxError
        parsed = ast.parse(f"[{values}]", mode="eval").body
        assert isinstance(parsed, ast.List)  # or it was no syntax
        return name, [_value(element) for element in parsed.elts]
    except SyntaxError:
        raise ValueError(
            f"{text!r} is not of the form name=value or name=value,value,..."
        ) from None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _BUILDERS:
            raise ValueError(
                f"{node.func.id!r} is no schedule or policy; there are: {', '.join(_BUILDERS)}"
            )
        arguments = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
        return _BUILDERS[node.func.id](*map(_value, node.args), **arguments)
    return ast.literal_eval(node)


def make_agent(name: str, env_name: str) -> Any:
    """An agent with default hyperparameters on an environment, both by name.

    A deep agent sees the index of a finite environment's state as a one-hot vector.

    Raises:
        ValueError: there is no such agent or environment.
    """
    kind = find(name)
    env: Any = purerl.make(env_name)
    indexed = jnp.issubdtype(env.observation.dtype, jnp.integer) and not env.observation.shape
    if name == "DQN" and indexed:
        env = envs.OneHot(env, env.num_states)
    return kind(env=env)


def run(
    agent: str,
    env: str,
    /,
    *,
    seeds: int = 10,
    num_steps: int = 100_000,
    set: Sequence[str] = (),  # named as on the command line
    points: int = 100,
    lanes: int | None = None,
    impl: Impl = "threefry",
    base_seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Train an agent over many seeds, under every combination of the values set.

    Args:
        agent: a name that `agents` lists.
        env: a name that `envs` lists.
        seeds: how many: 0, 1, ...
        num_steps: environment transitions of each run.
        set: hyperparameters, name=value, or name=v1,v2,... to sweep; also
            epsilon=linear(1.0,0.05,10000), behavior=UCB(2.0).
        points: points of each learning curve.
        lanes: runs computed side by side.
        impl: random generator, threefry or pcg4d.
        base_seed: from which all seeds' keys derive.
        out: folder of the run, results/AGENT-ENV by default.
        resume: continue the run in that folder.
    """
    out = Path("results") / f"{agent}-{env}" if out is None else out
    instance = make_agent(agent, env)
    over = dict(map(parse, set))
    for name in [name for name, values in over.items() if len(values) == 1]:
        instance = replace_path(instance, name, over.pop(name)[0])
    result = purerl.sweep(
        instance,
        seeds,
        over,
        num_steps=num_steps,
        points=points,
        lanes=lanes,
        impl=impl,
        base_seed=base_seed,
        out=out,
        resume=resume,
        keep_state=has_map(instance),
        label=f"{agent} on {env}",
    )
    show(result, out)
    python = f"{Path(sys.executable).name} -m purerl"
    seed = result.seeds[-1]
    command = shlex.join(a for a in sys.argv[1:] if a != "--resume")
    print(f"\nOne seed again, bit for bit: {python} rerun {shlex.quote(str(out))} --seed {seed}")
    print(f"After an interruption:       {python} {command} --resume")


def report(runs: tuple[Path, ...], /) -> None:
    """Show runs again, finished or not: tables, and pictures in their folders.

    Args:
        runs: folders of runs.
    """
    for folder in runs:
        show(purerl.load(folder), folder)


def rerun(run: Path, /, *, seed: int, configuration: int = 0) -> None:
    """Compute one seed of a run again, alone, and compare it bit by bit.

    Args:
        run: folder of the run.
        seed: which seed.
        configuration: which configuration, counted from 0 in the order of the table.
    """
    again = purerl.rerun(run, seed, configuration)
    for name, value in again.final.items():
        print(f"{name}: {value:.6g}")
    if not again.identical:
        raise SystemExit(
            f"seed {seed} DIFFERS from what is stored, by at most {again.difference:.3g}"
        )
    print(f"seed {seed} is bit-identical to what is stored")


def list_envs() -> None:
    """List the environments."""
    table = Table()
    table.add_column("name", no_wrap=True)
    for column in ("observation", "actions", "states", "time limit"):
        table.add_column(column)
    for label, name in envs.kinds().items():
        env: Any = purerl.make(name)
        states = str(env.mdp.num_states) if hasattr(env, "mdp") else "-"
        observation = f"{env.observation.dtype} {list(env.observation.shape)}"
        limit = str(getattr(env, "limit", "-"))
        table.add_row(label, observation, str(env.num_actions), states, limit)
    Console().print(table)


def list_agents(name: str = "", /) -> None:
    """List the agents with their papers, or the hyperparameters of one.

    Args:
        name: of an agent.
    """
    if name:
        kind = find(name)
        print(f"{name}: {METHODS[name].summary}")
        table = Table("hyperparameter", "default")
        for field in dataclasses.fields(kind):
            if field.name != "env":
                required = field.default is dataclasses.MISSING
                table.add_row(field.name, "" if required else str(field.default))
    else:
        table = Table()
        table.add_column("agent", no_wrap=True)
        for column in ("method", "paper", "policy", "converges to"):
            table.add_column(column)
        for name, method in METHODS.items():
            table.add_row(name, *method[1:])
    Console().print(table)


def main() -> None:
    """The command line."""
    import tyro  # here, so that importing the module stays fast

    app = tyro.extras.SubcommandApp()
    commands = {
        "run": run,
        "report": report,
        "rerun": rerun,
        "envs": list_envs,
        "agents": list_agents,
    }
    for name, command in commands.items():
        app.command(command, name=name)
    try:
        app.cli(prog="python -m purerl", description=__doc__)
    except (ValueError, OSError) as error:
        raise SystemExit(f"purerl: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(
            "interrupted; finished chunks are kept, add --resume to continue"
        ) from None
