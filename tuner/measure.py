"""Measuring: jobs to any ``concurrent.futures.Executor``, answers in the order of the jobs.

A job whose worker died or took too long is tried once more. If it fails again, a measured target
gets the status ``crash`` or ``timeout``; on a simulated target, where a trial must not depend on a
wall clock, the run ends instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager

from ..options import checks
from ..schedule.knobs import Point, key
from .garbage import seldom
from .pool import Inline, JobTimeout, WorkerPool
from .task import CRASH, TIMEOUT, Measured, Task, TaskSpec, TuneError
from .worker import Job, execute, perform

_TIMEOUTS = (JobTimeout, FutureTimeout)


def default_workers() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


def hire(workers: int | None = None, timeout: float = 120.0) -> Executor:
    """Our own executor: ``workers`` processes, one a processor for None, or none at all for 0."""
    count = default_workers() if workers is None else workers
    return WorkerPool(count, timeout) if count else Inline()


@contextmanager
def hired(executor: Executor | int | None, timeout: float) -> Iterator[Executor]:
    """``executor``, or our own one that ends with the block: for several searches in a row. In the
    block this process looks for cyclic garbage seldom."""
    executor, timeout = checks.hands(executor, timeout)
    with seldom():
        if isinstance(executor, Executor):
            yield executor
            return
        own = hire(executor, timeout)
        try:
            yield own
        finally:
            own.shutdown(wait=False, cancel_futures=True)


class Measurer:
    """Runs jobs of tasks in an executor, or in one of our own that ends with the measurer."""

    def __init__(self, executor: Executor | int | None = None, timeout: float = 120.0) -> None:
        executor, self._timeout = checks.hands(executor, timeout)
        self._own = not isinstance(executor, Executor)
        self._executor = (
            executor if isinstance(executor, Executor) else hire(executor, self._timeout)
        )
        self._timed = isinstance(self._executor, WorkerPool | Inline)  # or by its own clock
        self._waiting = 0  # jobs whose answers were not asked for
        self._specs: dict[str, tuple[str, TaskSpec]] = {}

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def run(self, task: Task, action: str, points: Sequence[Point]) -> list[Measured]:
        """Measures or checks points, answers in their order."""
        return self.start(task, action, points)()

    def start(
        self, task: Task, action: str, points: Sequence[Point],
        known: frozenset[str] = frozenset(),
    ) -> Callable[[], list[Measured]]:  # fmt: skip
        """Begins to run points; calling the result waits for the answers. Points whose nest is
        ``known`` are not measured."""
        submit = self._submitter(task, action, known)
        futures = [submit(point) for point in points]
        # Our pool times each job; of a foreign executor we know only how many jobs are in line.
        self._waiting += len(points)
        limit = None if self._timed else self._timeout * self._waiting

        def answers() -> list[Measured]:
            self._waiting -= len(points)
            return [
                _answer(task, point, future, submit, limit)
                for point, future in zip(points, futures, strict=True)
            ]

        return answers

    def _submitter(
        self, task: Task, action: str, known: frozenset[str]
    ) -> Callable[[Point], Future[Measured]]:
        if isinstance(self._executor, Inline):
            return lambda point: self._submit(perform, task, action, point, known)
        if task.key not in self._specs:
            spec = task.spec
            if spec is None:
                return lambda point: Inline().submit(perform, task, action, point, known)
            self._specs[task.key] = spec.digest, spec
        digest, spec = self._specs[task.key]
        return lambda point: self._submit(execute, Job(action, digest, spec, point, known))

    def _submit(self, run: Callable[..., Measured], *given: object) -> Future[Measured]:
        """A job under way; an executor that was closed takes none."""
        try:
            return self._executor.submit(run, *given)
        except Exception as error:  # executors say it each in their own way
            kind, text = type(error).__name__, " ".join(str(error).split())
            raise TuneError(
                f"measure: the executor must take jobs, but {type(self._executor).__name__} "
                f"refused one ({kind}: {text}); give an executor that is open"
            ) from error


def _answer(
    task: Task,
    point: Point,
    future: Future[Measured],
    submit: Callable[[Point], Future[Measured]],
    limit: float | None,
) -> Measured:
    """The answer of a job, which is submitted once more if it has none."""
    try:
        return future.result(limit)
    except Exception:  # executors report a lost worker each in their own way
        try:
            return submit(point).result(limit)
        except TuneError:
            raise
        except Exception as error:
            return _failed(task, point, error)


def _failed(task: Task, point: Point, error: Exception) -> Measured:
    status = TIMEOUT if isinstance(error, _TIMEOUTS) else CRASH
    if not task.simulated:
        return Measured(status, message=str(error))
    raise TuneError(
        f"measure: a trial on a simulated target must end by itself, but kernel {task.name!r} at "
        f"{key(point)} twice gave a {status} ({error}); the log is whole up to the trial before"
    )
