"""One tuning run: batch after batch of measuring, checking and writing records.

A batch is measured whole; points that make the nest of an earlier trial are replaced by further
proposals; then its cheapest candidates are checked, the cheapest first, until one is right or none
beats the best; then its records are written in order. A point that the log knows is answered from
there, after a look that it has the same number again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from ..schedule.knobs import Point, key
from .log import Log
from .measure import Measurer
from .records import LogError, TrialRecord
from .scheduler import Scheduler
from .search import Searcher
from .task import DUPLICATE, MODEL, OK, Measured, Task, TuneError

_AHEAD = 2  # batches that are measured while another one is checked
_ROUNDS = 4  # proposals that replace the duplicates of a batch, and again those of the replacements


@dataclass(frozen=True, slots=True)
class Best:
    """The point to use for a kernel; the default point, without a cost, where no trial was good."""

    task: Task
    point: Point
    cost: float | None = None
    index: int | None = None  # of the trial that found it


@dataclass(frozen=True, slots=True)
class Progress:
    """What callbacks hear: that a kernel's default was chosen, later that a trial was written."""

    task: Task
    index: int  # of the default, or of the trial
    count: int  # of all defaults, or of all trials
    best: float | None  # cost of the kernel, so far
    total: float  # of the model: best costs so far, for other kernels guesses or bounds
    record: TrialRecord | None = None  # of the trial; a default has none
    resumed: bool = False  # the record was in the log before


Callback = Callable[[Progress], None]


@dataclass(slots=True)
class KernelState:
    """A kernel in a run: its search, its best checked point, and the trial of each nest."""

    task: Task
    search: Searcher
    best: Best = field(init=False)
    guess: float = field(init=False)
    nests: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = Best(self.task, self.task.default)
        self.guess = self.task.prior(self.task.default)

    @property
    def total(self) -> float:
        """The cost of all occurrences of the kernel in the model."""
        return self.task.weight * (self.guess if self.best.cost is None else self.best.cost)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Points that are being measured, and their records in the log."""

    points: list[Point]
    known: list[TrialRecord | None]
    answers: Callable[[], list[Measured]]  # for the points that are not known


@dataclass(frozen=True, slots=True)
class _Batch:
    """The points of a kernel that one call of its search proposed."""

    number: int  # of the kernel
    asked: _Asked


@dataclass(slots=True)
class Run:
    """A run over its kernels; ``index`` is the number of the next trial."""

    states: Sequence[KernelState]
    trials: int
    log: Log
    measurer: Measurer
    scheduler: Scheduler
    callbacks: Sequence[Callback] = ()
    index: int = 0

    def run(self) -> None:
        """Batches until the trials are used up or no kernel can get better.

        On simulated targets batches of other kernels begin before that of one kernel is checked,
        which keeps the workers busy. What a batch is chosen from is the same with any number of
        workers: the batches before, without those that are under way.
        """
        under_way = deque[_Batch]()
        while True:
            while len(under_way) <= _AHEAD and (batch := self._begin(under_way)) is not None:
                under_way.append(batch)
            if not under_way:
                return
            self._finish(under_way.popleft())

    @property
    def _total(self) -> float:
        """The cost of the model: as a whole where that is tuned, too, or else of its kernels."""
        whole = (state.total for state in self.states if state.task.key == MODEL)
        return next(whole, sum(state.total for state in self.states))

    def _begin(self, under_way: Collection[_Batch]) -> _Batch | None:
        """Starts the next batch; None if there is none, or none before another is finished."""
        if any(not self.states[batch.number].task.simulated for batch in under_way):
            return None
        busy = {batch.number for batch in under_way}
        first = self.index + sum(len(batch.asked.points) for batch in under_way)
        while first < self.trials and (number := self.scheduler.pick(busy)) is not None:
            state = self.states[number]
            if points := state.search.ask()[: self.trials - first]:
                return _Batch(number, self._measure(state, points))
            self.scheduler.close(number)
        return None

    def _measure(self, state: KernelState, points: list[Point]) -> _Asked:
        known = [self.log.of(state.task.key, point) for point in points]
        new = [point for point, record in zip(points, known, strict=True) if record is None]
        nests = frozenset(state.nests)
        return _Asked(points, known, self.measurer.start(state.task, "measure", new, nests))

    def _finish(self, batch: _Batch) -> None:
        """Waits for a batch, checks and writes its records, and tells search and scheduler."""
        state = self.states[batch.number]
        answered = self._answered(state, batch.asked)
        trials = [record for _, record in answered if record.status != DUPLICATE]
        new = [i for i, trial in enumerate(trials) if self.log.known(trial) is None]
        if state.task.simulated:
            self._check_cheapest(state, trials, new)
        else:
            self._check(state.task, trials, [i for i in new if trials[i].status == OK])
        checked = {trial.index: trial for trial in trials}
        told = []
        for point, record in answered:
            if record.status == DUPLICATE:
                self.log.append(record)
            else:
                told.append((point, self._commit(state, checked[record.index]).cost))
        state.search.tell([point for point, _ in told], [cost for _, cost in told])
        self.scheduler.tell(batch.number, state.best.cost)
        if not told:
            self.scheduler.close(batch.number)

    def _answered(self, state: KernelState, asked: _Asked) -> list[tuple[Point, TrialRecord]]:
        """The points of a batch with their records, trials numbered, duplicates replaced as long
        as the search has other points."""
        records: list[tuple[Point, TrialRecord]] = []
        index, wanted = self.index, len(asked.points)
        for turn in range(_ROUNDS + 1):
            answers = iter(asked.answers())
            for point, known in zip(asked.points, asked.known, strict=True):
                found = self._numbered(state, index, point, known or next(answers))
                index += found.status != DUPLICATE
                records.append((point, found))
            missing = wanted - (index - self.index)
            more = state.search.more(missing) if missing and turn < _ROUNDS else []
            if not more:
                break
            asked = self._measure(state, more)
        return records

    def _numbered(
        self, state: KernelState, index: int, point: Point, found: TrialRecord | Measured
    ) -> TrialRecord:
        """The record of a point: the trial ``index``, or the note of the trial that it repeats."""
        twin = state.nests.get(found.nest)
        if twin is not None:
            return TrialRecord(self.log.run, twin, state.task.key, point, DUPLICATE,
                               nest=found.nest, time=found.time)  # fmt: skip
        if found.nest:
            state.nests[found.nest] = index
        record = (
            found
            if isinstance(found, TrialRecord)
            else self._record(state.task, index, point, found)
        )
        self._require_place(record, index)
        return record

    def _require_place(self, record: TrialRecord, index: int) -> None:
        """LogError where the log has another point as this trial."""
        logged = self.log.contents.trials[self.log.run].get(index, record)
        same = logged.kernel == record.kernel and key(logged.point) == key(record.point)
        if not same or record.index != index:
            raise LogError(
                f"log {self.log.contents.path}: trial {index} of run {self.log.run} must be the "
                f"point that the search proposes again, {key(record.point)} of kernel "
                f"{record.kernel}, but is {key(logged.point)} of kernel {logged.kernel}; "
                "start a new log"
            )

    def _record(self, task: Task, index: int, point: Point, found: Measured) -> TrialRecord:
        if found.cost is not None and found.cost < task.bound:
            raise TuneError(
                f"measure: a cost must not be below the bound of its kernel, but {task.name!r} at "
                f"{key(point)} takes {found.cost} with a bound of {task.bound}"
            )
        return TrialRecord(
            run=self.log.run,
            index=index,
            kernel=task.key,
            point=point,
            status=found.status,
            cycles=found.cycles,
            seconds=found.seconds,
            message=found.message,
            nest=found.nest,
            features=[round(float(value), 4) for value in task.features(point)],
            time=found.time,
        )

    def _check_cheapest(
        self, state: KernelState, trials: list[TrialRecord], new: Sequence[int]
    ) -> None:
        """Checks the trials that would become the best, until one is right."""
        costs = [(record.cost, i) for i, record in enumerate(trials)]
        for cost, i in sorted((cost, i) for cost, i in costs if cost is not None):
            if not _less(cost, state.best.cost):
                return
            if i in new:
                self._check(state.task, trials, [i])
            if trials[i].checked:
                return

    def _check(self, task: Task, trials: list[TrialRecord], chosen: Sequence[int]) -> None:
        """Compares the values of the chosen trials and notes the outcome in them."""
        points = [dict(trials[i].point) for i in chosen]
        for i, found in zip(chosen, self.measurer.run(task, "check", points), strict=True):
            time = {**trials[i].time, **found.time}
            right, message = found.status == OK, found.message or trials[i].message
            trials[i] = replace(
                trials[i], status=found.status, checked=right, message=message, time=time
            )

    def _commit(self, state: KernelState, trial: TrialRecord) -> TrialRecord:
        """Writes a record, takes it as best if it is, and tells the callbacks."""
        known = self.log.known(trial) is not None
        record = self.log.append(trial)  # of several writers of the same run the first one counts
        self._require_place(record, trial.index)
        cost = record.cost
        if cost is not None and record.checked and _less(cost, state.best.cost):
            point = state.task.space.point(record.point)
            state.best = Best(state.task, point, cost, record.index)
        progress = Progress(
            state.task, self.index, self.trials, state.best.cost, self._total, record, known
        )
        self.index += 1
        for callback in self.callbacks:
            callback(progress)
        return record


def _less(cost: float, best: float | None) -> bool:
    return best is None or cost < best
