"""Padded copies: a fill, and a copy that overwrites the most of it.

border("fill")    leaves the parts above and left of what is copied, before the copy, and those
                  below and right of it, after it: ``*_low`` and ``*_high``; where all that is read
                  is copied, no part is left

p[i] = 0; p[i + 1] = x[i]              guard("q", "p")      (x has 14 elements, p 16)
q[i] = p[i]                becomes     q[i] = select(0 <= i - 1 and i - 1 < 14,
                                                     x[max(min(i - 1, 13), 0)], 0)
m[i] = max over k of p[i + k]          guard("m", "p")
                           becomes     m[i] = max over k of x[max(min(i + k - 1, 13), 0)]

What the border holds changes no maximum, and the nearest element is in the window anyway.
"""

from __future__ import annotations

from ..tir.evaluate_expr import loads
from ..tir.expr import Expr, conjoin, free_vars, select
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Store
from .block_forms import extents_of, is_map, is_reduction, reduction_of, store_of
from .boxes import Span, box_of, runs_whole
from .errors import refusal
from .index import Extents, bounds, form_bounds, held
from .new_nests import drop_buffer, made, named, put_after, put_before, rewritten, top_of
from .reduction_primitives import neutral
from .stages import check_inputs
from .state import BlockName, BlockRef, ScheduleState

Ranges = list[tuple[int, int]]  # of each dimension, where a part of a buffer begins and ends


def border(state: ScheduleState, block: BlockName, late: bool = False) -> list[BlockRef]:
    """Cuts a fill down to the border around what a copy overwrites, as far as it is read; gives its
    parts, of which those behind what is copied come after the copy if ``late``."""
    node, path = state.block(block)
    store = store_of(node)
    if store is None or not is_map(node) or not state.is_local(store.buffer.name):
        raise refusal("the block must be a map that makes a local buffer", node.name, node)
    axes, later = [it.axis for it in node.iters], _later(state, node, store)
    plain = list(store.index) == axes and node.where is None
    if not plain or free_vars(store.value) & set(axes) or len(later) != 1:
        raise refusal("the block must store one value at its iters, and one map "
                      "some of it after that", node.name, node)  # fmt: skip
    (inner,) = later
    inside, read = _inside(state, store.buffer, inner), _read(state, store.buffer)
    parts: dict[str, list[Block]] = {"low": [], "high": []}
    before, sizes = Ranges(), [it.extent for it in node.iters]
    for dim, (first, end) in enumerate(inside):
        first, end = min(first, sizes[dim]), min(end, sizes[dim])
        behind = [(0, n) for n in sizes[dim + 1 :]]
        for side, ends in (("low", (0, first)), ("high", (end, sizes[dim]))):
            box = [*before, ends, *behind]
            if any(all(max(a, c) < min(b, d) for (a, b), (c, d) in zip(box, other, strict=True))
                   for other in read):  # fmt: skip
                parts[side].append(_part(state, node, store, f"{node.name}_{side}", box))
        before.append((first, end))
    state.swap(path, None)
    if late and parts["high"]:
        put_after(state, inner.name, *parts["high"])
    put_before(state, inner.name, *parts["low"], *([] if late else parts["high"]))
    return [BlockRef(part.name) for side in parts.values() for part in side]


def _later(state: ScheduleState, fill: Block, store: Store) -> list[Block]:
    """The blocks that write a buffer after ``fill``, before it is read, in nests of their own."""
    name = store.buffer.name
    order = [b.name for b, _ in state.placed()]
    readers = [b.name for b, _ in state.readers(name)]
    first = min(map(order.index, readers), default=len(order))
    tops = [top_of(p)[-1] for b, p in state.placed() if b.name in (*readers, fill.name)]
    later = [b for b, p in state.writers(name)
             if order.index(fill.name) < order.index(b.name) < first
             and all(top_of(p)[-1] is not top for top in tops)]  # fmt: skip
    adding = [b.name for b in later if b.init is None and not is_map(b)]
    if adding:
        raise refusal("later blocks must not read what they change of the buffer", adding[0], fill)
    return later


def _inside(state: ScheduleState, buffer: Buffer, inner: Block) -> Ranges:
    """The part that ``inner`` writes."""
    first, *others = (box_of(a, inner, (), state) for a in state.accesses(inner).of(buffer.name))
    spans = [span for span in first if span is not None and span.dense and not span.start.terms]
    if others or len(spans) < len(first) or inner.where is not None:
        raise refusal("the other block must write a box of the buffer", inner.name, inner)
    return list(map(_ends, spans))


def _ends(span: Span) -> tuple[int, int]:
    return span.start.constant, span.start.constant + span.extent


def _read(state: ScheduleState, buffer: Buffer) -> list[Ranges]:
    """The parts that blocks read."""
    return [
        [(0, n) if span is None or span.start.terms else _ends(span)
         for span, n in zip(box_of(access, reader, (), state), buffer.shape, strict=True)]
        for reader, _ in state.readers(buffer.name)
        for access in state.accesses(reader).reads_of(buffer.name)
    ]  # fmt: skip


def _part(state: ScheduleState, fill: Block, store: Store, name: str, box: Ranges) -> Block:
    """The fill of a box."""
    sizes = [(axis, end - start)
             for (axis, _), (start, end) in zip(named(fill.iters), box, strict=True)]  # fmt: skip

    def stored(index: tuple[Expr, ...]) -> Store:
        at = (axis + start if start else axis for axis, (start, _) in zip(index, box, strict=True))
        return Store(store.buffer, tuple(at), store.value)

    return made(state, name, sizes, stored)


# Windows without a padded copy ------------------------------------------------------------------


def guard(state: ScheduleState, block: BlockName, buffer: str) -> None:
    """A block reads what a padded copy was made of where it lies inside, and what the border holds
    elsewhere; a minimum or maximum that the border does not change, the nearest element. The copy
    goes with its last reader."""
    node, path = state.block(block)
    if buffer not in state.accesses(node).inputs:
        raise refusal("the block must read the buffer and not write it", f"{node.name}, {buffer}",
                      node)  # fmt: skip
    source, places, fill = _copied(state, node, state.buffer(buffer))
    extents = state.ranges(node)

    def element(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr.name != buffer:
            return None
        index, inside = list[Expr](), list[Expr]()
        for at, (start, end) in zip(expr.args, places, strict=True):
            at, size = from_linear(linear(at).shifted(-start)), end - start
            low, high = bounds(at, extents)
            inside += [at >= 0] if low < 0 else []
            inside += [at < size] if high >= size else []
            index.append(held(at, size, extents))
        value, where = Expr("load", expr.type, tuple(index), source), conjoin(inside)
        if where is None or fill is None or _unchanged(node, expr, places, fill):
            return value
        return select(where, value, fill)

    state.swap(path, rewritten(node, element))
    _drop_unread(state, buffer)


def _unchanged(block: Block, read: Expr, places: Ranges, fill: Expr) -> bool:
    """Whether the border changes no minimum or maximum, nor do the elements next to it."""
    found = reduction_of(block)
    if found is None or found.value is not read or found.op not in ("min", "max"):
        return False
    extents, reduced = extents_of(block.iters), {it.axis for it in block.iters if it.reduce}
    neutral_ = fill.is_const and fill.attr == neutral(found.op, found.buffer.type)
    met = (_met(linear(at).shifted(-start), end - start, reduced, extents)
           for at, (start, end) in zip(read.args, places, strict=True))  # fmt: skip
    return neutral_ and is_reduction(block) and all(met)


def _drop_unread(state: ScheduleState, buffer: str) -> None:
    """Takes away a buffer that nobody reads, and what writes it."""
    if not state.readers(buffer):
        for writer, _ in state.writers(buffer):
            state.swap(state.block(writer.name)[1], None)
        drop_buffer(state, buffer)


def _copied(
    state: ScheduleState, reader: Block, buffer: Buffer
) -> tuple[Buffer, Ranges, Expr | None]:
    """What the last block that writes the buffer copies, and to where, and the value that all
    others store, if there are any."""
    *fills, copy = [block for block, _ in state.writers(buffer.name)] or [reader]
    order = [block.name for block, _ in state.placed()]
    writers = [*fills, copy]
    early = all(order.index(b.name) < order.index(reader.name) for b in writers)
    fine = all(is_map(block) and runs_whole(block, state) for block in writers)
    store, values = store_of(copy), {_stored(block) for block in fills}
    filled = len(values) <= 1 and None not in values
    if store is not None and store.value.op == "load" and early and fine and filled:
        check_inputs(state, copy)
        ends, at = _inside(state, buffer, copy), store.value.args
        pairs = zip(store.index, at, strict=False)
        shifts = [linear(to).plus(linear(source), -1) for to, source in pairs]
        if state.is_local(buffer.name) and len(at) == len(ends):
            if shifts == [Linear({}, first) for first, _ in ends]:
                return store.value.attr, ends, next(iter(values), None)
    raise refusal("one map must copy elements to the buffer, after others that fill it with one "
                  "value", buffer.name, copy)  # fmt: skip


def _stored(block: Block) -> Expr | None:
    """The value that a block stores everywhere, if it does."""
    store = store_of(block)
    same = store is not None and not free_vars(store.value) and not loads(store.value)
    return store.value if store is not None and same else None


def _met(form: Linear, size: int, reduced: set[Expr], extents: Extents) -> bool:
    """Whether all windows meet the elements 0 .. size-1, without gaps where they end outside."""
    low, high = form_bounds(form, extents)
    reach, dense = 0, True  # steps from the first tap of a window to its last one
    for step, extent in sorted((abs(c), extents[a]) for a, c in form.terms.items() if a in reduced):
        dense = dense and step <= reach + 1
        reach += step * (extent - 1)
    return (low >= 0 and high < size) or (dense and low + reach >= 0 and high - reach < size)
