"""Jobs on threads, processes and clusters: the same bits, and no job lost."""

import collections
import concurrent.futures
import functools
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from concurrent.futures.process import BrokenProcessPool

import jax
import jax.numpy as jnp
import pytest

import purerl
from experiments.cluster import executors
from purerl.run import over_seeds, worker
from purerl.run.over_seeds import execute
from purerl.run.program import Task
from tests.run.small import DEEP, TABULAR, bits

SPAWN = multiprocessing.get_context("spawn")


class Lost(Exception):
    """What an executor reports when a worker is gone."""


class ByHand(concurrent.futures.Executor):
    """Runs jobs in the calling thread, or fails them as `fate` says.

    Attributes:
        submitted: how often each job was.
        most: the most jobs that were here at once.
    """

    def __init__(self, fate=lambda name, times: None, workers=None):
        self.fate, self.submitted, self.most = fate, collections.Counter(), 0
        self.waiting, self.closed = [], False
        if workers is not None:
            self._max_workers = workers

    def submit(self, function, job, conditions):
        name = job()
        self.submitted[name] += 1
        future = concurrent.futures.Future()
        self.waiting.append((future, function, job, conditions, name))
        self.most = max(self.most, len(self.waiting))
        return future

    def complete(self):
        """Finish the jobs that are here."""
        waiting, self.waiting = self.waiting, []
        for future, function, job, conditions, name in waiting:
            if not future.set_running_or_notify_cancel():
                continue
            error = self.fate(name, self.submitted[name])
            if error is None:
                future.set_result(function(job, conditions))
            else:
                future.set_exception(error)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True


@pytest.fixture
def by_hand(monkeypatch):
    """Let executors complete their jobs when they are waited for."""
    wait, made = concurrent.futures.wait, []

    def completing(futures, **options):
        for executor in made:
            executor.complete()
        return wait(futures, **options)

    monkeypatch.setattr(concurrent.futures, "wait", completing)

    def make(*args, **options):
        made.append(ByHand(*args, **options))
        return made[-1]

    make.made = made
    return make


def numbers(count):
    return {n: functools.partial(int, n) for n in range(count)}


def notes(error):
    return " ".join(getattr(error, "__notes__", []))


# ---- which executors -----------------------------------------------------------------


@pytest.mark.parametrize("through", [lambda pool: pool, lambda pool: lambda: pool])
def test_forked_processes_are_refused_at_once(through):
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with pytest.raises(ValueError, match=r'allowed: mp_context=multiprocessing.*"spawn"'):
        list(execute(numbers(1), through(pool)))
    with pytest.raises(ValueError, match="start method is fork"):
        execute(numbers(1), pool)  # before the first result is asked for


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_start_afresh_are_not_refused(method):
    context = multiprocessing.get_context(method)
    over_seeds.check_executor(concurrent.futures.ProcessPoolExecutor(1, context))


@pytest.mark.parametrize("executor", [4, "threads", [1]])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(ValueError, match=r"executor is .*; allowed: a concurrent.futures.Executor"):
        execute(numbers(1), executor)


@pytest.mark.parametrize("made", [None, 4, lambda: None])
def test_a_function_that_makes_no_executor_is_refused(made):
    with pytest.raises(ValueError, match=r"executor\(\) is .*; allowed: a concurrent"):
        list(execute(numbers(1), lambda: made))


# ---- jobs in flight ------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "most"), [(1, 4), (3, 12), (None, over_seeds.IN_FLIGHT)])
def test_only_so_many_jobs_are_at_an_executor(by_hand, workers, most):
    executor = by_hand(workers=workers)
    assert dict(execute(numbers(2_000), executor)) == {n: n for n in range(2_000)}
    assert executor.most == most and not executor.closed
    assert executor.submitted == collections.Counter(range(2_000))


def test_an_executor_made_here_is_shut_down_here(by_hand):
    assert dict(execute(numbers(5), by_hand)) == {n: n for n in range(5)}
    assert by_hand.made[0].closed


def test_no_job_needs_no_worker(by_hand):
    assert list(execute({}, by_hand())) == []


# ---- lost jobs -----------------------------------------------------------------------


@pytest.mark.parametrize("lost", [Lost("gone"), concurrent.futures.CancelledError()])
def test_a_lost_job_is_submitted_again_at_most_twice(by_hand, lost):
    executor = by_hand(lambda name, times: lost if name == 3 and times < 3 else None)
    assert dict(execute(numbers(6), executor)) == {n: n for n in range(6)}
    assert executor.submitted == {n: 3 if n == 3 else 1 for n in range(6)}


def test_a_job_that_is_lost_three_times_ends_all(by_hand):
    executor = by_hand(lambda name, times: Lost("gone") if name == 3 else None)
    done = []
    with pytest.raises(Lost, match="gone") as caught:
        done.extend(execute(numbers(6), executor))
    assert executor.submitted[3] == 3
    assert "lost chunk 3 3 times" in notes(caught.value) and "resume=True" in notes(caught.value)


def test_what_has_finished_comes_before_an_error(by_hand):
    executor = by_hand(lambda name, times: BrokenProcessPool("broke") if name % 2 else None)
    done, jobs = [], execute(numbers(4), executor)
    with pytest.raises(BrokenProcessPool):
        for name, _ in jobs:
            done.append(name)
    assert sorted(done) == [0, 2]


def test_a_broken_executor_of_the_callers_says_how_to_go_on(by_hand):
    executor = by_hand(lambda name, times: BrokenProcessPool("broke"))
    with pytest.raises(BrokenProcessPool) as caught:
        list(execute(numbers(2), executor))
    assert max(executor.submitted.values()) == 1
    assert "resume=True" in notes(caught.value) and "makes the executor" in notes(caught.value)


def test_a_broken_executor_is_replaced_by_another_one(by_hand):
    def first_breaks():
        breaks = BrokenProcessPool("broke") if not by_hand.made else None
        return by_hand(lambda name, times: breaks if name != 1 else None)

    assert dict(execute(numbers(4), first_breaks)) == {n: n for n in range(4)}
    first, second = by_hand.made
    assert first.closed and sorted(second.submitted) == [0, 2, 3]


class Refuses(ByHand):
    """Broken from the start."""

    def submit(self, function, job, conditions):
        self.submitted[job()] += 1
        raise BrokenProcessPool("broken")


def test_an_executor_that_is_broken_already_breaks_no_more_than_three_times():
    made = []

    def broken():
        made.append(Refuses(workers=1))
        return made[-1]

    with pytest.raises(BrokenProcessPool, match="broken"):
        list(execute(numbers(2), broken))
    assert sum((pool.submitted for pool in made), collections.Counter())[0] == 3


def fails(name):
    raise KeyError(f"no {name}")


def test_an_error_of_a_job_is_final_and_names_the_chunk():
    calls = []

    def job(name, report):
        calls.append(name)
        if name == 2:
            fails(name)
        return name

    jobs = {n: functools.partial(job, n) for n in range(4)}
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(KeyError, match="no 2") as caught,
    ):
        list(execute(jobs, pool))
    assert calls.count(2) == 1
    assert notes(caught.value) == "This error was raised by chunk 2."
    assert "in fails" in "".join(traceback.format_exception(caught.value))


def test_an_error_drops_the_jobs_that_wait():
    begun = []

    def job(name, report):
        begun.append(name)
        if name == 0:
            fails(name)
        time.sleep(0.3)

    jobs = {n: functools.partial(job, n) for n in range(8)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(KeyError):
        list(execute(jobs, pool))
    assert begun in ([0], [0, 1])


# ---- interruptions -------------------------------------------------------------------


def test_an_error_stops_the_threads_and_waits_for_them():
    begun, ended = threading.Barrier(2), []

    def fails_at_last(report):
        begun.wait()
        raise MemoryError

    def continues(report):
        begun.wait()
        try:
            while True:
                time.sleep(0.01)
                report()
        finally:
            ended.append(True)

    jobs = {0: fails_at_last, 1: continues}
    with pytest.raises(MemoryError):
        list(execute(jobs, None))
    assert ended == [True]


@pytest.mark.parametrize("make", [lambda: None, lambda: concurrent.futures.ThreadPoolExecutor])
def test_an_interruption_waits_for_no_job(make):
    leave = threading.Event()
    jobs = {n: lambda *_: leave.wait(30) for n in range(100)}
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    began = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            list(execute(jobs, make()))
        assert time.perf_counter() - began < 5
        assert "resume=True" in notes(caught.value)
    finally:
        leave.set()
        signal.signal(signal.SIGINT, before)


# ---- conditions ----------------------------------------------------------------------


def test_settings_of_the_caller_hold_in_a_worker_while_its_job_runs():
    def job():
        return jnp.arange(3).dtype, jax.config.jax_numpy_dtype_promotion

    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        there = worker.conditions()
    ours = worker.conditions()
    assert worker.attempt(job, there).value == (jnp.dtype("int64"), "strict")
    assert worker.conditions() == ours
    assert worker.attempt(job, ours).value == (jnp.dtype("int32"), "standard")


@pytest.mark.parametrize(
    "executor", [None, lambda: concurrent.futures.ThreadPoolExecutor(2)], ids=["own", "callers"]
)
def test_settings_of_the_calling_thread_hold_in_threads(executor):
    def job(*_):
        return jnp.arange(3).dtype.name

    with jax.enable_x64(True):
        assert set(dict(execute({n: job for n in range(8)}, executor)).values()) == {"int64"}
    assert set(dict(execute({n: job for n in range(8)}, executor)).values()) == {"int32"}


def test_settings_of_two_callers_do_not_mix():
    """Two threads of one worker, whose jobs overlap."""
    together = threading.Barrier(2, timeout=30)

    def job():
        together.wait()
        first = jnp.arange(3).dtype.name
        together.wait()
        return first, jnp.arange(3).dtype.name

    callers = [worker.conditions()]
    with jax.enable_x64(True):
        callers.append(worker.conditions())
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        narrow, wide = (pool.submit(worker.remote, job, caller) for caller in callers)
    assert narrow.result().value == ("int32",) * 2 and wide.result().value == ("int64",) * 2


def test_jax_can_set_each_setting_for_one_thread():
    known = {name for name in worker.SETTINGS if hasattr(jax.config, f"jax_{name}")}
    assert {"enable_x64", "threefry_partitionable", "default_prng_impl"} < known
    for name in known:
        assert callable(getattr(jax, name))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: {"versions": c.versions | {"jax": "0.4.1"}}, r"jax is 0\.\d+.*, and 0\.4\.1 wh"),
        (lambda c: {"backend": "tpu"}, "JAX computes on cpu, and on tpu where"),
        (lambda c: {"flags": ("--xla_x=1",)}, "XLA_FLAGS is .*, and --xla_x=1 where"),
        (
            lambda c: {"settings": c.settings | {"random_seed_offset": 7}},
            "jax_random_seed_offset is 0, and 7 where",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_in_words(change, says):
    caller = worker.conditions()
    caller = caller._replace(**change(caller))
    outcome = worker.remote(functools.partial(int, 3), caller)
    assert outcome.value is None and isinstance(outcome.error, ValueError)
    with pytest.raises(ValueError, match=f"the worker on .* would compute .*: .*{says}"):
        raise outcome.error


def test_the_number_of_devices_is_no_difference(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_b --xla_force_host_platform_device_count=8 --xla_a")
    assert worker.conditions().flags == ("--xla_a", "--xla_b")


def test_a_task_runs_on_the_device_of_the_worker_with_the_fewest_jobs(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    caller, leave = worker.conditions(), threading.Event()
    task = Task(**dict.fromkeys(Task._fields))._replace(device=7)
    devices = []

    def run(task, wait):
        devices.append(task.device)
        return not wait or leave.wait(30)

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        for n in range(5):
            pool.submit(worker.remote, functools.partial(run, task, True), caller)
            while len(devices) <= n:
                time.sleep(0.01)
        assert devices == [0, 1, 2, 0, 1]
        assert worker.remote(functools.partial(run, task, False), caller).value
        assert devices[-1] == 2
        leave.set()
    assert worker.remote(functools.partial(run, task, wait=False), caller).value
    assert devices[-1] == 0 and task.device == 7


# ---- errors on their way -------------------------------------------------------------


class Particular(Exception):
    """Cannot be built again from its message alone, as pickle tries."""

    def __init__(self, message, code):
        super().__init__(message)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyError("x"), KeyError, "'x'"),
        (Particular("strange", 3), RuntimeError, "Particular: strange"),
        (ValueError("lock", threading.Lock()), RuntimeError, "ValueError: ('lock', "),
    ],
)
def test_errors_cross_processes_with_their_traceback(error, kind, text):
    def job():
        raise error

    outcome = worker.attempt(job, worker.conditions())
    assert outcome.error is error
    there = pickle.loads(pickle.dumps(outcome)).error
    assert type(there) is kind and str(there).startswith(text)
    assert "in job" in notes(there) and f"process {os.getpid()}" in notes(there)


# ---- real workers --------------------------------------------------------------------

SWEEPS = {
    "tabular": functools.partial(purerl.sweep, TABULAR),
    "deep": functools.partial(purerl.sweep, DEEP),
}


def sweep(case, **options):
    options = {"num_steps": 400, "points": 4, "lanes": 4, "keep": "state"} | options
    return SWEEPS[case](options.pop("seeds", 12), impl="pcg4d", progress=False, **options)


def outcome(result):
    return bits(result.curves, result.state)


def spawned():
    return concurrent.futures.ProcessPoolExecutor(2, SPAWN)


@pytest.fixture
def compiled(monkeypatch):
    """Let workers load what this process has compiled."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.environ["PURERL_TESTS_COMPILED"])
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def test_a_spawned_worker_takes_over_settings():
    with jax.enable_x64(True):
        made = functools.partial(concurrent.futures.ProcessPoolExecutor, 1, SPAWN)
        ((_, there),) = execute({0: worker.conditions}, made)
    assert there.settings["enable_x64"] and not worker.conditions().settings["enable_x64"]


@pytest.mark.slow
@pytest.mark.parametrize("case", SWEEPS)
def test_spawned_workers_give_the_same_bits(case, compiled):
    here = outcome(sweep(case))
    assert outcome(sweep(case, executor=spawned)) == here


@pytest.fixture
def killed(tmp_path):
    """Kill the first of some processes as soon as the sweep in the folder has a chunk;
    the list that is returned has the process then."""

    def kill(pids):
        while not list(tmp_path.glob("chunks/*.npz")):
            time.sleep(0.005)
        done.append(pids()[0])
        os.kill(done[0], signal.SIGKILL)

    def start(pids):
        threading.Thread(target=kill, args=(pids,), daemon=True).start()
        return done

    done = []
    return start


LONGER = {"seeds": 48, "num_steps": 20_000}


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(tmp_path, compiled, killed):
    made = []

    def pool():
        made.append(spawned())
        return made[-1]

    here = outcome(sweep("deep", **LONGER))
    gone = killed(lambda: list(made[0]._processes))
    assert outcome(sweep("deep", executor=pool, out=tmp_path, **LONGER)) == here
    assert gone and len(made) == 2


@pytest.mark.slow
def test_a_killed_worker_of_dask_costs_nothing(tmp_path, compiled, killed):
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    here = outcome(sweep("deep", **LONGER))
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        gone = killed(lambda: list(client.run(os.getpid).values()))
        executor = client.get_executor()
        assert outcome(sweep("deep", executor=executor, out=tmp_path, **LONGER)) == here
    assert gone


# ---- clusters ------------------------------------------------------------------------


class Job:
    """A job as submitit has it, which a test ends."""

    def __init__(self, call):
        self.call, self.ended, self.cancelled = call, threading.Event(), False

    def done(self):
        return self.ended.is_set()

    def result(self):
        return self.call()

    def cancel(self):
        self.cancelled = True


class Scheduler:
    """In the place of ``submitit.AutoExecutor``; loses some jobs."""

    def __init__(self, lose=0, end=True):
        self.lose, self.end, self.jobs = lose, end, []

    def submit(self, function, *args):
        def lost():
            raise Lost("node failure")

        call = lost if len(self.jobs) < self.lose else functools.partial(function, *args)
        self.jobs.append(Job(call))
        if self.end:
            self.jobs[-1].ended.set()
        return self.jobs[-1]


def test_jobs_of_submitit_are_futures():
    scheduler = Scheduler(lose=2)
    with executors.SubmititExecutor(scheduler, every=0.01) as executor:
        assert dict(execute(numbers(5), executor)) == {n: n for n in range(5)}
    assert len(scheduler.jobs) == 7
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)


def test_the_end_waits_for_the_jobs_of_submitit():
    scheduler = Scheduler(end=False)
    with executors.SubmititExecutor(scheduler, every=0.01) as executor:
        future = executor.submit(int, 7)
        threading.Timer(0.2, scheduler.jobs[0].ended.set).start()
        assert not future.done()
    assert future.result(0) == 7 and not scheduler.jobs[0].cancelled


def test_an_error_cancels_the_jobs_of_submitit():
    scheduler = Scheduler(end=False)
    with (
        pytest.raises(KeyboardInterrupt),
        executors.SubmititExecutor(scheduler, every=0.01) as executor,
    ):
        executor.submit(int, 7)
        raise KeyboardInterrupt
    assert scheduler.jobs[0].cancelled
    scheduler.jobs[0].ended.set()


def test_the_script_of_a_slurm_job(capsys, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue")
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(RuntimeError, match="no sbatch here"),
        executors.slurm(cores=3, memory="5GB", walltime="00:20:00"),
    ):
        pass
    script = capsys.readouterr().out
    assert "#SBATCH --cpus-per-task=3" in script and "#SBATCH -t 00:20:00" in script
    assert "#SBATCH --mem=5G" in script and "--nthreads 1" in script
