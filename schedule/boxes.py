"""Boxes: which part of a buffer a block touches while the loops outside stand still.

For ``x[2*h_1 + 8*h_0 + r]`` with h_1 < 4 and r < 3 running inside and h_0 outside, the span is
``start = 8*h_0, extent = 9``; it is dense, for every element between is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..tir.expr import Expr, free_vars
from ..tir.linear import Linear, from_linear, linear
from ..tir.quick import quick
from ..tir.stmt import Block
from .block_forms import injective
from .errors import refusal
from .index import UNKNOWN, Extents, bind, bounds, simplify
from .state import BlockAccess, ScheduleState

_ZERO = Linear({}, 0)


@quick
@dataclass(frozen=True, slots=True)
class Span:
    """``extent`` elements along one dimension from ``start`` on, a sum over the outer loops."""

    start: Linear
    extent: int
    dense: bool

    def offset(self, other: Span) -> int | None:
        """``self.start - other.start`` where that is a constant."""
        gap = self.start.plus(other.start, -1)
        return None if gap.terms else gap.constant

    def covers(self, other: Span) -> bool:
        """Whether every element of ``other`` is one of this dense span."""
        gap = other.offset(self)
        return self.dense and gap is not None and 0 <= gap <= self.extent - other.extent


Box = tuple[Span | None, ...]


def bindings_of(block: Block) -> dict[Expr, Expr]:
    return {it.axis: it.binding for it in block.iters}


def box_of(access: BlockAccess, block: Block, outer: Iterable[Expr], state: ScheduleState) -> Box:
    """The box that ``access`` touches while ``outer`` axes stand still; None where not affine."""
    extents = {**state.extents, **state.accesses(block).inner}
    bindings, fixed = bindings_of(block), set(outer)
    return tuple(
        span_of(simplify(bind(e, bindings), extents), fixed, extents) for e in access.index
    )


def span_of(expr: Expr, outer: set[Expr], extents: Extents) -> Span | None:
    """The values of ``expr`` while the ``outer`` axes stand still."""
    form = linear(expr)
    start, inner = Linear({}, form.constant), []
    for atom, coefficient in form.terms.items():
        axes = free_vars(atom)
        low, high = bounds(atom, extents)
        if axes <= outer and low != high:
            start = start.plus(Linear({atom: coefficient}, 0))
            continue
        if high >= UNKNOWN[1] or (axes & outer and low != high):
            return None
        start = start.shifted(min(low * coefficient, high * coefficient))
        inner.append((abs(coefficient), high - low, atom))
    extent, dense = 1, True
    for coefficient, width, atom in sorted(inner, key=lambda term: term[0]):
        dense = dense and (coefficient <= extent or not width) and atom.op == "var"
        extent += coefficient * width
    return Span(start, extent, dense)


def clip(span: Span | None, size: int) -> Span:
    """``span`` within a dimension; the whole dimension where it is unknown or as large."""
    if span is None or span.extent >= size:
        return Span(_ZERO, size, span is None or span.dense)
    return inside(span, size)


def inside(span: Span | None, size: int) -> Span:
    """``span`` within a dimension where its start is a constant: elsewhere guards keep it there."""
    if span is None:
        return Span(_ZERO, size, True)
    if not span.start.terms:
        low = max(span.start.constant, 0)
        high = min(span.start.constant + span.extent, size)
        return Span(Linear({}, low), max(high - low, 1), span.dense)
    return span


def outside(span: Span, size: int) -> bool:
    """Whether a span that does not move has nothing within a dimension."""
    first = span.start.constant
    return not span.start.terms and (first >= size or first + span.extent <= 0)


def union(spans: Sequence[Span | None], size: int) -> Span:
    """The least span known to hold all of ``spans``."""
    first, *rest = (clip(span, size) for span in spans)
    low, high = 0, first.extent
    for span in rest:
        gap = span.offset(first)
        if gap is None:
            return Span(_ZERO, size, False)
        low, high = min(low, gap), max(high, gap + span.extent)
    return clip(Span(first.start.shifted(low), high - low, False), size)


def runs_whole(block: Block, state: ScheduleState) -> bool:
    """Whether the block's loops alone run all its instances: other parts may have been peeled."""
    spans = [span_of(simplify(it.binding, state.extents), set(), state.extents)
             for it in block.iters]  # fmt: skip
    used = [axis for it in block.iters for axis in free_vars(it.binding)]
    return len(used) == len(set(used)) and all(
        s is not None and s.dense and s.start.constant <= 0 and s.start.constant + s.extent >= n
        for s, n in zip(spans, (it.extent for it in block.iters), strict=True)
    )


def check_whole(block: Block, state: ScheduleState) -> None:
    """ScheduleError unless new loops over the iters' extents run just what the block's loops do."""
    if block.name in state.partial:
        raise refusal("the block's loops must run each value of each iter",
                      f"{block.name}, whose loops leave some out", block)  # fmt: skip


def start_of(span: Span) -> Expr:
    return from_linear(span.start)


def separated(boxes: Sequence[Box], axes: Mapping[Expr, int]) -> bool:
    """Whether boxes met at different values of ``axes`` never share an element."""
    open_ = {axis for axis, extent in axes.items() if extent > 1}
    for spans in zip(*boxes, strict=True):
        open_ -= _told_apart(spans, axes)
    return not open_ or injective(_common(boxes, open_), {axis: axes[axis] for axis in open_})


def _common(boxes: Sequence[Box], axes: set[Expr]) -> tuple[Expr, ...]:
    """The places, one element wide and the same in all boxes, that follow from ``axes`` alone."""
    found: list[Expr] = []
    for first, *rest in zip(*boxes, strict=True):
        if first is None or any(span != first for span in rest) or first.extent > 1:
            continue
        start = start_of(first)
        if free_vars(start) and free_vars(start) <= axes:
            found.append(start)
    return tuple(found)


def _told_apart(spans: Sequence[Span | None], axes: Mapping[Expr, int]) -> set[Expr]:
    """The axes whose values the position along one dimension determines."""
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return set()
    gaps = [span.offset(known[0]) for span in known]
    if any(gap is None for gap in gaps):
        return set()
    width = max(g + s.extent for g, s in zip(gaps, known, strict=True) if g is not None)
    reach = width - min(g for g in gaps if g is not None) - 1
    told: set[Expr] = set()
    for atom, coefficient in sorted(known[0].start.terms.items(), key=lambda t: abs(t[1])):
        if atom not in axes:
            if free_vars(atom) & axes.keys():
                return set()
            continue
        if abs(coefficient) <= reach:
            return set()
        reach += abs(coefficient) * (axes[atom] - 1)
        told.add(atom)
    return told
