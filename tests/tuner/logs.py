"""What tests ask of logs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dovetail.tuner.records import line, read, spell


def without_times(path: str | Path) -> list[str]:
    """The lines of a log without clock readings: equal for equal runs."""
    contents = read(path)
    heads = [line(head) for head in contents.headers.values()]
    records = [*contents.records(), *contents.duplicates()]
    return heads + [spell(replace(record, time={})) for record in records]
