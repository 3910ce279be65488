"""Fills of which a copy overwrites the most: taken away, or cut down to the border that is left.

drop("fill")      takes the block away where all that is read is overwritten first
border("fill")    leaves the parts above and left of what is copied, before the copy, and those
                  below and right of it, after it: ``*_low`` and ``*_high``
"""

from __future__ import annotations

from dataclasses import dataclass

from ..tir.expr import Expr
from ..tir.stmt import Block, Stmt, Store
from .blocks import is_map, store_of
from .build import drop_buffer, iters_of, nest_of, put_after, put_before, top_of
from .errors import refusal
from .index import axes_in
from .region import Box, box_of
from .state import BlockName, State
from .tree import Path


@dataclass(frozen=True, slots=True)
class Fill:
    """A map that makes a local buffer, and the maps that write the buffer after it."""

    block: Block
    path: Path
    store: Store
    later: list[tuple[Block, Path]]

    @property
    def name(self) -> str:
        return self.store.buffer.name


def _fill(operation: str, state: State, block: BlockName) -> Fill:
    node, path = state.block(operation, block)
    store = store_of(node)
    if store is None or not is_map(node) or not state.is_local(store.buffer.name):
        raise refusal(operation, "the block must be a map that makes a local buffer",
                      node.name, node)  # fmt: skip
    order = [b.name for b, _ in state.placed()]
    readers = [b.name for b, _ in state.readers(store.buffer.name)]
    first = min(map(order.index, readers), default=len(order))
    tops = [top_of(p)[-1] for b, p in state.placed() if b.name in (*readers, node.name)]
    later = [
        (b, p)
        for b, p in state.writers(store.buffer.name)
        if order.index(node.name) < order.index(b.name) < first
        and all(top_of(p)[-1] is not top for top in tops)
    ]
    adding = [b.name for b, _ in later if b.init is None and not is_map(b)]
    if adding:
        raise refusal(operation, "later blocks must not read what they change of the buffer",
                      adding[0], node)  # fmt: skip
    return Fill(node, path, store, later)


def drop(state: State, block: BlockName) -> None:
    """Takes a map away of which later blocks overwrite all that is read."""
    fill = _fill("drop", state, block)
    made = [box_of(a, b, (), state) for b, _ in fill.later for a in state.accesses(b).of(fill.name)]
    for reader, _ in state.readers(fill.name):
        for access in state.accesses(reader).reads_of(fill.name):
            wanted = box_of(access, reader, (), state)
            if not any(_holds(box, wanted) for box in made):
                raise refusal("drop", "later blocks must overwrite all that is read of the buffer",
                              f"{fill.name}, which {reader.name} reads", fill.block)  # fmt: skip
    state.swap(fill.path, None)
    if not any(state.accesses(b).touch(fill.name) for b, _ in state.placed()):
        drop_buffer(state, fill.name)


def _holds(made: Box, wanted: Box) -> bool:
    pairs = zip(made, wanted, strict=True)
    return all(a is not None and b is not None and a.covers(b) for a, b in pairs)


def border(state: State, block: BlockName, late: bool = False) -> list[str]:
    """Cuts a map of one value down to what the map after it leaves; gives the parts that are left.
    The high ones come after the other map if ``late``."""
    fill = _fill("border", state, block)
    axes = [it.axis for it in fill.block.iters]
    sizes = [it.extent for it in fill.block.iters]
    plain = list(fill.store.index) == axes and fill.block.where is None
    if not plain or axes_in(fill.store.value) & set(axes) or len(fill.later) != 1:
        raise refusal("border", "the block must store one value at its iters, and one map "
                      "some of it after that", fill.block.name, fill.block)  # fmt: skip
    ((inner, _),) = fill.later
    inside = _inside(state, fill, inner)
    low, high = list[Stmt](), list[Stmt]()
    names: dict[str, list[str]] = {"low": [], "high": []}
    before: list[tuple[int, int]] = []
    for dim, (first, end) in enumerate(inside):
        first, end = min(first, sizes[dim]), min(end, sizes[dim])
        for side, start, stop, made in (("low", 0, first, low), ("high", end, sizes[dim], high)):
            if start < stop:
                behind = [(0, n) for n in sizes[dim + 1 :]]
                box = [*before, (start, stop), *behind]
                name = state.fresh(f"{fill.block.name}_{side}")
                made.append(_part(state, fill, name, box))
                names[side].append(name)
        before.append((first, end))
    if late and high:
        put_after(state, inner.name, *high)
    early = low if late else [*low, *high]
    _, path = state.block("border", fill.block.name)
    state.swap(path, None)
    if early:
        put_before(state, inner.name, *early)
    return [*names["low"], *names["high"]]


def _inside(state: State, fill: Fill, inner: Block) -> list[tuple[int, int]]:
    """Where the part that ``inner`` writes begins and ends in each dimension."""
    boxes = [box_of(a, inner, (), state) for a in state.accesses(inner).of(fill.name)]
    spans = [span for span in boxes[0] if span is not None and span.dense]
    fixed = all(not span.start.terms for span in spans) and len(spans) == len(boxes[0])
    if len(boxes) > 1 or not fixed or inner.where is not None:
        raise refusal("border", "the other block must write a box of the buffer", inner.name, inner)
    return [(span.start.constant, span.start.constant + span.extent) for span in spans]


def _part(state: State, fill: Fill, name: str, box: list[tuple[int, int]]) -> Stmt:
    """The fill of a box, in loops of its own."""
    sizes = [
        (str(it.axis.attr), end - start, False)
        for it, (start, end) in zip(fill.block.iters, box, strict=True)
    ]
    iters = iters_of(state, name, sizes)
    index: list[Expr] = [
        it.axis + start if start else it.axis for it, (start, _) in zip(iters, box, strict=True)
    ]
    return nest_of(Block(name, iters, Store(fill.store.buffer, tuple(index), fill.store.value)))
