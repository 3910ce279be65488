"""Loops and buffers longer or shorter than they are needed for.

resize("w", 32)     for w in range(28): t[w] = ...    becomes    for w in range(32): t[w] = ...
divide("w", 28)     for w in range(56): t[w] = ...    becomes    for a in range(2):
                                                                     for b in range(28):
                                                                         t[a * 28 + b] = ...
trim("x")           x[64], of which x[0] .. x[33] are read,      becomes x[34]; so do its writers

A longer loop makes elements that nobody reads; what it reads beyond its operands' ends is theirs to
grow by, and means nothing. A shorter one leaves out elements that end in the pads of the function's
results, which mean nothing either (``meant``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..tir.expr import Expr, var
from ..tir.linear import linear
from ..tir.script.show import show_expr
from ..tir.stmt import Block, Buffer, For, Iter, PrimFunc, Store
from .blocks import is_map, is_reduction, store_of
from .build import iter_name, replace_buffer, set_constant, top_of
from .errors import refusal
from .index import Bounds, axes_in, bounds, simplify
from .inline import substituted
from .region import bind
from .state import Access, Loop, State
from .tree import Path, blocks_below, loops_of, nest

Sizes = tuple[int, ...]


def meant(func: PrimFunc, buffer: Buffer) -> Sizes:
    """Of each dimension of a parameter, how much of it means something."""
    known = func.attrs.get("meant", {}).get(buffer.name, buffer.shape)
    return tuple(known)


def resize(state: State, loop: Loop, extent: int) -> str:
    """Lets a spatial loop that holds one block run to ``extent``; gives the new loop."""
    path = state.loop("resize", loop)
    axis, blocks = _loop_of(path), list(blocks_below(path[-1]))
    block = blocks[0]
    it = next((it for it in block.iters if it.binding is axis), None)
    store = store_of(block)
    if it is None or block.where is not None or len(blocks) > 1:
        raise refusal("resize", "the loop must hold one block, of which it is an iter",
                      ", ".join(b.name for b in blocks), path[-1])  # fmt: skip
    if store is None or it.reduce or not (is_map(block) or is_reduction(block)):
        raise refusal("resize", "the loop must be a spatial one of a map or a reduction",
                      f"{loop} of {block.name}", block)  # fmt: skip
    dims = [d for d, e in enumerate(store.index) if it.axis in axes_in(e)]
    if len(dims) != 1 or linear(store.index[dims[0]]).terms != {it.axis: 1}:
        raise refusal("resize", "the loop must be the index of one dimension of the result",
                      f"{store.buffer.name}[{', '.join(map(show_expr, store.index))}]",
                      block)  # fmt: skip
    if extent < it.extent:
        _check_pads(state, block, store, dims[0], extent)
    else:
        _grow(state, block, store, dims[0], it.axis, extent)
    block, path = state.block("resize", block.name)
    above, loops = _split(path, axis)
    (name,) = _renewed(state, above, loops, block, {it.axis: extent})
    return name


def divide(state: State, loop: Loop, size: int) -> list[str]:
    """Makes two iters and loops of one: steps of ``size``, and those within; gives the loops."""
    path = state.loop("divide", loop)
    blocks = list(blocks_below(top_of(path)[-1]))
    block, axis = blocks[0], _loop_of(path)
    _, path = state.block("divide", block.name)
    _check_plain("divide", block, path, len(blocks))
    it = next(it for it in block.iters if it.binding is axis)
    if not isinstance(block.body, Store):
        raise refusal("divide", "the block's body must be a store", block.name, block)
    if size < 1 or it.extent % size:
        raise refusal("divide", "the size must divide the extent", f"{size} of {it.extent}", block)
    parts: list[Iter] = []
    for suffix, extent in (("a", it.extent // size), ("b", size)):
        known = replace(block, iters=(*block.iters, *parts))
        name = iter_name(known, f"{it.axis.attr}_{suffix}")
        parts.append(Iter(var(name), extent, it.reduce, state.axis(f"{loop}_{suffix}", extent)))
    reach = {**{i.axis: i.extent for i in block.iters}, **{i.axis: i.extent for i in parts}}
    values = {i.axis: i.axis for i in block.iters}
    inner = parts[1].axis
    values[it.axis] = inner if it.extent == size else parts[0].axis * size + inner
    stores = [_moved(s, values, reach) for s in (block.body, block.init) if isinstance(s, Store)]
    fresh = replace(block, body=stores[0], init=stores[1] if len(stores) > 1 else None)
    iters = [new for old in block.iters for new in (parts if old is it else [old])]
    loops = [
        new
        for node in loops_of(path)
        for new in (
            [replace(node, axis=p.binding, extent=p.extent) for p in parts]
            if node.axis is axis
            else [node]
        )
    ]
    state.swap(top_of(path), nest(loops, replace(fresh, iters=tuple(iters))))
    state.gone[str(loop)] = "divide"
    return [str(p.binding.attr) for p in parts]


def trim(state: State, buffer: str) -> None:
    """Cuts a constant or local buffer, and what is written to it, down to what is read."""
    old = state.buffer("trim", buffer)
    if not state.is_local(buffer) and buffer not in state.func.constants:
        raise refusal("trim", "the buffer must be local or a constant", buffer)
    reads = [
        [_high(state, block, access, e) + 1 for e in access.index]
        for block, _ in state.readers(buffer)
        for access in state.accesses(block).reads
        if access.buffer.name == buffer
    ]
    if not reads:
        raise refusal("trim", "the buffer must be read", buffer)
    shape = tuple(
        min(max(sizes), n) for sizes, n in zip(zip(*reads, strict=True), old.shape, strict=True)
    )
    if shape == old.shape:
        return
    for block, _ in state.writers(buffer):
        _shorten(state, *state.block("trim", block.name), shape)
    replace_buffer(state, buffer, replace(old, shape=shape))
    if buffer in state.func.constants:
        part = state.func.constants[buffer][tuple(slice(n) for n in shape)]
        set_constant(state, buffer, np.ascontiguousarray(part))


def _loop_of(path: Path) -> Expr:
    """The variable of the loop at the end of a path."""
    loop = path[-1]
    assert isinstance(loop, For)
    return loop.axis


def _moved(store: Store, values: Mapping[Expr, Expr], extents: Mapping[Expr, int]) -> Store:
    """A store with variables replaced, its indices simplified."""
    index = tuple(simplify(bind(e, values), extents) for e in store.index)
    return replace(store, index=index, value=substituted(store.value, values, extents))


def _check_plain(operation: str, block: Block, path: Path, blocks: int) -> None:
    plain = {node.axis for node in loops_of(path)} == {it.binding for it in block.iters}
    if not plain or block.where is not None or blocks > 1:
        raise refusal(operation, "the block must stand alone under one loop an iter",
                      "other loops", block, f"Use {operation} first.")  # fmt: skip


def _check_pads(state: State, block: Block, store: Store, dim: int, extent: int) -> None:
    """What lies beyond ``extent`` must end in pads of results."""
    for buffer, at in _ends(state, store.buffer, dim):
        if state.is_local(buffer.name) or meant(state.func, buffer)[at] > extent:
            raise refusal("resize", "what a shorter loop leaves out must lie in pads of a result",
                          f"{extent} of {buffer.name}", block)  # fmt: skip


def _ends(state: State, buffer: Buffer, dim: int) -> list[tuple[Buffer, int]]:
    """The results, and their dimension, to which blocks carry ``dim`` of a buffer; a local buffer
    where something else reads it."""
    if not state.is_local(buffer.name):
        return [(buffer, dim)]
    found: list[tuple[Buffer, int]] = []
    for reader, _ in state.readers(buffer.name):
        store = store_of(reader)
        reads = {a.index[dim] for a in state.accesses(reader).reads if a.buffer == buffer}
        dims = [] if store is None else [d for d, e in enumerate(store.index) if e in reads]
        whole = is_map(reader) or is_reduction(reader)
        if store is None or not whole or len(reads) != 1 or len(dims) != 1:
            return [(buffer, dim)]
        if any(
            axes_in(store.index[dims[0]]) & axes_in(e)
            for d, e in enumerate(store.index)
            if d != dims[0]
        ):
            return [(buffer, dim)]
        found += _ends(state, store.buffer, dims[0])
    return found or [(buffer, dim)]


def _grow(state: State, block: Block, store: Store, dim: int, axis: Expr, extent: int) -> None:
    """The result and the operands as large as the longer loop asks for."""
    name, extents = store.buffer.name, _extents(block)
    reach = {**extents, axis: extent}
    others = _makers(state, block, store, dim, axis, reach)
    if not state.is_local(name) or others:
        raise refusal("resize", "a longer loop must make elements of a local buffer that are not "
                      "made before it, or not read", ", ".join([name, *others]), block,
                      "Use cache_write first.")  # fmt: skip
    needs: dict[str, Sizes] = {}
    for access in (*state.accesses(block).reads, *state.accesses(block).writes):
        shape = needs.get(access.buffer.name, access.buffer.shape)
        high = tuple(_above(block, e, reach) for e in access.index)
        needs[access.buffer.name] = tuple(max(n, h) for n, h in zip(shape, high, strict=True))
    for buffer, shape in needs.items():
        old = state.buffer("resize", buffer)
        if shape == old.shape:
            continue
        if not state.is_local(buffer) and buffer not in state.func.constants:
            raise refusal("resize", "operands that are too short must be local or constants",
                          buffer, block, "Use cache_read first.")  # fmt: skip
        replace_buffer(state, buffer, replace(old, shape=shape))
        if buffer in state.func.constants:
            pads = [(0, n - m) for n, m in zip(shape, old.shape, strict=True)]
            set_constant(state, buffer, np.pad(state.func.constants[buffer], pads))


def _makers(
    state: State, block: Block, store: Store, dim: int, axis: Expr, reach: Mapping[Expr, int]
) -> list[str]:
    """The blocks before ``block`` that make what it makes when ``axis`` runs on; none where that
    is not read."""
    new = [bounds(e, reach) for e in store.index]
    start = linear(store.index[dim]).constant + _extents(block)[axis]
    new[dim] = start, new[dim][1]

    def meets(other: Block, accesses: Iterable[Access]) -> bool:
        known = {**_extents(other), **state.accesses(other).inner}
        return any(
            access.buffer == store.buffer
            and all(map(_meet, new, (bounds(e, known) for e in access.index)))
            for access in accesses
        )

    name = store.buffer.name
    if not any(meets(b, state.accesses(b).reads) for b, _ in state.readers(name)):
        return []
    order = [b.name for b, _ in state.placed()]
    before = order[: order.index(block.name)]
    return [
        b.name
        for b, _ in state.writers(name)
        if b.name in before and meets(b, state.accesses(b).writes)
    ]


def _meet(one: Bounds, other: Bounds) -> bool:
    """Whether two ranges may have a value in common."""
    (a, b), (c, d) = one, other
    return (b is None or c is None or c <= b) and (a is None or d is None or a <= d)


def _extents(block: Block) -> dict[Expr, int]:
    return {it.axis: it.extent for it in block.iters}


def _above(block: Block, index: Expr, extents: Mapping[Expr, int]) -> int:
    low, high = bounds(index, extents)
    if low is None or high is None or low < 0:
        raise refusal("resize", "each index must have bounds", show_expr(index), block)
    return high + 1


def _high(state: State, block: Block, access: Access, index: Expr) -> int:
    """The greatest value of an index; the whole dimension where it is unknown."""
    _, high = bounds(index, {**_extents(block), **state.accesses(block).inner})
    return max(access.buffer.shape) if high is None else high


def _shorten(state: State, block: Block, path: Path, shape: Sizes) -> None:
    """A block that writes no more of a buffer than ``shape``."""
    _check_plain("trim", block, path, len(list(blocks_below(top_of(path)[-1]))))
    store, sizes = store_of(block), dict[Expr, int]()
    kind = store is not None and (is_map(block) or is_reduction(block))
    spatial = {it.axis for it in block.iters if not it.reduce}
    for index, size in zip(store.index if store is not None else (), shape, strict=True):
        form = linear(index)
        _, high = bounds(index, _extents(block))
        if high is not None and high < size:
            continue
        axes = [axis for axis, step in form.terms.items() if step == 1 and axis in spatial]
        if not kind or len(axes) != len(form.terms) or len(axes) != 1 or form.constant >= size:
            raise refusal("trim", "what is not read must be the end of an iter of a map or "
                          "reduction", show_expr(index), block)  # fmt: skip
        sizes[axes[0]] = size - form.constant
    if sizes:
        _renewed(state, top_of(path), loops_of(path), block, sizes)


def _split(path: Path, axis: Expr) -> tuple[Path, list[For]]:
    """The path down to the loop over ``axis``, and the loops from it on."""
    at = next(k for k, node in enumerate(path) if isinstance(node, For) and node.axis is axis)
    return path[: at + 1], loops_of(path[at:])


def _renewed(
    state: State, above: Path, loops: list[For], block: Block, sizes: Mapping[Expr, int]
) -> list[str]:
    """The block under loops of other extents, which have new names."""
    fresh = {it.binding: state.axis(str(it.binding.attr), sizes[it.axis])
             for it in block.iters if it.axis in sizes}  # fmt: skip
    iters = tuple(
        replace(it, extent=sizes[it.axis], binding=fresh[it.binding]) if it.axis in sizes else it
        for it in block.iters
    )
    renamed = [
        replace(node, axis=fresh[node.axis], extent=state.extents[fresh[node.axis]])
        if node.axis in fresh
        else node
        for node in loops
    ]
    state.swap(above, nest(renamed, replace(block, iters=iters)))
    for axis in fresh:
        state.gone[str(axis.attr)] = "resize"
    return [str(axis.attr) for axis in fresh.values()]
