"""Iters cut and joined: one iter as two, several as one; buffers cut down to what is read.

divide("w", 28)     for w in range(56): t[w] = ...    becomes    for a in range(2):
                                                                     for b in range(28):
                                                                         t[a * 28 + b] = ...
join("h", "w")      for h in range(8):                       becomes    for a in range(64):
                        for w in range(8): t[h * 8 + w] = ...              t[a] = ...
trim("x")           x[64], of which x[0] .. x[33] are read,      becomes x[34]; so do its writers
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..tir.expr import Expr, var
from ..tir.linear import linear
from ..tir.spell import show_expr
from ..tir.stmt import Block, Buffer, Iter, PrimFunc
from .block_forms import extents_of, is_map, is_reduction, store_of
from .errors import refusal
from .index import bounds, parts_of
from .new_nests import (
    check_alone,
    iter_name,
    moved,
    on_iters,
    replace_buffer,
    resized,
)
from .state import Loop, LoopRef, ScheduleState
from .tree import Path, blocks_below, loop_at

Sizes = tuple[int, ...]


def meant(func: PrimFunc, buffer: Buffer) -> Sizes:
    """Of each dimension of a parameter, how much of it means something."""
    known = func.attrs.get("meant", {}).get(buffer.name, buffer.shape)
    return tuple(known)


def divide(state: ScheduleState, loop: Loop, size: int) -> list[LoopRef]:
    """Makes two loops of one and two iters of its iter: steps of ``size``, and within them."""
    old = loop_at(state.loop(loop))
    block, path = state.block(next(blocks_below(old)).name)
    check_alone(block, path)
    it = next(it for it in block.iters if it.binding is old.axis)
    if size < 1 or it.extent % size:
        raise refusal("the size must divide the extent", f"{size} of {it.extent}", block)
    parts: list[Iter] = []
    for suffix, extent in (("a", it.extent // size), ("b", size)):
        known = replace(block, iters=(*block.iters, *parts))
        name = iter_name(known, f"{it.axis.attr}_{suffix}")
        parts.append(Iter(var(name), extent, it.reduce, state.axis(f"{loop}_{suffix}", extent)))
    first, second = (part.axis for part in parts)
    value = second if it.extent == size else first if size == 1 else first * size + second
    fresh = moved(block, {it.axis: value}, state.ranges(block) | extents_of(parts))
    on_iters(state, path, fresh, {it.axis: parts})
    return [LoopRef(str(p.binding.attr)) for p in parts]


def join(state: ScheduleState, *loops: Loop) -> LoopRef:
    """Makes one loop and one iter of those of several of a block's loops, outermost first."""
    old = [loop_at(state.loop(loop)) for loop in loops]
    if len({id(loop) for loop in old}) < max(len(old), 1):
        raise refusal("loops must be given, each once", ", ".join(map(str, loops)) or "none")
    block, path = state.block(next(blocks_below(old[0])).name)
    check_alone(block, path)
    found = [next((i for i in block.iters if i.binding is loop.axis), None) for loop in old]
    iters = [it for it in found if it is not None]
    if len(iters) < len(old) or len({it.reduce for it in iters}) > 1:
        raise refusal("the loops must be of one block, all spatial or all reductions",
                      ", ".join(map(str, loops)), block)  # fmt: skip
    if len(iters) == 1:
        return LoopRef(str(loops[0]))
    first, names = iters[0], "_".join(str(it.axis.attr) for it in iters)
    extent = prod(it.extent for it in iters)
    axis = state.axis("_".join(map(str, loops)), extent)
    whole = Iter(var(iter_name(block, names)), extent, first.reduce, axis)
    parts = parts_of(whole.axis, [it.extent for it in iters])
    values = {it.axis: part for it, part in zip(iters, parts, strict=True)}
    fresh = moved(block, values, state.ranges(block) | extents_of([whole]))
    on_iters(state, path, fresh, {it.axis: [whole] if it is first else [] for it in iters})
    return LoopRef(str(axis.attr))


def trim(state: ScheduleState, buffer: str) -> None:
    """Cuts a local buffer or constant, and what is written to it, down to what is read."""
    old = state.own(buffer)
    reads = [
        [bounds(e, state.ranges(block))[1] for e in access.index]
        for block, _ in state.readers(buffer)
        for access in state.accesses(block).reads_of(buffer)
    ]
    if not reads:
        raise refusal("the buffer must be read", buffer)
    shape = tuple(
        min(max(highs) + 1, n) for highs, n in zip(zip(*reads, strict=True), old.shape, strict=True)
    )
    if shape == old.shape:
        return
    for block, _ in state.writers(buffer):
        _shorten(state, *state.block(block.name), shape)
    part = tuple(slice(n) for n in shape)
    replace_buffer(state, replace(old, shape=shape),
                   data=lambda values: np.ascontiguousarray(values[part]))  # fmt: skip


def _shorten(state: ScheduleState, block: Block, path: Path, shape: Sizes) -> None:
    """A block that writes no more of a buffer than ``shape``."""
    check_alone(block, path)
    store, sizes = store_of(block), dict[Expr, int]()
    kind = store is not None and (is_map(block) or is_reduction(block))
    spatial = {it.axis for it in block.iters if not it.reduce}
    for index, size in zip(store.index if store is not None else (), shape, strict=True):
        form = linear(index)
        _, high = bounds(index, extents_of(block.iters))
        if high < size:
            continue
        axes = [axis for axis, step in form.terms.items() if step == 1 and axis in spatial]
        if not kind or len(axes) != len(form.terms) or len(axes) != 1 or form.constant >= size:
            raise refusal("what is not read must be the end of an iter of a map or "
                          "reduction", show_expr(index), block)  # fmt: skip
        sizes[axes[0]] = size - form.constant
    if sizes:
        resized(state, path, block, sizes)
