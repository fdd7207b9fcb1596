"""Sweeps: what is run, what it costs, and what survives when it ends badly."""

import concurrent.futures
import errno
import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purerl
from purerl.figures import files
from purerl.random import seed_key
from purerl.run import chunk, program, spec
from purerl.run.evaluation import Episodes
from purerl.run.sweep import NotSaved
from purerl.schedule import linear
from tests import quick
from tests.run.small import DEEP, TABULAR, bits

SHARED = {
    "num_steps": 400,
    "points": 4,
    "lanes": 4,
    "impl": "pcg4d",
    "keep": "state",
    "progress": False,
}
run = functools.partial(purerl.sweep, TABULAR, **SHARED)


class Unchecked(purerl.QLearning):
    """Q-learning with any step size, to see runs diverge."""

    def __post_init__(self):
        pass


UNCHECKED = Unchecked(env=purerl.make("Grid2x3-v0"), learning_rate=0.3)
unchecked = functools.partial(purerl.sweep, UNCHECKED, **SHARED)
CASES = {
    "tabular": run,
    "deep": functools.partial(purerl.sweep, DEEP, evaluation=Episodes(4, 50), **SHARED),
}
SEEDS = 18  # five chunks, the last one half empty


def column(result, n, configuration=0):
    """One seed's curves and state."""
    return bits(*jax.tree.map(lambda x: x[configuration, n], (result.curves, result.state)))


def chunks(folder):
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted((folder / "chunks").glob("*.npz"))
    }


def leftovers(folder):
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".npz", ".json") and path.name != ".lock"
    ]


@pytest.fixture(scope="module")
def whole():
    return run(SEEDS)


@pytest.fixture
def counted(monkeypatch):
    """The chunks that are computed, in order."""
    computed, original = [], chunk.run

    def counting(task, *args):
        computed.append(task)
        return original(task, *args)

    monkeypatch.setattr(chunk, "run", counting)
    return computed


@pytest.fixture
def compilations():
    """What XLA compiles, by name."""
    count, active = [], [True]

    def listen(event, _, fun_name="", **__):
        if active and event == "/jax/core/compile/backend_compile_duration":
            count.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield count
    active.clear()  # listeners cannot be taken back


# ---- widths --------------------------------------------------------------------------


class Inherited(purerl.QLearning):
    """A user's agent that changes nothing."""


def test_the_width_belongs_to_the_agent_and_is_inherited(monkeypatch):
    monkeypatch.setattr(spec, "num_cores", lambda: 2)
    mine = Inherited(env=TABULAR.env)
    sizes = 1, 3, 4, 5, 10, 128, 129, 1_000, 10_000
    widths = [spec.fitting_lanes(TABULAR, size) for size in sizes]
    assert widths == [2, 2, 2, 4, 8, 64, 128, 512, 512]
    assert [spec.fitting_lanes(mine, size) for size in sizes] == widths
    assert [spec.fitting_lanes(DEEP, size) for size in sizes] == [4] * len(sizes)
    assert spec.fitting_lanes(purerl.PSRL(env=TABULAR.env), 1) == 4


@pytest.mark.optimized
def test_a_seed_has_the_same_bits_in_sweeps_of_every_size(monkeypatch):
    """Evaluations included, though programs differ in width."""
    monkeypatch.setattr(spec, "num_cores", lambda: 2)
    settings = {name: value for name, value in SHARED.items() if name != "lanes"}
    small, large = (purerl.sweep(TABULAR, seeds, **settings) for seeds in (2, 40))
    widths = [result.manifest["identity"]["lanes"] for result in (small, large)]
    assert widths == [2, 32]
    assert "q_error" in small.curves and "policy_value" in small.curves
    for n in range(2):
        assert column(small, n) == column(large, n)


def test_a_resumed_sweep_keeps_its_width(tmp_path, monkeypatch):
    settings = {name: value for name, value in SHARED.items() if name != "lanes"}
    monkeypatch.setattr(spec, "num_cores", lambda: 2)
    first = purerl.sweep(TABULAR, 40, **settings, out=tmp_path)
    monkeypatch.setattr(spec, "num_cores", lambda: 16)  # on another machine
    again = purerl.sweep(TABULAR, 40, **settings, out=tmp_path, resume=True)
    assert bits(again.curves) == bits(first.curves)


# ---- what is run ---------------------------------------------------------------------


def test_a_result_has_a_place_for_every_run(whole):
    grid = run(
        [5, 2, 9], over={"learning_rate": [0.3, 0.1], "discount": [0.99, 0.9, 0.5]}, evaluations=2
    )
    pairs = [(0.3, 0.99), (0.3, 0.9), (0.3, 0.5), (0.1, 0.99), (0.1, 0.9), (0.1, 0.5)]
    assert [(c["learning_rate"], c["discount"]) for c in grid.configurations] == pairs
    assert [(agent.learning_rate, agent.discount) for agent in grid.agents] == pairs
    assert grid.seeds.tolist() == [5, 2, 9]
    assert {name: curve.shape for name, curve in grid.curves.items()} == {
        "episode_return": (6, 3, 4),
        "q_error": (6, 3, 2),
        "policy_value": (6, 3, 2),
        "policy_regret": (6, 3, 2),
    }
    assert grid.steps["episode_return"].tolist() == [100, 200, 300, 400]
    assert grid.steps["q_error"].tolist() == [200, 400]
    assert grid.state.q.shape == (6, 3, 6, 4)
    assert whole.configurations == [{}]
    assert whole.curves["q_error"].shape == (1, SEEDS, 4)
    assert whole.failures == []


def test_the_curves_are_those_of_training_by_hand(whole):
    def by_hand(seed):
        return purerl.train(
            TABULAR,
            seed_key(0, seed, "pcg4d"),
            400,
            points=4,
            evaluation=purerl.run.evaluation.Exact(),
        )

    states, curves = jax.jit(jax.vmap(by_hand))(jnp.arange(SEEDS))
    assert curves.keys() == whole.curves.keys()
    for name, curve in curves.items():
        np.testing.assert_allclose(whole.curves[name][0], curve, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(whole.final[name], whole.curves[name][:, :, -1])
    np.testing.assert_allclose(whole.state.q[0], states.q, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_curves_of_a_network_are_those_of_training_by_hand():
    result = CASES["deep"](6, evaluations=4)

    def by_hand(seed):
        return purerl.train(
            DEEP, seed_key(0, seed, "pcg4d"), 400, points=4, evaluation=Episodes(4, 50)
        )

    _, curves = jax.jit(jax.vmap(by_hand))(jnp.arange(6))
    assert curves.keys() == result.curves.keys()
    for name, curve in curves.items():
        np.testing.assert_allclose(result.curves[name][0], curve, rtol=1e-3, atol=1e-4)


def test_base_seeds_are_other_runs(whole):
    other = run(4, base_seed=1)
    assert not {column(other, n)["0.q_error"] for n in range(4)} & {
        column(whole, n)["0.q_error"] for n in range(SEEDS)
    }
    largest = run(1, base_seed=2**31 - 1)
    words = jax.random.key_data(largest.state.key[0, 0])
    expected = TABULAR.init(purerl.run.training.run_keys(seed_key(2**31 - 1, 0, "pcg4d"))[0]).key
    np.testing.assert_array_equal(words, jax.random.key_data(expected))


def test_a_leaf_never_recompiles_and_a_static_field_does_once_for_each_value(whole, compilations):
    grid = run(
        [0, 3],
        over={"learning_rate": [0.3, 0.2, 0.1], "discount": [0.99, 0.5], "env.limit": [50, 3]},
    )
    assert compilations == []
    assert column(grid, 1) == column(whole, 3)

    programs = functools.partial(compilations.count, "jit(advance)")
    quick = functools.partial(run, [0, 3], evaluation=Episodes(2, 20), keep="nothing")
    counting = quick(over={"count_visits": [False, True], "learning_rate": [0.3, 0.1]})
    assert programs() == 2
    assert [c["count_visits"] for c in counting.configurations] == [False, False, True, True]
    np.testing.assert_array_equal(
        counting.curves["episode_return"][:2], counting.curves["episode_return"][2:]
    )

    schedules = [linear(1.0, 0.1, 100), linear(1.0, 0.0, 300)]
    swept = quick(over={"epsilon": [schedules[0], 0.1, schedules[1]]})
    assert programs() == 3  # a number is a structure of its own, and known already
    for c, epsilon in enumerate([schedules[0], 0.1, schedules[1]]):
        alone = quick(over={"epsilon": [epsilon]})
        assert bits(alone.curves["episode_return"][0]) == bits(swept.curves["episode_return"][c])
    assert programs() == 3
    assert len({curve.tobytes() for curve in swept.curves["episode_return"]}) == 3


def test_dotted_names_reach_inside():
    short = run(3, over={"env.limit": [50, 2]})
    env = purerl.envs.TimeLimit(TABULAR.env.env, 2)
    assert column(purerl.sweep(TABULAR.replace(env=env), 3, **SHARED), 2) == column(
        short, 2, configuration=1
    )
    # In two steps nobody reaches the goal, three away: an episode yields -0.2, or less
    # with the hazard.
    assert (
        short.curves["episode_return"][1].max()
        <= -0.2 + 1e-6
        < short.curves["episode_return"][0].max()
    )


# ---- what is refused -----------------------------------------------------------------

WRONG = {
    "no seeds": ({"seeds": 0}, "seeds is .*; allowed"),
    "an empty list of seeds": ({"seeds": []}, "seeds is .*; allowed"),
    "a seed twice": ({"seeds": [3, 1, 3]}, r"seeds is \[3, 1, 3\]; allowed: .*distinct"),
    "a negative seed": ({"seeds": [0, -1]}, r"seeds is \[0, -1\]; allowed"),
    "a seed too large": ({"seeds": [2**31]}, r"seeds is \[2147483648\]; allowed"),
    "seeds that are no integers": ({"seeds": [0.5, 1.7]}, r"seeds is .*0\.5.*; allowed"),
    "a base seed too large": ({"base_seed": 2**31}, "base_seed is 2147483648; allowed"),
    "no such field": (
        {"over": {"learningrate": [0.1]}},
        "QLearning has no field 'learningrate'; it has: .*learning_rate",
    ),
    "no such field inside": (
        {"over": {"env.gravity": [1.0]}},
        "TimeLimit has no field 'gravity'; it has: env, limit",
    ),
    "nothing inside": ({"over": {"learning_rate.start": [1.0]}}, "learning_rate"),
    "no values": ({"over": {"discount": []}}, "discount.*empty"),
    "one value": ({"over": {"discount": 0.9}}, r"is 0\.9; allowed: a list of values .*\[0\.9\]"),
    "a word": ({"over": {"behavior": "greedy"}}, r"did you mean \['greedy'\]"),
    "a set": ({"over": {"discount": {0.9}}}, "allowed: a list of values"),
    "no mapping": ({"over": ["discount"]}, "over is .*; allowed: lists of values by the names"),
    "text": ({"over": {"discount": ["0.9"]}}, r"discount is '0\.9'; .*did you mean 0\.9"),
    "missing": ({"over": {"discount": [None]}}, "discount is None; allowed"),
    "a float": ({"num_steps": 400.0}, r"num_steps is 400\.0; .*did you mean 400\?"),
    "half a seed": ({"seeds": 2.5}, r"seeds is 2\.5; allowed"),
    "text for seeds": ({"seeds": "2"}, "seeds is '2'; allowed"),
    "a word for an evaluation": ({"evaluation": "exact"}, "evaluation is 'exact'; allowed"),
    "a wrong value": ({"over": {"discount": [0.9, 1.5]}}, r"discount is 1\.5; allowed"),
    "steps that do not divide": (
        {"num_steps": 401},
        "num_steps is 401; allowed: a positive multiple of 4",
    ),
    "no steps": ({"num_steps": 0}, "num_steps is 0; allowed"),
    "no points": ({"points": 0}, "points is 0; allowed"),
    "no lanes": ({"lanes": 0}, "lanes is 0; allowed: a positive"),
    "evaluations that do not divide": (
        {"evaluations": 3},
        "evaluations is 3; allowed: a divisor of points, 4",
    ),
    "no evaluations": ({"evaluations": 0}, "evaluations is 0; allowed"),
    "an unknown generator": ({"impl": "philox"}, "impl is 'philox'; allowed: 'threefry', 'pcg4d'"),
    "nothing to resume": ({"resume": True}, "resume is True; allowed: only with out"),
    "nothing that is kept": ({"keep": "all"}, "keep is 'all'; allowed: 'snapshot', 'state'"),
    "no configurations": ({"over": []}, "over is empty; allowed"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named(arguments, message, tmp_path, compilations):
    arguments = {"seeds": 2, "out": tmp_path / "run"} | arguments
    if "resume" in arguments:
        del arguments["out"]
    with pytest.raises(ValueError, match=message):
        run(**arguments)
    assert not compilations  # said before anything is done
    assert not list(tmp_path.iterdir())


def test_exact_evaluation_of_a_scheduled_discount_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="discount"):
        purerl.sweep(TABULAR.replace(discount=linear(0.5, 0.9, 100)), 2, **SHARED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(6, out=folder)
    return folder


OTHER_RUNS = {
    "steps_per_point": {"num_steps": 800},
    "base_seed": {"base_seed": 1},
    "lanes": {"lanes": 2},
    "impl": {"impl": "threefry"},
    "points_per_evaluation": {"evaluations": 1},
    "evaluation": {"evaluation": Episodes(2, 20), "evaluations": 4},
    "over": {"over": {"discount": [0.9]}},
    "learning_rate": {"agent": TABULAR.replace(learning_rate=0.2)},
}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(("name", "changes"), OTHER_RUNS.items(), ids=OTHER_RUNS)
def test_another_runs_folder_is_refused(finished, counted, name, changes, resume):
    before = chunks(finished), (finished / "manifest.json").read_bytes()
    arguments = {"agent": TABULAR, "seeds": 6, "out": finished, "resume": resume} | SHARED | changes
    with pytest.raises(ValueError, match=f"holds another run .*{name}"):
        purerl.sweep(**arguments)
    assert (chunks(finished), (finished / "manifest.json").read_bytes()) == before
    assert not counted


FEWER = {"seeds": {"seeds": 5}, "num_steps": {"num_steps": 200, "points": 2}}


@pytest.mark.parametrize(("name", "changes"), FEWER.items(), ids=FEWER)
def test_a_run_is_not_made_smaller(finished, counted, name, changes):
    arguments = {"agent": TABULAR, "seeds": 6, "out": finished, "resume": True} | SHARED | changes
    with pytest.raises(ValueError, match=f"holds another run .*{name}.*, or more"):
        purerl.sweep(**arguments)
    assert not counted


def test_a_finished_run_is_not_overwritten(finished, counted):
    with pytest.raises(ValueError, match="holds this run already; resume it"):
        run(6, out=finished)
    again = run(6, out=finished, resume=True)
    assert not counted
    assert bits(again.curves, again.state) == bits(
        *(getattr(run(6), name) for name in ("curves", "state"))
    )


def test_chunks_without_a_manifest_are_nobodys(tmp_path):
    """Whose they are cannot be known, so they must not pass for this run's."""
    run(4, out=tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    other = functools.partial(purerl.sweep, TABULAR.replace(learning_rate=0.05), 4, **SHARED)
    try:
        found = other(out=tmp_path / "run")
    except ValueError as error:
        assert "chunks" in str(error)
    else:
        assert bits(found.curves) == bits(other().curves)


@pytest.mark.parametrize("path", ["file", "file/run"])
def test_a_folder_that_cannot_be(tmp_path, path, counted):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises((ValueError, OSError), match=re.escape(str(tmp_path / path))):
        run(2, out=tmp_path / path)
    assert not counted


# ---- what survives -------------------------------------------------------------------


def killed(case, folder, more_than=0):
    """Run or resume a sweep in a process of its own, and kill it without warning
    once another chunk is on disk."""
    env = os.environ | {"PYTHONPATH": str(Path(purerl.__file__).parents[1])} | quick.environment()
    process = subprocess.Popen(
        [sys.executable, __file__, case, folder], env=env, stderr=subprocess.PIPE
    )
    while process.poll() is None and len(list(folder.glob("chunks/*.npz"))) <= more_than:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    process.stderr.close()


@pytest.mark.optimized
@pytest.mark.parametrize(
    ("case", "times"), [("tabular", 1), pytest.param("deep", 2, marks=pytest.mark.slow)]
)
def test_a_killed_sweep_is_resumed_where_it_was(case, times, tmp_path, counted):
    folder, whole, before = tmp_path / "run", CASES[case](SEEDS), {}
    counted.clear()
    for _ in range(times):
        killed(case, folder, more_than=len(before))
        after = chunks(folder)
        assert {name: after[name] for name in before} == before
        before = after
    assert 1 <= len(before) < 5

    half = purerl.load(folder)
    there = np.isfinite(half.final["evaluation_return" if case == "deep" else "q_error"][0])
    assert 4 <= there.sum() < SEEDS
    for name, curve in half.curves.items():
        np.testing.assert_array_equal(curve[:, there], whole.curves[name][:, there])
        assert np.isnan(curve[:, ~there]).all()
    assert half.failures == []
    assert half.label in half.table()

    resumed = CASES[case](SEEDS, out=folder, resume=True)
    assert bits(resumed.curves, resumed.state) == bits(whole.curves, whole.state)
    assert len(counted) == 5 - len(before)
    after = chunks(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == 5


def test_an_interrupt_from_the_keyboard_ends_a_sweep_at_once_and_keeps_what_is_done(
    tmp_path, monkeypatch, whole
):
    original, began, threads = chunk.run, threading.Event(), set(threading.enumerate())

    def endless(task, advance):
        if task.seeds[0] < 8:
            return original(task, advance)
        began.set()
        while True:
            time.sleep(0.02)
            advance()

    def press():
        began.wait()
        while len(list((tmp_path / "run" / "chunks").glob("*.npz"))) < 2:
            time.sleep(0.01)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    pressed = []
    monkeypatch.setattr(chunk, "run", endless)
    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        run(SEEDS, out=tmp_path / "run")
    assert time.monotonic() - pressed[0] < 5
    finger.join()
    assert set(threading.enumerate()) <= threads

    done = chunks(tmp_path / "run")
    assert sorted(done) == ["00000.npz", "00001.npz"]
    assert not leftovers(tmp_path)
    monkeypatch.setattr(chunk, "run", original)
    resumed = run(SEEDS, out=tmp_path / "run", resume=True)
    assert bits(resumed.curves, resumed.state) == bits(whole.curves, whole.state)
    assert {name: chunks(tmp_path / "run")[name] for name in done} == done


def test_an_error_in_one_chunk_keeps_the_finished_ones(tmp_path, monkeypatch):
    original = chunk.run

    def fails(task, *args):
        if task.seeds[0] == 8:
            raise MemoryError("no room for this chunk")
        if task.seeds[0] > 8:
            time.sleep(0.5)  # the thread was faster than the caller, which now sees the error
        return original(task, *args)

    monkeypatch.setattr(chunk, "run", fails)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(MemoryError, match="no room for this chunk"),
    ):
        run(SEEDS, out=tmp_path / "run", executor=executor)
    assert chunks(tmp_path / "run").keys() - {"00003.npz"} == {"00000.npz", "00001.npz"}


@pytest.fixture
def full_disk(monkeypatch):
    """Let the next so many chunks fail to be written."""
    replace, left = os.replace, [0]

    def full(source, target):
        if "chunks" in str(target) and left[0] > 0:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    return left


def test_a_disk_that_was_full_for_a_moment(full_disk, tmp_path, whole, counted):
    full_disk[0] = 1
    result = run(SEEDS, out=tmp_path / "run")
    assert bits(result.curves, result.state) == bits(whole.curves, whole.state)
    assert len(chunks(tmp_path / "run")) == len(counted) == 5
    assert not leftovers(tmp_path)
    assert bits(purerl.load(tmp_path / "run").curves) == bits(whole.curves)


def test_a_disk_that_stays_full_costs_no_result(full_disk, tmp_path, whole, counted):
    full_disk[0] = 10**6
    with pytest.raises(NotSaved, match="could not take 5 of 5 chunks") as caught:
        run(SEEDS, out=tmp_path / "run")
    assert bits(caught.value.result.curves, caught.value.result.state) == bits(
        whole.curves, whole.state
    )
    assert not leftovers(tmp_path)
    assert not chunks(tmp_path / "run")

    full_disk[0] = 0
    run(SEEDS, out=tmp_path / "run", resume=True)
    assert len(counted) == 10
    assert bits(purerl.load(tmp_path / "run").curves) == bits(whole.curves)


def test_a_manifest_that_cannot_be_finished_costs_no_result(tmp_path, monkeypatch, whole):
    replace, written = os.replace, []

    def full(source, target):
        if Path(target).name == "manifest.json":
            written.append(target)
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(NotSaved, match=r"manifest.*No space left") as caught:
        run(SEEDS, out=tmp_path / "run")
    assert written and bits(caught.value.result.curves) == bits(whole.curves)


# ---- what fails ----------------------------------------------------------------------


def test_a_run_that_diverges_is_reported_and_the_others_go_on(tmp_path):
    """A step size of 3 doubles the error at each visit: it overflows for those that
    visit one pair often enough."""
    diverging = jnp.float32(3.0)

    def by_hand(seed):
        return purerl.train(
            UNCHECKED.replace(learning_rate=diverging), seed_key(0, seed, "pcg4d"), 400, points=4
        )[0].q

    finite = np.isfinite(jax.jit(jax.vmap(by_hand))(jnp.arange(12))).all(axis=(1, 2))
    failed = np.flatnonzero(~finite).tolist()
    assert 0 < len(failed) < 12

    result = unchecked(12, over={"learning_rate": [0.3, diverging]}, out=tmp_path / "run")
    assert [(failure["configuration"], failure["seed"]) for failure in result.failures] == [
        (1, seed) for seed in failed
    ]
    assert all("infinite or NaN" in failure["reason"] for failure in result.failures)
    for failure in result.failures:  # until then they have their curves
        point, column_of = failure["point"], (1, failure["seed"])
        assert f"by step {100 * (point + 1)}" in failure["reason"]
        for curve in result.curves.values():
            assert np.isnan(curve[column_of][point:]).all()
        assert np.isfinite(result.curves["q_error"][column_of][:point]).all()
    assert len({failure["point"] for failure in result.failures}) > 1
    for curve in result.curves.values():
        np.testing.assert_array_equal(
            np.isnan(curve[..., -1]), np.stack([np.zeros(12, bool), ~finite])
        )

    without = unchecked(12)
    assert bits(jax.tree.map(lambda x: x[0], result.curves)) == bits(
        jax.tree.map(lambda x: x[0], without.curves)
    )
    for n in np.flatnonzero(finite):
        alone = unchecked([int(n)], over={"learning_rate": [diverging]})
        assert column(result, n, configuration=1) == column(alone, 0)

    rows = [line for line in result.table(["policy_value"]).splitlines() if "learning_rate" in line]
    cells = [[cell.strip() for cell in re.split("[│┃|]", row)[1:-1]] for row in rows]
    assert cells[0][:4] == ["0", "learning_rate=0.3", "12", "0"]
    assert cells[1][:4] == ["1", "learning_rate=3", "12", str(len(failed))]
    assert cells[1][4].rstrip("*)").endswith(f"(n={12 - len(failed)}")
    assert result.scores("q_error", 1).shape == (12 - len(failed),)
    assert purerl.load(tmp_path / "run").failures == result.failures


def test_all_runs_failing_is_a_result_too(tmp_path):
    result = unchecked(3, over={"learning_rate": [jnp.float32(jnp.inf)]})
    assert len(result.failures) == 3
    assert all(np.isnan(curve).all() for curve in result.curves.values())
    assert result.scores("q_error").shape == (0,)
    assert "│ 3* " in result.table(["q_error"])


# ---- what is shown -------------------------------------------------------------------


def test_progress_is_for_terminals(capsys, monkeypatch, whole):
    run(SEEDS, progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    run(SEEDS, progress=True)
    shown = capsys.readouterr().err
    assert f"{SEEDS}/{SEEDS} runs" in shown
    assert "steps/s" in shown
    run(SEEDS, progress=False)
    assert capsys.readouterr().err == ""


def test_progress_from_many_threads(monkeypatch):
    """Two thousand small chunks on eight threads that are switched as often as can
    be."""

    def nothing(task, report):
        for point in range(task.points):
            report(point, {})
        return {
            "curves.x": np.zeros((1, 4), np.float32),
            "failed": np.full(1, -1, np.int32),
            "computed": np.int32(task.points),
            "seconds": np.float64(0),
        }

    monkeypatch.setattr(chunk, "run", nothing)
    monkeypatch.setattr(chunk, "program", lambda task: program.Program(None, None, None, None))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        result = run(2_000, lanes=1, keep="nothing")
    finally:
        sys.setswitchinterval(interval)
    assert result.curves["x"].shape == (1, 2_000, 4)


if __name__ == "__main__":  # a process to be killed: slow enough to be caught in the middle
    quickly = chunk.run

    def slowly(*args):
        time.sleep(0.5)
        return quickly(*args)

    chunk.run = slowly
    CASES[sys.argv[1]](SEEDS, out=sys.argv[2], resume=True)


def test_functions_of_time_sweep_like_schedules(tmp_path):
    """Those of optax too, which are no pytrees; and fields of NumPy's kinds."""
    forms = [optax.linear_schedule(0.5, 0.1, 100), purerl.schedule.linear(0.5, 0.1, 100)]
    result = purerl.sweep(
        TABULAR, np.int64(2), {"learning_rate": forms}, num_steps=200, points=2, progress=False
    )
    np.testing.assert_array_equal(*result.curves["q_error"])
    assert np.isfinite(result.curves["q_error"]).all()
    with pytest.warns(UserWarning, match="<locals>.schedule is not found by importing"):
        purerl.sweep(
            TABULAR.replace(learning_rate=forms[0]), 2, num_steps=200, out=tmp_path / "run"
        )
    found = purerl.load(tmp_path / "run")
    np.testing.assert_array_equal(found.curves["q_error"][0, :, -1], result.final["q_error"][0])
    with pytest.raises(ValueError, match=r"polynomial_schedule\.<locals>"):
        print(found.agents)


def test_fields_valid_only_together_are_swept_in_any_order():
    values = {
        "train_period": [7],
        "target_period": [77, np.int64(154)],
        "replay.capacity": np.array([1001]),
        "learning_starts": [210],
    }
    agent = purerl.DQN(env=purerl.make("CartPole-v1"))
    for names in itertools.permutations(values):
        over = {name: values[name] for name in names}
        made = spec.Spec.new(agent, 1, over, num_steps=700, points=1).agents
        assert [each.target_period for each in made] == [77, 154]
        assert all(each.transitions_per_step == 7 for each in made)
