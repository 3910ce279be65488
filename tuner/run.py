"""One tuning run: batch after batch of measuring, checking and writing records.

A batch is measured whole; then its cheapest candidates are checked, the cheapest first, until one
is right or none beats the best; then its records are written in order. A trial that the log knows
is answered from there, after a look that the search proposes the same point again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..schedule.knobs import Point, key
from .log import Log, LogError, Record
from .measure import Measurer
from .scheduler import Scheduler
from .search import Search
from .task import OK, Measured, Task, TuneError


@dataclass(frozen=True, slots=True)
class Best:
    """The point to use for a kernel; the default point, without a cost, where no trial was good."""

    task: Task
    point: Point
    cost: float | None = None
    index: int | None = None  # of the trial that found it


@dataclass(frozen=True, slots=True)
class Progress:
    """The report that a callback gets after each trial."""

    index: int
    trials: int
    task: Task
    record: Record
    best: float | None  # of the kernel, so far
    total: float  # of the model: best costs, guessed ones for kernels without a good trial
    resumed: bool  # the record was in the log before


Callback = Callable[[Progress], None]


@dataclass(slots=True)
class State:
    """A kernel in a run: its search and its best checked point."""

    task: Task
    search: Search
    best: Best = field(init=False)
    guess: float = field(init=False)

    def __post_init__(self) -> None:
        self.best = Best(self.task, self.task.default)
        self.guess = self.task.prior(self.task.default)

    @property
    def total(self) -> float:
        """The cost of all occurrences of the kernel in the model."""
        return self.task.weight * (self.guess if self.best.cost is None else self.best.cost)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Points that are being measured, and their records in the log."""

    number: int  # of the kernel
    points: list[Point]
    known: list[Record | None]
    answers: Callable[[], list[Measured]]  # for the points that are not known


@dataclass(slots=True)
class Run:
    """A run over its kernels; ``index`` is the number of the next trial."""

    states: Sequence[State]
    trials: int
    log: Log
    measurer: Measurer
    scheduler: Scheduler
    callbacks: Sequence[Callback] = ()
    index: int = 0

    def run(self) -> None:
        """Batches until the trials are used up or no kernel can get better.

        On simulated targets a batch of one kernel begins before that of another kernel is
        checked, which keeps the workers busy. What a batch is chosen from is the same with any
        number of workers: the batches before, without the one that is under way.
        """
        batch: _Batch | None = None
        while True:
            after = self._begin(batch)
            if batch is not None:
                self._finish(batch)
            elif after is None:
                return
            batch = after

    def _begin(self, under_way: _Batch | None) -> _Batch | None:
        """Starts the next batch; None if there is none, or none before the other is finished."""
        busy, first = None, self.index
        if under_way is not None:
            if not self.states[under_way.number].task.simulated:
                return None
            busy, first = under_way.number, self.index + len(under_way.points)
        while first < self.trials and (number := self.scheduler.pick(busy)) is not None:
            if points := self.states[number].search.ask()[: self.trials - first]:
                return self._measure(number, first, points)
            self.scheduler.close(number)
        return None

    def _measure(self, number: int, first: int, points: list[Point]) -> _Batch:
        task = self.states[number].task
        known = [self._known(task, first + i, point) for i, point in enumerate(points)]
        new = [point for point, record in zip(points, known, strict=True) if record is None]
        return _Batch(number, points, known, self.measurer.start(task, "measure", new))

    def _finish(self, batch: _Batch) -> None:
        """Waits for a batch, checks and writes its records, and tells search and scheduler."""
        state, known = self.states[batch.number], batch.known
        answers = iter(batch.answers())
        trials = [
            record or self._record(state.task, self.index + i, point, next(answers))
            for i, (point, record) in enumerate(zip(batch.points, known, strict=True))
        ]
        new = [i for i, record in enumerate(known) if record is None]
        if state.task.simulated:
            self._check_cheapest(state, trials, new)
        else:
            self._check(state.task, trials, [i for i in new if trials[i].status == OK])
        records = [self._commit(state, trial, i not in new) for i, trial in enumerate(trials)]
        state.search.tell(batch.points, [record.cost for record in records])
        self.scheduler.tell(batch.number, state.best.cost)

    def _known(self, task: Task, index: int, point: Point) -> Record | None:
        record = self.log.known(index)
        if record and (record.kernel != task.key or key(record.point) != key(point)):
            raise LogError(
                f"log {self.log.contents.path}: trial {index} of run {self.log.run} must be the "
                f"point that the search proposes again, {key(point)} of kernel {task.key}, but is "
                f"{key(record.point)} of kernel {record.kernel}; start a new log"
            )
        return record

    def _record(self, task: Task, index: int, point: Point, found: Measured) -> Record:
        if found.cost is not None and found.cost < task.bound:
            raise TuneError(
                f"measure: a cost must not be below the bound of its kernel, but {task.name!r} at "
                f"{key(point)} takes {found.cost} with a bound of {task.bound}"
            )
        return Record(
            run=self.log.run,
            index=index,
            kernel=task.key,
            point=point,
            status=found.status,
            cycles=found.cycles,
            seconds=found.seconds,
            message=found.message,
            time=found.time,
        )

    def _check_cheapest(self, state: State, trials: list[Record], new: Sequence[int]) -> None:
        """Checks the trials that would become the best, until one is right."""
        costs = [(record.cost, i) for i, record in enumerate(trials)]
        for cost, i in sorted((cost, i) for cost, i in costs if cost is not None):
            if not _less(cost, state.best.cost):
                return
            if i in new:
                self._check(state.task, trials, [i])
            if trials[i].checked:
                return

    def _check(self, task: Task, trials: list[Record], chosen: Sequence[int]) -> None:
        """Compares the values of the chosen trials and notes the outcome in them."""
        points = [dict(trials[i].point) for i in chosen]
        for i, found in zip(chosen, self.measurer.run(task, "check", points), strict=True):
            time = {**trials[i].time, **found.time}
            right, message = found.status == OK, found.message or trials[i].message
            trials[i] = replace(
                trials[i], status=found.status, checked=right, message=message, time=time
            )

    def _commit(self, state: State, trial: Record, known: bool) -> Record:
        """Writes a record, takes it as best if it is, and tells the callbacks."""
        if not known:  # another writer of the same run may have been faster: its record counts
            self.log.append(trial)
        record = self._known(state.task, trial.index, dict(trial.point)) or trial
        cost = record.cost
        if cost is not None and record.checked and _less(cost, state.best.cost):
            point = state.task.space.point(record.point)
            state.best = Best(state.task, point, cost, record.index)
        total = sum(other.total for other in self.states)
        progress = Progress(
            self.index, self.trials, state.task, record, state.best.cost, total, known
        )
        self.index += 1
        for callback in self.callbacks:
            callback(progress)
        return record


def _less(cost: float, best: float | None) -> bool:
    return best is None or cost < best
