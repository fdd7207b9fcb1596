"""The contract: on one kind of machine, with one version and one lane width,
(configuration, seed) decides every bit.

Run as a script, ``python tests/test_reproducibility.py CASE``, it prints a digest of
one sweep, for other processes to compare.
"""

import concurrent.futures
import functools
import hashlib
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import purerl
from purerl.run import chunk
from purerl.run.checkpoint import flatten
from purerl.run.evaluation import Episodes, Exact
from purerl.run.program import lowered
from purerl.run.spec import Layout, Spec, groups, tasks
from purerl.schedule import linear
from tests.run import small
from tests.run.small import TABULAR, bits

pytestmark = pytest.mark.optimized

DEEP = small.DEEP.replace(epsilon=linear(1.0, 0.1, 200))
SHARED = {"num_steps": 400, "points": 4, "lanes": 4, "keep": "state", "progress": False}
CASES = {
    "tabular": functools.partial(purerl.sweep, TABULAR, impl="pcg4d", **SHARED),
    "deep": functools.partial(
        purerl.sweep, DEEP, impl="pcg4d", evaluation=Episodes(4, 50), **SHARED
    ),
    "threefry": functools.partial(purerl.sweep, TABULAR, impl="threefry", **SHARED),
}
SEEDS = 30


def runs(result, columns=slice(None), configuration=0):
    """Curves and final states of some seeds of one configuration."""
    return bits(jax.tree.map(lambda x: x[configuration, columns], (result.curves, result.state)))


def digest(result):
    return hashlib.sha256(repr(sorted(runs(result).items())).encode()).hexdigest()


@pytest.fixture(
    scope="module",
    params=["tabular", "deep", pytest.param("threefry", marks=pytest.mark.slow)],
)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def run(case):
    return CASES[case]


@pytest.fixture(scope="module")
def whole(run):
    """Thirty seeds in eight chunks, the last one padded, on the default threads."""
    return run(SEEDS)


def test_runs_differ(whole):
    # What follows would prove nothing of runs that are all the same.
    states = jax.tree.map(lambda x: x[0], whole.state)
    kept = {"tabular": "q", "deep": "params.params.Dense_0.kernel"}[
        "deep" if hasattr(states, "params") else "tabular"
    ]
    learned = flatten(states)[kept]
    assert len({one.tobytes() for one in learned}) == SEEDS
    assert len({one.tobytes() for one in whole.curves["episode_return"][0]}) == SEEDS
    assert not whole.failures


@pytest.mark.parametrize("seed", [0, 7, SEEDS - 1])
def test_a_seed_alone_is_the_seed_among_many(run, whole, seed):
    assert runs(run([seed])) == runs(whole, [seed])


def test_more_seeds_leave_the_first_as_they_were(run, whole):
    assert runs(run(5)) == runs(whole, slice(5))


def test_the_order_of_seeds_does_not_matter(run, whole):
    order = [19, 3, 29, 0, 7, 11]
    result = run(order)
    assert result.seeds.tolist() == order
    assert runs(result) == runs(whole, order)


@pytest.mark.slow
def test_one_lane_is_a_run_without_a_batch_axis():
    """It is no batch of one, which XLA multiplies slowly, and computes the same."""
    agent = small.DEEP.replace(network=purerl.networks.MLP((8,)), learning_starts=100)
    several, alone = (
        purerl.sweep(agent, [0, 3], impl="pcg4d", **SHARED | {"lanes": lanes, "num_steps": 40})
        for lanes in (4, 1)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        several.state.params,
        alone.state.params,
    )
    np.testing.assert_array_equal(several.state.buffer.action, alone.state.buffer.action)
    spec = Spec.new(agent, 1, None, num_steps=40, points=4, lanes=1)
    task = tasks(spec, Layout(1, groups(spec), [[0]]))[0]
    products = re.findall(r"dot_general.*-> tensor<([^>]*)>", lowered(task).advance.as_text())
    assert {shape.count("x") for shape in products} == {2}  # matrices, not batches of them


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(run, whole, threads):
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
        assert runs(run(SEEDS, executor=executor)) == runs(whole)


def test_an_interruption_does_not_matter(run, whole, tmp_path, monkeypatch):
    original, calls = chunk.run, []

    def fails_at_the_fourth(*args):
        calls.append(args)
        if len(calls) == 4:
            raise RuntimeError("out of luck")
        return original(*args)

    monkeypatch.setattr(chunk, "run", fails_at_the_fourth)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(RuntimeError, match="out of luck"),
    ):
        run(SEEDS, out=tmp_path / "run", executor=executor)
    monkeypatch.setattr(chunk, "run", original)
    assert 0 < len(list((tmp_path / "run" / "chunks").glob("*.npz"))) < 8
    assert runs(run(SEEDS, out=tmp_path / "run", resume=True)) == runs(whole)
    assert runs(purerl.load(tmp_path / "run")) == runs(whole)


GRIDS = {
    "tabular": {"learning_rate": [0.3, 0.05], "discount": [0.99, 0.5], "env.limit": [50, 3]},
    "deep": {
        "learning_rate": [1e-3, 1e-2],
        "epsilon.steps": [200, 20],
        "env.env.gravity": [9.8, 1.6],
    },
}


def test_a_run_in_a_grid_is_the_run_on_its_own(case, run, whole):
    over = GRIDS["deep" if case == "deep" else "tabular"]
    grid = run([3, 8], over=over)
    assert len(grid.configurations) == 8
    assert runs(grid) == runs(whole, [3, 8])  # the first of each list is what the agent has anyway
    last = run([8], over={name: values[-1:] for name, values in over.items()})
    assert runs(grid, [1], configuration=7) == runs(last)
    singles = [runs(grid, [1], configuration=c)["0.0.episode_return"] for c in range(8)]
    assert len(set(singles)) > 4  # that the values reach the runs


@pytest.mark.parametrize(
    "evaluation",
    [Episodes(2, 20), pytest.param(Exact(), marks=pytest.mark.slow)],
    ids=["episodes", "exact"],
)
def test_a_swept_environment_is_the_environment_on_its_own(evaluation):
    cliffs = [purerl.make("CliffWalking-v1", slip=slip) for slip in (0.2, 0.4)]
    run = functools.partial(CASES["tabular"], [1, 2], evaluation=evaluation)
    both = run(over={"env": cliffs})
    assert runs(both, configuration=0) != runs(both, configuration=1)
    for c, cliff in enumerate(cliffs):
        assert runs(both, configuration=c) == runs(run(over={"env": [cliff]}))


def other_process(case, **environment):
    """The digest that a process of its own finds."""
    env = os.environ | {"PYTHONPATH": str(Path(purerl.__file__).parents[1])} | environment
    done = subprocess.run(
        [sys.executable, __file__, case], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_processes_agree():
    assert other_process("tabular") == digest(CASES["tabular"](SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["deep", "threefry"], indirect=False)
def test_two_processes_agree_on_the_rest(case):
    assert other_process(case) == digest(CASES[case](SEEDS))


@pytest.mark.slow
def test_the_number_of_devices_does_not_matter():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    for case in CASES:
        assert other_process(case, XLA_FLAGS=flags) == digest(CASES[case](SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tabular", "deep"], indirect=False)
def test_processes_as_workers(case):
    with concurrent.futures.ProcessPoolExecutor(
        2, multiprocessing.get_context("spawn")
    ) as executor:
        assert runs(CASES[case](10, executor=executor)) == runs(CASES[case](10))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tabular", "deep"], indirect=False)
def test_one_of_a_hundred_longer_runs(case, tmp_path, monkeypatch):
    run = functools.partial(CASES[case], num_steps=4_000)
    hundred = run(100)
    assert len({one.tobytes() for one in hundred.curves["episode_return"][0]}) == 100
    for seed in (0, 17, 99):
        assert runs(run([seed])) == runs(hundred, [seed])
    for threads in (1, 2, 3):
        with concurrent.futures.ThreadPoolExecutor(threads) as executor:
            assert runs(run(100, executor=executor)) == runs(hundred)

    original, calls = chunk.run, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(chunk, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(100, out=tmp_path / "run")
    assert runs(run(100, out=tmp_path / "run", resume=True)) == runs(hundred)


def test_the_key_of_a_seed_depends_on_nothing_but_base_and_seed(whole, case):
    impl = "threefry" if case == "threefry" else "pcg4d"
    init_key, _ = purerl.run.training.run_keys(purerl.random.seed_key(0, 7, impl))
    agent = DEEP if case == "deep" else TABULAR
    fresh, trained = flatten(jax.jit(agent.init)(init_key)), flatten(whole.state)
    names = [name for name in fresh if "@key:" in name]
    assert names
    for name in names:
        np.testing.assert_array_equal(fresh[name], trained[name][0, 7])


if __name__ == "__main__":
    print(digest(CASES[sys.argv[1]](SEEDS)))
