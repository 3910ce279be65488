"""The line of jobs in front of workers: who takes which one decides time alone.

    line.put(job, future)
    entry = line.take(last, others)      # blocks; None once the line is closed and empty

Checks go first, because a batch waits for them. A worker prefers jobs of the kernel that it had
last, whose common parts it knows, and then those of a kernel that no other worker has.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

from .worker import Job

Entry = tuple[Job, Future[Any]]


class Line:
    """Jobs in the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job, future: Future[Any]) -> None:
        """Adds a job at the end."""
        with self._changed:
            self._entries.append((job, future))
            self._changed.notify()

    def close(self) -> None:
        """No more jobs come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, last: str, others: Collection[str]) -> Entry | None:
        """The job for a worker that had the kernel ``last``, while others have theirs."""
        with self._changed:
            while not self._entries and not self._closed:
                self._changed.wait()
            if not self._entries:
                return None

            def rank(number: int) -> tuple[bool, bool, bool, int]:
                job = self._entries[number][0]
                foreign = job.digest != last
                return job.action != "check", foreign, foreign and job.digest in others, number

            return self._entries.pop(min(range(len(self._entries)), key=rank))
