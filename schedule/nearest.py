"""Maxima and minima over windows without a padded copy: outside of it, the nearest element.

    p[i] = 0; p[i + 1] = x[i]                  (x has 14 elements, p 16)
    m[i] = max over k of p[i + k]              becomes    m[i] = max over k of
                                                              x[max(min(i + k - 1, 13), 0)]

What the border holds changes no maximum, and the nearest element is in the window anyway.
"""

from __future__ import annotations

from ..tir.expr import Expr, maximum, minimum
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Store
from .blocks import extents_of, is_map, is_reduction, reduction_of
from .build import drop_buffer, rewritten
from .errors import refusal
from .index import Extents, form_bounds
from .reduction import neutral
from .region import runs_whole
from .stages import check_inputs
from .state import BlockName, State

Places = list[tuple[int, int]]  # of each dimension: where copied elements begin, how many there are


def nearest(state: State, block: BlockName, buffer: str) -> None:
    """A reduction by min or max reads what a padded copy was made of, at the nearest element
    where it lies outside; the copy goes with its last reader."""
    node, path = state.block(block)
    found = reduction_of(node)
    value = None if found is None else found.value
    plain = value is not None and value.op == "load" and value.attr.name == buffer
    if found is None or value is None or not plain or found.op not in ("min", "max"):
        raise refusal("the block must be a reduction by min or max of the buffer's "
                      "elements", node.name, node)  # fmt: skip
    source, places = _copied(state, node, buffer, neutral(found.op, found.buffer.type))
    extents = extents_of(node.iters)
    reduced = {it.axis for it in node.iters if it.reduce}
    index = []
    for expr, (start, size) in zip(value.args, places, strict=True):
        form = linear(expr).shifted(-start)
        if not is_reduction(node) or not _met(form, size, reduced, extents):
            raise refusal("each window must hold elements of the copy, and all between",
                          f"{buffer}, of which {size} are copied", node)  # fmt: skip
        index.append(_inside(form, size, extents))
    fresh = Expr("load", value.type, tuple(index), source)
    state.swap(path, rewritten(node, lambda part: fresh if part is value else None))
    if not state.readers(buffer):
        for writer, _ in state.writers(buffer):
            state.swap(state.block(writer.name)[1], None)
        drop_buffer(state, buffer)


def _copied(state: State, reader: Block, buffer: str, fill: int) -> tuple[Buffer, Places]:
    """What the last block that writes the buffer copies, where the others store ``fill``."""
    writers = [block for block, _ in state.writers(buffer)]
    order = [block.name for block, _ in state.placed()]
    early = all(order.index(b.name) < order.index(reader.name) for b in writers)
    *fills, copy = writers or [reader]
    places = _places(copy)
    fine = all(is_map(block) and runs_whole(block, state) for block in writers)
    filled = all(isinstance(b.body, Store) and _is(b.body.value, fill) for b in fills)
    if not state.is_local(buffer) or not (early and fine and filled) or places is None:
        raise refusal("one map must copy elements to the buffer, after others that fill "
                      "it with the neutral one", buffer, copy)  # fmt: skip
    check_inputs(state, copy)
    assert isinstance(copy.body, Store)
    return copy.body.value.attr, places


def _places(copy: Block) -> Places | None:
    """Where elements of an operand are copied to, from the first one of each dimension on."""
    store = copy.body
    axes = extents_of(copy.iters)
    if not isinstance(store, Store) or store.value.op != "load":
        return None
    if len(store.value.args) != len(store.index):
        return None
    places: Places = []
    for at, form in zip(store.value.args, map(linear, store.index), strict=True):
        if dict(form.terms) != ({at: 1} if at in axes else {}) or not (at in axes or _is(at, 0)):
            return None
        places.append((form.constant, axes.get(at, 1)))
    return places


def _is(value: Expr, number: int) -> bool:
    return value.is_const and value.attr == number


def _met(form: Linear, size: int, reduced: set[Expr], extents: Extents) -> bool:
    """Whether all windows meet the elements 0 .. size-1, without gaps where they end outside."""
    low, high = form_bounds(form, extents)
    if low is None or high is None:
        return False
    reach, dense = 0, True  # steps from the first tap of a window to its last one
    for step, extent in sorted((abs(c), extents[a]) for a, c in form.terms.items() if a in reduced):
        dense = dense and step <= reach + 1
        reach += step * (extent - 1)
    return (low >= 0 and high < size) or (dense and low + reach >= 0 and high - reach < size)


def _inside(form: Linear, size: int, extents: Extents) -> Expr:
    low, high = form_bounds(form, extents)
    expr = from_linear(form)
    if high is None or high >= size:
        expr = minimum(expr, size - 1)
    return maximum(expr, 0) if low is None or low < 0 else expr
