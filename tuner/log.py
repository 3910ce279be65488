"""The log of tuning runs: JSON lines, a header line a run and a record line a trial.

Each line is appended and flushed by itself under a lock on the file, so several writers lose
nothing. A run is named by the hash of its header; the same header resumes the run. A last line
without its newline was torn by a kill: readers pass over it and the next writer cuts it off.

    {"schema":2,"run":"6f0c...","versions":{...},"target":"dsp","model":"9a1b...","seed":0,...}
    {"run":"6f0c...","index":0,"kernel":"51d2...","point":{"oc":[8,8]},"status":"ok","cycles":901,
     "checked":true,"message":"","time":{"measure":0.04}}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from .files import open_regular, require_place
from .task import OK, STATUSES

SCHEMA = 2
_HEADER = {"schema": int, "run": str, "versions": dict, "target": str, "model": str, "seed": int}
_KERNEL = {"key": str, "name": str, "form": dict, "space": str, "default": dict}
_RECORD = {"run": str, "index": int, "kernel": str, "point": dict, "status": str}
_OPTIONAL = {"checked": bool, "message": str, "time": dict}


class LogError(RuntimeError):
    """A log that cannot be read, written or used for this run; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Record:
    """One trial; ``checked`` says that its values were compared and equal."""

    run: str
    index: int
    kernel: str
    point: Mapping[str, Any]
    status: str
    cycles: int | None = None
    seconds: float | None = None
    checked: bool = False
    message: str = ""
    time: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> float | None:
        """Cycles or seconds of a trial that is ok."""
        if self.status != OK:
            return None
        return self.seconds if self.cycles is None else self.cycles


def _is_kernel(row: object) -> bool:
    return isinstance(row, dict) and all(
        isinstance(row.get(name), kind) for name, kind in _KERNEL.items()
    )


def _is_cost(value: object) -> bool:
    """Whether a value is a number of cycles or seconds: NaN and infinities are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))


def spell(record: Record) -> str:
    """The line of a record, without its newline."""
    cost = {"cycles": record.cycles} if record.seconds is None else {"seconds": record.seconds}
    data = {"run": record.run, "index": record.index, "kernel": record.kernel}
    data |= {"point": dict(record.point), "status": record.status, **cost}
    data |= {"checked": record.checked, "message": record.message, "time": dict(record.time)}
    return _line(data | dict(record.extra))


def header(
    versions: Mapping[str, str], target: str, model: str, seed: int, **more: object
) -> dict[str, Any]:
    """The header of a run, with its name: the hash of everything that the trials depend on."""
    data = {"schema": SCHEMA, "versions": dict(sorted(versions.items()))}
    data |= {"target": target, "model": model, "seed": seed, **more}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return {"schema": SCHEMA, "run": hashlib.sha256(text.encode()).hexdigest()[:16], **data}


@dataclass(slots=True)
class Contents:
    """The headers and records of a log's complete lines."""

    path: str
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, dict[int, Record]] = field(default_factory=dict)
    lines: int = 0

    def records(self) -> Iterator[Record]:
        """All trials: the runs as they began, each in the order of its indices."""
        for trials in self.trials.values():
            yield from (trials[index] for index in sorted(trials))

    def take(self, text: bytes) -> None:
        """Reads complete lines; of two records of one trial the first counts."""
        for line in text.split(b"\n")[:-1]:
            self.lines += 1
            data = self._json(line)
            if "schema" in data:
                self._header(data)
            else:
                self._record(data)

    def _json(self, line: bytes) -> dict[str, Any]:
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            found = "has NUL bytes" if b"\0" in line else "is not JSON"
            raise self._bad(
                f"each line must be a JSON object, but this one "
                f"{found if line.strip() else 'is blank'}; "
                f"delete the line, and the next tune makes its trial again"
            ) from None
        if not isinstance(data, dict):
            raise self._bad(f"each line must be a JSON object, but got {type(data).__name__}")
        return data

    def _header(self, data: dict[str, Any]) -> None:
        if data["schema"] != SCHEMA:
            raise self._bad(
                f"the schema must be {SCHEMA}, but got {data['schema']!r}; "
                "it names its kernels in another way, so tune into a new log"
            )
        self._fields(data, _HEADER, "header")
        kernels = data.get("kernels", [])
        if not isinstance(kernels, list) or not all(map(_is_kernel, kernels)):
            raise self._bad(f"the kernels of a header need {', '.join(_KERNEL)} each")
        if data["run"] not in self.headers:
            self.headers[data["run"]] = data
            self.trials[data["run"]] = {}

    def _record(self, data: dict[str, Any]) -> None:
        self._fields(data, _RECORD, "record")
        if data["run"] not in self.headers:
            raise self._bad(f"a record must follow the header of its run {data['run']!r}")
        if data["status"] not in STATUSES:
            words = ", ".join(STATUSES)
            raise self._bad(f"the status must be one of {words}, but got {data['status']!r}")
        cost = data.get("cycles", data.get("seconds"))
        if data["status"] == OK and not _is_cost(cost):
            raise self._bad(f"an ok record needs cycles or seconds, but got {cost!r}")
        for name, kind in _OPTIONAL.items():
            if not isinstance(data.get(name, kind()), kind):
                raise self._bad(
                    f"{name!r} of a record must be of type {kind.__name__}, but got {data[name]!r}"
                )
        self.trials[data["run"]].setdefault(data["index"], _parsed(data))

    def _fields(self, data: dict[str, Any], types: Mapping[str, type], what: str) -> None:
        for name, kind in types.items():
            if not isinstance(data.get(name), kind) or isinstance(data[name], bool):
                raise self._bad(
                    f"a {what} needs {name!r} of type {kind.__name__}, but got {data.get(name)!r}"
                )

    def _bad(self, rule: str) -> LogError:
        return LogError(f"log {self.path}, line {self.lines}: {rule}")


def _parsed(data: dict[str, Any]) -> Record:
    known = {name: data[name] for name in Record.__slots__ if name in data and name != "extra"}
    extra = {name: value for name, value in data.items() if name not in known}
    return Record(**known, extra=extra)


def read(path: str | Path) -> Contents:
    """The contents of a log; a torn last line is passed over."""
    with _faults(path, "read"), open(open_regular(path, os.O_RDONLY), "rb") as file:
        text = file.read()
    contents = Contents(str(path))
    contents.take(text[: text.rfind(b"\n") + 1])
    return contents


def require_writable(path: str | Path) -> None:
    """LogError if a log cannot be written or begun at a path, or is damaged; writes nothing."""
    with _faults(path, "written"):
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
            with _faults(path, "written"):
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

    def known(self, index: int) -> Record | None:
        """The record of a trial of this run, if there is one."""
        return self.contents.trials[self.run].get(index)

    def append(self, record: Record) -> Record:
        """Writes a record unless another writer of the same run did; gives the one that counts."""
        record = replace(record, run=self.run)
        with self._lock():
            self._catch_up()
            if self.known(record.index) is None:
                self._write(spell(record))
        known = self.known(record.index)
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
        self._write(_line(self.head))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        with _faults(self.contents.path, "locked"):
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Takes in what other writers appended, and cuts off a torn end."""
        if self._file is None:
            return
        with _faults(self.contents.path, "read"):
            text = self._news(self._file)
        whole = text.rfind(b"\n") + 1
        self.contents.take(text[:whole])
        self._offset += whole
        if whole < len(text):
            with _faults(self.contents.path, "written"):
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

    def _write(self, line: str) -> None:
        text = line.encode() + b"\n"
        if self._file is not None:
            with _faults(self.contents.path, "written"):
                written = os.write(self._file, text)
            if written < len(text):
                raise LogError(f"log {self.contents.path}: cannot be written: the disk is full")
        self._offset += len(text)
        self.contents.take(text)


@contextmanager
def _faults(path: str | Path, verb: str) -> Iterator[None]:
    """Says in one sentence why a log cannot be read, written or locked."""
    try:
        yield
    except OSError as error:
        raise LogError(f"log {path}: cannot be {verb}: {error.strerror}") from None


def _difference(logged: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """One sentence that names the first field in which two headers differ."""
    for name in (*_HEADER, *wanted):
        old, new = logged.get(name), wanted.get(name)
        if name != "run" and old != new:
            break
    if isinstance(old, dict) and isinstance(new, dict):
        name, old, new = next(
            (f"{name} of {part}", old.get(part), new.get(part))
            for part in sorted({*old, *new})
            if old.get(part) != new.get(part)
        )
    shown = f" ({old!r}, now {new!r})" if not isinstance(old, list) else ""
    return (
        f"a run resumes only with the same {name}, but the log was written with another{shown}; "
        f"append=True (--append) starts a new run in it"
    )


def without_times(path: str | Path) -> list[str]:
    """The lines of a log without clock readings: equal for equal runs."""
    contents = read(path)
    heads = [_line(head) for head in contents.headers.values()]
    return heads + [spell(replace(record, time={})) for record in contents.records()]
