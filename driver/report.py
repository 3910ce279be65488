"""What a search did: a callback of ``tune`` that counts.

report = Report()
tune(model, 256, inputs, callbacks=[report])
report.trials, report.trials_per_second
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from ..tuner.run import Progress


@dataclass(slots=True)
class Report:
    """The trials of a call by kernel and status, and the seconds they took."""

    trials: int = 0  # number of trials, those included that the log had before
    fresh: int = 0  # number of trials that the log had not before
    start: float = field(default_factory=perf_counter)  # seconds of the clock, when it was made
    seconds: float = 0.0  # from the start to what it heard last
    preparing: float = 0.0  # seconds from the start to the last default
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)  # number by kernel, status

    def __call__(self, progress: Progress) -> None:
        """Counts a trial."""
        self.seconds = perf_counter() - self.start
        if progress.record is None:
            self.preparing = self.seconds
            return
        self.trials += 1
        self.fresh += not progress.resumed
        counts = self.statuses.setdefault(progress.task.key, {})
        counts[progress.record.status] = counts.get(progress.record.status, 0) + 1

    @property
    def searching(self) -> float:
        """Seconds from the last default to the last trial."""
        return self.seconds - self.preparing

    @property
    def trials_per_second(self) -> float:
        return self.fresh / self.searching if self.fresh else 0.0
