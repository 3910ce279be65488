"""What earlier logs say: trials of the same kernels, and of others, from which a ranker learns.

warm = Warm.of(paths, "dsp", tasks)
warm.trials[task.key], warm.ranker(shipped())
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ..schedule.errors import ScheduleError
from .model import TrialGroup, guess_of
from .ranker import Columns, Ranker, untrained
from .records import TrialRecord, read
from .search import Trial
from .task import ESTIMATE, Task


@dataclass(slots=True)
class Warm:
    """Trials by kernel, as far as targets and spaces agree, and groups of other kernels' trials, as
    far as their features have the same columns."""

    columns: Columns
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    others: dict[tuple[str, str], list[TrialRecord]] = field(
        default_factory=dict
    )  # by target, kernel

    @staticmethod
    def of(
        paths: Sequence[Path | str], target: str, tasks: Sequence[Task], columns: Columns = ()
    ) -> Warm:
        """What logs say for tasks of these columns; LogError for a log that cannot be read."""
        found = Warm(tasks[0].columns if tasks else columns)
        by_key = {task.key: task for task in tasks}
        for path in paths:
            contents = read(path)
            for record in contents.records():
                head = contents.headers[record.run]
                task = by_key.get(record.kernel) if head["target"] == target else None
                found._take(head, record, task)
        return found

    def _take(self, head: dict[str, Any], record: TrialRecord, task: Task | None) -> None:
        if task is not None:
            try:
                point = task.space.point(record.point)
            except ScheduleError:
                return
            self.trials.setdefault(task.key, []).append((point, record.cost))
        elif ESTIMATE in self.columns and tuple(head.get("columns", ())) == self.columns:
            if len(record.features) == len(self.columns):
                self.others.setdefault((head["target"], record.kernel), []).append(record)

    @property
    def digest(self) -> str:
        """Names all that is known; empty if nothing is."""
        if not (self.trials or self.others):
            return ""
        others = [
            (*name, [(record.features, record.cost) for record in records])
            for name, records in self.others.items()
        ]
        text = json.dumps([self.trials, others], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def ranker(self, before: Ranker) -> Ranker:
        """``before``, trained on the other kernels as well."""
        if not self.others:
            return before
        known = before if before.columns == self.columns else untrained(self.columns)
        return known.trained(list(self.groups()))

    def groups(self) -> Iterator[TrialGroup]:
        """The trials of the other kernels."""
        for records in self.others.values():
            rows = np.array([record.features for record in records])
            costs = np.array([inf if r.cost is None else r.cost for r in records])
            guesses = guess_of(2.0 ** rows[:, self.columns.index(ESTIMATE)])
            yield TrialGroup(rows, guesses, costs)
