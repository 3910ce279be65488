"""Which phases may begin without a barrier: those whose threads touch nothing that others touch.

Each thread runs the same chunk of rows in phase after phase, so a phase that reads only bytes
that its own thread wrote needs not wait for the others. A thread is taken to touch one interval of
bytes of a buffer, from its addresses' affine terms; an index known only at run time is the whole
buffer. A transfer touches its target and source where it starts, and again where it is awaited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

from ..instruction import Kind
from ..program import Address, Dma, Item, Loop, Op, Phase, Program, Wait, items_in
from .cycles import share
from .machine import Machine

Interval = tuple[float, float]  # bytes from .. to, the end excluded
Ranges = Mapping[str, tuple[int, int]]  # the first and last value of each loop variable
Copies = frozenset[tuple[str, str, str]]  # (token, target, source) of transfers
_WHOLE: Interval = (-inf, inf)


@dataclass(frozen=True, slots=True)
class Touch:
    """The bytes of one buffer that a thread reads and writes; None: no bytes."""

    read: Interval | None = None
    written: Interval | None = None

    def joined(self, other: Touch) -> Touch:
        return Touch(_hull(self.read, other.read), _hull(self.written, other.written))

    def shifted(self, by: int) -> Touch:
        return Touch(_shifted(self.read, by), _shifted(self.written, by))

    def disturbs(self, other: Touch) -> bool:
        """Whether two threads' accesses must stay in order."""
        return (
            overlap(self.written, other.written)
            or overlap(self.written, other.read)
            or overlap(self.read, other.written)
        )


Touches = Mapping[str, Touch]  # by buffer


def free_phases(program: Program, machine: Machine) -> frozenset[int]:
    """The numbers of the phases before which no thread needs to wait for another."""
    own = {place.name for place in program.places if place.per_thread}
    copies = Copies().union(*(_copies(phase.code) for phase in program.phases))
    found: set[int] = set()
    since: list[Sequence[Touches]] = []  # the phases since the last barrier
    for number, phase in enumerate(program.phases):
        touches = _touches(phase.code, machine.threads, copies)
        touches = tuple(placed(thread, phase.shifts) for thread in touches)
        if since and not any(_clash(before, touches, own) for before in since):
            found.add(number)
        else:
            since = []
        since.append(touches)
    return frozenset(found)


def _clash(before: Sequence[Touches], after: Sequence[Touches], own: set[str]) -> bool:
    return any(
        a[buffer].disturbs(b[buffer])
        for one, a in enumerate(before)
        for other, b in enumerate(after)
        if one != other
        for buffer in a.keys() & b.keys() - own
    )


@lru_cache(maxsize=1024)
def _copies(phase: Phase) -> Copies:
    return frozenset(
        (item.token, item.target.buffer, item.source.buffer)
        for item in items_in(phase.body)
        if isinstance(item, Dma)
    )


@lru_cache(maxsize=1024)
def _touches(phase: Phase, threads: int, copies: Copies) -> tuple[Touches, ...]:
    """By thread."""
    if phase.parallel is None:
        chunks = [(0, 1), *[(0, 0)] * (threads - 1)]
    else:
        chunks = share(phase.parallel[1], threads)
    found = []
    for first, count in chunks:
        ranges = {phase.parallel[0]: (first, first + count - 1)} if phase.parallel else {}
        found.append(touches_of(phase.body, ranges, copies) if count else {})
    return tuple(found)


def placed(touches: Touches, shifts: Mapping[str, int]) -> Touches:
    """What the code of a phase touches, where the phase works."""
    moved = {name: touches[name].shifted(by) for name, by in shifts.items() if name in touches}
    return {**touches, **moved} if moved else touches


def touches_of(
    body: Sequence[Item],
    ranges: Ranges,
    copies: Copies = frozenset(),
) -> Touches:
    """The bytes of each buffer that items touch, where the loops around have these ranges."""
    found: dict[str, Touch] = {}
    for item, inside in _items(body, ranges):
        for buffer, touch in _touched(item, inside, copies):
            found[buffer] = found[buffer].joined(touch) if buffer in found else touch
    return found


def _items(items: Sequence[Item], ranges: Ranges) -> Iterator[tuple[Op | Dma | Wait, Ranges]]:
    """All but loops, with the first and last value of each loop variable around them."""
    for item in items:
        if isinstance(item, Loop):
            yield from _items(item.body, {**ranges, item.variable: (0, item.extent - 1)})
        else:
            yield item, ranges


def _touched(
    item: Op | Dma | Wait,
    ranges: Ranges,
    copies: Copies,
) -> Iterator[tuple[str, Touch]]:
    match item:
        case Op(address=None):
            return
        case Op(instruction=row, address=address):
            assert address is not None
            reach = reach_of(address, row.bytes, ranges)
            if row.kind is Kind.LOAD:
                yield address.buffer, Touch(read=reach)
            elif row.kind is Kind.STORE:
                yield address.buffer, Touch(written=reach)
            else:
                yield address.buffer, Touch(_WHOLE, _WHOLE)
        case Dma(target=target, source=source, rows=rows, row_bytes=size):
            to, come = (
                (rows - 1) * stride + size for stride in (item.target_stride, item.source_stride)
            )
            yield target.buffer, Touch(written=reach_of(target, to, ranges))
            yield source.buffer, Touch(read=reach_of(source, come, ranges))
        case Wait(token=token):
            for name, to_buffer, from_buffer in sorted(copies):
                if name == token:
                    yield to_buffer, Touch(written=_WHOLE)
                    yield from_buffer, Touch(read=_WHOLE)


def reach_of(address: Address, size: int, ranges: Ranges) -> Interval:
    """The bytes that accesses of ``size`` bytes may touch."""
    if address.index is not None:
        return _WHOLE
    low = high = address.offset
    for variable, scale in address.terms:
        ends = [scale * end for end in ranges[variable]]
        low, high = low + min(ends), high + max(ends)
    return low, high + size


def _shifted(a: Interval | None, by: int) -> Interval | None:
    return a and (a[0] + by, a[1] + by)


def _hull(a: Interval | None, b: Interval | None) -> Interval | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a[0], b[0]), max(a[1], b[1])


def overlap(a: Interval | None, b: Interval | None) -> bool:
    """Whether two intervals share a byte; None has none."""
    return a is not None and b is not None and a[0] < b[1] and b[0] < a[1]
