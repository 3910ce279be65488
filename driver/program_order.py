"""Phases of a model's program in their order, and where threads must wait for each other.

    order = Order(Clashes())
    order.add(TimedPhase(phase, located(code, touches, places, turn)))
    order.phases, order.free

Within a kernel buffers keep phases apart (``target/barriers``); here bytes of memory do, since a
tensor may lie where another one lay that a thread still reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ..target.barriers import Interval, PhaseTouches, Touch, overlap
from ..target.program import Place
from ..target.protocol import ProgramPhase
from ..tir.places import taken
from .kernel_code import KernelCode

At = tuple[str, int]  # a memory, "tcm" or "ddr", and bytes in
WITHIN, ACROSS = 1, 2  # threads: how two accesses must stay in order
ByThread = tuple[Touch, ...]
Turned = Callable[[ByThread], ByThread]


def turned(first: int, threads: int, shares: ByThread) -> ByThread:
    """What each of so many threads touches, where thread ``first`` takes the first share."""
    found = [Touch()] * threads
    for number, one in enumerate(shares):
        found[(first + number) % threads] = one
    return tuple(found)


class TouchedBytes(NamedTuple):
    """What threads touch of a buffer, in its memory."""

    memory: str
    all: Touch
    threads: ByThread

    def clash(self, other: TouchedBytes) -> int:
        """``ACROSS`` threads, ``WITHIN`` one, or 0: whether accesses must stay in order."""
        if self.memory != other.memory or not self.all.disturbs(other.all):
            return 0
        found = 0
        for one, mine in enumerate(self.threads):
            for another, theirs in enumerate(other.threads):
                if mine.disturbs(theirs):
                    if one != another:
                        return ACROSS
                    found = WITHIN
        return found

    def reads(self, other: TouchedBytes) -> bool:
        """Whether some of it is read that is written there."""
        return self.memory == other.memory and overlap(self.all.read, other.all.written)


class TimedPhase(NamedTuple):
    """A phase of the program with what its threads touch. One that ``moves`` starts or awaits
    transfers of its kernel, whose order counts; one that ``stays`` is where it shall be."""

    phase: ProgramPhase
    touched: tuple[TouchedBytes, ...]
    moves: bool = False
    stays: bool = False

    def clash(self, other: TimedPhase) -> int:
        """As of bytes."""
        return max((mine.clash(theirs) for mine in self.touched for theirs in other.touched),
                   default=0)  # fmt: skip

    def reads(self, other: TouchedBytes) -> bool:
        return any(mine.reads(other) for mine in self.touched)


class Clashes:
    """Which phases must stay in order; what was asked of two is remembered, by their identity."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}
        self._held: dict[int, TimedPhase] = {}

    def of(self, one: TimedPhase, other: TimedPhase) -> int:
        """``ACROSS`` threads, ``WITHIN`` one, or 0."""
        key = id(one), id(other)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = one.clash(other)
            self._held |= {key[0]: one, key[1]: other}
        return found


class Order:
    """Phases one after another; threads wait for each other where they must."""

    def __init__(self, clashes: Clashes) -> None:
        self.phases: list[TimedPhase] = []
        self.free: set[int] = set()
        self.clashes = clashes
        self._since: list[TimedPhase] = []  # the last barrier

    def waits(self, phase: TimedPhase) -> bool:
        """Whether threads would wait for each other before a phase that came next."""
        return any(self.clashes.of(before, phase) == ACROSS for before in self._since)

    def add(self, phase: TimedPhase) -> None:
        if self._since and not self.waits(phase):
            self.free.add(len(self.phases))
        else:
            self._since = []
        self._since.append(phase)
        self.phases.append(phase)


def by_one(memory: str, at: int, size: int, thread: int = 0) -> TouchedBytes:
    """Bytes that one thread writes."""
    touch = Touch(written=(at, at + size))
    return TouchedBytes(memory, touch, (*[Touch()] * thread, touch))


def located(
    code: KernelCode, phase: PhaseTouches, places: Mapping[str, At], turned: Turned
) -> Iterator[TouchedBytes]:
    """What a phase of a kernel touches, whose threads are ``turned``. Buffers that have no place
    are never written."""
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
            yield TouchedBytes(memory, everything, turned(threads))


def _within(touch: Touch, place: Place, at: int, thread: int) -> Touch:
    """A thread's accesses to a buffer at an address; those to unknown bytes are to all of it."""
    end = taken(place.size)
    at += thread * end if place.per_thread else 0
    return Touch(_cut(touch.read, at, end), _cut(touch.written, at, end))


def _cut(touched: Interval | None, at: int, end: int) -> Interval | None:
    return touched and (at + max(touched[0], 0), at + min(touched[1], end))
