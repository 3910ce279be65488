"""Modulo schedules of innermost loops: one iteration starts every ``interval`` packets.

Schedules are made by rising interval, and only as far as they are asked for. They depend on a
body's shape alone, so that a process makes those of a shape once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, takewhile

from ...tir.recent import Recent
from .body import LoopBody, Shape
from .interval import Placement, recurrence_bound, resource_bound
from .pack import Packer
from .tighten import tightened

FLAT = 192  # instructions up to which a loop too short for a kernel is written out whole
_NEAR = 8  # part of an interval by which others are nearly as short
_SMALL = 64  # steps up to which a schedule that needs too many registers is tightened
_LESS = 3  # of five vectors that a schedule needs, those that it still needs once tightened, or so
_FINE = 32  # packets of an interval up to which the next one is a packet longer


@dataclass(frozen=True, slots=True)
class Modulo:
    """A schedule: the packet of each step counted from its iteration's start."""

    interval: int
    times: list[int]

    @property
    def stages(self) -> int:
        return max(self.times) // self.interval + 1


@dataclass(frozen=True, slots=True)
class _Judged:
    """A schedule of one of a body's forms, and what it needs."""

    form: int
    schedule: Modulo
    needs: tuple[int, int, int]
    unroll: int


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule of one form of a loop's body, and the registers that its local values need."""

    body: LoopBody
    schedule: Modulo
    needs: tuple[int, int, int]  # vectors, less those that carried some; scalars, predicates
    unroll: int  # iterations that the kernel holds, so that values outlive the interval

    @property
    def passes(self) -> int:
        """Passes of the kernel; 0 where there is none: too few iterations."""
        passes = (self.body.trips - self.schedule.stages + 1) // self.unroll
        return passes if passes > 1 else 0

    @property
    def pays(self) -> bool:
        """Whether there is a kernel, or so few iterations that they can be written out."""
        return self.passes > 0 or self.body.trips * len(self.body.steps) <= FLAT


class _Rising:
    """The schedules of some forms of a body by rising interval, made when they are wanted: step by
    step up to the first; from there on, which only saves registers, in growing steps, and not
    far."""

    def __init__(self, shapes: Sequence[Shape], packer: Packer, limit: int) -> None:
        self.limit, self.forms = limit, []
        for number, shape in enumerate(shapes):
            low = resource_bound(shape.units, packer)
            low = recurrence_bound(len(shape.units), shape.edges, low, limit)
            self.forms.append((number, low, shape, Placement(shape, packer)))
        self._found: list[_Judged] = []
        self._tight: dict[int, _Judged] = {}  # by the identity of those that stay in ``_found``
        self._more = self._made()

    def __iter__(self) -> Iterator[_Judged]:
        yield from self._found
        for found in self._more:
            self._found.append(found)
            yield found

    def tight(self, one: _Judged, room: tuple[int, int, int]) -> _Judged | None:
        """A schedule nearly as short as the first with vectors that live shorter, if it needs no
        more than ``room`` then."""
        small = len(one.schedule.times) <= _SMALL and self._near(one)
        if not small or not _fits((one.needs[0] * _LESS // 5, *one.needs[1:]), room):
            return None
        if id(one) not in self._tight:
            self._tight[id(one)] = self._tightened(one)
        tight = self._tight[id(one)]
        return tight if _fits(tight.needs, room) else None

    def _tightened(self, one: _Judged) -> _Judged:
        _, _, shape, placement = self.forms[one.form]
        interval = one.schedule.interval
        times = tightened(shape, one.schedule.times, interval, placement.packer)
        return _judged(one.form, shape, Modulo(interval, times))

    @cached_property
    def widest(self) -> list[_Judged]:
        """The schedules of the longest interval, which need the fewest registers as a rule."""
        return list(self._at(self.limit - 1))

    @cached_property
    def fewest(self) -> int:
        """The fewest vectors that one needs of those that are nearly as short as the first."""
        return min((one.needs[0] for one in takewhile(self._near, self)), default=0)

    def _near(self, one: _Judged) -> bool:
        first = self._found[0].schedule.interval
        return one.schedule.interval <= first + first // _NEAR

    def _made(self) -> Iterator[_Judged]:
        first, interval = 0, min(low for _, low, _, _ in self.forms)
        while interval < self.limit:
            for found in self._at(interval):
                if not first:
                    first, self.limit = interval, min(self.limit, 2 * interval + 8)
                yield found
            interval += 1 + max((interval - first) // 4 if first else 0, interval // _FINE)

    def _at(self, interval: int) -> Iterator[_Judged]:
        for number, low, shape, placement in self.forms:
            for deep in (False, True) if low <= interval else ():
                times = placement.times(interval, deep)
                if times is not None:
                    yield _judged(number, shape, Modulo(interval, times))


_recent = Recent[_Rising](128)


class Schedules:
    """The schedules of one loop by rising interval; ``forms`` are bodies that do the same, with
    their shapes."""

    def __init__(self, forms: Sequence[tuple[LoopBody, Shape]], packer: Packer, limit: int) -> None:
        self.bodies, self.limit = [body for body, _ in forms], limit
        shapes = tuple(shape for _, shape in forms)
        self._rising = _recent((shapes, limit, packer), partial(_Rising, shapes, packer, limit))

    def least(self, room: tuple[int, int, int]) -> Found | None:
        """The first schedule that pays and needs no more vector, scalar and predicate registers
        than ``room`` for values that live within iterations."""
        if min(room) < 0:
            return None
        first, waiting = 0, list[_Judged]()
        for one in self._rising:
            if waiting and one.schedule.interval > waiting[0].schedule.interval:
                if tight := self._tight(waiting, room):
                    return tight
                waiting.clear()
            if self._told(one).pays:
                if _fits(one.needs, room):
                    return self._told(one)
                waiting.append(one)
            if first and one.schedule.interval > first and not self._may(room):
                return None
            first = first or one.schedule.interval
        return self._tight(waiting, room)

    def _tight(self, waiting: Sequence[_Judged], room: tuple[int, int, int]) -> Found | None:
        tight = (self._rising.tight(one, room) for one in waiting)
        return next((self._told(one) for one in tight if one), None)

    def _may(self, room: tuple[int, int, int]) -> bool:
        return any(_fits(one.needs, room) for one in self._rising.widest)

    def _told(self, one: _Judged) -> Found:
        return Found(self.bodies[one.form], one.schedule, one.needs, one.unroll)

    @property
    def fewest(self) -> int:
        """The fewest vectors that one of the schedules nearly as short as the shortest needs."""
        return self._rising.fewest

    def __iter__(self) -> Iterator[Found]:
        return map(self._told, self._rising)


def _fits(needs: tuple[int, int, int], room: tuple[int, int, int]) -> bool:
    return needs[0] <= room[0] and needs[1] <= room[1] and needs[2] <= room[2]


def _judged(form: int, shape: Shape, found: Modulo) -> _Judged:
    """The most vector, scalar and predicate registers that local values hold at once, and how many
    intervals the longest of them lives, or so many as the first iterations find values of."""
    span, unroll = 2 * found.interval, _hops(shape)
    counts = [[0] * (span + 1) for _ in range(4)]
    for file, width, low, high in _lifetimes(shape, found):
        whole, part = divmod(high - low + 1, span)
        unroll = max(unroll, (high - low) // span + 1)
        count, start = counts[file], low % span
        count[0] += width * whole
        count[span] -= width * whole
        count[start] += width
        if start + part <= span:
            count[start + part] -= width
        else:
            count[span] -= width
            count[0] += width
            count[start + part - span] -= width
    vectors, scalars, predicates = (max(accumulate(count)) for count in counts[:3])
    return _Judged(form, found, (vectors - shape.freed, scalars, predicates), unroll)


def _hops(shape: Shape) -> int:
    """Over how many iterations values are carried: so many are there before the first one."""
    return max((hops for value in shape.values for _, hops in value.readers if hops), default=1)


def _lifetimes(shape: Shape, found: Modulo) -> Iterator[tuple[int, int, int, int]]:
    """Of each local value: its file and width, the first point that writes it, the last that
    touches it. A packet is read at its even point and written at its odd one."""
    for file, width, writers, readers in shape.values:
        written = [found.times[i] for i in writers]
        read = max([found.times[i] + hops * found.interval for i, hops in readers], default=0)
        yield file, width, 2 * min(written) + 1, max(2 * max(written) + 1, 2 * read)
