"""Executors: worker processes with a time-out a job and crash isolation, and none at all.

A worker has one job at a time, so the job that killed it is known; the others do not notice. The
workers are fresh interpreters that import the tuner alone: no fork of a process with threads, and
the user's main module (and torch) is not imported again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

from .line import JobQueue
from .worker import COMMAND, Job, execute

P = ParamSpec("P")
R = TypeVar("R")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerDied(RuntimeError):
    """The process that ran a job ended before it answered."""


class JobTimeout(RuntimeError):
    """A job took longer than the time-out."""


class Inline(Executor):
    """Runs each job at once in this process; there is no time-out and no isolation."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """A future that is done."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class WorkerPool(Executor):
    """``workers`` processes; a job that exceeds ``timeout`` seconds ends its worker only."""

    def __init__(self, workers: int, timeout: float) -> None:
        self._timeout = timeout
        self._line = JobQueue()
        self._workers = [_Worker() for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queues ``execute`` with its job."""
        if fn is not execute:
            raise TypeError(f"submit: workers run execute(job) only, but got {fn!r}")
        job = args[0]
        assert isinstance(job, Job)
        future: Future[R] = Future()
        self._line.put(job, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers, after their jobs if wait, at once otherwise."""
        self._line.close()
        if not wait or cancel_futures:
            for worker in self._workers:
                worker.close()
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: _Worker) -> None:
        while entry := self._line.take(worker.last, [w.last for w in self._workers]):
            job, future = entry
            worker.last = job.digest
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(worker.run(job, self._timeout))
            except Exception as error:
                future.set_exception(error)
        worker.close()
        worker.forget()


class _Worker:
    """One process, started at its first job and again after one that killed it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self.last = ""  # the kernel of its last job
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, job: Job, timeout: float) -> object:
        """The worker's answer; WorkerDied or JobTimeout if there is none."""
        if self._process is None:
            self._start()
        try:
            self._jobs.send(replace(job, spec=None) if job.digest in self._known else job)
            self._known.add(job.digest)
            if not self._answers.poll(timeout):
                raise JobTimeout(f"no answer within {timeout:g} s")
            return self._answers.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._last_words()) from None
        except JobTimeout:
            self.forget()
            raise

    def close(self) -> None:
        """Ends the process for good; safe to call from another thread."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        read, write = os.pipe(), os.pipe()
        self._errors = tempfile.TemporaryFile()
        command = [sys.executable, "-P", "-c", COMMAND, str(read[0]), str(write[1])]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        limits = dict.fromkeys(_ONE_THREAD, "1")
        with self._lock:
            if self._closed:
                raise WorkerDied("the pool is closed")
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **limits, "PYTHONPATH": paths},
                pass_fds=(read[0], write[1]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for the parent; it closes the pipes
            )
        os.close(read[0])
        os.close(write[1])
        self._known: set[str] = set()
        self._jobs = Connection(read[1], readable=False)
        self._answers = Connection(write[0], writable=False)

    def forget(self) -> None:
        """Ends the process, if there is one, and closes its pipes."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        self._jobs.close()
        self._answers.close()
        self._errors.close()

    def _last_words(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.seek(0)
        lines = self._errors.read()[-4096:].decode(errors="replace").strip().splitlines()
        self.forget()
        return f"exit code {code}" + (f": {lines[-1]}" if lines else "")
