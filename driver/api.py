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
from ..tuner import replay as logs
from ..tuner.log import LogError, read, require_writable
from ..tuner.measure import Measurer, hired
from ..tuner.run import Best, Callback, Progress
from ..tuner.search import SEARCHES
from ..tuner.task import OK, TuneError
from ..tuner.tune import tune_tasks
from .choose import Choice, Heard, choose
from .errors import InputError
from .prepare import Ready, prepare
from .store import load
from .target import parse
from .tuned import Drift, Tuned

__all__ = ["compile", "load", "replay", "tune"]

MODES = ("apply", "verify", "strict")


@dataclass(slots=True)
class Search:
    """What a call of ``tune`` did: trials by kernel and status, and its two clocks."""

    trials: int = 0
    fresh: int = 0  # not in the log before
    seconds: float = 0.0  # the whole call
    preparing: float = 0.0  # before the first proposal
    searching: float = 0.0  # from the first proposal to the last record
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)

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

    ``trials`` is the total over all kernels; one without a trial runs its default. The same call
    on the same ``log`` resumes. ``callbacks`` hear of every trial, ``heard`` of every default that
    was chosen; ``report`` is filled with what happened.
    """
    start = perf_counter()
    machine = parse(target)
    _check_search(trials, seed, search)
    path = _writable(log)
    found = prepare(model, example_inputs, calibration, machine, observer)
    report = report if report is not None else Search()
    warm = [warm] if isinstance(warm, str | Path) else warm
    with hired(executor, workers, timeout) as hands:
        defaults = _defaults(found, hands, timeout, heard)
        begin = perf_counter()
        report.preparing = begin - start
        best = tune_tasks(
            found.tasks, trials, target=machine.name, model_key=found.key, log=path, seed=seed,
            search=search, append=append, resume=resume, executor=hands, timeout=timeout,
            warm=warm, callbacks=(report.hear, *callbacks),
        )  # fmt: skip
        report.searching = perf_counter() - begin
        tuned = _tuned(found, best, defaults, hands, timeout)
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
    """The model without a search: each kernel at its best point in ``log``, or at its default."""
    machine = parse(target)
    if log is not None:
        read(Path(log))
    found = prepare(model, example_inputs, calibration, machine, observer)
    return compile_ready(found, log, executor, workers, timeout, heard)


def compile_ready(
    found: Ready,
    log: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    heard: Heard | None = None,
) -> Tuned:
    """What ``compile`` makes of a model, or of some of its kernels, once it is prepared."""
    with hired(executor, workers, timeout) as hands:
        if log is not None:
            return _replayed(found, log, "apply", hands, timeout, heard)
        defaults = _defaults(found, hands, timeout, heard)
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
    if mode not in MODES:
        raise InputError(f"replay: the mode must be one of {', '.join(MODES)}, but got {mode!r}")
    machine = parse(target if target is not None else _target_of(log))
    found = prepare(model, example_inputs, calibration, machine, observer)
    with hired(executor, workers, timeout) as hands:
        return _replayed(found, log, mode, hands, timeout, heard)


def _replayed(found: Ready, log: str | os.PathLike[str], mode: str, hands: Executor,
              timeout: float, heard: Heard | None) -> Tuned:  # fmt: skip
    known = _logged_defaults(found, log)
    defaults = _defaults(found, hands, timeout, heard, known)
    path, target = Path(log), found.machine.name
    best = logs.apply(path, found.tasks, target, mode == "strict")
    rows = []
    if mode == "verify":
        rows = logs.verify(path, found.tasks, target, hands, timeout=timeout)
        best |= {row.best.task.key: _true(row) for row in rows}
    tuned = _tuned(found, best, defaults, hands, timeout)
    tuned.drift = tuple(
        Drift(row.best.task.name, row.status, row.best.cost, row.cost, row.message) for row in rows
    )
    return tuned


def _true(row: logs.Drift) -> Best:
    """What a log's best point takes now; the default where it no longer works."""
    task = row.best.task
    return replace(row.best, cost=row.cost) if row.status == OK else Best(task, task.default)


def _defaults(
    found: Ready,
    hands: Executor,
    timeout: float,
    heard: Heard | None = None,
    known: Mapping[str, Point] | None = None,
) -> dict[str, Choice]:
    """The default of each distinct kernel, chosen or ``known``; the tasks take it over."""
    with Measurer(hands, timeout=timeout) as measurer:
        defaults = choose(found.tasks, known or {}, measurer, heard)
    for task in found.tasks:
        task.default = defaults[task.key].point
    return defaults


def _tuned(found: Ready, best: Mapping[str, Best], defaults: Mapping[str, Choice],
           hands: Executor, timeout: float) -> Tuned:  # fmt: skip
    """The model at its best points; what the search measured must repeat."""
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


def _logged_defaults(found: Ready, log: str | os.PathLike[str]) -> dict[str, Point]:
    """The default points that the log's runs began with."""
    spaces = {task.key: task.space for task in found.tasks}
    known: dict[str, Point] = {}
    for head in read(Path(log)).headers.values():
        for row in head.get("kernels", ()) if head["target"] == found.machine.name else ():
            if row["key"] in spaces and row["space"] == spaces[row["key"]].fingerprint:
                try:
                    known[row["key"]] = spaces[row["key"]].point(row["default"])
                except ScheduleError:
                    continue
    return known


def _target_of(log: str | os.PathLike[str]) -> str:
    targets = list(dict.fromkeys(head["target"] for head in read(Path(log)).headers.values()))
    if len(targets) != 1:
        raise InputError(
            f"replay: log {os.fspath(log)} must have runs of one target or target= must be given, "
            f"but it has {', '.join(targets) or 'no run'}"
        )
    return str(targets[0])


def _check_search(trials: object, seed: object, search: object) -> None:
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise TuneError(f"tune: trials must be a whole number of at least 1, but got {trials!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TuneError(f"tune: seed must be a whole number, but got {seed!r}")
    if search not in SEARCHES:
        raise TuneError(f"tune: search must be one of {', '.join(SEARCHES)}, but got {search!r}")


def _writable(log: str | os.PathLike[str] | None) -> Path | None:
    """The log's path, after a look that it can be written; nothing is created."""
    if log is None:
        return None
    if not isinstance(log, str | os.PathLike):
        raise InputError(f"tune: log must be the path of a file, but got {log!r}")
    path = Path(log)
    require_writable(path)
    return path
