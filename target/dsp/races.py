"""A check of programs: nothing is touched while a transfer that concerns it is under way.

The simulator may copy at once, so a missing wait would not show in the values; here it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ..errors import SelectError
from ..program import Dma, Item, Phase, Program, Wait, items_in
from .joins import Touch, Touches, overlap, reach_of, touches_of

Flying = dict[str, list[Dma]]  # by token, the oldest first


def require_waits(program: Program) -> None:
    """SelectError where a phase touches bytes that an earlier transfer still moves.

    Transfers that loops start are left to the loops that wait for them.
    """
    flying: Flying = {}
    for phase in program.phases:
        for number, (item, tokens) in enumerate(zip(phase.body, _tokens(phase), strict=True)):
            if tokens:
                _pass(item, tokens, phase.parallel is not None, flying)
            elif any(flying.values()):
                touches = _touches(phase)[number]
                for copy in [copy for copies in flying.values() for copy in copies]:
                    _check(touches, copy, program.name)


def _pass(item: Item, tokens: frozenset[str], shared: bool, flying: Flying) -> None:
    """What an item with transfers starts, and what it waits for."""
    if isinstance(item, Dma) and not shared:
        flying.setdefault(item.token, []).append(item)
    elif isinstance(item, Wait) and flying.get(item.token):
        flying[item.token].pop(0)
    else:
        for token in tokens:
            flying.pop(token, None)


@lru_cache(maxsize=1024)
def _tokens(phase: Phase) -> tuple[frozenset[str], ...]:
    """The tokens of the transfers in each item."""
    return tuple(
        frozenset(inner.token for inner in items_in([item]) if isinstance(inner, Dma | Wait))
        for item in phase.body
    )


@lru_cache(maxsize=1024)
def _touches(phase: Phase) -> tuple[Touches, ...]:
    """The bytes that each item touches, on all threads."""
    ranges = {phase.parallel[0]: (0, phase.parallel[1] - 1)} if phase.parallel else {}
    return tuple(touches_of([item], ranges) for item in phase.body)


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
