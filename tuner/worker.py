"""The worker process: takes jobs from a pipe, runs each, and sends back what it found.

A task is rebuilt once per worker and kept in its memory. ``pool.py`` starts it by ``COMMAND`` with
the two ends of its pipes as arguments.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from ..schedule.knobs import Point
from .garbage import seldom
from .task import COMPILE, CRASH, DUPLICATE, INCORRECT, OK, Measured, Task, TaskSpec, Tried, rebuild

COMMAND = "from dovetail.tuner.worker import main; main()"
_tasks: dict[str, Task] = {}


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do with a point: ``measure``, unless its nest is ``known``, or ``check``."""

    action: str
    digest: str  # of the spec
    spec: TaskSpec | None  # None where the worker has it already
    point: Point
    known: frozenset[str] = frozenset()


def execute(job: Job) -> Measured:
    """Does a job in this process; the same job gives the same answer, clock readings aside."""
    if job.digest not in _tasks:
        assert job.spec is not None
        _tasks[job.digest] = rebuild(job.spec)
    return perform(_tasks[job.digest], job.action, job.point, job.known)


def perform(
    task: Tried, action: str, point: Point, known: frozenset[str] = frozenset()
) -> Measured:
    """Measures or checks a point; an exception of the compiler is a status, not an end."""
    begin = time.perf_counter()
    try:
        found = _measured(task, point, known) if action == "measure" else _checked(task, point)
    except Exception as error:
        status = COMPILE if action == "measure" else CRASH
        text = " ".join(str(error).split())
        found = Measured(status, message=f"{type(error).__name__}: {text}"[:400])
    return replace(found, time={**found.time, action: round(time.perf_counter() - begin, 6)})


def _measured(task: Tried, point: Point, known: frozenset[str]) -> Measured:
    nest = task.nest(point)
    if nest in known:
        return Measured(DUPLICATE, nest=nest)
    return replace(task.measure(point), nest=nest)


def _checked(task: Tried, point: Point) -> Measured:
    equal, message = task.check(point)
    return Measured(OK if equal else INCORRECT, message=message)


def main() -> None:
    """Serves jobs until the parent closes the pipe."""
    jobs = Connection(int(sys.argv[1]), writable=False)
    answers = Connection(int(sys.argv[2]), readable=False)
    gc.freeze()  # what was imported stays
    try:
        with seldom():
            while True:
                answers.send(execute(jobs.recv()))
    except (EOFError, BrokenPipeError):
        return
