"""A kernel of a box of its result: what a strip of rows computes, as a kernel of its own.

    part_of(func, {0: range(1), 1: range(8, 16)})      rows 8 .. 15 of y; of x, say, rows 7 .. 16

Which steps of a block store within the box follows from how it indexes its result, and what they
read from its other accesses: so back from the last block to the first. A buffer is cut along the
dimensions that move with these steps, to what they touch. No block is asked what it computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from ...tir.expr import Expr, free_vars, walk
from ...tir.linear import linear
from ...tir.stmt import Alloc, Block, Buffer, PrimFunc, Seq, Stmt, Store, seq
from ..block_forms import is_map, is_reduction, store_of
from ..extents import meant
from ..index import bind, bounds, simplify
from ..new_nests import Index, is_alone, moved, nest_of, on_block
from ..state import ScheduleState
from ..tree import blocks_below

KEPT = "kept"  # the attribute that names outputs of which something must stay as it was
Box = Mapping[int, range]  # of the dimensions along which a buffer is cut
Steps = dict[Expr, range]  # of the iters that move with the part


@dataclass(frozen=True, slots=True)
class KernelPart:
    """``func`` on cut buffers, parameters among them in TCM; ``boxes`` are what it touches of each
    parameter that is cut."""

    func: PrimFunc
    boxes: Mapping[str, Box]


@dataclass(slots=True)
class _Need:
    """What blocks read of a buffer; ``moved`` are the dimensions that move with the part."""

    spans: list[range]
    moved: set[int] = field(default_factory=set)

    @property
    def box(self) -> Box:
        return {d: self.spans[d] for d in sorted(self.moved)}


def part_of(func: PrimFunc, box: Box) -> KernelPart | None:
    """The kernel of a box of the last parameter; None where that is not its one result, or where
    blocks do more than compute the elements that later ones need."""
    state, result = ScheduleState(func), func.params[-1]
    written = {n for block, _ in state.placed() for n in state.accesses(block).written}
    kept = result.name in func.attrs.get(KEPT, ())
    if kept or written & {p.name for p in func.params} != {result.name}:
        return None
    spans = [box.get(d, range(n)) for d, n in enumerate(result.shape)]
    needs, done = {result.name: _Need(spans, set(box))}, set[str]()
    steps: dict[str, Steps] = {}
    for block, path in reversed(state.placed()):
        store = store_of(block)
        if store is None or not (is_alone(block, path) and (is_map(block) or is_reduction(block))):
            return None
        done.add(store.buffer.name)
        found = _steps(block, store, needs)
        if found is None or done & state.accesses(block).inputs:
            return None
        steps[block.name] = found
        _read(state, block, found, needs)
    boxes = {name: need.box for name, need in needs.items()
             if need.moved and name not in func.constants}  # fmt: skip
    return _cut(state, steps, boxes)


def _steps(block: Block, store: Store, needs: Mapping[str, _Need]) -> Steps | None:
    """The steps that store what is needed; None where they are not a range of each iter."""
    found: Steps = {}
    need = needs.get(store.buffer.name, _Need([]))
    free = {it.axis: it.extent for it in block.iters if not it.reduce}
    for d, span in need.box.items():
        form = linear(store.index[d])
        axis = next(iter(form.terms), None)
        alone = [k for k, e in enumerate(store.index) if axis in free_vars(e)] == [d]
        if axis is None and form.constant in span:
            continue
        if axis is None or form.terms != {axis: 1} or axis not in free or not alone:
            return None
        low, high = span.start - form.constant, span.stop - form.constant
        found[axis] = range(max(low, 0), min(high, free[axis]))
        if not found[axis]:
            return None
    return found


def _read(state: ScheduleState, block: Block, steps: Steps, needs: dict[str, _Need]) -> None:
    """Adds what these steps read to ``needs``."""
    extents = {**state.ranges(block), **{axis: len(span) for axis, span in steps.items()}}
    values = _onward(steps)
    for access in state.accesses(block).reads:
        buffer = access.buffer
        if buffer.name in state.accesses(block).written:
            continue
        spans = [_span(bind(e, values), n, extents)
                 for e, n in zip(access.index, buffer.shape, strict=True)]  # fmt: skip
        known = needs.setdefault(buffer.name, _Need(spans))
        known.spans = [_hull(a, b) for a, b in zip(known.spans, spans, strict=True)]
        known.moved |= {d for d, e in enumerate(access.index)
                        if free_vars(e) & steps.keys() and not _looked_up(e)}  # fmt: skip


def _onward(steps: Steps) -> dict[Expr, Expr]:
    return {axis: axis + span.start for axis, span in steps.items() if span.start}


def _span(index: Expr, size: int, extents: Mapping[Expr, int]) -> range:
    """The places along one dimension that an index takes."""
    low, high = bounds(index, extents)
    return range(max(low, 0), min(high + 1, size))


def _hull(a: range, b: range) -> range:
    return range(min(a.start, b.start), max(a.stop, b.stop))


def _looked_up(index: Expr) -> bool:
    """Whether data say which element is read."""
    return any(node.op == "load" for node in walk(index))


def _cut(state: ScheduleState, steps: Mapping[str, Steps], boxes: Mapping[str, Box]) -> KernelPart:
    """Blocks of these steps alone, counted from 0, on buffers of these boxes alone."""
    cut = {old.name: _on_box(state, old, boxes[old.name])
           for old in state.buffers() if old.name in boxes}  # fmt: skip

    def fresh(block: Block) -> Block:
        found, known = steps[block.name], state.ranges(block)

        def element(buffer: Buffer, index: Index) -> tuple[Buffer, Index] | None:
            box = boxes.get(buffer.name)
            return None if box is None else (cut[buffer.name], tuple(
                simplify(e - box[d].start, known) if d in box else e
                for d, e in enumerate(index)))  # fmt: skip

        iters = tuple(
            replace(it, extent=len(found[it.axis])) if it.axis in found else it
            for it in block.iters
        )
        return replace(on_block(moved(block, _onward(found), known), element), iters=iters)

    def rebuilt(stmt: Stmt) -> Stmt:
        match stmt:
            case Alloc(buffer, body):
                return Alloc(cut.get(buffer.name, buffer), rebuilt(body))
            case Seq(stmts):
                return seq(*map(rebuilt, stmts))
        return nest_of(fresh(next(blocks_below(stmt))))

    func = state.func
    real = {p.name: _real(func, p, boxes[p.name]) for p in func.params if p.name in boxes}
    params = tuple(cut.get(p.name, p) for p in func.params)
    attrs = {**func.attrs, "meant": {**func.attrs.get("meant", {}), **real}}
    part = replace(func, params=params, body=rebuilt(func.body), attrs=attrs)
    return KernelPart(part, {name: boxes[name] for name in real})


def _on_box(state: ScheduleState, buffer: Buffer, box: Box) -> Buffer:
    """A buffer of a box of another one."""
    shape = tuple(len(box.get(d, range(n))) for d, n in enumerate(buffer.shape))
    scope = buffer.scope if state.is_local(buffer.name) else "tcm"
    return replace(buffer, shape=shape, scope=scope)


def _real(func: PrimFunc, param: Buffer, box: Box) -> tuple[int, ...]:
    """How much of a box means something."""
    return tuple(
        max(min(n - box[d].start, len(box[d])), 0) if d in box else n
        for d, n in enumerate(meant(func, param))
    )


def stretch(buffer: Buffer, box: Box) -> tuple[int, int] | None:
    """The first element of a box and how many there are; None where others lie between."""
    sizes = [len(box.get(d, range(n))) for d, n in enumerate(buffer.shape)]
    outer = max((d for d, n in enumerate(sizes) if n < buffer.shape[d]), default=0)
    if prod(sizes[:outer]) > 1:
        return None
    start = 0
    for d, n in enumerate(buffer.shape):
        start = start * n + (box[d].start if d in box else 0)
    return start, prod(sizes)
