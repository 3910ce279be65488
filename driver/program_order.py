"""Phases of a model's program in their order, and where threads must wait for each other.

    order = Order()
    order.add(TimedPhase(phase, located(code, touches, places)))
    order.phases, order.free

Within a kernel buffers keep phases apart (``target/barriers``); here bytes of memory do, since a
tensor may lie where another one lay that a thread still reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..target.barriers import Interval, PhaseTouches, Touch, overlap
from ..target.program import Place
from ..target.protocol import ProgramPhase
from ..tir.places import taken
from .kernel_code import KernelCode

At = tuple[str, int]  # a memory, "tcm" or "ddr", and bytes in


class TouchedBytes(NamedTuple):
    """What threads touch of a buffer, in its memory."""

    memory: str
    all: Touch
    threads: tuple[Touch, ...]

    def disturbs(self, other: TouchedBytes) -> bool:
        """Whether one thread disturbs another one."""
        return self.memory == other.memory and self.all.disturbs(other.all) and any(
            mine.disturbs(theirs)
            for one, mine in enumerate(self.threads)
            for another, theirs in enumerate(other.threads)
            if one != another
        )  # fmt: skip

    def reads(self, other: TouchedBytes) -> bool:
        """Whether some of it is read that is written there."""
        return self.memory == other.memory and overlap(self.all.read, other.all.written)


class TimedPhase(NamedTuple):
    """A phase of the program with what its threads touch."""

    phase: ProgramPhase
    touched: tuple[TouchedBytes, ...]

    def disturbs(self, other: TimedPhase) -> bool:
        return any(mine.disturbs(theirs) for mine in self.touched for theirs in other.touched)

    def reads(self, other: TouchedBytes) -> bool:
        return any(mine.reads(other) for mine in self.touched)


class Order:
    """Phases one after another; threads wait for each other where they must."""

    def __init__(self) -> None:
        self.phases: list[TimedPhase] = []
        self.free: set[int] = set()
        self._since: list[TimedPhase] = []  # the last barrier

    def waits(self, phase: TimedPhase) -> bool:
        """Whether threads would wait for each other before a phase that came next."""
        return any(before.disturbs(phase) for before in self._since)

    def add(self, phase: TimedPhase) -> None:
        if self._since and not self.waits(phase):
            self.free.add(len(self.phases))
        else:
            self._since = []
        self._since.append(phase)
        self.phases.append(phase)


def by_one(memory: str, at: int, size: int) -> TouchedBytes:
    """Bytes that the first thread writes."""
    touch = Touch(written=(at, at + size))
    return TouchedBytes(memory, touch, (touch,))


def located(
    code: KernelCode, phase: PhaseTouches, places: Mapping[str, At]
) -> Iterator[TouchedBytes]:
    """What a phase of a kernel touches. Buffers that have no place are never written."""
    for place in code.places:
        if place.name in places and any(place.name in thread for thread in phase):
            memory, at = places[place.name]
            threads = tuple(
                _within(thread.get(place.name, Touch()), place, at, number)
                for number, thread in enumerate(phase)
            )
            everything = Touch()
            for touch in threads:
                everything = everything.joined(touch)
            yield TouchedBytes(memory, everything, threads)


def _within(touch: Touch, place: Place, at: int, thread: int) -> Touch:
    """A thread's accesses to a buffer at an address; those to unknown bytes are to all of it."""
    end = taken(place.size)
    at += thread * end if place.per_thread else 0
    return Touch(_cut(touch.read, at, end), _cut(touch.written, at, end))


def _cut(touched: Interval | None, at: int, end: int) -> Interval | None:
    return touched and (at + max(touched[0], 0), at + min(touched[1], end))
