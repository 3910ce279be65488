"""The public functions: tune, compile, replay, load.

    tuned = tune(model, trials=256, example_inputs=(x,), calibration=batches, log="run.jsonl")
    again = compile(model, example_inputs=(x,), calibration=batches, log="run.jsonl")

Arguments are checked before the model is touched, and the log is opened last: a call that fails on
what it was given writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point
from ..target.dsp.machine import Machine
from ..tuner import arguments
from ..tuner import replay as logs
from ..tuner.asked import Asked
from ..tuner.log import Contents, LogError, read, require_writable
from ..tuner.measure import Measurer
from ..tuner.missing import missing
from ..tuner.run import Best, Callback, Progress
from ..tuner.task import OK
from ..tuner.tune import search_tasks
from .choose import Choice, Heard, choose, differing
from .errors import InputError
from .given import Given
from .prepare import Ready
from .store import load
from .tuned import Drift, Tuned

__all__ = ["compile", "load", "replay", "tune"]

MODES = ("apply", "verify", "strict")


@dataclass(slots=True)
class Search:
    """What a call of ``tune`` did: its trials by kernel and status, and the seconds they took."""

    trials: int = 0  # number of trials, those included that the log had before
    fresh: int = 0  # number of trials that the log had not before
    seconds: float = 0.0  # of the whole call
    preparing: float = 0.0  # seconds before the first proposal
    searching: float = 0.0  # seconds from the first proposal to the last record
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)  # number by kernel, status

    @property
    def trials_per_second(self) -> float:
        return self.fresh / self.searching if self.searching else 0.0

    def hear(self, progress: Progress) -> None:
        """Counts a trial."""
        self.trials += 1
        self.fresh += not progress.resumed
        counts = self.statuses.setdefault(progress.task.key, {})
        counts[progress.record.status] = counts.get(progress.record.status, 0) + 1


def tune(
    model: object,
    trials: int,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Machine = "dsp",
    log: str | os.PathLike[str] | None = None,
    seed: int = 0,
    *,
    append: bool = False,
    resume: bool = True,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
    callbacks: Sequence[Callback] = (),
    search: str = "evolution",
    warm: str | Path | Sequence[str | Path] = (),
    observer: str = "minmax",
    heard: Heard | None = None,
    report: Search | None = None,
) -> Tuned:
    """Searches the schedules of a model's kernels and gives the model with the best ones.

    ``example_inputs`` are the model's arguments: a tuple of them, one tensor, a dict of keywords,
    or ``(args, kwargs)`` as torch.export takes them. Tensors may be nested in all that torch's
    pytree opens; None, numbers and words become constants. A batch of ``calibration`` is of the
    same form, and several along the first axis are cut.

    ``trials`` is the total over all kernels; one without a trial runs its default. The same call
    on the same ``log`` resumes. ``callbacks`` hear of every trial, ``heard`` of every default that
    was chosen; ``report`` is filled with what happened.
    """
    start = perf_counter()
    given = Given.of(target, executor, workers, timeout, observer, heard)
    asked = Asked.of(trials, seed, search, append, resume, warm, callbacks)
    path = None if log is None else arguments.path("log:", log)
    if path is not None:
        require_writable(path)
    if report is not None and not isinstance(report, Search):
        raise InputError(f"tune: report must be a Search, but got {arguments.shown(report)}")
    report = report if report is not None else Search()
    found = given.ready(model, example_inputs, calibration)
    with given.hired() as hands:
        defaults = _defaults(found, hands, given)
        begin = perf_counter()
        report.preparing = begin - start
        best = search_tasks(
            found.tasks, asked.heard_by(report.hear), target=found.machine.name,
            model_key=found.key, log=path, executor=hands, timeout=given.timeout,
        )  # fmt: skip
        report.searching = perf_counter() - begin
        tuned = _tuned(found, best, defaults, hands, given.timeout)
    report.seconds = perf_counter() - start
    return tuned


def compile(
    model: object,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Machine = "dsp",
    log: str | os.PathLike[str] | None = None,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    observer: str = "minmax",
    heard: Heard | None = None,
) -> Tuned:
    """The model without a search: each kernel at its best point in ``log``, or at its default.

    Example inputs and calibration are as for ``tune``.
    """
    given = Given.of(target, executor, workers, timeout, observer, heard)
    path = None if log is None else arguments.path("log:", log)
    if path is not None:
        read(path)
    return compile_ready(given.ready(model, example_inputs, calibration), given, path)


def compile_ready(found: Ready, given: Given, log: Path | None = None) -> Tuned:
    """Compiles a prepared model, or some of its kernels."""
    with given.hired() as hands:
        if log is not None:
            return _replayed(found, log, "apply", hands, given)
        defaults = _defaults(found, hands, given)
    return Tuned(found, defaults, {key: choice.cost.cycles for key, choice in defaults.items()})


def replay(
    log: str | os.PathLike[str],
    model: object,
    mode: str = "apply",
    example_inputs: object = None,
    calibration: object = None,
    target: str | Machine | None = None,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    observer: str = "minmax",
    heard: Heard | None = None,
) -> Tuned:
    """The model as a log says: ``apply`` takes the best points; ``strict`` refuses a log of other
    kernels, another target or version; ``verify`` also measures and checks each best point once
    more, and tells in ``tuned.drift``. Without ``target`` it is the log's."""
    mode = arguments.choice("replay: the mode", mode, MODES)
    path = arguments.path("log:", log)
    contents = read(path)
    target = _target_of(contents) if target is None else target
    given = Given.of(target, executor, workers, timeout, observer, heard)
    found = given.ready(model, example_inputs, calibration)
    with given.hired() as hands:
        return _replayed(found, path, mode, hands, given)


def _replayed(found: Ready, path: Path, mode: str, hands: Executor, given: Given) -> Tuned:
    contents = read(path)
    known = _logged_defaults(found, contents)
    defaults = _defaults(found, hands, given, known)
    target, timeout = found.machine.name, given.timeout
    best = logs.apply(path, found.tasks, target, mode == "strict")
    rows = []
    if mode == "verify":
        rows = logs.verify(path, found.tasks, target, hands, timeout=timeout)
        best |= {row.best.task.key: _true(row) for row in rows}
    tuned = _tuned(found, best, defaults, hands, timeout)
    _hold(found, best, hands, timeout)
    tuned.missing = missing(contents, found.tasks, target)
    tuned.drift = tuple(
        Drift(row.best.task.name, row.status, row.best.cost, row.cost, row.message) for row in rows
    )
    return tuned


def _hold(found: Ready, best: Mapping[str, Best], hands: Executor, timeout: float) -> None:
    """Holds every kernel with a record to the evaluator's bytes, with its present numbers."""
    points = {key: row.point for key, row in best.items() if row.cost is not None}
    with Measurer(hands, timeout=timeout) as measurer:
        for task, where in differing(found.kernels, points, measurer):
            raise LogError(
                f"replay: a kernel must give the exact bytes at the point of its log, but "
                f"{task.name!r} does not ({where}); tune into a new log"
            )


def _true(row: logs.Drift) -> Best:
    """A log's best point with its present cycles; the default where the point no longer works."""
    task = row.best.task
    return replace(row.best, cost=row.cost) if row.status == OK else Best(task, task.default)


def _defaults(
    found: Ready, hands: Executor, given: Given, known: Mapping[str, Point] | None = None
) -> dict[str, Choice]:
    """The default of each distinct kernel, ``known`` or chosen now; its task takes it over."""
    with Measurer(hands, timeout=given.timeout) as measurer:
        defaults = choose(found.tasks, known or {}, measurer, given.heard)
    for task in found.tasks:
        task.default = defaults[task.key].point
    return defaults


def _tuned(found: Ready, best: Mapping[str, Best], defaults: Mapping[str, Choice],
           hands: Executor, timeout: float) -> Tuned:  # fmt: skip
    """The model at its best points; the cycles that the search measured must come again."""
    changed = [task for task in found.tasks if best[task.key].point != defaults[task.key].point]
    points = {task.key: best[task.key].point for task in changed}
    choices = dict(defaults)
    if changed:
        with Measurer(hands, timeout=timeout) as measurer:
            choices.update(choose(changed, points, measurer))
    for task in found.tasks:
        logged, cycles = best[task.key].cost, choices[task.key].cost.cycles
        if logged is not None and logged != cycles:
            raise LogError(
                f"replay: a kernel must take the cycles that its log says, but {task.name!r} takes "
                f"{cycles} instead of {logged:.0f}; the log is of another version, tune again"
            )
    return Tuned(found, choices, {key: choice.cost.cycles for key, choice in defaults.items()})


def _logged_defaults(found: Ready, contents: Contents) -> dict[str, Point]:
    """The default points that the log's runs began with."""
    spaces = {task.key: task.space for task in found.tasks}
    known: dict[str, Point] = {}
    for head in contents.headers.values():
        for row in head.get("kernels", ()) if head["target"] == found.machine.name else ():
            if row["key"] in spaces and row["space"] == spaces[row["key"]].fingerprint:
                try:
                    known[row["key"]] = spaces[row["key"]].point(row["default"])
                except ScheduleError:
                    continue
    return known


def _target_of(log: Contents) -> str:
    targets = list(dict.fromkeys(head["target"] for head in log.headers.values()))
    if len(targets) != 1:
        raise InputError(
            f"replay: log {log.path} must have runs of one target or target= must be given, "
            f"but it has {', '.join(targets) or 'no run'}"
        )
    return str(targets[0])
