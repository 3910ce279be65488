"""New statements: nests around new blocks, local buffers, and blocks on a changed buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr, rebuild, transform, transform_loads, var
from ..tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    Iter,
    LoopKind,
    Seq,
    Stmt,
    Store,
    map_exprs,
    seq,
    transform_stmt,
    walk_stmt,
)
from ..tir.types import vector
from .boxes import check_whole, runs_whole
from .errors import refusal
from .index import Extents, simplify
from .state import ScheduleState, unused
from .tree import Path, blocks_below, loops_of, nest, transformed

Array = NDArray[Any]
Index = tuple[Expr, ...]
IndexMap = Callable[[Block, Index], Index]
Element = Callable[[Buffer, Index], tuple[Buffer, Index] | None]  # where it is, if elsewhere


def iters_of(
    state: ScheduleState, name: str, axes: Sequence[tuple[str, int, bool]]
) -> tuple[Iter, ...]:
    """Iters of a new block (name, extent, reduce), each with a new loop variable of its own."""
    return tuple(
        Iter(var(axis), extent, reduce, state.axis(f"{name}_{axis}", extent))
        for axis, extent, reduce in axes
    )


def iter_name(block: Block, name: str) -> str:
    """``name``, or ``name_2`` and so on where a variable of the block has it."""
    taken = {it.axis.attr for it in block.iters}
    return unused(name, taken | {n.axis.attr for n in walk_stmt(block) if isinstance(n, For)})


def made(
    state: ScheduleState,
    name: str,
    sizes: Iterable[tuple[str, int]],
    store: Callable[[Index], Store],
) -> Block:
    """A new map over iters of these names and extents, under a name of its own."""
    name = state.fresh(name)
    iters = iters_of(state, name, [(axis, extent, False) for axis, extent in sizes])
    return Block(name, iters, store(tuple(it.axis for it in iters)))


def named(iters: Iterable[Iter]) -> list[tuple[str, int]]:
    """The names and extents of iters."""
    return [(str(it.axis.attr), it.extent) for it in iters]


def nest_of(block: Block) -> Stmt:
    """``block`` below a loop for each iter, whose binding is the loop's variable."""
    return nest([For(it.binding, it.extent, LoopKind.SERIAL, block) for it in block.iters], block)


def top_of(path: Path) -> Path:
    """The path down to the first loop or block: a statement of the function's outermost list."""
    k = next(k for k, node in enumerate(path) if not isinstance(node, Alloc | Seq))
    return path[: k + 1]


def put_before(state: ScheduleState, block: str, *new: Block) -> None:
    """Inserts blocks, each in loops of its own, before the outermost statement around a block."""
    path = top_of(state.block(block)[1])
    state.swap(path, seq(*map(nest_of, new), path[-1]))


def put_after(state: ScheduleState, block: str, *new: Block) -> None:
    """Inserts blocks, each in loops of its own, after the outermost statement around a block."""
    path = top_of(state.block(block)[1])
    state.swap(path, seq(path[-1], *map(nest_of, new)))


def allocate(state: ScheduleState, buffer: Buffer) -> None:
    """Gives the function a local buffer."""
    state.body = Alloc(buffer, state.body)


def buffer_name(state: ScheduleState, name: str) -> str:
    """``name`` or, where a buffer has it, ``name_2`` and so on."""
    return unused(name, {b.name for b in state.buffers()})


def is_alone(block: Block, path: Path) -> bool:
    """Whether the block stands alone under loops of its own, one an iter."""
    axes, bindings = [loop.axis for loop in loops_of(path)], [it.binding for it in block.iters]
    plain = len(axes) == len(bindings) and {*axes} == {*bindings} and block.where is None
    return plain and len(list(blocks_below(top_of(path)[-1]))) == 1


def check_alone(block: Block, path: Path) -> None:
    """ScheduleError unless the block stands alone under loops of its own, one an iter."""
    if not is_alone(block, path):
        raise refusal("the block must stand alone under one loop an iter",
                      "other loops", block, "Use it before loops change.")  # fmt: skip


def check_result(state: ScheduleState, block: Block, path: Path, buffer: str) -> None:
    """ScheduleError unless new loops over the block's iters make all that it makes of ``buffer``,
    which no other block touches within its loops."""
    check_whole(block, state)
    writers = [b.name for b, _ in state.writers(buffer) if b.name != block.name]
    if writers and (not runs_whole(block, state) or block.init is None):
        raise refusal("the block must compute all its elements by itself",
                      f"{writers[0]}, which writes some of them", block,
                      "Use it before peeling.")  # fmt: skip
    others = [b.name for b in blocks_below(top_of(path)[-1])
              if b.name != block.name and state.accesses(b).touch(buffer)]  # fmt: skip
    if others:
        raise refusal("no other block may touch the buffer within the block's loops",
                      ", ".join(others), block, "Use it before compute_at.")  # fmt: skip


def on_iters(
    state: ScheduleState, path: Path, block: Block, changes: Mapping[Expr, Sequence[Iter]]
) -> None:
    """Puts ``block`` in the place of the end of ``path`` with other iters, each with a loop of its
    own, for some that have loops of their own there."""
    fresh = {it.binding: changes[it.axis] for it in block.iters if it.axis in changes}
    iters = [new for it in block.iters for new in changes.get(it.axis, (it,))]
    at = next(k for k, node in enumerate(path) if isinstance(node, For) and node.axis in fresh)
    loops = [loop for node in loops_of(path[at:]) for loop in (
        [replace(node, axis=it.binding, extent=it.extent) for it in fresh[node.axis]]
        if node.axis in fresh else [node])]  # fmt: skip
    state.swap(path[: at + 1], nest(loops, replace(block, iters=tuple(iters))))


def resized(state: ScheduleState, path: Path, block: Block, sizes: Mapping[Expr, int]) -> list[str]:
    """Puts ``block`` in the place of the end of ``path``, with other extents of iters that have
    loops of their own there; gives the names of these loops, which are new."""
    fresh = {it.axis: replace(it, extent=sizes[it.axis],
                              binding=state.axis(str(it.binding.attr), sizes[it.axis]))
             for it in block.iters if it.axis in sizes}  # fmt: skip
    on_iters(state, path, block, {axis: [it] for axis, it in fresh.items()})
    return [str(it.binding.attr) for it in fresh.values()]


def rewritten(
    block: Block,
    change: Callable[[Expr], Expr | None],
    store: Callable[[Store], Stmt] | None = None,
) -> Block:
    """``block`` with ``change`` applied to all that its body and init compute, bottom-up, and then
    ``store`` to its stores."""

    def stored(stmt: Stmt) -> Stmt | None:
        return store(stmt) if store is not None and isinstance(stmt, Store) else None

    def whole(stmt: Stmt) -> Stmt:
        return transform_stmt(map_exprs(stmt, lambda e: transform(e, change)), stored)

    init = None if block.init is None else whole(block.init)
    return replace(block, body=whole(block.body), init=init)


def replacing(values: Mapping[Expr, Expr], extents: Extents) -> Callable[[Expr], Expr | None]:
    """A change of expressions: axes have ``values``, indices of loads are simplified."""

    def change(node: Expr) -> Expr | None:
        if node.op == "load":
            return rebuild(node, tuple([simplify(e, extents) for e in node.args]))
        return values.get(node)

    return change


def moved(block: Block, values: Mapping[Expr, Expr], extents: Extents) -> Block:
    """``block`` with its iters replaced, its indices simplified."""

    def store(node: Store) -> Stmt:
        return replace(node, index=tuple([simplify(e, extents) for e in node.index]))

    return rewritten(block, replacing(values, extents), store)


def retargeted(stmt: Stmt, element: Element) -> Stmt:
    """``stmt`` with all that it loads and stores where ``element`` says; to allocate a buffer is to
    access it at no index."""

    def load(node: Expr) -> Expr | None:
        found = element(node.attr, node.args) if node.op == "load" else None
        if found is None:
            return None
        buffer, index = found
        return Expr("load", vector(buffer.type, node.type.lanes), index, buffer)

    def store(node: Stmt) -> Stmt | None:
        if not isinstance(node, Store | Alloc):
            return None
        found = element(node.buffer, node.index if isinstance(node, Store) else ())
        if found is None:
            return None
        if isinstance(node, Store):
            return replace(node, buffer=found[0], index=found[1])
        return replace(node, buffer=found[0])

    return transform_stmt(map_exprs(stmt, lambda e: transform_loads(e, load)), store)


def on_block(block: Block, element: Element) -> Block:
    """``block`` with all that it loads and stores where ``element`` says."""
    init = None if block.init is None else retargeted(block.init, element)
    return replace(block, body=retargeted(block.body, element), init=init)


def on_buffers(stmt: Stmt, moved: Mapping[Buffer, Buffer]) -> Stmt:
    """``stmt`` on other buffers, at the same indices."""
    return retargeted(stmt, lambda old, index: (moved[old], index) if old in moved else None)


def redirect(block: Block, name: str, buffer: Buffer, index_map: IndexMap | None = None) -> Block:
    """``block`` with accesses of buffer ``name`` turned to ``buffer``, at mapped indices."""

    def element(old: Buffer, index: Index) -> tuple[Buffer, Index] | None:
        if old.name != name:
            return None
        return buffer, index if index_map is None else index_map(block, index)

    return on_block(block, element)


def exchange(
    state: ScheduleState, name: str, others: Sequence[Buffer], change: Callable[[Block], Block],
    data: Callable[[Array], Sequence[Array]] | None = None,
) -> None:  # fmt: skip
    """Puts ``others`` in the place of a buffer: its declaration, and the data of a constant; blocks
    that touch it ``change``."""

    def put(node: Stmt) -> Stmt | None:
        if isinstance(node, Alloc) and node.buffer.name == name:
            return reduce(lambda body, other: Alloc(other, body), reversed(others), node.body)
        if isinstance(node, Block) and state.accesses(node).touch(name):
            return change(node)
        return None

    func, constants = state.func, dict(state.func.constants)
    if data is not None and name in constants:
        values = data(constants.pop(name))
        constants.update({b.name: part for b, part in zip(others, values, strict=True)})
    params = [p for old in func.params for p in (others if old.name == name else (old,))]
    body = transformed(func.body, put)
    state.func = replace(func, params=tuple(params), body=body, constants=constants)


def replace_buffer(
    state: ScheduleState, buffer: Buffer, index_map: IndexMap | None = None,
    data: Callable[[Array], Array] | None = None,
) -> None:  # fmt: skip
    """Puts ``buffer`` in the place of the one of its name: all accesses, and what a constant
    holds."""

    def change(block: Block) -> Block:
        return redirect(block, buffer.name, buffer, index_map)

    exchange(state, buffer.name, [buffer], change, None if data is None else lambda v: [data(v)])


def enlarge(state: ScheduleState, name: str, shape: tuple[int, ...]) -> None:
    """A buffer of a larger shape; a constant grows by zeros."""
    old = state.buffer(name)
    pads = [(0, n - m) for n, m in zip(shape, old.shape, strict=True)]
    if shape != old.shape:
        replace_buffer(state, replace(old, shape=shape), data=lambda values: np.pad(values, pads))


def drop_buffer(state: ScheduleState, name: str) -> None:
    """Takes the declaration of a local buffer away that no block touches."""
    exchange(state, name, [], lambda block: block)
