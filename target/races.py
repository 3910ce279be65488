"""A check of programs: nothing is touched while a transfer that concerns it is under way.

The simulator may copy at once, so a missing wait would not show in the values; here it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from .barriers import Ranges, Spans, Touches, placed, spans_of, touches_of
from .errors import SelectError
from .program import Dma, Item, Phase, Program, WaitOp, items_in

Flying = dict[str, list[tuple[Dma, Touches]]]  # transfers and what they touch; by token, in order


def require_waits(program: Program) -> None:
    """SelectError where a phase touches bytes that an earlier transfer still moves.

    Transfers that loops start are left to the loops that wait for them.
    """
    flying: Flying = {}
    for phase in program.phases:
        code, shifts = _code(phase.code), phase.shifts
        if code.computes and _disturbed(placed(code.touches, shifts), flying) is None:
            continue
        for item, tokens, spans in code.items:
            touches = placed(touches_of(spans, code.ranges), shifts)
            if tokens:
                _pass(item, tokens, touches, phase.parallel is not None, flying)
            elif found := _disturbed(touches, flying):
                raise SelectError(
                    f"transfers: {program.name} must wait for {found[0].token} before it touches "
                    f"{found[1]}, but it does not"
                )


@dataclass(frozen=True, slots=True)
class _Code:
    """Of each item of a phase the tokens of its transfers, and the bytes that it touches; what the
    whole phase touches, on all threads."""

    items: tuple[tuple[Item, frozenset[str], Spans], ...]
    touches: Touches
    ranges: Ranges

    @property
    def computes(self) -> bool:
        """Whether it starts and awaits no transfer."""
        return not any(tokens for _, tokens, _ in self.items)


@lru_cache(maxsize=1024)
def _code(phase: Phase) -> _Code:
    ranges = {phase.parallel[0]: (0, phase.parallel[1] - 1)} if phase.parallel else {}
    items = tuple((item, _tokens(item), spans_of([item])) for item in phase.body)
    return _Code(items, touches_of(spans_of(phase.body), ranges), ranges)


def _tokens(item: Item) -> frozenset[str]:
    return frozenset(inner.token for inner in items_in([item]) if isinstance(inner, Dma | WaitOp))


def _pass(
    item: Item, tokens: frozenset[str], touches: Touches, shared: bool, flying: Flying
) -> None:
    """What an item with transfers starts, and what it waits for."""
    if isinstance(item, Dma) and not shared:
        flying.setdefault(item.token, []).append((item, touches))
    elif isinstance(item, WaitOp) and flying.get(item.token):
        flying[item.token].pop(0)
    else:
        for token in tokens:
            flying.pop(token, None)


def _disturbed(touches: Touches, flying: Flying) -> tuple[Dma, str] | None:
    """A transfer that moves bytes of what is touched, and the buffer."""
    for copy, moved in chain.from_iterable(flying.values()):
        for buffer, touch in moved.items():
            if buffer in touches and touches[buffer].disturbs(touch):
                return copy, buffer
    return None
