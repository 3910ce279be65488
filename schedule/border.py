"""Fills of which a copy overwrites the most, cut down to the border around it that is read.

border("fill")    leaves the parts above and left of what is copied, before the copy, and those
                  below and right of it, after it: ``*_low`` and ``*_high``; where all that is read
                  is copied, no part is left
"""

from __future__ import annotations

from ..tir.expr import Expr, free_vars
from ..tir.stmt import Block, Buffer, Store
from .blocks import is_map, store_of
from .build import made, named, put_after, put_before, top_of
from .errors import refusal
from .region import Span, box_of
from .state import BlockName, BlockRef, State

Ranges = list[tuple[int, int]]  # of each dimension, where a part of a buffer begins and ends


def border(state: State, block: BlockName, late: bool = False) -> list[BlockRef]:
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


def _later(state: State, fill: Block, store: Store) -> list[Block]:
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


def _inside(state: State, buffer: Buffer, inner: Block) -> Ranges:
    """The part that ``inner`` writes."""
    first, *others = (box_of(a, inner, (), state) for a in state.accesses(inner).of(buffer.name))
    spans = [span for span in first if span is not None and span.dense and not span.start.terms]
    if others or len(spans) < len(first) or inner.where is not None:
        raise refusal("the other block must write a box of the buffer", inner.name, inner)
    return list(map(_ends, spans))


def _ends(span: Span) -> tuple[int, int]:
    return span.start.constant, span.start.constant + span.extent


def _read(state: State, buffer: Buffer) -> list[Ranges]:
    """The parts that blocks read."""
    return [
        [(0, n) if span is None or span.start.terms else _ends(span)
         for span, n in zip(box_of(access, reader, (), state), buffer.shape, strict=True)]
        for reader, _ in state.readers(buffer.name)
        for access in state.accesses(reader).reads_of(buffer.name)
    ]  # fmt: skip


def _part(state: State, fill: Block, store: Store, name: str, box: Ranges) -> Block:
    """The fill of a box."""
    sizes = [(axis, end - start)
             for (axis, _), (start, end) in zip(named(fill.iters), box, strict=True)]  # fmt: skip

    def stored(index: tuple[Expr, ...]) -> Store:
        at = (axis + start if start else axis for axis, (start, _) in zip(index, box, strict=True))
        return Store(store.buffer, tuple(at), store.value)

    return made(state, name, sizes, stored)
