"""Runs that go on where they were: states saved on the way, more seeds, more steps."""

import concurrent.futures
import contextlib
import errno
import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import purerl
from purerl.run import chunk
from purerl.run.archive import Place
from purerl.run.checkpoint import flatten
from purerl.run.evaluation import Episodes
from tests import quick
from tests.run.small import DEEP, TABULAR, bits

pytestmark = pytest.mark.optimized

GRID = purerl.make("Grid2x3-v0")
TILES = purerl.features.TileCoding([-1.2, -0.07], [0.6, 0.07], tiles=4, tilings=4)
LINEAR = purerl.LinearSARSA(env=purerl.make("MountainCar-v0"), features=TILES, n=3)
SHARED = {"lanes": 4, "impl": "pcg4d", "keep": "state", "progress": False}
CASES = {
    "tabular": functools.partial(purerl.sweep, TABULAR, num_steps=2560, points=4, **SHARED),
    "one point": functools.partial(purerl.sweep, TABULAR, num_steps=2560, points=1, **SHARED),
    "linear": functools.partial(
        purerl.sweep, LINEAR, num_steps=2560, points=4, evaluation=Episodes(4, 50), **SHARED
    ),
    "deep": functools.partial(
        purerl.sweep, DEEP, num_steps=25_600, points=4, evaluation=Episodes(4, 50), **SHARED
    ),
}


def everything(result):
    return bits(result.curves, result.counts, result.state)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


class Interrupted(Exception):
    """Raised in the middle of a chunk."""


@pytest.fixture
def slices(monkeypatch):
    """One block a slice, up to the given number of slices; the first block of each."""
    seen, end = [], [10**9]
    original = chunk.program

    def counting(task):
        program = original(task)

        def advance(agent, carry, start, blocks, anew):
            seen.append(int(start) // task.settings.block)
            if len(seen) > end[0]:
                raise Interrupted
            return program.advance(agent, carry, start, blocks, anew)

        return program._replace(advance=advance)

    monkeypatch.setattr(chunk, "program", counting)
    monkeypatch.setattr(chunk, "SHARE", 0)
    monkeypatch.setattr(chunk._Pace, "fit", lambda self, left: 1)
    return seen, end


def test_slices_of_any_size_are_the_same_run(case, monkeypatch):
    whole = case(3)
    for blocks in (1, 3):
        monkeypatch.setattr(chunk._Pace, "fit", lambda self, left, n=blocks: min(n, left))
        assert everything(case(3)) == everything(whole)


def test_a_chunk_goes_on_from_its_last_part(case, slices, tmp_path):
    seen, end = slices
    whole = case(3)
    blocks = len(seen)
    assert blocks == 20
    for first, count in ((0, 7), (7, 8)):  # in the middle of a point, then at the end of one
        seen.clear()
        end[0] = count
        with pytest.raises(Interrupted) as caught:
            case(3, out=tmp_path / "run", save_every=0, resume=first > 0)
        assert "chunk 0: configuration 0, seeds [0, 1, 2]" in caught.value.__notes__[0]
        assert seen == list(range(first, first + count + 1))
    seen.clear()
    end[0] = 10**9
    resumed = case(3, out=tmp_path / "run", resume=True)
    assert seen == list(range(15, 20))
    assert everything(resumed) == everything(whole)
    assert sorted(x.name for x in (tmp_path / "run/chunks").iterdir()) == ["00000.npz"]
    assert everything(purerl.load(tmp_path / "run")) == everything(whole)


def test_a_damaged_part_costs_one_generation(slices, tmp_path):
    seen, end = slices
    case = CASES["tabular"]
    whole = case(3)
    seen.clear()
    end[0] = 9
    with pytest.raises(Interrupted):
        case(3, out=tmp_path, save_every=0)
    newest, before = tmp_path / "chunks/00000.part", tmp_path / "chunks/00000.part-before"
    data = newest.read_bytes()
    newest.write_bytes(data[: len(data) // 2])
    end[0] = 10**9
    for first in (8, 0):
        seen.clear()
        assert everything(case(3, out=tmp_path, resume=True)) == everything(whole)
        assert seen[0] == first
        (tmp_path / "chunks/00000.npz").unlink()
        newest.write_bytes(b"")
        before.write_bytes(data[:100])


def test_saving_takes_a_small_share_of_the_time(slices, tmp_path, monkeypatch):
    """A part that takes long to write is written seldom."""
    monkeypatch.setattr(chunk, "SHARE", 50)
    clock = [0.0]
    monkeypatch.setattr(chunk.time, "perf_counter", lambda: clock[0])
    written = []

    def write_part(self, part, points, every):
        written.append((clock[0], part.blocks))
        clock[0] += 2.0

    monkeypatch.setattr(Place, "write_part", write_part)
    ready = jax.block_until_ready
    monkeypatch.setattr(
        chunk.jax, "block_until_ready", lambda x: (clock.__setitem__(0, clock[0] + 30), ready(x))[1]
    )
    CASES["tabular"](3, out=tmp_path, save_every=60)
    times = [time for time, _ in written]
    assert times[0] == 90  # the end of the first slice after more than a minute
    pauses = np.diff(times)
    assert len(pauses) >= 3 and (pauses >= 50 * 2).all() and (pauses <= 50 * 2 + 2 + 30).all()


def test_a_part_that_cannot_be_written_costs_nothing(slices, tmp_path, monkeypatch):
    seen, end = slices
    case = CASES["tabular"]
    whole = case(3)
    tries = []

    def full(path, *args):
        tries.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    seen.clear()
    end[0] = 4
    with pytest.raises(Interrupted):
        case(3, out=tmp_path, save_every=0)
    end[0] = 10**9
    monkeypatch.setattr(Place, "write_part", full)
    result = case(3, out=tmp_path, save_every=0, resume=True)
    assert len(tries) > 10 and everything(result) == everything(whole)


def killed_with_a_part(folder):
    """A sweep in a process of its own, killed once there is a part."""
    env = os.environ | {"PYTHONPATH": str(Path(purerl.__file__).parents[1])} | quick.environment()
    process = subprocess.Popen([sys.executable, __file__, folder], env=env, stderr=subprocess.PIPE)
    while process.poll() is None and not list(folder.glob("chunks/*.part")):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    process.stderr.close()


def test_a_killed_process_loses_at_most_what_was_not_saved(tmp_path):
    killed_with_a_part(tmp_path / "run")
    stale = tmp_path / "run/chunks/.00000.part.0123.tmp"  # as a kill in a write leaves it
    stale.write_bytes(b"half")
    resumed = CASES["deep"](3, out=tmp_path / "run", resume=True)
    assert everything(resumed) == everything(CASES["deep"](3))
    assert not stale.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tabular", "deep"])
def test_kills_at_random_moments(name, tmp_path):
    """Ten of them in one run, each somewhere in what a process does."""
    draw = random.Random(name)
    env = os.environ | {"PYTHONPATH": str(Path(purerl.__file__).parents[1])}
    command = [sys.executable, __file__, str(tmp_path / "run"), name]
    kills = 0
    began = time.monotonic()
    while kills < 10 and time.monotonic() - began < 600:
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(1, 8))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
        for path in (tmp_path / "run/chunks").glob("*.npz"):
            path.unlink()  # a finished one would end the trial
    resumed = CASES[name](3, out=tmp_path / "run", resume=(tmp_path / "run").exists())
    assert kills == 10
    assert everything(resumed) == everything(CASES[name](3))
    assert not list((tmp_path / "run").rglob(".*.tmp"))


# ---- more seeds, more steps ----------------------------------------------------------


def test_a_finished_run_takes_more_seeds(tmp_path, slices):
    seen, _ = slices
    case = CASES["tabular"]
    over = {"learning_rate": [0.3, 0.1]}
    case(3, over, out=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("chunks/*")}
    seen.clear()
    more = case([0, 1, 2, 7, 3], over, out=tmp_path, resume=True)
    assert len(seen) == 20  # one chunk, of two runs each
    assert all(path.read_bytes() == data for path, data in before.items())
    whole = case([0, 1, 2, 7, 3], over)
    assert more.seeds.tolist() == [0, 1, 2, 7, 3]
    assert everything(more) == everything(whole)
    assert everything(purerl.load(tmp_path)) == everything(whole)
    assert purerl.rerun(tmp_path, seed=7, configuration=1).identical


def test_a_finished_run_takes_more_steps(tmp_path, slices):
    seen, _ = slices
    for name in ("tabular", "deep"):
        case, out = CASES[name], tmp_path / name
        case(3, out=out, evaluations=4)
        seen.clear()
        num_steps = case.keywords["num_steps"] * 6 // 4
        longer = {"num_steps": num_steps, "points": 6, "evaluations": 6}
        more = case(3, out=out, resume=True, **longer)
        assert seen == list(range(20, 30))
        assert everything(more) == everything(case(3, **longer))
        assert everything(purerl.load(out)) == everything(more)


def test_more_steps_without_states_are_computed_anew(tmp_path, slices):
    seen, _ = slices
    case = functools.partial(CASES["tabular"], keep="snapshot", out=tmp_path)
    case(3)
    seen.clear()
    more = case(3, num_steps=3840, points=6, resume=True)
    assert seen == list(range(30))
    whole = CASES["tabular"](3, num_steps=3840, points=6)
    assert bits(more.curves) == bits(whole.curves)


@pytest.mark.slow
def test_priorities_and_noise_go_on_where_they_were(tmp_path):
    agent = purerl.Rainbow(
        env=purerl.make("FrozenLake-v1"),
        network=purerl.networks.MLP((8,), noisy=True),
        atoms=5,
        batch_size=8,
        replay=purerl.replay.Prioritized(200, n=3),
        learning_starts=20,
        target_period=50,
    )
    case = functools.partial(purerl.sweep, agent, 3, evaluation=None, **SHARED)
    case(num_steps=200, points=1, out=tmp_path)
    resumed = case(num_steps=400, points=2, out=tmp_path, resume=True)
    assert everything(resumed) == everything(case(num_steps=400, points=2))
    assert any("tree" in name for name in everything(resumed))  # of priorities
    assert purerl.rerun(tmp_path, seed=1).identical


# ---- policies ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tabular", "deep"])
def test_the_learned_policy_is_kept(name, tmp_path):
    case = CASES[name]
    over = {"discount": [0.99, 0.5]}
    with_states = case(3, over)
    case(3, over, keep="snapshot", out=tmp_path)
    found = purerl.load(tmp_path)
    for c, agent in enumerate(found.agents):
        state = jax.tree.map(lambda x, c=c: x[c, 2], with_states.state)
        expected = agent.snapshot(state)
        assert bits(found.snapshot(2, c)) == bits(with_states.snapshot(2, c)) == bits(expected)
    size = sum(path.stat().st_size for path in tmp_path.glob("chunks/*"))
    if name == "deep":  # without the replay buffer
        assert size < sum(x.nbytes for x in flatten(with_states.state).values())
    with pytest.raises(ValueError, match="there is no seed 9; the seeds are"):
        found.snapshot(9)
    with pytest.raises(ValueError, match="there is no configuration 2; allowed: 0 to 1"):
        found.snapshot(0, 2)
    nothing = case(3, keep="nothing")
    assert bits(nothing.curves) == bits(case(3).curves)
    with pytest.raises(ValueError, match='nothing was kept of the states; sweep with keep="snap'):
        nothing.snapshot(0)
    with pytest.raises(ValueError, match='states were not kept; sweep with keep="state"'):
        print(found.state)


def test_a_policy_acts_in_another_process(tmp_path):
    result = CASES["deep"](2, keep="snapshot")
    agent, snapshot = result.agents[0], result.snapshot(seed=1)
    purerl.save_policy(tmp_path / "policy.npz", agent, snapshot)
    program = """
import sys, jax, purerl
agent, snapshot = purerl.load_policy(sys.argv[1])
keys = jax.random.split(purerl.random.key(0), 50)
observations = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
print(jax.vmap(agent.act, (None, None, 0))(snapshot, keys[0], observations).tolist())
"""
    env = os.environ | {"PYTHONPATH": str(Path(purerl.__file__).parents[1])}
    command = [sys.executable, "-c", program, str(tmp_path / "policy.npz")]
    there = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    keys = jax.random.split(purerl.random.key(0), 50)
    observations = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)
    here = jax.vmap(agent.act, (None, None, 0))(snapshot, keys[0], observations)
    assert there.strip() == str(here.tolist())
    assert len(set(here.tolist())) == 2
    (tmp_path / "policy.npz").write_bytes((tmp_path / "policy.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"policy\.npz is damaged"):
        purerl.load_policy(tmp_path / "policy.npz")


# ---- logging -------------------------------------------------------------------------


@pytest.mark.parametrize("on_an_executor", [False, True])
def test_each_point_of_each_run_is_logged_once(on_an_executor, tmp_path):
    logged = {}

    def on_point(configuration, seed, step, values):
        assert (configuration, seed, step) not in logged
        logged[configuration, seed, step] = values

    executor = concurrent.futures.ThreadPoolExecutor(2) if on_an_executor else None
    settings = {"executor": executor, "on_point": on_point, "evaluations": 2}
    result = CASES["tabular"](5, {"learning_rate": [0.3, 0.1]}, **settings)
    assert len(logged) == 2 * 5 * 4  # and not for the lanes that fill up a chunk
    for (c, seed, step), values in logged.items():
        point = step // 640 - 1
        assert values["episode_return"] == result.curves["episode_return"][c, seed, point]
        assert ("q_error" in values) == (point % 2 == 1)
        if point % 2 == 1:
            assert values["q_error"] == result.curves["q_error"][c, seed, point // 2]


def test_threads_of_the_caller_log_on_the_way(monkeypatch):
    """The first point is logged while its chunk has not come to the second."""
    at, original = [], chunk._satisfied

    def reached(task, point, values):
        at.append(point)
        return original(task, point, values)

    monkeypatch.setattr(chunk, "_satisfied", reached)  # called when a point was reported
    logged = []

    def on_point(configuration, seed, step, values):
        logged.append((step // 640 - 1, len(at)))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        CASES["tabular"](2, executor=pool, on_point=on_point)
    assert logged == [(point, point) for point in range(4) for _ in range(2)]


def test_slices_are_progress(slices, monkeypatch):
    shown = []

    @contextlib.contextmanager
    def bar(*_):
        yield lambda index, points: shown.append((index, points))

    monkeypatch.setattr(sys.modules["purerl.run.sweep"], "bar", bar)
    CASES["tabular"](2)
    assert shown[:-1] == [(0, block / 5) for block in range(21)]  # five blocks a point
    assert shown[-1] == (0, 4)


def test_a_list_of_configurations(tmp_path):
    table = [{"learning_rate": 0.3, "discount": 0.9}, {"epsilon": 0.5}, {}]
    result = CASES["tabular"](2, table, out=tmp_path)
    assert result.configurations == table
    assert purerl.load(tmp_path).configurations == table
    for c, configuration in enumerate(table):
        alone = CASES["tabular"](2, {name: [value] for name, value in configuration.items()})
        np.testing.assert_array_equal(alone.curves["q_error"][0], result.curves["q_error"][c])


# ---- stopping early ------------------------------------------------------------------


def accurate(values):
    return values["q_error"] < 0.71


def test_a_chunk_stops_when_all_its_runs_may(tmp_path, slices):
    seen, end = slices
    settings = {"num_steps": 5120, "points": 8, "evaluations": 4}
    case = functools.partial(CASES["tabular"], **settings)
    seeds = [1, 2, 3]
    whole = case(seeds)
    seen.clear()
    result = case(seeds, stop_when=accurate, out=tmp_path / "run")
    errors = whole.curves["q_error"][0]  # [N, 4]
    firsts = (errors < 0.71).argmax(axis=1)
    assert (errors < 0.71).any(axis=1).all() and len(set(firsts)) > 1
    evaluation = firsts.max()  # up to which each run was accurate once
    assert 0 < evaluation < 3
    points = 2 * (evaluation + 1)
    assert seen == list(range(5 * points))
    assert result.stopped == {(0, seed): points for seed in seeds}
    for name, curve in result.curves.items():
        length = points if name in result.counts else evaluation + 1
        np.testing.assert_array_equal(curve[:, :, :length], whole.curves[name][:, :, :length])
        assert np.isnan(curve[:, :, length:]).all()
    np.testing.assert_array_equal(result.final["q_error"], errors[None, :, evaluation])
    assert np.isfinite(result.final["episode_return"]).all()
    assert bits(purerl.load(tmp_path / "run").final) == bits(result.final)
    again = purerl.rerun(tmp_path / "run", seed=2, classes=[accurate])
    assert again.identical and again.final["q_error"] == result.final["q_error"][0, 1]
    with pytest.raises(ValueError, match="stop_when"):
        case(seeds, out=tmp_path / "run", resume=True)

    seen.clear()
    end[0] = 7
    with pytest.raises(Interrupted):
        case(seeds, stop_when=accurate, out=tmp_path / "cut", save_every=0)
    end[0] = 10**9
    resumed = case(seeds, stop_when=accurate, out=tmp_path / "cut", resume=True)
    assert everything(resumed) == everything(result) and resumed.stopped == result.stopped


if __name__ == "__main__":  # a process to be killed in the middle of a chunk
    chunk._Pace.fit = lambda self, left: 1
    chunk.SHARE = 0
    write_part = Place.write_part

    def slowly(*args):
        write_part(*args)
        time.sleep(0.2)

    Place.write_part = slowly
    name = sys.argv[2] if len(sys.argv) > 2 else "deep"
    CASES[name](3, out=sys.argv[1], save_every=0, resume=Path(sys.argv[1]).exists())
