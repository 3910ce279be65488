"""Padding a reduction to whole tiles: extents grow to multiples, buffers with them.

    pad_einsum("matmul", (4, 32, 4))     acc[13, 29] over k < 10   becomes   acc[16, 32] over k < 12

Constants grow by zeros, other inputs through a block ``*_pad`` that reads zero outside, so that the
additional products are zero; the additional results are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..tir.expr import Expr, const, load, minimum, select
from ..tir.stmt import Block, Buffer, Iter, Store
from .blocks import Reduction, reduction_of
from .build import (
    allocate,
    buffer_name,
    iters_of,
    nest_of,
    put_after,
    put_before,
    redirect,
    replace_buffer,
    set_constant,
    top_of,
)
from .errors import refusal
from .index import bounds
from .state import Access, BlockName, State, conjoin
from .tree import Path, blocks_below, loops_of, nest


def pad_einsum(state: State, block: BlockName, multiples: Sequence[int]) -> list[str]:
    """Grows each iter's extent to a multiple of the number given; returns the copying blocks."""
    node, path = state.block("pad_einsum", block)
    found = _einsum(state, node, path, multiples)
    extents = [-(-it.extent // m) * m for it, m in zip(node.iters, multiples, strict=True)]
    _check_zeros(node, found, extents)
    grown = {it.axis: n for it, n in zip(node.iters, extents, strict=True)}
    needs: dict[str, tuple[int, ...]] = {}
    for access in (*state.accesses(node).reads, *state.accesses(node).writes):
        shape = _needed(access, grown, node)
        before = needs.get(access.buffer.name, access.buffer.shape)
        needs[access.buffer.name] = tuple(map(max, before, shape))
    _grow_nest(state, node, path, extents)
    made = []
    for name, shape in needs.items():
        buffer = state.buffer("pad_einsum", name)
        if shape != buffer.shape:
            made += _grow_buffer(state, node.name, buffer, shape, name == found.buffer.name)
    return made


def _einsum(state: State, block: Block, path: Path, multiples: Sequence[int]) -> Reduction:
    found = reduction_of(block)
    if found is None or found.op != "add" or found.init is None:
        raise refusal("pad_einsum", "the block must be a sum with an init", block.name, block)
    if len(multiples) != len(block.iters) or any(m < 1 for m in multiples):
        raise refusal("pad_einsum", f"a positive multiple must be given for each of the "
                      f"{len(block.iters)} iters", str(tuple(multiples)), block)  # fmt: skip
    loops = loops_of(path)
    plain = [loop.axis for loop in loops] == [it.binding for it in block.iters]
    if not plain or block.where is not None or len(list(blocks_below(top_of(path)[-1]))) > 1:
        raise refusal("pad_einsum", "the block must stand alone under one loop an iter",
                      "other loops", block, "Use pad_einsum first.")  # fmt: skip
    return found


def _check_zeros(block: Block, found: Reduction, extents: Sequence[int]) -> None:
    """Each padded reduce iter must index a factor whose elements beyond are new zeros."""
    factors = _factors(found.value)
    for it, extent in zip(block.iters, extents, strict=True):
        zero = any(
            e is it.axis and size == it.extent
            for f in factors
            if f.op == "load"
            for e, size in zip(f.args, f.attr.shape, strict=True)
        )
        if it.reduce and extent > it.extent and not zero:
            raise refusal("pad_einsum", "a padded reduce iter must be the whole index of a "
                          "factor's dimension", str(it.axis.attr), block)  # fmt: skip


def _factors(value: Expr) -> list[Expr]:
    """The factors of a product, casts taken off."""
    if value.op == "mul":
        return [f for arg in value.args for f in _factors(arg)]
    return _factors(value.args[0]) if value.op == "cast" else [value]


def _needed(access: Access, extents: dict[Expr, int], block: Block) -> tuple[int, ...]:
    sizes = []
    for expr in access.index:
        low, high = bounds(expr, extents)
        if low is None or high is None or low < 0:
            raise refusal("pad_einsum", "each index must have bounds", access.buffer.name, block)
        sizes.append(high + 1)
    return tuple(sizes)


def _grow_nest(state: State, block: Block, path: Path, extents: Sequence[int]) -> None:
    """The same loops with larger extents, under new names."""
    loops = loops_of(path)
    iters = []
    for it, extent in zip(block.iters, extents, strict=True):
        name = str(it.binding.attr)
        axis = it.binding if extent == it.extent else state.axis(f"{name}_pad", extent)
        iters.append(replace(it, extent=extent, binding=axis))
        if extent != it.extent:
            state.gone[name] = "pad_einsum"
    body = replace(block, iters=tuple(iters))
    fresh = [replace(loop, axis=it.binding, extent=it.extent)
             for loop, it in zip(loops, iters, strict=True)]  # fmt: skip
    state.swap(top_of(path), nest(fresh, body))


def _grow_buffer(
    state: State, block: str, old: Buffer, shape: tuple[int, ...], result: bool
) -> list[str]:
    """A constant or local result grows in place; others get a padded copy."""
    if old.name in state.func.constants:
        data = state.func.constants[old.name]
        pads = [(0, n - m) for n, m in zip(shape, old.shape, strict=True)]
        set_constant(state, old.name, np.pad(data, pads))
        replace_buffer(state, old.name, replace(old, shape=shape))
        return []
    if result and state.is_local(old.name):
        replace_buffer(state, old.name, replace(old, shape=shape))
        return []
    copy = replace(old, name=buffer_name(state, f"{old.name}_pad"), shape=shape, scope="ddr")
    name = state.fresh(copy.name)
    node, path = state.block("pad_einsum", block)
    state.swap(path, redirect(node, old.name, copy))
    top = top_of(state.block("pad_einsum", block)[1])
    sizes = old.shape if result else shape
    iters = iters_of(state, name, [(f"v{k}", n, False) for k, n in enumerate(sizes)])
    index = tuple(it.axis for it in iters)
    if result:
        put_after(state, top, nest_of(Block(name, iters, Store(old, index, load(copy, *index)))))
    else:
        value = _inside_or_zero(old, iters)
        put_before(state, top, nest_of(Block(name, iters, Store(copy, index, value))))
    allocate(state, copy)
    return [name]


def _inside_or_zero(old: Buffer, iters: Sequence[Iter]) -> Expr:
    """The element, or zero beyond the old shape."""
    parts, index = [], []
    for it, size in zip(iters, old.shape, strict=True):
        index.append(it.axis if it.extent <= size else minimum(it.axis, size - 1))
        if it.extent > size:
            parts.append(it.axis < size)
    inside = conjoin(parts)
    value = load(old, *index)
    return value if inside is None else select(inside, value, const(0, old.type))
