"""Copies by DMA: a block that only copies becomes a Copy, which what follows waits for.

    for i: for j: t[j] = w[i, j]          for i: copy(t[0], w[i])
           use t                                 use t

``transfer`` leaves a note on the block; the copy is made when the function is taken from the
schedule, after local buffers have found their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..tir.expr import Expr, substitute
from ..tir.linear import linear, row_major
from ..tir.stmt import Block, Buffer, Copy, For, PrimFunc, Region, Store
from .block_forms import is_map, store_of
from .boxes import Box, Span, box_of, start_of
from .errors import refusal
from .index import simplify
from .state import BlockAccess, BlockName, ScheduleState
from .storage import compact, inner_part
from .tree import Path, loops_of

NOTE = "transfer", True


def transfer(state: ScheduleState, block: BlockName) -> None:
    """Makes a block that copies a DMA transfer."""
    node, path = state.block(block)
    _copying(node, is_map(node))
    notes = [note for note in node.annotations if note != NOTE]
    state.swap(path, replace(node, annotations=(*notes, NOTE)))


def _copying(block: Block, once: bool = True) -> Store:
    """The store of a block that copies, each element ``once``; later primitives must leave it."""
    store = store_of(block)
    if store is None or not once or store.value.op != "load":
        raise refusal("the block must copy elements and nothing else", block.name,
                      block, "Make one by cache_read.")  # fmt: skip
    return store


def finished(state: ScheduleState) -> PrimFunc:
    """The function of ``state``, which stays as it is: buffers at their places, transfers made."""
    last = ScheduleState(replace(state.func, body=compact(state)), state.extents, set(state.names))
    for name in [block.name for block, _ in last.placed() if NOTE in block.annotations]:
        block, path = last.block(name)
        top = _own_nest(path)
        last.swap(top, Copy(*_regions(last, block, top)))
    return last.func


def _own_nest(path: Path) -> Path:
    """The path down to the outermost loop that holds the block only."""
    k = len(path) - 1
    while k > 0 and isinstance(path[k - 1], For):
        k -= 1
    return path[: k + 1]


def _regions(state: ScheduleState, block: Block, top: Path) -> tuple[Region, Region]:
    if block.where is not None:
        raise refusal("the box copied must lie within the source", "a guarded block",
                      block, "Choose factors that divide.")  # fmt: skip
    store = _copying(block)
    outer = [loop.axis for loop in loops_of(top[:-1])]
    target, source = (
        BlockAccess(store.buffer, store.index),
        BlockAccess(store.value.attr, store.value.args),
    )
    boxes = [box_of(access, block, outer, state) for access in (target, source)]
    steps = [
        [_moves(state, block, e, set(outer)) for e, s in zip(access.index, box, strict=True)
         if s is not None and s.extent > 1]
        for access, box in zip((target, source), boxes, strict=True)
    ]  # fmt: skip
    spans = [s for box in boxes for s in box]
    sizes = [n for access in (target, source) for n in access.buffer.shape]
    whole = all(
        s is not None and s.extent == n and not s.start.terms
        for s, n in zip(spans, sizes, strict=True)
    )
    flat = [row_major(access.buffer.shape, access.index) for access in (target, source)]
    alike = steps[0] == steps[1] or (whole and flat[0] == flat[1])
    if not alike or any(s is None or not s.dense for s in spans):
        raise refusal("source and target must be boxes in the same order", block.name, block)
    return _region(target.buffer, boxes[0]), _region(source.buffer, boxes[1])


def _moves(state: ScheduleState, block: Block, index: Expr, outer: set[Expr]) -> Mapping[Expr, int]:
    """How an index moves with the loops of the copy, wherever it starts."""
    values = {it.axis: it.binding for it in block.iters}
    return linear(inner_part(simplify(substitute(index, values), state.extents), outer)).terms


def _region(buffer: Buffer, box: Box) -> Region:
    spans: list[Span] = [span for span in box if span is not None]
    return Region(buffer, tuple(start_of(s) for s in spans), tuple(s.extent for s in spans))
