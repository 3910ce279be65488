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
from queue import Empty, SimpleQueue
from typing import Any

from .worker import Job

Entry = tuple[Job, Future[Any]]


class JobQueue:
    """Jobs in the order in which they came.

    Who puts and closes holds no lock at any time: Ctrl-C may come between any two of its steps, and
    a lock that is never released would keep the workers' threads, and the process, for ever.
    """

    def __init__(self) -> None:
        self._coming: SimpleQueue[Entry | None] = SimpleQueue()  # None: no more come
        self._taking = threading.Lock()  # around what follows
        self._entries: list[Entry] = []
        self._closed = False

    def put(self, job: Job, future: Future[Any]) -> None:
        """Adds a job at the end."""
        self._coming.put((job, future))

    def close(self) -> None:
        """No more jobs come."""
        self._coming.put(None)

    def take(self, last: str, others: Collection[str]) -> Entry | None:
        """The job for a worker that had the kernel ``last``, while others have theirs."""
        with self._taking:
            self._collect()
            if not self._entries:
                return None

            def rank(number: int) -> tuple[bool, bool, bool, int]:
                job = self._entries[number][0]
                foreign = job.digest != last
                return job.action != "check", foreign, foreign and job.digest in others, number

            return self._entries.pop(min(range(len(self._entries)), key=rank))

    def _collect(self) -> None:
        """Moves what came to the entries; waits while there are none."""
        while True:
            try:
                found = self._coming.get(block=not self._entries and not self._closed)
            except Empty:
                return
            if found is None:
                self._closed = True
            else:
                self._entries.append(found)
