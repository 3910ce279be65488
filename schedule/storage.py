"""Local buffers at the size they need: each moves below the loops that all its users share.

    alloc acc[56, 64]                      for h in range(56):
    for h: for o: acc[h, o] = ...    ->      alloc acc[64]  (as acc[1, 64])
           for o: y[h, o] = acc[h, o]        for o: acc[0, o] = ...

A buffer may move below a loop when every iteration writes what it reads. Then the part
that one iteration touches is a box, and the buffer shrinks to it; its indices count from the
start of the box. To keep blocks closed, a block gets a local iter for each iter that is shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce

from ..tir.expr import Expr, const, free_vars, var
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Alloc, Block, Buffer, For, Iter, LoopKind, Stmt
from ..tir.types import i32
from .block_forms import extents_of
from .boxes import Box, Span, bindings_of, box_of, inside, outside, union
from .index import bind, bounds, simplify
from .new_nests import iter_name, redirect
from .state import BlockAccess, ScheduleState
from .tree import loops_of, transformed


@dataclass(frozen=True, slots=True)
class BufferUse:
    """A block that touches a buffer, and the loops around it."""

    block: Block
    loops: list[For]


def uses_of(state: ScheduleState, buffer: str) -> list[BufferUse]:
    """The users of ``buffer`` in program order."""
    return [
        BufferUse(block, loops_of(path))
        for block, path in state.placed()
        if state.accesses(block).touch(buffer)
    ]


def is_private(state: ScheduleState, buffer: str, loop: For) -> bool:
    """Whether each iteration of ``loop`` may have a copy of the local ``buffer`` of its own."""
    if not state.is_local(buffer):
        return False
    uses = uses_of(state, buffer)
    below = all(any(at is loop for at in use.loops) for use in uses)
    return below and _fresh(state, buffer, uses, loop, _ever_written(state, uses, buffer))


def _fresh(
    state: ScheduleState, buffer: str, uses: list[BufferUse], loop: For, shape: tuple[int, ...]
) -> bool:
    """Whether each iteration of ``loop`` writes whatever it reads of ``buffer``."""
    before: list[BufferUse] = []
    for use in uses:
        accesses = state.accesses(use.block)
        own = buffer in accesses.written
        if not (own and _starts_here(use, loop)):
            for access in accesses.reads_of(buffer):
                if not _fed(state, before, use, access, shape):
                    return False
        if own:
            before.append(use)
    return True


def _starts_here(use: BufferUse, loop: For) -> bool:
    """Whether the block initialises its result anew in each iteration of ``loop``."""
    fixed = set(_down_to(use.loops, loop))
    return use.block.init is not None and not any(
        it.reduce and free_vars(it.binding) & fixed for it in use.block.iters
    )


def _fed(
    state: ScheduleState,
    writers: list[BufferUse],
    reader: BufferUse,
    read: BlockAccess,
    shape: tuple[int, ...],
) -> bool:
    """Whether writers store all of ``read`` in each iteration of the loops that they share with
    its block: one of them, or those that share the same loops together."""
    boxes: dict[tuple[Expr, ...], list[Box]] = {}
    for writer in writers:
        pairs = zip(writer.loops, reader.loops, strict=False)
        outer = tuple(a.axis for a, b in pairs if a is b)
        boxes.setdefault(outer, []).extend(
            box_of(access, writer.block, outer, state)
            for access in state.accesses(writer.block).writes_of(read.buffer.name)
        )
    return any(
        cover(written, box_of(read, reader.block, outer, state), shape)
        for outer, written in boxes.items()
    )


def _ever_written(state: ScheduleState, uses: list[BufferUse], buffer: str) -> tuple[int, ...]:
    """The part of a buffer that holds values: what lies beyond has none to keep."""
    ends = [
        [span.start.constant + span.extent for span in map(inside, box, access.buffer.shape)]
        for use in uses
        for access in state.accesses(use.block).writes_of(buffer)
        for box in (box_of(access, use.block, (), state),)
    ]
    return tuple(map(max, zip(*ends, strict=True)))


def cover(boxes: list[Box], read: Box, shape: tuple[int, ...]) -> bool:
    """Whether every element of ``read`` lies in one of the boxes that are written whole."""
    wanted = [inside(span, size) for span, size in zip(read, shape, strict=True)]
    left = [tuple(range(span.extent) for span in wanted)]
    for box in boxes:
        part = _within(box, wanted, shape)
        if part is not None:
            left = [rest for whole in left for rest in _without(whole, part)]
    return not left


def _within(box: Box, wanted: list[Span], shape: tuple[int, ...]) -> tuple[range, ...] | None:
    """The elements of a dense box, counted from the start of ``wanted``; None where that moves."""
    found: list[range] = []
    for span, base, size in zip(box, wanted, shape, strict=True):
        if span is None or not span.dense or outside(span, size):
            return None
        written = inside(span, size)
        gap = written.offset(base)
        if gap is None:
            return None
        found.append(range(gap, gap + written.extent))
    return tuple(found)


def _without(whole: tuple[range, ...], part: tuple[range, ...]) -> list[tuple[range, ...]]:
    """What a box leaves of another one, as boxes."""
    pairs = zip(whole, part, strict=True)
    both = [range(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
    if not all(both):
        return [whole]
    return [
        (*both[:d], rest, *whole[d + 1 :])
        for d, (own, met) in enumerate(zip(whole, both, strict=True))
        for rest in (range(own.start, met.start), range(met.stop, own.stop))
        if rest
    ]


def _down_to(loops: list[For], loop: For) -> list[Expr]:
    return [at.axis for at in loops[: [at is loop for at in loops].index(True) + 1]]


@dataclass(frozen=True, slots=True)
class BufferPlan:
    """Where a buffer goes: below ``loop``, as ``buffer``, its indices from the spans' starts on."""

    loop: For
    outer: frozenset[Expr]
    spans: tuple[Span, ...]
    buffer: Buffer


def compact(state: ScheduleState) -> Stmt:
    """The function's body with every local buffer at its place and in its size."""
    plans: dict[str, BufferPlan] = {}
    for buffer in state.locals():
        plan = _plan(state, buffer)
        if plan is not None:
            plans[buffer.name] = plan
    return _apply(state.body, plans, state) if plans else state.body


def _plan(state: ScheduleState, buffer: Buffer) -> BufferPlan | None:
    uses = uses_of(state, buffer.name)
    if not uses:
        return None
    shared = [
        at for at in uses[0].loops if all(any(at is b for b in use.loops) for use in uses)
    ]  # the common prefix, for loops are nested
    shape = _ever_written(state, uses, buffer.name)
    for loop in reversed(shared):
        if loop.kind is not LoopKind.VECTORIZED and _fresh(state, buffer.name, uses, loop, shape):
            outer = _down_to(uses[0].loops, loop)
            spans = _spans(state, buffer, uses, outer)
            shape = tuple(span.extent for span in spans)
            return BufferPlan(loop, frozenset(outer), spans, replace(buffer, shape=shape))
    return None


def _spans(
    state: ScheduleState, buffer: Buffer, uses: list[BufferUse], outer: list[Expr]
) -> tuple[Span, ...]:
    touched = [
        (use.block, access, box_of(access, use.block, outer, state))
        for use in uses
        for access in state.accesses(use.block).of(buffer.name)
    ]
    spans = []
    for dim, size in enumerate(buffer.shape):
        span = union([box[dim] for _, _, box in touched], size)
        for block, access, _ in touched:
            if shifted(access.index[dim], span, block, set(outer), state) is None:
                span = Span(Linear({}, 0), size, False)
        spans.append(span)
    return tuple(spans)


def shifted(
    index: Expr, span: Span, block: Block, outer: set[Expr], state: ScheduleState
) -> Expr | None:
    """``index - span.start`` over local iters: an iter's variable here stands for that part of
    its binding that runs below ``outer``; None where no such parts add up."""
    if not span.start.terms:
        return index - span.start.constant if span.start.constant else index
    extents = {**state.extents, **state.accesses(block).inner}
    whole = simplify(bind(index, bindings_of(block)), extents)
    local = {it.axis: inner_part(it.binding, outer) for it in block.iters}
    part = simplify(bind(index, local), extents)
    gap = linear(whole).plus(span.start, -1).plus(linear(part), -1)
    if any(bounds(atom, extents) != (0, 0) for atom in gap.terms):
        return None
    return from_linear(linear(index).shifted(gap.constant))


def inner_part(binding: Expr, outer: set[Expr]) -> Expr:
    form = linear(binding)
    if not any(free_vars(atom) <= outer for atom in form.terms):
        return binding if form.terms else const(0, i32)
    kept = {atom: c for atom, c in form.terms.items() if not free_vars(atom) <= outer}
    return from_linear(Linear(kept, 0))


def _apply(body: Stmt, plans: dict[str, BufferPlan], state: ScheduleState) -> Stmt:
    def change(node: Stmt) -> Stmt | None:
        match node:
            case Alloc(buffer, inner) if buffer.name in plans:
                return inner
            case For(axis, _, _, inner):
                near = [plan.buffer for plan in plans.values() if plan.loop.axis is axis]
                body = reduce(lambda inner, buffer: Alloc(buffer, inner), reversed(near), inner)
                return replace(node, body=body) if near else None
            case Block():
                return _shrunk(node, plans, state)
        return None

    return transformed(body, change)


def _shrunk(block: Block, plans: dict[str, BufferPlan], state: ScheduleState) -> Block:
    """``block`` on the moved buffers."""
    local: dict[tuple[Expr, Expr], Iter] = {}

    def element(plan: BufferPlan, _: Block, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        outer, fresh = set(plan.outer), list[Expr]()
        values = {
            it.axis: _local(block, it, inner_part(it.binding, outer), local, state)
            for it in block.iters
        }
        known = extents_of((*block.iters, *local.values()))
        for expr, span in zip(index, plan.spans, strict=True):
            place = shifted(expr, span, block, outer, state)
            assert place is not None
            fresh.append(simplify(bind(place, values), known) if span.start.terms else place)
        return tuple(fresh)

    changed = block
    for name, plan in plans.items():
        if state.accesses(block).touch(name):
            changed = redirect(changed, name, plan.buffer, partial(element, plan))
    return replace(changed, iters=(*block.iters, *local.values())) if local else changed


def _local(
    block: Block, it: Iter, part: Expr, local: dict[tuple[Expr, Expr], Iter], state: ScheduleState
) -> Expr:
    """The variable for that part of an iter which counts below the buffer's loop."""
    if part is it.binding:
        return it.axis
    if part.is_const:
        return const(0, i32)
    found = local.get((it.axis, part))
    if found is None:
        _, high = bounds(part, state.extents)
        known = replace(block, iters=(*block.iters, *local.values()))
        name = iter_name(known, f"{it.axis.attr}_local")
        found = local[it.axis, part] = Iter(var(name), high + 1, it.reduce, part)
    return found.axis
