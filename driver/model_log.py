"""What a log says about a model as a whole.

found = logged(ready, read("run.jsonl"), measurer)
found.choices, found.decisions, found.cycles      # the best point that was tried, and checked
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point
from ..tuner.measure import Measurer
from ..tuner.records import Contents, LogError, TrialRecord
from ..tuner.task import MODEL
from .choose import choose
from .model_program import ArrangedModel, ModelParts, Together, codes_of, is_whole
from .prepare import Ready
from .whole_model import parted


def logged(ready: Ready, contents: Contents, measurer: Measurer) -> Together | None:
    """The best checked point of the model; None where there is none whose kernels' points there
    are. LogError if it does not take the cycles that the log says."""
    rows = sorted(_records(ready, contents), key=lambda record: record.cost or 0)
    for record in rows if is_whole(ready) else ():
        try:
            points = _points(ready, contents.headers[record.run], record)
            _, decisions = parted(record.point)
        except (ScheduleError, KeyError):
            continue
        choices = choose(ready.tasks, points, measurer)
        cycles = ArrangedModel(ModelParts(ready), codes_of(ready, choices), decisions).cycles
        return Together(choices, decisions, cycles, int(record.cost or 0))
    return None


def require_own(ready: Ready, contents: Contents) -> None:
    """LogError for a log with trials of another model as a whole."""
    for run, head in contents.headers.items():
        whole = any(record.kernel == MODEL for record in contents.trials[run].values())
        if whole and head["model"] != ready.key:
            raise LogError(
                f"log {contents.path}: strict replay: the model must be {ready.key!r}, "
                f"but run {run} has trials of {head['model']!r} as a whole"
            )


def _records(ready: Ready, contents: Contents) -> Iterator[TrialRecord]:
    """The checked trials of this model on its target."""
    for record in contents.records():
        head = contents.headers[record.run]
        ours = head["model"] == ready.key and head["target"] == ready.machine.name
        if ours and record.kernel == MODEL and record.checked and record.cost is not None:
            yield record


def _points(ready: Ready, head: Mapping[str, Any], record: TrialRecord) -> dict[str, Point]:
    """Each kernel's point: the run's default where the record says nothing."""
    rows = {row["key"]: row["default"] for row in head.get("kernels", ())}
    kernels, _ = parted(record.point)
    return {task.key: task.point(kernels.get(task.key, rows[task.key])) for task in ready.tasks}
