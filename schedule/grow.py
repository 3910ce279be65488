"""Blocks over more than their elements: into bytes that mean nothing, so that vectors are whole.

    grow("copy", (1, 8, 256))      for k in range(196): y[i, k] = x[k, i]
                             ->    for k in range(256): y[i, k] = x[min(k, 195), i]

``PrimFunc.attrs["meant"]`` says how many elements of each dimension of a parameter mean something:
stored images end in pads. What is read beyond its buffer is the last element instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..tir.expr import Expr, maximum, minimum, transform
from ..tir.linear import linear
from ..tir.stmt import Block, Store
from .blocks import is_map, store_of
from .errors import refusal
from .index import bounds
from .state import BlockName, State
from .tree import Path, loops_of, nest


def grow(state: State, block: BlockName, extents: Sequence[int]) -> None:
    """Gives each iter of a map the extent stated; what is stored beyond must mean nothing."""
    node, path = state.block("grow", block)
    store = plain_map("grow", node, path, extents)
    meant = state.func.attrs.get("meant", {}).get(store.buffer.name, store.buffer.shape)
    for it, extent in zip(node.iters, extents, strict=True):
        if extent > it.extent and not _beyond(store, node, it.axis, it.extent, meant):
            raise refusal("grow", "what is stored beyond the iter must mean nothing",
                          f"{it.axis.attr} of {store.buffer.name}", node)  # fmt: skip
    grown = {it.axis: n for it, n in zip(node.iters, extents, strict=True)}
    for expr, size in zip(store.index, store.buffer.shape, strict=True):
        _, high = bounds(expr, grown)
        if high is None or high >= size:
            raise refusal("grow", "the block must stay within its buffer", store.buffer.name, node)
    loops, iters = loops_of(path), []
    for it, extent in zip(node.iters, extents, strict=True):
        same = extent == it.extent
        axis = it.binding if same else state.axis(f"{it.binding.attr}_grown", extent)
        if not same:
            state.gone[str(it.binding.attr)] = "grow"
        iters.append(replace(it, extent=extent, binding=axis))
    body = Store(store.buffer, store.index, clamped(store.value, grown), store.origin)
    fresh = [replace(loop, axis=it.binding, extent=it.extent)
             for loop, it in zip(loops, iters, strict=True)]  # fmt: skip
    top = path[: len(path) - 1 - len(loops)]
    state.swap([*top, loops[0]], nest(fresh, replace(node, iters=tuple(iters), body=body)))


def plain_map(operation: str, block: Block, path: Path, extents: Sequence[int]) -> Store:
    """The block's store; the block must be a map right below its loops, one an iter."""
    store = store_of(block)
    if store is None or not is_map(block):
        raise refusal(operation, "the block must store each element once, from its iters alone",
                      f"{block.name}, which does not", block)  # fmt: skip
    loops = loops_of(path)
    alone = all(a.body is b for a, b in zip(loops, [*loops[1:], block], strict=True))
    if [loop.axis for loop in loops] != [it.binding for it in block.iters] or not alone:
        raise refusal(operation, "the block must stand alone under one loop an iter",
                      "other loops", block, f"Use {operation} first.")  # fmt: skip
    least = [it.extent for it in block.iters]
    short = len(extents) == len(least) and any(n < m for n, m in zip(extents, least, strict=True))
    if len(extents) != len(least) or short or block.where is not None:
        raise refusal(operation, f"an extent must be given for each iter, at least {tuple(least)}",
                      str(tuple(extents)), block)  # fmt: skip
    return store


def _beyond(store: Store, block: Block, axis: Expr, extent: int, meant: Sequence[int]) -> bool:
    """Whether values of ``axis`` from ``extent`` on index what means nothing."""
    known = {it.axis for it in block.iters}
    for expr, size in zip(store.index, meant, strict=True):
        form = linear(expr)
        positive = form.terms.keys() <= known and all(c > 0 for c in form.terms.values())
        if positive and form.constant + form.terms.get(axis, 0) * extent >= size:
            return axis in form.terms
    return False


def clamped(value: Expr, grown: dict[Expr, int]) -> Expr:
    """``value`` where iters run on: an index outside of its buffer is the nearest inside."""

    def change(node: Expr) -> Expr | None:
        if node.op != "load":
            return None
        index = []
        for expr, size in zip(node.args, node.attr.shape, strict=True):
            low, high = bounds(expr, grown)
            least = expr if low is not None and low >= 0 else maximum(expr, 0)
            inside = high is not None and high < size
            index.append(least if inside else minimum(least, size - 1))
        return Expr("load", node.type, tuple(index), node.attr)

    return transform(value, change)
