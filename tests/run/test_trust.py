"""Run folders are not trusted: no code is run, and no damage passes for a result."""

import dataclasses
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading

import flax.linen as nn
import jax
import numpy as np
import pytest

import purerl
from purerl.pytree import Node, static
from purerl.run import chunk, folder, plain
from tests import quick
from tests.run.mutations import MUTATIONS
from tests.run.small import TABULAR, bits

SHARED = {"num_steps": 400, "points": 4, "lanes": 4, "impl": "pcg4d", "progress": False}
run = functools.partial(purerl.sweep, TABULAR, **SHARED)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A finished run, one of other seeds' keys, and what the first one holds."""
    path = tmp_path_factory.mktemp("runs")
    result = run(10, {"discount": [0.99, 0.5]}, out=path / "run")
    run(10, {"discount": [0.99, 0.5]}, base_seed=1, out=path / "other")
    return path / "run", path / "other", result


@pytest.fixture
def copy(folders, tmp_path):
    return shutil.copytree(folders[0], tmp_path / "run")


# ---- no code -------------------------------------------------------------------------


def test_a_manifest_does_not_run_code(copy, tmp_path, monkeypatch):
    """Classes beside the folder, of other libraries, and functions are all refused."""
    (tmp_path / "hostile.py").write_text(
        "from pathlib import Path; Path('ran').touch()\n"
        "from purerl.pytree import Node\nclass Env(Node):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = copy / "manifest.json"
    whole = json.loads(path.read_text())
    names = "hostile:Env", "os:system", "builtins:exec", "purerl.__main__:x", "flax.io:rmtree"
    values = [{"class": name, "fields": {}} for name in names]
    values += [{"function": name} for name in names]
    loads = {"class": "dataclasses:make_dataclass", "fields": {"cls_name": "X"}}
    for with_chunks in (True, False):
        for value in (*values, loads):
            manifest = json.loads(json.dumps(whole))
            manifest["identity"]["agent"]["fields"]["env"] = value
            manifest["identity"]["over"]["dict"]["discount"]["list"][0] = value
            path.write_text(json.dumps(manifest))
            if with_chunks:
                with pytest.raises(ValueError, match="chunk 0 of this run: run differs"):
                    purerl.load(copy)
            else:
                found = purerl.load(copy)
                with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
                    print(found.agents)
        for chunk_path in copy.glob("chunks/*"):
            chunk_path.unlink()
    assert not (tmp_path / "ran").exists() and "hostile" not in sys.modules


def test_only_nodes_and_networks_are_found():
    """Of all classes that are imported, under their own names or as attributes."""
    found, refused = [], 0
    for module in [m for m in sys.modules.values() if m is not None]:
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                try:
                    found.append(plain.find(f"{module.__name__}:{name}"))
                except ValueError:
                    refused += 1
    assert refused > 100
    assert TABULAR.__class__ in found and purerl.networks.MLP in found
    allowed = Node, nn.Module, purerl.mdp.FiniteMDP
    assert all(issubclass(kind, allowed) for kind in found)
    assert plain.find("jax._src.nn.functions:relu") is jax.nn.relu
    for name in ("jax:jit", "os:system", "flax.io:rmtree", "purerl.run.sweep:sweep", "x:y", ""):
        with pytest.raises(ValueError):
            plain.find(name)


class WithNetwork(Node):
    """An agent's part with a network and a function as static fields."""

    network: nn.Module = static(default=purerl.networks.MLP((16,), 2))
    squash: object = static(default=jax.nn.tanh)


def test_networks_and_functions_are_recorded_by_name():
    arrays = {}
    value = WithNetwork()
    data = json.loads(json.dumps(plain.encode(value, arrays)))
    assert plain.decode(data, arrays) == value
    here = [name for name in plain.names(data) if "tanh" in name]
    assert len(here) == 1

    def mine(x):
        return x

    data = plain.encode(value.replace(squash=mine), arrays)
    assert [name.split(".")[-1] for name in plain.fleeting(data)] == ["mine"]
    with pytest.raises(ValueError, match="mine"):
        plain.decode(data, arrays)
    assert plain.decode(data, arrays, plain.finder([mine])).squash is mine
    shown = plain.decode(data, arrays, tolerant=True)
    assert "mine" in repr(shown.squash)


# ---- no damage -----------------------------------------------------------------------


def judged(path, expected):
    """How a damaged folder is read: "refused", "whole", or what is wrong with that."""
    try:
        found = purerl.load(path)
        table = found.table()
    except ValueError as error:
        return "refused" if str(path) in str(error) and len(str(error)) < 600 else repr(error)
    except Exception as error:
        return f"raised {error!r}"
    if not table:
        return "no table"
    for name, curve in found.curves.items():
        if name not in expected.curves or found.seeds.tolist() != expected.seeds.tolist():
            return f"has another {name}"
        there = ~np.isnan(curve)
        if curve.shape != expected.curves[name].shape or not np.array_equal(
            curve[there], expected.curves[name][there]
        ):
            return f"another {name}"
    return "whole"


def campaign(folders, tmp_path, count, seed):
    """What is wrong with ``count`` damaged folders, and how each kind was judged."""
    run, other, expected = folders
    wrong, judgements = [], {}
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        path = tmp_path / str(number)
        shutil.copytree(run, path)
        mutation = MUTATIONS[number % len(MUTATIONS)]
        mutation(draw, path, other)
        judgement = judged(path, expected)
        kinds = judgements.setdefault(mutation.__name__, {})
        kinds[judgement] = kinds.get(judgement, 0) + 1
        if judgement not in ("refused", "whole"):
            wrong.append((mutation.__name__, number, judgement))
        shutil.rmtree(path)
    return wrong, judgements


def test_damaged_folders_are_refused_by_name_or_read_whole(folders, tmp_path):
    wrong, judgements = campaign(folders, tmp_path, 6 * len(MUTATIONS), seed=0)
    assert not wrong
    for kind in ("swap", "rewrite", "compress", "announce", "nest"):
        assert judgements[kind].keys() == {"refused"}, judgements


@pytest.mark.slow
def test_a_thousand_damaged_folders(folders, tmp_path):
    wrong, judgements = campaign(folders, tmp_path, 1000, seed=1)
    print(judgements)
    assert not wrong


def test_a_chunk_is_computed_again_once_it_is_moved_away(copy, folders):
    path = copy / "chunks/00002.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"00002\.npz is damaged .*move it away to have it"):
        purerl.load(copy)
    path.rename(copy / "away")
    again = run(10, {"discount": [0.99, 0.5]}, out=copy, resume=True)
    assert bits(again.curves) == bits(folders[2].curves)


# ---- whose folder it is --------------------------------------------------------------


def test_a_folder_is_computed_by_one_process_at_a_time(tmp_path, monkeypatch):
    original, inside, go_on = chunk.run, threading.Event(), threading.Event()

    def waits(task, *args):
        inside.set()
        assert go_on.wait(60)
        return original(task, *args)

    monkeypatch.setattr(chunk, "run", waits)
    first = threading.Thread(target=lambda: run(4, out=tmp_path))
    first.start()
    assert inside.wait(60)
    for settings in ({"resume": True}, {}, {"base_seed": 1}):
        with pytest.raises(ValueError, match="is in use: another process computes a run there"):
            run(4, out=tmp_path, **settings)
    go_on.set()
    first.join()
    assert bits(purerl.load(tmp_path).curves) == bits(run(4).curves)


RACE = """
import sys, time, purerl
agent = purerl.QLearning(env=purerl.make("Grid2x3-v0"), learning_rate=0.3)
print("ready", flush=True)
sys.stdin.readline()
try:
    purerl.sweep(agent, 4, num_steps=400, points=4, lanes=4, base_seed=int(sys.argv[2]),
                 out=sys.argv[1], progress=False)
    print("done")
except ValueError as error:
    print("in use" if "in use" in str(error) else "another" if "another" in str(error) else error)
"""


def races(tmp_path, count):
    """The outcomes of pairs of different runs that begin at once in one folder."""
    outcomes = []
    for number in range(count):
        out = tmp_path / f"race{number}"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(out), str(base_seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for base_seed in (0, 1)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate()[0].strip() for process in processes]
        winner = purerl.load(out).manifest["identity"]["base_seed"]
        outcomes.append((said[winner], said[1 - winner]))
    return outcomes


@pytest.mark.slow
def test_two_runs_that_begin_at_once(tmp_path):
    assert set(races(tmp_path, 25)) <= {("done", "in use"), ("done", "another")}


# ---- the program ---------------------------------------------------------------------

SCRIPT = """
import sys, purerl
class Mine(purerl.QLearning):
    def values(self, snapshot, observation):
        return super().values(snapshot, observation) * FACTOR
agent = Mine(env=purerl.make("Grid2x3-v0"), learning_rate=0.3)
settings = dict(num_steps=400, points=4, lanes=4, impl="pcg4d", progress=False, out=sys.argv[1])
settings |= {"resume": True} if "resume" in sys.argv else {}
settings |= {"accept_changes": True} if "accept" in sys.argv else {}
print(purerl.sweep(agent, 8, **settings).final["q_error"][0].tolist())
"""


def scripted(tmp_path, factor, *words):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(SCRIPT).replace("FACTOR", factor))
    command = [sys.executable, str(path), str(tmp_path / "run"), *words]
    env = os.environ | quick.environment(quick.UNOPTIMIZED)
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_changed_program_is_not_resumed_unless_it_is_accepted(tmp_path):
    first = scripted(tmp_path, "1.0")
    assert "__main__:Mine is not found by importing" in first.stderr
    before = json.loads(first.stdout)
    (tmp_path / "run/chunks/00001.npz").unlink()
    refused = scripted(tmp_path, "7.0", "resume")
    assert refused.returncode != 0
    assert "programs: " in refused.stderr and "the code of the agent" in refused.stderr
    mixed = json.loads(scripted(tmp_path, "7.0", "resume", "accept").stdout)
    assert mixed[:4] == before[:4] and mixed[4:] != before[4:]
    manifest = folder.read_manifest(tmp_path / "run")
    assert len(manifest["origins"]) == 2
    found = purerl.load(tmp_path / "run")  # needs no class
    assert found.final["q_error"][0].tolist() == pytest.approx(mixed)
    assert found.configurations == [{}] and found.label in found.table()
    with pytest.raises(ValueError, match="__main__:Mine"):
        found.snapshot(0)

    class Mine(purerl.QLearning):
        pass

    Mine.__qualname__ = "Mine"
    known = purerl.load(tmp_path / "run", classes=[Mine])
    assert isinstance(known.agents[0], Mine) and known.snapshot(0).q.shape == (6, 4)


def test_a_method_that_is_replaced_is_compiled_anew():
    """As IPython's autoreload does it, in one process."""

    class Mine(purerl.QLearning):
        def values(self, snapshot, observation):
            return super().values(snapshot, observation) * 1.0

    agent = Mine(env=TABULAR.env, learning_rate=0.3)
    first = purerl.sweep(agent, 2, **SHARED).final["q_error"]

    def values(self, snapshot, observation):
        return purerl.QLearning.values(self, snapshot, observation) * 7.0

    Mine.values = values
    second = purerl.sweep(agent, 2, **SHARED).final["q_error"]
    assert (first != second).all()


@pytest.mark.parametrize("name", ["cpu", "versions.numpy", "x64", "source"])
def test_another_machine_is_accepted_only_when_asked(copy, folders, monkeypatch, name):
    here = folder.provenance()
    inner = here
    *path, last = name.split(".")
    for part in path:
        inner = inner[part]
    inner[last] = "another"
    monkeypatch.setattr(folder, "provenance", lambda: here)
    over = {"discount": [0.99, 0.5]}
    with pytest.raises(ValueError, match=rf"{name}: .* there, .another. here.*accept_changes"):
        run(12, over, out=copy, resume=True)
    more = run(12, over, out=copy, resume=True, accept_changes=True)
    assert bits(more.curves) == bits(run(12, over).curves)
    assert len(more.manifest["origins"]) == 2
    changes = purerl.rerun(copy, seed=0).changes
    assert len(changes) == 1 and changes[0].startswith(f"{name}: ")


# ---- what fails ----------------------------------------------------------------------


class Hopeful(purerl.QLearning):
    """Keeps an infinity in its state on purpose."""

    def init(self, key):
        return super().init(key)._replace(memory=jax.numpy.float32(np.inf))

    def learned(self, state):
        return state.q


class Hopeless(Hopeful):
    """And does not say so."""

    def learned(self, state):
        return state


def test_only_what_is_to_be_finite_is_judged():
    settings = SHARED | {"keep": "state"}
    hopeful = purerl.sweep(Hopeful(env=TABULAR.env), 2, **settings)
    assert not hopeful.failures and np.isinf(hopeful.state.memory).all()
    hopeless = purerl.sweep(Hopeless(env=TABULAR.env), 2, **settings)
    assert [failure["point"] for failure in hopeless.failures] == [0, 0]
