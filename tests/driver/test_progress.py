"""Progress where there is no terminal: plain lines with count, note, time and an estimate."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import pytest

from dovetail.driver.progress import Watcher, spell, watching


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fake:
    """What a watcher reads of progress, and of its task."""

    index: int = 0
    count: int = 64
    record: Any = ...
    resumed: bool = False
    name: str = "conv"
    best: float | None = 9120.0
    total: float = 5000.0

    @property
    def task(self) -> Fake:
        return self


def default(watcher: Watcher, index: int, count: int) -> None:
    watcher.hear(cast(Any, Fake(index, count, record=None)))


def test_each_stage_has_its_line() -> None:
    clock = Clock()
    watcher = Watcher("kernels", clock)
    clock.now += 20
    assert watcher.line() == "... preparing the model, 20 s"
    batches = watcher.batches([1, 2, 3])
    assert next(batches) == 1
    clock.now += 10
    assert next(batches) == 2
    assert watcher.line() == "... calibration batches: 1 of 3, 30 s, about 20 s left"
    default(watcher, 0, 14)
    clock.now += 5
    default(watcher, 1, 14)
    assert watcher.line() == ("... kernels: 2 of 14, conv 9,120 cycles, 35 s, about 30 s left")
    watcher.hear(cast(Any, Fake(index=0)))
    clock.now += 30
    watcher.hear(cast(Any, Fake(index=15)))
    assert watcher.line() == ("... trials: 16 of 64, best 5,000 cycles, 65 s, about 90 s left")


def test_what_a_log_knew_says_nothing_of_the_time_that_is_left() -> None:
    clock = Clock()
    watcher = Watcher("kernels", clock)
    for index in range(32):
        watcher.hear(cast(Any, Fake(index=index, resumed=True)))
    assert watcher.line() == "... trials: 32 of 64, best 5,000 cycles, 0 s"
    clock.now += 10
    watcher.hear(cast(Any, Fake(index=32)))
    assert watcher.line() == "... trials: 33 of 64, best 5,000 cycles, 10 s, about 5 min left"


def test_a_kernel_whose_trials_all_failed_has_a_line() -> None:
    watcher = Watcher("kernels", Clock())
    watcher.hear(cast(Any, Fake(best=None)))
    assert watcher.line().startswith("... trials: 1 of 64, best 5,000 cycles, 0 s")


def test_batches_without_a_number_have_no_estimate() -> None:
    watcher = Watcher("kernels", Clock())
    list(watcher.batches(iter([1, 2, 3])))
    assert watcher.line() == "... calibration batches: 2, 0 s"
    assert watcher.batches(None) is None and watcher.batches("words") == "words"


def test_times_are_as_people_say_them() -> None:
    found = [spell(seconds) for seconds in (0.2, 99, 100, 5940, 6000, 90000)]
    assert found == ["0 s", "99 s", "2 min", "99 min", "1 h 40 min", "25 h 0 min"]


def test_lines_come_while_a_step_is_under_way() -> None:
    """The thread says them, however long the step lasts; it ends with the block."""
    said = threading.Event()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    with watching("kernels", say, every=0.001) as watcher:
        watcher.step("trials", 3, None, "best 7 cycles")
        said.clear()
        assert said.wait(60)
    count = len(lines)
    assert lines[-1].startswith("... trials: 3, best 7 cycles, ")
    assert not any(thread.name.startswith("Thread") and "tell" in thread.name
                   for thread in threading.enumerate())  # fmt: skip
    assert len(lines) == count


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("kernels") as watcher:
        default(watcher, 0, 1)
    assert capsys.readouterr() == ("", "")
