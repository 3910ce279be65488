"""The line of jobs: checks first, then the kernel that the worker had, then one that none has."""

import threading
from concurrent.futures import Future
from typing import Any

from dovetail.tuner.line import JobQueue
from dovetail.tuner.worker import Job


def line(*jobs: tuple[str, str]) -> JobQueue:
    made = JobQueue()
    for number, (digest, action) in enumerate(jobs):
        made.put(Job(action, digest, None, {"n": number}), Future())
    return made


def taken(made: JobQueue, last: str, *others: str) -> object:
    entry = made.take(last, others)
    return None if entry is None else entry[0].point["n"]


def test_checks_go_first() -> None:
    assert taken(line(("a", "measure"), ("b", "check")), "a") == 1


def test_a_worker_stays_with_its_kernel() -> None:
    made = line(("a", "measure"), ("b", "measure"), ("a", "measure"), ("b", "measure"))
    assert [taken(made, "b", "a") for _ in range(4)] == [1, 3, 0, 2]


def test_then_it_takes_a_kernel_that_no_other_has() -> None:
    made = line(("a", "measure"), ("b", "measure"), ("c", "measure"))
    assert [taken(made, "x", "a", "b"), taken(made, "c", "a", "b")] == [2, 0]


def test_a_closed_line_is_emptied_first() -> None:
    made = line(("a", "measure"))
    made.close()
    assert [taken(made, ""), taken(made, "")] == [0, None]


def test_take_waits_for_a_job() -> None:
    made, got = JobQueue(), []

    def wait() -> None:
        got.append(taken(made, ""))

    thread = threading.Thread(target=wait)
    thread.start()
    future: Future[Any] = Future()
    made.put(Job("measure", "a", None, {"n": 7}), future)
    thread.join(10)
    assert got == [7]


def test_who_puts_and_closes_takes_no_lock() -> None:
    made = line(("a", "measure"))
    with made._taking:
        made.put(Job("measure", "b", None, {"n": 1}), Future())
        made.close()
    assert [taken(made, ""), taken(made, ""), taken(made, "")] == [0, 1, None]
