"""Functions of a random key, run over many seeds: in lanes, in chunks, on an executor.

XLA rounds differently in programs of different width, but not when a run moves to
another lane, chunk, thread or device of the same program. So all runs are computed by
one program of ``W`` lanes (runs side by side); they are dealt to chunks of ``W``, the
last one is padded, and whole chunks are handed to a ``concurrent.futures.Executor``.
"""

import collections
import concurrent.futures
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl.agents.base import Agent
from purerl.checks import refusal
from purerl.random import Impl, seed_key
from purerl.run import worker


def num_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def deal(num_runs: int, lanes: int) -> list[np.ndarray]:
    """Run numbers by chunk, int32 ``[lanes]`` each; the last is padded with its first.

    >>> [chunk.tolist() for chunk in deal(5, 3)]
    [[0, 1, 2], [3, 4, 3]]
    """
    numbers = np.arange(num_runs, dtype=np.int32)
    chunks = [numbers[start : start + lanes] for start in range(0, num_runs, lanes)]
    return [np.append(c, np.repeat(c[:1], lanes - len(c))) for c in chunks]


# Where chunks run: an executor, or a function that makes one.
Workers = concurrent.futures.Executor | Callable[[], concurrent.futures.Executor]

ATTEMPTS = 3  # of a job that is lost with its worker
# Jobs at an executor that does not say how many workers it has. Each is a copy of its
# task, so that all of a long list would fill memory.
IN_FLIGHT = 512

PATIENCE = 0.5  # seconds that an error or interruption waits for jobs to stop

_GO_ON = "Finished chunks of a run with out= are kept; the same call with resume=True goes on."
_REPLACEABLE = "Where executor= is a function that makes the executor, one that broke is replaced."


def check_executor(executor: Workers | None) -> None:
    """Refuse what cannot run jobs.

    Raises:
        ValueError: it is neither an executor nor a function, or its processes are
            forked.
    """
    if executor is None or _makes_executors(executor):
        return
    if not isinstance(executor, concurrent.futures.Executor):
        allowed = "a concurrent.futures.Executor, or a function of no arguments that makes one"
        raise refusal("execute", "executor", executor, allowed)
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            # Forked copies of a process that has used JAX hang, without an error.
            allowed = 'mp_context=multiprocessing.get_context("spawn"); JAX hangs in forked ones'
            raise refusal("ProcessPoolExecutor", "start method", "fork", allowed)


def _makes_executors(executor):
    return callable(executor) and not isinstance(executor, concurrent.futures.Executor)


def execute(
    jobs: Mapping[int, Callable[..., Any]],
    executor: Workers | None = None,
    advance: Callable[..., None] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Run jobs, each under the caller's conditions (:mod:`purerl.run.worker`).

    A job that is lost with its worker is submitted again, at most twice. On any error,
    and on an interruption, the jobs that wait are dropped, and threads are told to stop
    and waited for, but not for long.

    Args:
        jobs: by the number of their chunk. On threads of this process, the default ones
            or those of a ``ThreadPoolExecutor``, each is called with a function that it
            calls now and then, and that raises ``CancelledError`` when the job should
            stop; elsewhere it is called without arguments.
        executor: by default a thread for each core on a CPU, for each device elsewhere.
            A function makes an executor, and another one if that breaks; these are shut
            down here, but not an executor of the caller's.
        advance: called with the number of a job and what it reports, by one thread at a
            time; jobs of other processes report nothing.

    Returns:
        An iterator over ``(number, result)`` as jobs finish, in any order.

    Raises:
        ValueError: the executor cannot run jobs.
    """
    check_executor(executor)
    return _results(jobs, executor, advance, worker.conditions())


def _results(jobs, executor, advance, conditions):
    stop, lock = threading.Event(), threading.Lock()

    def report(name, *progress):
        if stop.is_set():
            raise concurrent.futures.CancelledError
        if advance is not None and progress:
            with lock:
                advance(name, *progress)

    def submit(name):
        """The future of a job; a failed one where the pool turns out to be broken."""
        try:
            job = jobs[name]
            if isinstance(pool, concurrent.futures.ThreadPoolExecutor):
                job = functools.partial(job, functools.partial(report, name))
            where = worker.attempt if executor is None else worker.remote
            return pool.submit(where, job, conditions)
        except concurrent.futures.BrokenExecutor as error:
            future = concurrent.futures.Future()
            future.set_exception(error)
            return future

    pool = _pool(executor)
    waiting = collections.deque(jobs)
    running: dict[concurrent.futures.Future, tuple[int, concurrent.futures.Executor]] = {}
    attempts: collections.Counter[int] = collections.Counter()
    try:
        while waiting or running:
            while waiting and len(running) < _most(pool):
                name = waiting.popleft()
                attempts[name] += 1
                running[submit(name)] = name, pool
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            # An error ends everything: what has finished by then comes first.
            for future in sorted(done, key=lambda future: _failure(future) is not None):
                name, its_pool = running.pop(future)
                failure = _failure(future)
                if failure is None:
                    yield name, future.result().value
                    continue
                _raise_unless_lost(failure, future, name, attempts[name], executor)
                waiting.append(name)
                if isinstance(failure, concurrent.futures.BrokenExecutor) and its_pool is pool:
                    pool.shutdown(wait=False)
                    pool = _pool(executor)
    except KeyboardInterrupt as error:
        error.add_note(_GO_ON)
        raise
    finally:
        stop.set()
        active = [future for future in running if not future.cancel()]
        if pool is not executor:
            _, late = concurrent.futures.wait(active, timeout=PATIENCE)
            pool.shutdown(wait=not late)


def _pool(executor):
    if executor is None:
        on_cpu = jax.default_backend() == "cpu"
        return concurrent.futures.ThreadPoolExecutor(
            num_cores() if on_cpu else jax.local_device_count()
        )
    if not _makes_executors(executor):
        return executor
    made = executor()
    if not isinstance(made, concurrent.futures.Executor):
        raise refusal("execute", "executor()", made, "a concurrent.futures.Executor")
    check_executor(made)
    return made


def _most(pool):
    """How many jobs may be at a pool at once."""
    workers = getattr(pool, "_max_workers", None)
    return 4 * workers if isinstance(workers, int) else IN_FLIGHT


def _failure(future):
    """The error of a job or of its executor, None if there is none."""
    if future.cancelled():
        return concurrent.futures.CancelledError()
    return future.exception() or future.result().error


def _raise_unless_lost(failure, future, name, attempts, executor):
    """Raise the failure of a job with notes, unless the job may be tried again."""
    own = not future.cancelled() and future.exception() is None
    broken = isinstance(failure, concurrent.futures.BrokenExecutor)
    if own:
        failure.add_note(f"This error was raised by chunk {name}.")
    elif not isinstance(failure, Exception):
        pass  # an interruption of the worker is one of the caller, too
    elif broken and not _makes_executors(executor):
        failure.add_note(f"The executor broke while chunk {name} waited or ran. {_GO_ON}")
        failure.add_note(_REPLACEABLE)
    elif attempts < ATTEMPTS:
        return
    else:
        failure.add_note(f"The executor lost chunk {name} {attempts} times. {_GO_ON}")
    raise failure


def over_seeds(
    function: Callable[..., Any],
    seeds: int,
    settings: Any = None,
    *,
    lanes: int = 128,
    base_seed: int = 0,
    impl: Impl = "pcg4d",
    executor: concurrent.futures.Executor | None = None,
) -> Any:
    """Run a function over seeds, and over settings if there are any.

    Args:
        function: pure, ``function(key)`` or ``function(setting, key)``, of one run.
        seeds: ``N``; run ``i`` gets the key ``seed_key(base_seed, i, impl)``.
        settings: a pytree with leaves ``[P, ...]``, or None.
        lanes: runs side by side in one program; no more than there are runs.
        base_seed: from which all keys derive.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        executor: where chunks run, in this process; by default one thread a core.

    Returns:
        The results as NumPy arrays, leaves ``[N, ...]``, or ``[P, N, ...]`` with
        settings.

    >>> import jax
    >>> over_seeds(lambda key: jax.random.uniform(key), 3).shape
    (3,)
    """
    many = 1 if settings is None else jax.tree.leaves(settings)[0].shape[0]

    def run(number):
        key = seed_key(base_seed, number % seeds, impl)
        if settings is None:
            return function(key)
        return function(_setting(settings, number // seeds), key)

    results = _in_chunks(jax.vmap(run), many * seeds, lanes, executor)
    shape = (seeds,) if settings is None else (many, seeds)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), results)


def over_episodes(
    make_agent: Callable[[Any], Agent],
    settings: Any,
    seeds: int,
    num_episodes: int,
    measure: Callable[[Any, Any], dict[str, jax.Array]] = lambda agent, state: {},
    *,
    lanes: int = 128,
    max_steps: int = 10_000_000,
    base_seed: int = 0,
    impl: Impl = "pcg4d",
    executor: concurrent.futures.Executor | None = None,
) -> dict[str, np.ndarray]:
    """Train an agent for a number of episodes, over settings and seeds.

    A chunk continues until the last of its runs is done; what the others do beyond
    their last episode is not recorded.

    Args:
        make_agent: the agent of one setting, which takes one transition a step.
        settings: a pytree with leaves ``[P, ...]``.
        seeds: ``N``; run ``i`` of every setting gets the key
            ``seed_key(base_seed, i, impl)``.
        num_episodes: ``E``, of each run.
        measure: ``(agent, state) -> {name: []}``, applied at the end of each episode.
        lanes: runs side by side in one program; no more than there are runs.
        max_steps: steps after which a chunk is given up; what is missing is NaN.
        base_seed: from which all keys derive.
        impl: the generator, ``"threefry"`` or ``"pcg4d"``.
        executor: where chunks run; by default one thread a core.

    Returns:
        ``length`` and ``return`` of every episode and its measures, ``[P, N, E]`` each.
    """
    many = jax.tree.leaves(settings)[0].shape[0]

    def step(setting, state, t):
        agent = make_agent(setting)
        state, metrics = agent.step(state, t)
        ended = metrics["episode_return"]
        return state, ended.count > 0, {"return": ended.total, **measure(agent, state)}

    def chunk(numbers):
        setting = _setting(settings, numbers // seeds)
        keys = jax.vmap(lambda i: seed_key(base_seed, i, impl))(numbers % seeds)
        width = numbers.shape[0]
        run = jnp.arange(width, dtype=jnp.int32)

        def unfinished(carry):
            _, t, ended, _, _ = carry
            return jnp.any(ended < num_episodes) & (t < max_steps)

        def body(carry):
            states, t, ended, length, records = carry
            states, done, row = jax.vmap(step, (0, 0, None))(setting, states, t)
            row["length"] = length + 1
            place = jnp.where(done, ended, num_episodes)  # beyond the end nothing is written
            records = {
                name: table.at[run, place].set(row[name].astype(jnp.float32), mode="drop")
                for name, table in records.items()
            }
            return states, t + 1, ended + done, jnp.where(done, 0, length + 1), records

        states = jax.vmap(lambda one, key: make_agent(one).init(key))(setting, keys)
        rows = jax.eval_shape(jax.vmap(step, (0, 0, None)), setting, states, jnp.int32(0))[2]
        empty = jnp.zeros((width, num_episodes), jnp.float32)
        zeros = jnp.zeros(width, jnp.int32)
        records = dict.fromkeys((*rows, "length"), empty)
        carry = states, jnp.int32(0), zeros, zeros, records
        _, _, ended, _, records = jax.lax.while_loop(unfinished, body, carry)
        return ended, records

    ended, records = _in_chunks(chunk, many * seeds, lanes, executor)
    # On the host, so that jax.debug_nans does not stop at what is missing.
    missing = np.arange(num_episodes) >= ended[:, None]
    return {
        name: np.where(missing, np.nan, x).reshape(many, seeds, num_episodes)
        for name, x in records.items()
    }


def _setting(settings, number):
    return jax.tree.map(lambda x: jnp.asarray(x)[number], settings)


def _in_chunks(function, num_runs, lanes, executor):
    """``function(run numbers [W])`` for all runs, leaves ``[num_runs, ...]``."""
    chunks = deal(num_runs, min(lanes, num_runs))
    program = jax.jit(function)
    if executor is None:
        program = program.lower(chunks[0]).compile()
    jobs = {i: functools.partial(_run_chunk, program, c) for i, c in enumerate(chunks)}
    done = dict(execute(jobs, executor))
    parts = [done[i] for i in range(len(chunks))]
    return jax.tree.map(lambda *x: np.concatenate(x)[:num_runs], *parts)


def _run_chunk(program, numbers, report=lambda: None):
    report()
    return jax.tree.map(np.asarray, program(jnp.asarray(numbers)))
