"""``python -m purerl``: run sweeps, report them, and compute single runs again."""

import ast
import dataclasses
import inspect
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import purerl
from purerl import envs, policy, schedule
from purerl.agents.registry import METHODS, find
from purerl.checks import listed, meant, nearest, refusal, shown
from purerl.pytree import replace_paths
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
    name, equals, values = map(str.strip, text.partition("="))
    try:
        if not (equals and name and values):
            raise SyntaxError
        parsed = ast.parse(f"[{values}]", mode="eval").body
        assert isinstance(parsed, ast.List)  # or it was no syntax
        elements = parsed.elts
    except (SyntaxError, AssertionError):
        form = "name=value or name=value,value,..."
        raise ValueError(f"--set: {shown(text)} is not of the form {form}") from None
    return name, [_value(name, element) for element in elements]


def _value(name: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _BUILDERS:
            near = nearest(node.func.id, _BUILDERS)
            allowed = f"one of {listed(_BUILDERS)}" + (meant(near) if near else "")
            raise refusal("--set", name, text, allowed)
        positional = [_value(name, argument) for argument in node.args]
        named = {str(word.arg): _value(name, word.value) for word in node.keywords}
        try:
            return _BUILDERS[node.func.id](*positional, **named)
        except TypeError:
            signature = inspect.signature(_BUILDERS[node.func.id])
            words = [str(parameter) for parameter in signature.parameters]
            allowed = f"{node.func.id}({', '.join(words)})"
            raise refusal("--set", name, text, allowed) from None
    try:
        return ast.literal_eval(node)
    except ValueError:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Sub, ast.Div)):
            guess = meant(f"{name}={ast.unparse(node.left)},{ast.unparse(node.right)}")
        else:
            guess = ""
        allowed = "numbers, words, schedules and policies, separated by commas" + guess
        raise refusal("--set", name, text, allowed) from None


def make_agent(name: str, env_name: str) -> Any:
    """An agent with default hyperparameters on an environment, both by name.

    Raises:
        ValueError: there is no such agent or environment.
    """
    return find(name)(env=purerl.make(env_name))


def settings(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Lists of values by field, from all that was set.

    Raises:
        ValueError: a field was set twice.

    >>> settings(["discount=0.9", "epsilon=0.1,0.2"])
    {'discount': [0.9], 'epsilon': [0.1, 0.2]}
    """
    over: dict[str, list[Any]] = {}
    for name, values in map(parse, texts):
        if name in over:
            raise ValueError(f"--set: {name} is set twice; allowed: once, as in {name}=v1,v2")
        over[name] = values
    return over


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
    over = settings(set)
    # All at once, those that are swept too: some are valid only together.
    first = {name: values[0] for name, values in over.items()}
    instance = replace_paths(make_agent(agent, env), first)
    over = {name: values for name, values in over.items() if len(values) > 1}
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


def report(runs: tuple[Path, ...], /, *, html: bool = False) -> None:
    """Show runs again, finished or not: tables, and pictures in their folders.

    Args:
        runs: folders of runs.
        html: write report.html into each folder: one page that needs no other file.
    """
    for folder in runs:
        show(purerl.load(folder), folder, html)


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
