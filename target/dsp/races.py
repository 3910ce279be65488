"""A check of programs: nothing is touched while a transfer that concerns it is under way.

The simulator may copy at once, so a missing wait would not show in the values; here it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import SelectError
from ..program import Dma, Item, Loop, Program, Wait
from .joins import Ranges, Touch, overlap, reach_of, touches_of

Flying = dict[str, list[Dma]]  # by token, the oldest first


def require_waits(program: Program) -> None:
    """SelectError where a phase touches bytes that an earlier transfer still moves.

    Transfers that loops start are left to the loops that wait for them.
    """
    flying: Flying = {}
    for phase in program.phases:
        ranges = {}
        if phase.parallel:
            name, extent = phase.parallel
            ranges = {name: (0, extent - 1)}
        for item in phase.body:
            _pass(item, ranges, flying, program.name)


def _pass(item: Item, ranges: Ranges, flying: Flying, name: str) -> None:
    tokens = _tokens([item])
    if isinstance(item, Dma) and not ranges:
        flying.setdefault(item.token, []).append(item)
    elif isinstance(item, Wait) and flying.get(item.token):
        flying[item.token].pop(0)
    elif tokens:
        for token in tokens:
            flying.pop(token, None)
    elif any(flying.values()):
        touches = touches_of([item], ranges)
        for copy in [copy for copies in flying.values() for copy in copies]:
            _check(touches, copy, name)


def _tokens(items: Sequence[Item]) -> set[str]:
    found: set[str] = set()
    for item in items:
        if isinstance(item, Loop):
            found |= _tokens(item.body)
        elif isinstance(item, Dma | Wait):
            found.add(item.token)
    return found


def _check(touches: Mapping[str, Touch], copy: Dma, name: str) -> None:
    nothing = Touch()
    to, come = copy.target, copy.source
    there, here = touches.get(to.buffer, nothing), touches.get(come.buffer, nothing)
    target = reach_of(to, (copy.rows - 1) * copy.target_stride + copy.row_bytes, {})
    source = reach_of(come, (copy.rows - 1) * copy.source_stride + copy.row_bytes, {})
    brought = overlap(there.read, target) or overlap(there.written, target)
    if brought or overlap(here.written, source):
        buffer = to.buffer if brought else come.buffer
        raise SelectError(
            f"transfers: {name} must wait for {copy.token} before it touches {buffer}, "
            "but it does not"
        )
