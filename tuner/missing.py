"""Which kernels of a model a log does not know, and why: another class of a number, or another
text.

    for row in missing(read("run.jsonl"), tasks, "dsp"): print(row.name, row.why)
    relu_3  its shift is in 47..62 now, in the log in 33..46
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .records import Contents
from .task import Task


@dataclass(frozen=True, slots=True)
class Missing:
    """A kernel that runs its default because the log does not know its form."""

    name: str
    why: str


def missing(contents: Contents, tasks: Sequence[Task], target: str) -> tuple[Missing, ...]:
    """The tasks whose form no run on ``target`` had, in order."""
    heads = [head for head in contents.headers.values() if head["target"] == target]
    rows = [row for head in heads for row in head.get("kernels", ())]
    known, by_name = {row["key"] for row in rows}, {row["name"]: row for row in rows}
    return tuple(
        Missing(task.name, why(task, by_name.get(task.name)))
        for task in tasks
        if task.key not in known
    )


def why(task: Task, row: Mapping[str, Any] | None) -> str:
    """Why ``task`` is not the logged kernel of its name, as a sentence without its subject."""
    if row is None:
        return "the log has no kernel of this name"
    found = list(_changes(task.form, row["form"]))
    return " and ".join(found) or "its shape, its place in memory or its lowering is another"


def _changes(now: Mapping[str, Sequence[int]], then: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """The numbers that are of another class."""
    for name in sorted(now.keys() & then.keys()):
        if tuple(now[name]) != tuple(then[name]):
            yield f"its {name} is {_band(now[name])} now, in the log {_band(then[name])}"


def _band(band: Sequence[int]) -> str:
    low, high = band
    return str(low) if low == high else f"in {low}..{high}"
