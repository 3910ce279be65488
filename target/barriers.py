"""Which phases may begin without a barrier: those whose threads touch nothing that others touch.

Each thread runs the same chunk of rows in phase after phase, so a phase that reads only bytes
that its own thread wrote needs not wait for the others. A thread is taken to touch one interval of
bytes of a buffer, from its addresses' affine terms; an index known only at run time is the whole
buffer. A transfer touches bytes of its target and source where it starts, and again where it is
awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import inf

from ..tir.quick import quick
from .instruction import Kind
from .program import Address, Dma, Item, Loop, MachineOp, Phase, Program, WaitOp, items_in, share

Interval = tuple[float, float]  # bytes from .. to, the end excluded
Ranges = Mapping[str, tuple[int, int]]  # the first and last value of each loop variable
Terms = tuple[tuple[str, int], ...]  # (loop variable, bytes)
Span = tuple[str, bool, Terms]  # a buffer, whether it is written, and terms of loops around
Spans = Mapping[Span, Interval]  # bytes that are touched, but for these terms
_WHOLE: Interval = (-inf, inf)


@quick
@dataclass(frozen=True, slots=True)
class Touch:
    """The bytes of one buffer that a thread reads and writes; None: no bytes."""

    read: Interval | None = None
    written: Interval | None = None

    def joined(self, other: Touch) -> Touch:
        return Touch(_either(self.read, other.read), _either(self.written, other.written))

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
PhaseTouches = Sequence[Touches]  # of a phase, by thread


def free_phases(program: Program, threads: int) -> frozenset[int]:
    """The numbers of the phases before which no thread needs to wait for another."""
    own = {place.name for place in program.places if place.per_thread}
    return without_barrier(program_touches(program, threads), partial(_clash, own))


def without_barrier(
    phases: Sequence[PhaseTouches], clash: Callable[[PhaseTouches, PhaseTouches], bool]
) -> frozenset[int]:
    """The numbers of the phases that clash with none since the last barrier."""
    found: set[int] = set()
    since: list[PhaseTouches] = []
    for number, touches in enumerate(phases):
        if since and not any(clash(before, touches) for before in since):
            found.add(number)
        else:
            since = []
        since.append(touches)
    return frozenset(found)


def program_touches(program: Program, threads: int) -> tuple[PhaseTouches, ...]:
    """What each thread touches in each phase."""
    copies: dict[str, Touches] = {}
    for phase in program.phases:
        for token, touches in _copies(phase.code).items():
            copies[token] = both(copies.get(token, {}), placed(touches, phase.shifts))
    found: list[PhaseTouches] = []
    for phase in program.phases:
        awaited: Touches = {}
        for token in _awaited(phase.code):
            awaited = both(awaited, copies.get(token, {}))
        found.append(tuple(
            both(placed(touches, phase.shifts), awaited) if runs else {}
            for runs, touches in _touches(phase.code, threads)
        ))  # fmt: skip
    return tuple(found)


def both(one: Touches, other: Touches) -> Touches:
    """The bytes that either touches."""
    if not one or not other:
        return one or other
    joined = {name: one[name].joined(other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **joined}


def _clash(own: set[str], before: PhaseTouches, after: PhaseTouches) -> bool:
    return any(
        a[buffer].disturbs(b[buffer])
        for one, a in enumerate(before)
        for other, b in enumerate(after)
        if one != other
        for buffer in a.keys() & b.keys() - own
    )


@lru_cache(maxsize=1024)
def _copies(phase: Phase) -> Mapping[str, Touches]:
    """What transfers that start in a phase touch, by their tokens."""
    found: dict[str, Touches] = {}
    for item, extents in _items(phase.body, {}):
        if isinstance(item, Dma):
            around = {variable: (0, extent - 1) for variable, extent in extents.items()}
            if phase.parallel is not None:
                around[phase.parallel[0]] = (0, phase.parallel[1] - 1)
            touches = touches_of(spans_of([item]), around)
            found[item.token] = both(found.get(item.token, {}), touches)
    return found


@lru_cache(maxsize=1024)
def _awaited(phase: Phase) -> frozenset[str]:
    return frozenset(item.token for item in items_in(phase.body) if isinstance(item, WaitOp))


@lru_cache(maxsize=1024)
def _touches(phase: Phase, threads: int) -> Sequence[tuple[bool, Touches]]:
    """By thread: whether it runs the phase, and what it touches by itself."""
    if phase.parallel is None:
        chunks = [(0, 1), *[(0, 0)] * (threads - 1)]
    else:
        chunks = share(phase.parallel[1], threads)
    spans, found = spans_of(phase.body), []
    for first, count in chunks:
        ranges = {phase.parallel[0]: (first, first + count - 1)} if phase.parallel else {}
        found.append((count > 0, touches_of(spans, ranges) if count else {}))
    return tuple(found)


def placed(touches: Touches, shifts: Mapping[str, int]) -> Touches:
    """What the code of a phase touches, where the phase works."""
    moved = {name: touches[name].shifted(by) for name, by in shifts.items() if name in touches}
    return {**touches, **moved} if moved else touches


def touches_of(spans: Spans, ranges: Ranges) -> Touches:
    """The bytes of each buffer that are touched where the loops around have these ranges."""
    found: dict[str, Touch] = {}
    for (buffer, written, terms), (low, high) in spans.items():
        for variable, scale in terms:
            ends = [scale * end for end in ranges[variable]]
            low, high = low + min(ends), high + max(ends)
        touch = Touch(written=(low, high)) if written else Touch(read=(low, high))
        found[buffer] = found[buffer].joined(touch) if buffer in found else touch
    return found


def spans_of(body: Sequence[Item]) -> Spans:
    """The bytes that items touch, but for the terms of the loops around all of them."""
    found: dict[Span, Interval] = {}
    for item, extents in _items(body, {}):
        for buffer, written, address, size in _accesses(item):
            around, reach = _reach(address, size, extents)
            span = buffer, written, around
            known = found.get(span)
            found[span] = reach if known is None else _hull(known, reach)
    return found


def _items(
    items: Sequence[Item], extents: Mapping[str, int]
) -> Iterator[tuple[MachineOp | Dma | WaitOp, Mapping[str, int]]]:
    """All but loops, with the extents of the loops around them."""
    for item in items:
        if isinstance(item, Loop):
            yield from _items(item.body, {**extents, item.variable: item.extent})
        else:
            yield item, extents


def _accesses(
    item: MachineOp | Dma | WaitOp,
) -> Iterator[tuple[str, bool, Address | None, int]]:
    """The buffers that an item touches, whether it writes them, and where; None: anywhere."""
    match item:
        case MachineOp(address=None):
            return
        case MachineOp(instruction=row, address=Address(buffer=buffer) as address):
            if row.kind in (Kind.LOAD, Kind.STORE):
                yield buffer, row.kind is Kind.STORE, address, row.bytes
            else:
                yield from ((buffer, written, None, 0) for written in (False, True))
        case Dma(target=target, source=source, rows=rows, row_bytes=size):
            yield target.buffer, True, target, (rows - 1) * item.target_stride + size
            yield source.buffer, False, source, (rows - 1) * item.source_stride + size


def _reach(
    address: Address | None, size: int, extents: Mapping[str, int]
) -> tuple[Terms, Interval]:
    """The terms of loops of unknown extent, and the bytes that an access touches beside them."""
    if address is None or address.index is not None:
        return (), _WHOLE
    around: Terms = ()
    low = high = address.offset
    for variable, scale in address.terms:
        if variable not in extents:
            around = (*around, (variable, scale))
        elif scale > 0:
            high += scale * (extents[variable] - 1)
        else:
            low += scale * (extents[variable] - 1)
    return around, (low, high + size)


def _shifted(a: Interval | None, by: int) -> Interval | None:
    return a and (a[0] + by, a[1] + by)


def _hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _either(a: Interval | None, b: Interval | None) -> Interval | None:
    return b if a is None else a if b is None else _hull(a, b)


def overlap(a: Interval | None, b: Interval | None) -> bool:
    """Whether two intervals share a byte; None has none."""
    return a is not None and b is not None and a[0] < b[1] and b[0] < a[1]
