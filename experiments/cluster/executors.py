"""Executors for clusters: each a context manager that starts workers and ends them.

A sweep takes any ``concurrent.futures.Executor``. Dask and mpi4py have one; for Ray and
for submitit's jobs it is written here.
"""

import concurrent.futures
import contextlib
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Workers = Iterator[concurrent.futures.Executor]


@contextlib.contextmanager
def spawn(workers: int = 2) -> Workers:
    """Processes on this machine."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as executor:
        yield executor


@contextlib.contextmanager
def loky(workers: int = 2) -> Workers:
    """Processes on this machine, by joblib's pool, which pickles functions of a script,
    too."""
    from loky import ProcessPoolExecutor  # pyright: ignore[reportMissingImports] (optional)

    with ProcessPoolExecutor(workers) as executor:
        yield executor


@contextlib.contextmanager
def mpi() -> Workers:
    """The other processes of ``mpiexec -n 9 python -m mpi4py.futures SCRIPT``."""
    from mpi4py.futures import (  # pyright: ignore[reportMissingImports] (optional)
        MPIPoolExecutor,
    )

    with MPIPoolExecutor() as executor:
        yield executor


@contextlib.contextmanager
def dask(workers: int = 2) -> Workers:
    """Dask's workers on this machine."""
    from distributed import (  # pyright: ignore[reportMissingImports] (optional)
        Client,
        LocalCluster,
    )

    # A thread for each worker: with more, programs share its cores.
    with (
        LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


@contextlib.contextmanager
def slurm(
    jobs: int = 10, cores: int = 4, memory: str = "8GB", walltime: str = "04:00:00"
) -> Workers:
    """Dask's workers in jobs of SLURM, whose script is printed.

    Args:
        jobs: how many, each with one worker.
        cores: of a job.
        memory: of a job.
        walltime: after which SLURM ends a job; chunks should take far less.

    Raises:
        RuntimeError: there is no SLURM on this machine.
    """
    from dask_jobqueue import SLURMCluster  # pyright: ignore[reportMissingImports] (optional)
    from distributed import Client  # pyright: ignore[reportMissingImports] (optional)

    with SLURMCluster(
        cores=1,  # threads of the worker: one chunk at a time, on all cores of the job
        job_cpu=cores,
        memory=memory,
        walltime=walltime,
        worker_extra_args=["--no-dashboard"],
        job_script_prologue=["export JAX_PLATFORMS=cpu"],
    ) as cluster:
        print(cluster.job_script())
        if shutil.which("sbatch") is None:
            raise RuntimeError("there is no sbatch here; run this where jobs are submitted")
        cluster.scale(jobs=jobs)
        with Client(cluster) as client:
            yield client.get_executor()


class RayExecutor(concurrent.futures.Executor):
    """Ray's workers.

    Args:
        options: of each task, such as ``num_gpus=1``.
    """

    def __init__(self, **options: Any):
        import ray  # pyright: ignore[reportMissingImports] (optional)

        def call(function, /, *args, **kwargs):
            return function(*args, **kwargs)

        self._call = ray.remote(call)
        self._options = options

    def submit(self, fn, /, *args, **kwargs):
        return self._call.options(**self._options).remote(fn, *args, **kwargs).future()


@contextlib.contextmanager
def ray(workers: int = 2) -> Workers:
    """Ray's workers on this machine; ``ray.init(address="auto")`` uses a cluster's."""
    import ray  # pyright: ignore[reportMissingImports] (optional)

    with ray.init(num_cpus=workers, include_dashboard=False):
        yield RayExecutor()


class SubmititExecutor(concurrent.futures.Executor):
    """Jobs of submitit as futures: each chunk is a job of SLURM.

    Args:
        executor: submitit's, with its parameters set.
        every: seconds between two looks at the jobs.
    """

    def __init__(self, executor: Any, every: float = 1.0):
        self._executor, self._every = executor, every
        self._jobs: dict[concurrent.futures.Future, Any] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any):
        if self._closed.is_set():
            raise RuntimeError("cannot submit jobs after shutdown")
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._jobs[future] = self._executor.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; wait for those that were submitted, or cancel them."""
        self._closed.set()
        if cancel_futures:
            with self._lock:
                for job in self._jobs.values():
                    job.cancel()
        if wait:
            self._watcher.join()

    def __exit__(self, kind, error, trace):
        # After an error or Ctrl-C no job should go on using the cluster.
        self.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def _watch(self):
        while self._jobs or not self._closed.is_set():
            with self._lock:
                done = [future for future, job in self._jobs.items() if job.done()]
                jobs = [self._jobs.pop(future) for future in done]
            for future, job in zip(done, jobs, strict=True):
                try:
                    result = job.result()
                except Exception as error:  # of the job, or of SLURM
                    future.set_exception(error)
                else:
                    future.set_result(result)
            time.sleep(self._every)


@contextlib.contextmanager
def submitit(folder: Path = Path("results/cluster/submitit")) -> Workers:
    """Jobs of submitit: SLURM's where there is SLURM, and else processes here."""
    import submitit  # pyright: ignore[reportMissingImports] (optional)

    executor = submitit.AutoExecutor(folder=folder)
    executor.update_parameters(timeout_min=60, cpus_per_task=4, slurm_mem="8GB")
    with SubmititExecutor(executor) as futures:
        yield futures
