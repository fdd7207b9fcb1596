"""``python -m purerl``: run sweeps, report them, and compute single runs again."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import purerl
from purerl import envs, features, heads, networks, optimizers, policy, replay, schedule, targets
from purerl.agents.registry import METHODS, find
from purerl.checks import listed, meant, nearest, refusal, shown
from purerl.pytree import replace_paths
from purerl.random import Impl
from purerl.run.report import show
from purerl.run.spec import Keep

# Functions and classes that a value of --set may call.
_BUILDERS = {
    name: getattr(module, name)
    for module, names in (
        (schedule, "constant linear exponential power"),
        (features, "TileCoding"),
        (policy, "Greedy EpsilonGreedy Softmax UCB CountBonus Thompson"),
        (heads, "Scalar Squared Huber Categorical Quantile Implicit"),
        (targets, "QLearning DoubleQ Munchausen"),
        (replay, "Uniform Prioritized"),
        (optimizers, "SGD Adam RMSProp RAdam"),
        (networks, "MLP ConvNet Dueling ActorCritic"),
    )
    for name in names.split()
}


def parse(text: str) -> tuple[str, list[Any]]:
    """A name and its values from ``name=v1,v2,...``.

    Values are Python literals, bare words, schedules, policies and parts of agents.

    Raises:
        ValueError: the text is not of that form.

    >>> parse("epsilon=0.1,linear(1.0, 0.1, steps=100)")[1][1](100)
    Array(0.1, dtype=float32)
    >>> parse("target=QLearning(),DoubleQ()")
    ('target', [QLearning(), DoubleQ()])
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
        allowed = "numbers, words, schedules, policies and parts, separated by commas" + guess
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
    accept_changes: bool = False,
    keep: Keep = "snapshot",
) -> None:
    """Train an agent over many seeds, under every combination of the values set.

    Args:
        agent: a name that `agents` lists.
        env: a name that `envs` lists.
        seeds: how many: 0, 1, ...
        num_steps: environment transitions of each run.
        set: hyperparameters, name=value, or name=v1,v2,... to sweep; also
            epsilon=linear(1.0,0.05,10000), behavior=UCB(2.0), network=MLP((64,64)).
        points: points of each learning curve.
        lanes: runs computed side by side.
        impl: random generator, threefry or pcg4d.
        base_seed: from which all seeds' keys derive.
        out: folder of the run, results/AGENT-ENV by default.
        resume: continue the run in that folder; with more seeds if there are more now.
        accept_changes: continue it though versions, machine or program have changed.
        keep: snapshot (learned policies), state (everything, so that the run can be
            continued with more steps) or nothing.
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
        accept_changes=accept_changes,
        keep=keep,
        label=f"{agent} on {env}",
    )
    show(result, out)
    seed = result.seeds[-1]
    print(f"\nOne seed again, bit for bit: {_PYTHON} rerun {shlex.quote(str(out))} --seed {seed}")
    print(f"After an interruption:       {_resumption()}")


_PYTHON = f"{Path(sys.executable).name} -m purerl"


def _resumption():
    """The command that continues the run of this one."""
    return f"{_PYTHON} {shlex.join(a for a in sys.argv[1:] if a != '--resume')} --resume"


# Modules with the classes of one's own environments and agents.
Imports = Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="MODULE ...")]


def report(runs: tuple[Path, ...], /, *, html: bool = False, modules: Imports = ()) -> None:
    """Show runs again, finished or not: tables, and pictures in their folders.

    Args:
        runs: folders of runs.
        html: write report.html into each folder: one page that needs no other file.
        modules: modules to import first, with the classes of one's own.
    """
    import_all(modules)
    for folder in runs:
        show(purerl.load(folder), folder, html=html)


def rerun(run: Path, /, *, seed: int, configuration: int = 0, modules: Imports = ()) -> None:
    """Compute one seed of a run again, alone, and compare it bit by bit.

    Args:
        run: folder of the run.
        seed: which seed.
        configuration: which configuration, counted from 0 in the order of the table.
        modules: modules to import first, with the classes of one's own.
    """
    import_all(modules)
    again = purerl.rerun(run, seed, configuration)
    for name, value in again.final.items():
        print(f"{name}: {np.array2string(np.asarray(value), precision=6)}")
    if not again.identical:
        because = "".join(f"\n  {change}" for change in again.changes)
        raise SystemExit(
            f"seed {seed} DIFFERS from what is stored, by at most {again.difference:.3g}; since "
            f"then there has changed:{because or ' nothing that is recorded'}"
        )
    print(f"seed {seed} is bit-identical to what is stored")


def record(
    run: Path,
    film: Path,
    /,
    *,
    seed: int,
    configuration: int = 0,
    key: int = 0,
    max_steps: int = 1000,
    modules: Imports = (),
) -> None:
    """Film an episode of a policy that a run has learned.

    Args:
        run: folder of the run.
        film: the file to write, a .gif or a .png.
        seed: whose policy.
        configuration: which configuration, counted from 0 in the order of the table.
        key: another number gives another episode.
        max_steps: the step at which an episode that has not ended is stopped.
        modules: modules to import first, with the classes of one's own.
    """
    import_all(modules)
    result = purerl.load(run)
    snapshot = result.snapshot(seed, configuration)
    agent = result.agents[configuration]
    random_key = purerl.random.key(key)
    print(f"film: {purerl.record(agent, snapshot, film, key=random_key, max_steps=max_steps)}")


def import_all(modules: Sequence[str]) -> None:
    """Import modules by name, those of the working directory too.

    Raises:
        ValueError: one cannot be imported.
    """
    sys.path.insert(0, str(Path.cwd()))
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"--import: {name} cannot be imported: {error}") from error


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
        for field, value in _defaults(kind):
            table.add_row(field, value)
    else:
        table = Table()
        table.add_column("agent", no_wrap=True)
        for column in ("method", "paper", "policy", "converges to"):
            table.add_column(column)
        for name, method in METHODS.items():
            table.add_row(name, *method[1:])
    Console().print(table)


def _defaults(kind):
    """The hyperparameters of an agent, and their defaults as text."""
    if isinstance(kind, type):
        fields = dataclasses.fields(kind)
        defaults = {field.name: field.default for field in fields}
    else:  # a function that makes a DQN
        agent = kind(env=purerl.make("CartPole-v1"))
        defaults = {field.name: getattr(agent, field.name) for field in dataclasses.fields(agent)}
    for name, value in defaults.items():
        if name != "env":
            yield name, "" if value is dataclasses.MISSING else str(value)


GRACE = 1.5  # seconds that an interrupted command has for an orderly end


class _Interruption(KeyboardInterrupt):
    """SIGINT or SIGTERM, raised in the main thread."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """End this process soon after SIGINT or SIGTERM, whatever it computes.

    The main thread gets an exception, and ``GRACE`` seconds for an orderly end. But it
    may be in a compiler for longer than that, where no Python runs. So a thread reads
    the socket to which Python's signal handler, which is C, writes at once; it ends the
    process, at a second signal immediately. Signals that are ignored stay so, as under
    nohup.
    """
    ordinary = signal.default_int_handler, signal.SIG_DFL
    handled = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) in ordinary]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    first, saying = threading.Lock(), threading.Lock()

    def interrupt(number, frame):
        if first.acquire(blocking=False):
            raise _Interruption(number)

    def end(number):
        try:
            if saying.acquire(blocking=False):
                _say_how_to_continue()
        finally:
            # The interpreter's own end would wait for threads that compute.
            os._exit(128 + number)

    def lost(unraisable):
        # Where Python ignores exceptions, as in callbacks of its garbage collector.
        if isinstance(unraisable.exc_value, _Interruption):
            end(unraisable.exc_value.number)
        hook(unraisable)

    def heard():
        """The next signal; None when the command has ended."""
        while byte := reader.recv(1):
            if byte[0] in handled:
                return byte[0]
        return None

    def watch():
        number = heard()
        if number is None:
            return
        reader.settimeout(GRACE)
        try:
            if heard() is None:
                return
        except TimeoutError:
            end(number)
        os._exit(128 + number)

    hook, sys.unraisablehook = sys.unraisablehook, lost
    before = {number: signal.getsignal(number) for number in handled}
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        for number in handled:
            signal.signal(number, interrupt)
        yield
    except _Interruption as error:
        end(error.number)
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()


def _say_how_to_continue():
    text = "\npurerl: interrupted"
    if sys.argv[1:2] == ["run"]:
        text += f"; finished chunks are kept, to continue: {_resumption()}"
    console = Console(stderr=True, soft_wrap=True)
    console.show_cursor()  # which a progress bar hides until it ends
    console.print(text, markup=False, highlight=False)
    sys.stdout.flush()
    sys.stderr.flush()


def main() -> None:
    """The command line."""
    with _interruptible():
        app = tyro.extras.SubcommandApp()
        commands = {
            "run": run,
            "report": report,
            "rerun": rerun,
            "record": record,
            "envs": list_envs,
            "agents": list_agents,
        }
        for name, command in commands.items():
            app.command(command, name=name)
        try:
            app.cli(prog="python -m purerl", description=__doc__)
        except (ValueError, OSError) as error:
            raise SystemExit(f"purerl: {error}") from None
