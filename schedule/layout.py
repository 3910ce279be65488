"""The layout of buffers: index maps, elements stored several times, repacking, scopes.

    transform_layout("w", lambda k, n: (n // 32, k // 4, n % 32, k % 4))

makes w[k, n] into w[n // 32, k // 4, n % 32, k % 4] wherever it is touched, and repacks the data
of a constant.

    repeat("dot", "x", "a")    for a: for c: acc[a] += x[c] * w[a, c]
                     becomes   for a: for c: acc[a] += x[c, a] * w[a, c]

and what writes x writes each element as often: lanes that read the same elements then find them
side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any
from weakref import ref

import numpy as np

from ..tir.expr import Expr, as_expr, var, walk
from ..tir.ops import OPS
from ..tir.recent import OfOwner
from ..tir.spell import show_expr
from ..tir.stmt import Block, Buffer, For, Iter, LoopKind, PrimFunc
from ..tir.types import i32
from .block_forms import injective, is_map
from .errors import refusal
from .index import UNKNOWN, Digit, Extents, bind, bounds, digits_of, simplify
from .new_nests import Array, iter_name, replace_buffer
from .state import BlockName, Loop, ScheduleState
from .trace import call_map
from .tree import loop_at

SCOPES = ("ddr", "tcm", "reg")
_moved = OfOwner[PrimFunc](256)  # points of a kernel begin with the same layouts


def set_scope(state: ScheduleState, buffer: str, scope: str) -> None:
    """Puts a local buffer into ``ddr``, ``tcm`` or ``reg``."""
    old = state.own(buffer, fixed=False)
    check_scope(scope)
    if old.scope != scope:
        replace_buffer(state, replace(old, scope=scope))


def check_scope(scope: str) -> None:
    """ScheduleError unless there is such a memory."""
    if scope not in SCOPES:
        raise refusal("the scope must be ddr, tcm or reg", repr(scope))


def transform_layout(state: ScheduleState, buffer: str, index_map: Callable[..., Any]) -> None:
    """Stores element (i, j, ...) of a local buffer or constant at ``index_map(i, j, ...)``."""
    old = state.own(buffer)
    state.check_elements(buffer)
    axes = tuple(var(f"?{k}") for k in range(len(old.shape)))
    extents = dict(zip(axes, old.shape, strict=True))
    index = _mapped(index_map, axes, extents, old)
    shape = tuple(_size(e, extents, old) for e in index)
    if not injective(index, extents):
        raise refusal("the map must keep different elements apart", _shown(index, axes))

    def element(block: Block, given: tuple[Expr, ...]) -> tuple[Expr, ...]:
        values, known = dict(zip(axes, given, strict=True)), state.ranges(block)
        return tuple(simplify(bind(e, values), known) for e in index)

    def moved() -> PrimFunc:
        replace_buffer(state, replace(old, shape=shape), element,
                       lambda values: repack(values, index, extents, shape))  # fmt: skip
        return state.func

    state.func = _moved(state.func, (buffer, index), moved)


def repeat(state: ScheduleState, block: BlockName, buffer: str, loop: Loop) -> None:
    """Stores a local buffer or constant, which the block alone reads, once for each step of a
    spatial loop."""
    node, _ = state.block(block)
    old, at = state.own(buffer), loop_at(state.loop(loop))
    it = next((it for it in node.iters if it.binding is at.axis and not it.reduce), None)
    if it is None:
        raise refusal("the loop must be a spatial iter of the block", str(loop), node)
    users = [b for b, _ in state.placed() if state.accesses(b).touch(buffer)]
    writers = [b for b in users if buffer in state.accesses(b).written]
    others = [b.name for b in users if b.name != node.name and b not in writers]
    if others or not users or node in writers or not all(map(is_map, writers)):
        raise refusal("the block alone must read the buffer, which maps write",
                      ", ".join(b.name for b in users), node)  # fmt: skip
    axes = {node.name: it.axis}
    for writer in writers:
        axes[writer.name] = _again(state, writer, str(at.axis.attr), it.extent)
    fresh = replace(old, shape=(*old.shape, it.extent))
    replace_buffer(state, fresh, lambda user, index: (*index, axes[user.name]),
                   lambda values: np.repeat(values[..., None], it.extent, axis=-1))  # fmt: skip


def _again(state: ScheduleState, block: Block, name: str, extent: int) -> Expr:
    """Runs a block once for each step of a new iter; gives its variable."""
    axis = var(iter_name(block, "again"))
    loop = state.axis(f"{block.name}_{name}", extent)
    _, path = state.block(block.name)
    fresh = replace(block, iters=(*block.iters, Iter(axis, extent, False, loop)))
    state.swap(path, For(loop, extent, LoopKind.SERIAL, fresh))
    return axis


def _mapped(
    index_map: Callable[..., Any], axes: tuple[Expr, ...], extents: Extents, old: Buffer
) -> tuple[Expr, ...]:
    try:
        result = call_map(index_map, axes)
    except TypeError as fault:
        raise refusal(f"the map must take {len(axes)} indices, those of "
                      f"{old.name}, and give indices", str(fault)) from None  # fmt: skip
    return tuple(simplify(as_expr(e, i32), extents) for e in result)


def _size(expr: Expr, extents: Extents, old: Buffer) -> int:
    low, high = bounds(expr, extents)
    if low < 0 or high >= UNKNOWN[1]:
        raise refusal("each new index must have a least value of 0 or more",
                      _shown((expr,), tuple(extents)))  # fmt: skip
    return high + 1


def _shown(index: tuple[Expr, ...], axes: tuple[Expr, ...]) -> str:
    names = {axis: var("ijklmnpq"[k % 8]) for k, axis in enumerate(axes)}
    return "(" + ", ".join(show_expr(bind(e, names)) for e in index) + ")"


# Packing ------------------------------------------------------------------------------------

_packed: dict[tuple[Any, ...], tuple[ref[Array], Array]] = {}
_KEPT = 256


def repack(data: Array, index: tuple[Expr, ...], extents: Extents, shape: tuple[int, ...]) -> Array:
    """The elements of ``data`` at their new places, zeros between; the latest results are kept,
    for a search applies one layout many times."""
    key = id(data), index, shape
    found = _packed.get(key)
    if found is not None and found[0]() is data:
        return found[1]
    packed = _by_digits(data, index, extents, shape)
    if packed is None:
        packed = np.zeros(shape, data.dtype)
        grid = dict(zip(extents, np.ogrid[tuple(slice(n) for n in data.shape)], strict=True))
        packed[tuple(_values(e, grid) for e in index)] = data
    packed.flags.writeable = False
    while len(_packed) >= _KEPT:
        del _packed[next(iter(_packed))]
    _packed[key] = ref(data), packed
    return packed


def _values(expr: Expr, grid: dict[Expr, Any]) -> Array:
    """An index expression on arrays of indices."""
    done: dict[Expr, Array] = {}
    for node in walk(expr):
        if node.op == "var":
            done[node] = grid[node].astype(np.int32)
        elif node.is_const:
            done[node] = np.asarray(node.attr, np.int32)
        else:
            values = (done[a] for a in node.args)
            done[node] = OPS[node.op].value(node.type, node.attr, *values)
    return done[expr]


def _by_digits(
    data: Array, index: tuple[Expr, ...], extents: Extents, shape: tuple[int, ...]
) -> Array | None:
    """Packing as reshape, transpose, reshape, where the map only takes digits apart."""
    rows: list[list[Digit]] = []
    for expr in index:
        found = digits_of(expr, extents)
        if found is None or found[1] or any(d.base.op != "var" for d in found[0]):
            return None
        rows.append(sorted(found[0], key=lambda d: -d.coefficient))
        sizes = [d.extent for d in rows[-1]]
        if [d.coefficient for d in rows[-1]] != [prod(sizes[k + 1 :]) for k in range(len(sizes))]:
            return None
    source: list[tuple[Expr, int]] = []
    padded: list[int] = []
    counts: list[int] = []
    for axis, size in extents.items():
        parts = sorted((d for row in rows for d in row if d.base is axis), key=lambda d: -d.low)
        reach = 1
        for digit in reversed(parts):
            if digit.low != reach:
                return None
            reach = digit.low * digit.extent
        if reach < size:
            return None
        source += [(axis, digit.low) for digit in parts]
        counts += [digit.extent for digit in parts]
        padded.append(reach)
    grown = np.zeros(padded, data.dtype) if tuple(padded) != data.shape else data
    if grown is not data:
        grown[tuple(slice(n) for n in data.shape)] = data
    order = [source.index((d.base, d.low)) for row in rows for d in row]
    return np.ascontiguousarray(grown.reshape(counts).transpose(order)).reshape(shape)
