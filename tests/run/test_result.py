"""What a sweep leaves on disk: that it comes back whole, can be computed again, and
that damage is found."""

import concurrent.futures
import errno
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import purerl
from purerl.figures import files
from purerl.run import chunk, folder, plain
from purerl.run.checkpoint import read_archive, write_arrays
from purerl.run.evaluation import Episodes, Exact
from purerl.schedule import exponential, linear, power
from tests.run import small
from tests.run.small import POLICY, TABULAR, bits

DEEP = small.DEEP.replace(epsilon=linear(1.0, 0.1, 200))
SHARED = {
    "num_steps": 400,
    "points": 4,
    "lanes": 4,
    "impl": "pcg4d",
    "keep": "state",
    "progress": False,
}
CASES = {
    "tabular": functools.partial(purerl.sweep, TABULAR, 5, {"learning_rate": [0.3, 0.1]}, **SHARED),
    "policy": functools.partial(purerl.sweep, POLICY, 5, evaluation=Episodes(4, 50), **SHARED),
}


def same(a, b):
    """Whether two results are one."""
    assert a.configurations == b.configurations
    assert a.seeds.tolist() == b.seeds.tolist()
    assert a.failures == b.failures
    assert jax.tree.structure(a.state) == jax.tree.structure(b.state)
    assert {name: at.tolist() for name, at in a.steps.items()} == {
        name: at.tolist() for name, at in b.steps.items()
    }
    assert a.table() == b.table()
    return bits(a.curves, a.state, a.agents) == bits(b.curves, b.state, b.agents)


@pytest.fixture(scope="module", params=CASES)
def stored(request, tmp_path_factory):
    """A result, and its folder."""
    folder = tmp_path_factory.mktemp("stored") / "run"
    return CASES[request.param](out=folder), folder


@pytest.fixture(scope="module")
def tabular(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular") / "run"
    return CASES["tabular"](out=folder), folder


@pytest.fixture
def copy(tabular, tmp_path):
    """The tabular run, to be spoilt."""
    return shutil.copytree(tabular[1], tmp_path / "copy")


# ---- reading back --------------------------------------------------------------------


def test_what_is_loaded_is_what_was_returned(stored):
    result, folder = stored
    loaded = purerl.load(folder)
    assert same(loaded, result)
    assert loaded.manifest == result.manifest
    assert loaded.warm_ups == result.warm_ups
    keys = [
        x for x in jax.tree.leaves(loaded.state) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    ]
    assert keys
    for key in keys:
        assert jax.random.key_impl(key) == jax.random.key_impl(purerl.random.key(0, "pcg4d"))
        assert key.shape == (len(result.configurations), 5)


def test_a_stored_run_is_the_run_that_is_not_stored(tabular):
    assert same(tabular[0], CASES["tabular"]())


def test_another_process_reads_the_same(tabular):
    result, folder = tabular
    code = (
        "import sys, purerl; r = purerl.load(sys.argv[1]); "
        "print(r.curves['q_error'].tobytes().hex()); print(r.table(width=120))"
    )
    env = os.environ | {
        "PYTHONPATH": os.path.dirname(os.path.dirname(purerl.__file__)),
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    digits, _, table = done.stdout.partition("\n")
    assert digits == result.curves["q_error"].tobytes().hex()
    assert table.strip() == result.table(width=120).strip()


def test_half_a_run_is_nan_where_it_is_not_there_yet(tabular, copy):
    result, _ = tabular
    (
        copy / "chunks" / "00001.npz"
    ).unlink()  # seed 4 of the first configuration, seeds 0 to 2 of the second
    half = purerl.load(copy)
    there = np.array([[True] * 4 + [False], [False] * 3 + [True] * 2])
    for name, curve in half.curves.items():
        assert np.isnan(curve[~there]).all()
        assert bits(curve[there]) == bits(result.curves[name][there])
    assert half.failures == []
    with pytest.raises(ValueError, match="seed 4 of configuration 0 is not finished"):
        print(half.state)
    assert half.scores("q_error", 0).tolist() == result.final["q_error"][0, :4].tolist()
    rows = half.table(["q_error"]).splitlines()
    assert sum("│ 4 of 5*" in row for row in rows) == sum("│ 2 of 5*" in row for row in rows) == 1


def test_no_chunk_at_all_is_half_a_run_too(copy):
    for path in (copy / "chunks").iterdir():
        path.unlink()
    nothing = purerl.load(copy)
    assert nothing.curves == {}
    assert nothing.configurations == [{"learning_rate": 0.3}, {"learning_rate": 0.1}]
    assert "learning_rate=0.1" in nothing.table()


def test_an_interrupted_run_has_a_name(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(chunk, "run", interrupted)
    with concurrent.futures.ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        CASES["tabular"](out=tmp_path / "run", executor=executor)
    half = purerl.load(tmp_path / "run")
    assert half.label in half.table()
    assert "QLearning" in half.label


def test_files_are_json_and_plain_arrays(stored):
    _, folder = stored
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.suffix for path in files} == {".json", ".npz"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text())
            continue
        with np.load(path, allow_pickle=False) as archive:
            for name in set(archive.files) - {"about.json"}:
                assert archive[name].dtype != object


# ---- what is concluded ---------------------------------------------------------------


def test_the_table_gives_interquartile_means(tabular):
    result, _ = tabular
    rows = [row for row in result.table(["q_error"]).splitlines() if "learning_rate" in row]
    for c, row in enumerate(rows):
        scores = result.curves["q_error"][c, :, -1].astype(np.float64)
        assert result.scores("q_error", c).tolist() == scores.tolist()
        cells = [cell.strip() for cell in row.strip("│ ").split("│")]
        assert cells[:4] == [str(c), f"learning_rate={(0.3, 0.1)[c]}", "5*", "0"]
        point, low, high = (float(word.strip("[],")) for word in cells[4].split())
        assert point == pytest.approx(scipy.stats.trim_mean(scores, 0.25), rel=1e-3)
        assert scores.min() - 1e-3 <= low <= point <= high <= scores.max() + 1e-3
    assert len(rows) == 2


def test_the_table_of_one_seed_says_that_its_interval_is_unknown():
    result = purerl.sweep(TABULAR, 1, **SHARED)
    row = next(row for row in result.table(["q_error"]).splitlines() if row.startswith("│"))
    assert "[nan, nan]" in row


def test_final_is_the_end_of_the_curves(stored):
    result, _ = stored
    assert result.final.keys() == result.curves.keys() == result.steps.keys()
    for name, curve in result.curves.items():  # of four points the last one is the last tenth
        np.testing.assert_array_equal(result.final[name], curve[:, :, -1])
        assert result.steps[name][-1] == 400


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_plot_draws_a_file(tabular, tmp_path, suffix):
    result, _ = tabular
    for name in ("episode_return", "q_error"):
        path = result.plot(tmp_path / f"{name}.{suffix}", name)
        assert path.read_bytes()[:4] in (b"\x89PNG", b"%PDF")


def test_plot_of_half_a_run(copy, tmp_path):
    (copy / "chunks" / "00001.npz").unlink()
    assert purerl.load(copy).plot(tmp_path / "half.png", "q_error").stat().st_size > 1000


# ---- computing again -----------------------------------------------------------------


def test_every_run_can_be_computed_again(stored):
    result, folder = stored
    for c in range(len(result.configurations)):
        for seed in (0, 4):
            again = purerl.rerun(folder, seed, c)
            assert again.identical is True
            assert again.difference == 0
            assert again.final == {name: values[c, seed] for name, values in result.final.items()}


def tamper(path, name, lane, change):
    about, arrays = read_archive(path)
    arrays[name][lane] = change(arrays[name][lane])
    del about["digest"]  # another is made
    write_arrays(path, arrays, about)


TAMPERED = {
    "a curve": ("curves.q_error", lambda x: x + np.float32([0, 0.25, 0, 0]), 0.25),
    "a curve's last bit": ("curves.q_error", lambda x: np.nextafter(x, np.float32(np.inf)), None),
    "a learned value": ("state.q", lambda x: x - np.float32(2), 2.0),
    "a curve made NaN": ("curves.q_error", lambda x: x * np.float32(np.nan), None),
    "an integer": ("state.env_state.elapsed", lambda x: x + 1, None),
}


@pytest.mark.parametrize(("name", "change", "difference"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_altered_is_found(copy, name, change, difference):
    tamper(copy / "chunks" / "00000.npz", name, 2, change)
    again = purerl.rerun(copy, 2)
    assert again.identical is False
    if difference is not None:
        assert again.difference == pytest.approx(difference, rel=1e-6)
    assert again.difference != 0  # NaN is no number, but neither is it no difference
    assert purerl.rerun(copy, 1).identical is True


NOT_THERE = {
    "a seed": (
        {"seed": 5},
        r"no seed 5 of configuration 0; its seeds are \[0, 1, 2, 3, 4\], its configurations 0 to 1",
    ),
    "a configuration": ({"seed": 0, "configuration": 2}, "no seed 0 of configuration 2"),
    "an unfinished run": ({"seed": 4}, "seed 4 of configuration 0 is not finished; resume"),
}


@pytest.mark.parametrize(("arguments", "message"), NOT_THERE.values(), ids=NOT_THERE)
def test_what_is_not_there_cannot_be_computed_again(copy, arguments, message):
    (copy / "chunks" / "00001.npz").unlink()
    with pytest.raises(ValueError, match=message):
        purerl.rerun(copy, **arguments)


# ---- damage --------------------------------------------------------------------------


def readers(folder):
    yield purerl.load, (folder,)
    yield purerl.rerun, (folder, 0)
    yield functools.partial(CASES["tabular"], resume=True, out=folder), ()


def refused(folder, message):
    for reader, arguments in readers(folder):
        with pytest.raises(ValueError, match=message):
            reader(*arguments)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", "null", '"text"', "{}", '{"format": 3}', "\ufffd"]
)
def test_a_damaged_manifest_is_named(copy, content):
    (copy / "manifest.json").write_text(content)
    refused(copy, r"manifest\.json is damaged")


def test_half_a_manifest_is_damaged(copy):
    text = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json").write_bytes(text[: len(text) // 2])
    refused(copy, r"manifest\.json is damaged")
    (copy / "manifest.json").write_bytes(b"\xff\xfe" + text)
    refused(copy, r"manifest\.json is damaged")


def test_a_manifest_of_another_format_is_refused(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    refused(copy, r"manifest\.json has format 99; this version reads")


@pytest.mark.parametrize("warm_ups", [[0], [0, -1], [0, True], [0, 1.5], "00", None])
def test_warm_ups_that_do_not_fit_are_damage(copy, warm_ups):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"warm_ups": warm_ups}))
    refused(copy, r"manifest\.json is damaged")


def test_a_folder_without_warm_ups_is_read(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["warm_ups"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert purerl.load(copy).figure("q_error").axes[0].get_xlabel() == "environment steps"


def test_a_folder_without_a_run(tmp_path):
    for reader in (purerl.load, functools.partial(purerl.rerun, seed=0)):
        for place in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(ValueError, match=f"{place} holds no run"):
                reader(place)


DAMAGE = {
    "empty": lambda content: b"",
    "halved": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a bit flipped": lambda content: content[:200] + bytes([content[200] ^ 16]) + content[201:],
    "text": lambda content: b"not an archive",
    "another archive": None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_chunk_is_named(copy, damage):
    path = copy / "chunks" / "00000.npz"
    if damage is None:
        write_arrays(path, {"x": np.zeros(3)})
        refused_by = list(readers(copy))[::2]
    else:
        path.write_bytes(damage(path.read_bytes()))
        refused_by = readers(copy)
    for reader, arguments in refused_by:
        with pytest.raises(ValueError, match=r"00000\.npz"):
            reader(*arguments)
    path.unlink()  # as the message says
    assert same(CASES["tabular"](out=copy, resume=True), CASES["tabular"]())


def test_damaged_agents_are_named(copy):
    content = (copy / "agent.npz").read_bytes()
    for damaged in (content[:-30], content[:150] + bytes([content[150] ^ 255]) + content[151:]):
        (copy / "agent.npz").write_bytes(damaged)
        for reader in (purerl.load, functools.partial(purerl.rerun, seed=0)):
            with pytest.raises(ValueError, match=r"agent\.npz"):
                reader(copy)
    write_arrays(copy / "agent.npz", {})
    with pytest.raises(ValueError, match=r"array .* is missing"):
        purerl.load(copy)
    (copy / "agent.npz").unlink()
    with pytest.raises(ValueError, match=r"agent\.npz"):
        purerl.load(copy)


# ---- the manifest --------------------------------------------------------------------


def test_the_manifest_says_what_was_run_and_where(tabular):
    manifest = json.loads((tabular[1] / "manifest.json").read_text())
    identity = manifest["identity"]
    (origin,) = manifest["origins"]
    assert origin["versions"] == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "jax": jax.__version__,
        "jaxlib": importlib.import_module("jaxlib").__version__,
        "flax": flax.__version__,
        "optax": importlib.import_module("optax").__version__,
        "numpy": np.__version__,
        "purerl": purerl.__version__,
    }
    assert manifest["parts"] == [[0, 1, 2, 3, 4]]
    assert (
        identity["over"] == {"dict": {"over": {"dict": {"learning_rate": {"list": [0.3, 0.1]}}}}}
        or identity["over"]
    )
    assert identity["lanes"] == 4
    assert identity["impl"] == "pcg4d"
    assert manifest["num_steps"] == 400
    assert manifest["warm_ups"] == [0, 0]
    assert origin["backend"] == jax.default_backend()
    assert origin["device"] == jax.devices()[0].device_kind
    assert origin["xla_flags"] == os.environ.get("XLA_FLAGS", "")
    assert origin["x64"] is False
    assert '"learning_rate": 0.3' in json.dumps(identity["agent"])
    assert manifest["compile_seconds"] >= 0
    assert 0 < manifest["seconds"] < 3600


def test_compile_time_is_part_of_the_time():
    for _ in range(2):  # the second time there is nothing to compile
        manifest = CASES["tabular"]().manifest
        assert manifest["compile_seconds"] <= manifest["seconds"]


def test_warm_ups_are_recorded_by_configuration():
    over = {"learning_starts": [20, 40], "learning_rate": [0.1, 0.2]}
    result = purerl.sweep(DEEP, 1, over, evaluation=Episodes(1, 5), **SHARED | {"num_steps": 40})
    assert result.warm_ups == [20, 20, 40, 40]
    assert result.steps["episode_return"].tolist() == [10, 20, 30, 40]


def test_the_manifest_names_the_commit_and_whether_it_is_what_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert folder.git_state() is None

    def git(*words):
        who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        return subprocess.run(
            ["git", *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init")
    (tmp_path / "script.py").write_text("x = 1\n")
    git("add", "script.py")
    git("commit", "-m", "a script")
    commit = git("rev-parse", "HEAD")
    assert folder.git_state() == {"commit": commit, "dirty": False}
    (tmp_path / "script.py").write_text("x = 2\n")
    assert folder.git_state() == {"commit": commit, "dirty": True}


def test_no_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert folder.git_state() is None


# ---- agents as data ------------------------------------------------------------------

AGENTS = {
    "q-learning": purerl.QLearning(
        env=purerl.make("FrozenLake-v1"),
        learning_rate=power(1.0, 0.8, 10.0),
        epsilon=1 / 3,
        count_visits=True,
    ),
    "dqn": DEEP.replace(
        learning_rate=exponential(1e-2, 5_000, 1e-4),
        discount=jnp.float32(0.9),
        target=purerl.targets.DoubleQ(),
        head=purerl.heads.Scalar(purerl.heads.Huber()),
        network=purerl.networks.MLP((8, 4)),
    ),
    "ppo on a table": purerl.PPO(
        env=purerl.envs.OneHot(purerl.make("Grid2x3-v0"), 6),
        network=purerl.networks.ActorCritic((4,), torso=purerl.networks.MLP((8,))),
        clip=exponential(0.2, 5_000, 0.1),
    ),
    "q-learning on a random model": purerl.QLearning(
        env=purerl.envs.FiniteEnvironment.of(purerl.mdp.garnet(jax.random.key(0), 5, 2, 2)),
        initial_value=np.float32(0.1),
    ),
}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_agents_come_back_from_json(agent):
    arrays = {}
    data = json.loads(json.dumps(plain.encode(agent, arrays)))
    decoded = plain.decode(data, arrays)
    assert jax.tree.structure(decoded) == jax.tree.structure(agent)
    assert bits(decoded) == bits(agent)
    rows = getattr(purerl.envs.grid_of(agent.env), "rows", None)
    assert rows == getattr(purerl.envs.grid_of(decoded.env), "rows", None)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        0.1 + 0.2,
        float("inf"),
        "text",
        (1, (2.5, "x"), []),
        [None, {"a": (1,), "array": {"class": "no class"}}],
        Episodes(3, 7),
        Exact(),
        {"epsilon": [linear(1.0, 0.5, 3), 0.1]},
    ],
    ids=repr,
)
def test_data_comes_back_from_json(value):
    arrays = {}
    decoded = plain.decode(json.loads(json.dumps(plain.encode(value, arrays))), arrays)
    assert decoded == value
    assert type(decoded) is type(value)
    assert not arrays


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float32", "float64"])
def test_arrays_come_back_with_their_type(dtype):
    value = np.arange(6).reshape(2, 3).astype(dtype)
    arrays = {}
    decoded = plain.decode(json.loads(json.dumps(plain.encode({"x": value}, arrays))), arrays)
    assert bits(decoded) == bits({"x": value})
    (name,) = arrays
    assert plain.encode(value.copy(), {}) == {"array": name}  # what is the same has the same name
    assert plain.encode(value.astype("float16"), {}) != {"array": name}


@pytest.mark.parametrize(
    "value",
    [object(), functools.partial(print), {1: 2}, DEEP.init],
    ids=["object", "partial", "key", "method"],
)
def test_what_is_no_data_is_refused(value):
    with pytest.raises(TypeError, match="cannot be recorded"):
        plain.encode({"x": value}, {})


def test_a_file_imports_nothing(tmp_path):
    assert "antigravity" not in sys.modules
    with pytest.raises(ValueError, match="antigravity is not imported"):
        plain.decode({"class": "antigravity:geohash", "fields": {}}, {})
    assert "antigravity" not in sys.modules


CALLED = {
    "a function": {"class": "os:mkdir", "fields": {"path": "made"}},
    "a class that acts": {
        "class": "subprocess:Popen",
        "fields": {"args": {"list": ["mkdir", "made"]}},
    },
    "a method": {"class": "pathlib:Path.mkdir", "fields": {"self": "made"}},
    "a function of ours": {
        "class": "purerl.run.checkpoint:write_arrays",
        "fields": {"path": "made", "arrays": {"dict": {}}},
    },
}


@pytest.mark.parametrize("data", CALLED.values(), ids=CALLED)
def test_a_file_calls_nothing_but_dataclasses(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="class"):
        plain.decode(data, {})
    assert not list(tmp_path.iterdir())


GONE = {
    "a class": {"class": "purerl.agents.dqn:Rainbow", "fields": {}},
    "a module": {"class": "purerl.agents.rainbow:Rainbow", "fields": {}},
    "a script's class": {"class": "__main__:MyAgent", "fields": {}},
    "a local class": {"class": f"{__name__}:f.<locals>.MyAgent", "fields": {}},
    "a field": {"class": "purerl.run.evaluation:Episodes", "fields": {"episodes": 3, "horizon": 7}},
    "an array": {"array": "0123456789abcdef"},
}


@pytest.mark.parametrize("data", GONE.values(), ids=GONE)
def test_what_is_gone_is_named(data):
    name = data.get("array") or data["class"].rpartition(":")[2].rpartition(".")[2]
    with pytest.raises(ValueError, match=name):
        plain.decode(data, {})


def test_nothing_is_left_when_a_manifest_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        CASES["tabular"](out=tmp_path / "run")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {".lock"}
