"""The log of tuning runs: JSON lines, a header line a run and a record line a trial.

Each line is appended and flushed by itself under a lock on the file, so several writers lose
nothing. A run is named by the hash of its header; the same header resumes the run. A last line
without its newline was torn by a kill: readers pass over it and the next writer cuts it off.

    {"schema":3,"run":"6f0c...","versions":{...},"target":"dsp","model":"9a1b...","seed":0,...}
    {"run":"6f0c...","index":0,"kernel":"51d2...","point":{"oc":[8,8]},"status":"ok","cycles":901,
     "checked":true,"message":"","nest":"77d0...","features":[0.31,...],"time":{"measure":0.04}}

The kernel of a trial of the whole model is "model"; its point has the points of kernels that are
not at the run's defaults, by key, and what the model decides beside.

A line with the status "duplicate" is no trial: its point makes the nest of the trial ``index``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..schedule.knobs import key
from .files import open_regular, require_place
from .records import HEADER, Contents, LogError, TrialRecord, faults, line, read, recipe_text, spell
from .task import DUPLICATE


def require_writable(path: str | Path) -> None:
    """LogError if a log cannot be written or begun at a path, or is damaged; writes nothing."""
    with faults(path, "written"):
        if require_place(path):
            read(path)


class Log:
    """A log file opened for one run, or memory if path is None; close it or use ``with``."""

    def __init__(
        self,
        path: str | Path | None,
        head: Mapping[str, Any],
        append: bool = False,
        resume: bool = True,
    ) -> None:
        self.head = dict(head)
        self.run: str = self.head["run"]
        self.contents = Contents(str(path))
        self._offset = 0
        self._file = None
        if path is not None:
            with faults(path, "written"):
                self._file = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            with self._lock():
                self._begin(append, resume)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def known(self, record: TrialRecord) -> TrialRecord | None:
        """What this run has in the place of a record: of trials it is their number."""
        if record.status == DUPLICATE:
            return self.of(record.kernel, record.point)
        return self.contents.trials[self.run].get(record.index)

    def of(self, kernel: str, point: Mapping[str, Any]) -> TrialRecord | None:
        """The record of a point of this run, if there is one."""
        return self.contents.points.get((self.run, kernel, key(point)))

    def append(self, record: TrialRecord) -> TrialRecord:
        """Writes a record unless another writer of the same run did; gives the one that counts."""
        record = replace(record, run=self.run)
        with self._lock():
            self._catch_up()
            if self.known(record) is None:
                self._write(spell(record))
        known = self.known(record)
        assert known is not None
        return known

    def _begin(self, append: bool, resume: bool) -> None:
        self._catch_up()
        if self.run in self.contents.headers:
            if not resume:
                raise LogError(
                    f"log {self.contents.path}: with resume=False the log must not have this run, "
                    f"but it has trials of {self.run}; resume or start a new log"
                )
            return
        if self.contents.headers and not append:
            last = next(reversed(self.contents.headers.values()))
            raise LogError(f"log {self.contents.path}: {_difference(last, self.head)}")
        self._write(line(self.head))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        with faults(self.contents.path, "locked"):
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Takes in what other writers appended, and cuts off a torn end."""
        if self._file is None:
            return
        with faults(self.contents.path, "read"):
            text = self._news(self._file)
        whole = text.rfind(b"\n") + 1
        self.contents.take(text[:whole])
        self._offset += whole
        if whole < len(text):
            with faults(self.contents.path, "written"):
                os.ftruncate(self._file, self._offset)

    def _news(self, file: int) -> bytes:
        """The bytes of the file behind the lines that were read."""
        size = os.fstat(file).st_size
        text = b""
        while len(text) < size - self._offset:
            part = os.pread(file, size - self._offset - len(text), self._offset + len(text))
            if not part:
                break
            text += part
        if size < self._offset or len(text) < size - self._offset:
            raise LogError(f"log {self.contents.path}: must only grow, but another program cut it")
        return text

    def _write(self, text: str) -> None:
        data = text.encode() + b"\n"
        if self._file is not None:
            with faults(self.contents.path, "written"):
                written = os.write(self._file, data)
            if written < len(data):
                raise LogError(f"log {self.contents.path}: cannot be written: the disk is full")
        self._offset += len(data)
        self.contents.take(data)


def _difference(logged: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """One sentence that names the first field in which two headers differ."""
    for name in (*HEADER, *wanted, *logged):
        old, new = logged.get(name), wanted.get(name)
        if name != "run" and old != new:
            break
    if name == "versions":
        olds, news = logged[name], wanted[name]
        name, old, new = next(
            (f"{name} of {part}", olds.get(part), news.get(part))
            for part in sorted({*olds, *news})
            if olds.get(part) != news.get(part)
        )
    say = recipe_text if name == "recipe" else repr
    shown = f" ({say(old)}, now {say(new)})" if not isinstance(old, list) else ""
    return (
        f"a run resumes only with the same {name}, but the log was written with another{shown}; "
        f"append=True (--append) starts a new run in it"
    )
