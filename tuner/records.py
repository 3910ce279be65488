"""What a log of tuning runs says: headers and records, read from its lines and written as such.

contents = read("run.jsonl")
contents.headers[run]["target"], list(contents.records())
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..schedule.knobs import key
from .files import open_regular
from .task import DUPLICATE, OK, STATUSES

SCHEMA = 3
HEADER = {"schema": int, "run": str, "versions": dict, "target": str, "model": str, "seed": int}
_KERNEL = {"key": str, "name": str, "form": dict, "space": str, "default": dict}
_RECORD = {"run": str, "index": int, "kernel": str, "point": dict, "status": str}
_OPTIONAL = {"checked": bool, "message": str, "nest": str, "features": list, "time": dict}


DEFAULT_RECIPE: Mapping[str, object] = MappingProxyType({})  # a recipe: options that are changed


class LogError(RuntimeError):
    """A log that cannot be read, written or used for this run; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial, or the note that a point repeats one; ``checked`` says that its values were
    compared and equal, ``nest`` names its code."""

    run: str
    index: int
    kernel: str
    point: Mapping[str, Any]
    status: str
    cycles: int | None = None
    seconds: float | None = None
    checked: bool = False
    message: str = ""
    nest: str = ""
    features: list[float] = field(default_factory=list)
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


def recipe_text(recipe: Mapping[str, object] | None) -> str:
    """How a model was quantized, for people."""
    options = (recipe or DEFAULT_RECIPE).items()
    return ", ".join(f"{word}={value!r}" for word, value in options) or "the default"


def line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))


def spell(record: TrialRecord) -> str:
    """The line of a record, without its newline."""
    cost = {"cycles": record.cycles} if record.seconds is None else {"seconds": record.seconds}
    data = {"run": record.run, "index": record.index, "kernel": record.kernel}
    data |= {"point": dict(record.point), "status": record.status, **cost}
    data |= {"checked": record.checked, "message": record.message, "nest": record.nest}
    data |= {"features": record.features}
    data |= {"time": dict(record.time)}
    return line(data | dict(record.extra))


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
    """The headers and records of a log's complete lines; ``points`` has the record of each point
    by run, kernel and spelling, those included that are no trials."""

    path: str
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, dict[int, TrialRecord]] = field(default_factory=dict)
    points: dict[tuple[str, str, str], TrialRecord] = field(default_factory=dict)
    lines: int = 0

    def records(self) -> Iterator[TrialRecord]:
        """All trials: the runs as they began, each in the order of its indices."""
        for trials in self.trials.values():
            yield from (trials[index] for index in sorted(trials))

    def duplicates(self) -> Iterator[TrialRecord]:
        """The notes of points that repeat a trial, in an order of their own."""
        found = [record for record in self.points.values() if record.status == DUPLICATE]
        return iter(sorted(found, key=lambda r: (r.run, r.index, r.kernel, key(r.point))))

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
                "it is of another version, so tune into a new log"
            )
        self._fields(data, HEADER, "header")
        if not isinstance(data.get("recipe", {}), dict):
            raise self._bad(f"the recipe of a header must be an object, but got {data['recipe']!r}")
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
        record = _parsed(data)
        self.points.setdefault((record.run, record.kernel, key(record.point)), record)
        if record.status != DUPLICATE:
            self.trials[record.run].setdefault(record.index, record)

    def _fields(self, data: dict[str, Any], types: Mapping[str, type], what: str) -> None:
        for name, kind in types.items():
            if not isinstance(data.get(name), kind) or isinstance(data[name], bool):
                raise self._bad(
                    f"a {what} needs {name!r} of type {kind.__name__}, but got {data.get(name)!r}"
                )

    def _bad(self, rule: str) -> LogError:
        return LogError(f"log {self.path}, line {self.lines}: {rule}")


def _parsed(data: dict[str, Any]) -> TrialRecord:
    known = {name: data[name] for name in TrialRecord.__slots__ if name in data and name != "extra"}
    extra = {name: value for name, value in data.items() if name not in known}
    return TrialRecord(**known, extra=extra)


def read(path: str | Path) -> Contents:
    """The contents of a log; a torn last line is passed over."""
    with faults(path, "read"), open(open_regular(path, os.O_RDONLY), "rb") as file:
        text = file.read()
    contents = Contents(str(path))
    contents.take(text[: text.rfind(b"\n") + 1])
    return contents


@contextmanager
def faults(path: str | Path, verb: str) -> Iterator[None]:
    """Says in one sentence why a log cannot be read, written or locked."""
    try:
        yield
    except OSError as error:
        raise LogError(f"log {path}: cannot be {verb}: {error.strerror}") from None
