"""Progress on standard error: bars on a terminal, elsewhere a plain line now and then.

    with watching("kernels") as watcher:
        compile(model, inputs, watcher.batches(batches), callbacks=[watcher.hear])

    ... kernels: 5 of 14, conv2d_3 9,120 cycles, 31 s, about 56 s left

The first line comes after ``EVERY`` seconds, so that short work prints none; the longer the work
lasts, the rarer they become. A thread prints them, so that they come where one step takes long.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from ..tuner.run import Progress

EVERY = 15.0  # seconds from one line to the next, and a tenth of the time that went by at least
Say = Callable[[str], None]


@dataclass(slots=True)
class Stage:
    """A part of the work: its steps done, the number of all steps, and a note."""

    name: str
    total: int | None
    begin: float
    done: int = 0
    skipped: int = 0  # of those done: answered from a log, in no time
    note: str = ""

    def line(self, start: float, now: float) -> str:
        """Count, note, seconds since ``start``, and an estimate of those that are left."""
        of = f" of {self.total:,}" if self.total else ""
        parts = [f"{self.name}: {self.done:,}{of}", self.note, spell(now - start)]
        fresh = self.done - self.skipped
        if self.total and fresh > 0 and self.done < self.total:
            left = (now - self.begin) / fresh * (self.total - self.done)
            parts.append(f"about {spell(left)} left")
        return "... " + ", ".join(part for part in parts if part)


def spell(seconds: float) -> str:
    """A length of time as people say it."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(slots=True)
class Watcher:
    """Counts the work: calibration batches, default schedules, trials."""

    what: str
    clock: Callable[[], float] = monotonic
    bars: Bars | None = None
    stage: Stage | None = None
    start: float = field(init=False)
    _ids: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.clock()

    def batches(self, found: Any) -> Any:
        """The same calibration batches, each of which is counted when it is taken."""
        if not isinstance(found, Iterable) or isinstance(found, str | bytes):
            return found
        return self._counted(found, len(found) if isinstance(found, Sized) else None)

    def _counted(self, found: Iterable[object], total: int | None) -> Iterator[object]:
        for number, batch in enumerate(found):
            self.step("calibration batches", number, total, "")
            yield batch

    def hear(self, progress: Progress) -> None:
        """A kernel's default was chosen, or its cost at a log's point was counted; or a trial was
        written."""
        if progress.record is None:
            name, note = self.what, f"{progress.task.name} {progress.best:,.0f} cycles"
        else:  # a kernel whose trials have all failed so far has no best one
            name, note = "trials", f"best {progress.total:,.0f} cycles"
        self.step(name, progress.index + 1, progress.count, note, progress.resumed)

    def step(self, name: str, done: int, total: int | None, note: str, known: bool = False) -> None:
        """``done`` steps of a stage are done; ``known``: the last one was answered from a log."""
        stage = self.stage
        if stage is None or stage.name != name:
            stage = Stage(name, total, self.clock())
        stage.done, stage.note, stage.total = done, note, total
        stage.skipped += known
        self.stage = stage
        if self.bars is not None:
            if name not in self._ids:
                self._ids[name] = self.bars.add_task(name, total=total, note=note)
            self.bars.update(self._ids[name], completed=done, total=total, note=note)

    def line(self) -> str:
        """The plain line that describes the work now."""
        stage = self.stage or Stage("preparing the model", None, self.start)
        text = stage.line(self.start, self.clock())
        return text if self.stage else f"... {stage.name}, {spell(self.clock() - self.start)}"

    def tell(self, end: threading.Event, say: Say, every: float = EVERY) -> None:
        """Says a line every ``every`` seconds or more, until ``end``."""
        while not end.wait(max(every, (self.clock() - self.start) / 10)):
            say(self.line())


@contextmanager
def watching(what: str, say: Say | None = None, every: float = EVERY) -> Iterator[Watcher]:
    """Bars or lines on standard error while the block runs; ``what`` are the kernels' defaults."""
    if say is None and sys.stderr.isatty():
        with _bars() as bars:
            yield Watcher(what, bars=bars)
        return
    end, watcher = threading.Event(), Watcher(what)
    teller = threading.Thread(target=watcher.tell, args=(end, say or _say, every), daemon=True)
    teller.start()
    try:
        yield watcher
    finally:
        end.set()
        teller.join()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
