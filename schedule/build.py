"""New statements: nests around new blocks, local buffers, and blocks on a changed buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr, rebuild, transform, var
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
from .errors import refusal
from .index import Extents, simplify
from .state import State, unused
from .tree import Path, blocks_below, loops_of, nest

Index = tuple[Expr, ...]
IndexMap = Callable[[Block, Index], Index]
Element = Callable[[Buffer, Index], tuple[Buffer, Index] | None]  # where it is, if elsewhere


def iters_of(state: State, name: str, axes: Sequence[tuple[str, int, bool]]) -> tuple[Iter, ...]:
    """Iters of a new block (name, extent, reduce), each with a new loop variable of its own."""
    return tuple(
        Iter(var(axis), extent, reduce, state.axis(f"{name}_{axis}", extent))
        for axis, extent, reduce in axes
    )


def iter_name(block: Block, name: str) -> str:
    """``name``, or ``name_2`` and so on where a variable of the block has it."""
    taken = {it.axis.attr for it in block.iters}
    return unused(name, taken | {n.axis.attr for n in walk_stmt(block) if isinstance(n, For)})


def nest_of(block: Block) -> Stmt:
    """``block`` below a loop for each iter, whose binding is the loop's variable."""
    body: Stmt = block
    for it in reversed(block.iters):
        body = For(it.binding, it.extent, LoopKind.SERIAL, body)
    return body


def top_of(path: Path) -> Path:
    """The path down to the first loop or block: a statement of the function's outermost list."""
    k = next(k for k, node in enumerate(path) if not isinstance(node, Alloc | Seq))
    return path[: k + 1]


def put_before(state: State, path: Path, *new: Stmt) -> None:
    """Inserts statements before the node at the end of ``path``."""
    state.swap(path, seq(*new, path[-1]))


def put_after(state: State, path: Path, *new: Stmt) -> None:
    """Inserts statements after the node at the end of ``path``."""
    state.swap(path, seq(path[-1], *new))


def allocate(state: State, buffer: Buffer) -> None:
    """Gives the function a local buffer."""
    state.body = Alloc(buffer, state.body)


def buffer_name(state: State, name: str) -> str:
    """``name`` or, where a buffer has it, ``name_2`` and so on."""
    return unused(name, {b.name for b in state.buffers()})


def is_alone(block: Block, path: Path) -> bool:
    """Whether the block stands alone under loops of its own, one an iter."""
    axes, bindings = [loop.axis for loop in loops_of(path)], [it.binding for it in block.iters]
    plain = len(axes) == len(bindings) and {*axes} == {*bindings} and block.where is None
    return plain and len(list(blocks_below(top_of(path)[-1]))) == 1


def check_alone(operation: str, block: Block, path: Path) -> None:
    """ScheduleError unless the block stands alone under loops of its own, one an iter."""
    if not is_alone(block, path):
        raise refusal(operation, "the block must stand alone under one loop an iter",
                      "other loops", block, f"Use {operation} first.")  # fmt: skip


def resized(
    operation: str, state: State, path: Path, block: Block, sizes: Mapping[Expr, int]
) -> list[str]:
    """Puts ``block`` in the place of the end of ``path``, with other extents of iters that have
    loops of their own there; gives the names of these loops, which are new."""
    fresh = {it.binding: state.axis(str(it.binding.attr), sizes[it.axis])
             for it in block.iters if it.axis in sizes}  # fmt: skip
    iters = tuple(
        replace(it, extent=sizes[it.axis], binding=fresh[it.binding]) if it.axis in sizes else it
        for it in block.iters
    )
    at = next(k for k, node in enumerate(path) if isinstance(node, For) and node.axis in fresh)
    loops = [
        replace(node, axis=fresh[node.axis], extent=state.extents[fresh[node.axis]])
        if node.axis in fresh
        else node
        for node in loops_of(path[at:])
    ]
    state.swap(path[: at + 1], nest(loops, replace(block, iters=iters)))
    state.gone.update({str(axis.attr): operation for axis in fresh})
    return [str(axis.attr) for axis in fresh.values()]


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

    return transform_stmt(map_exprs(stmt, lambda e: transform(e, load)), store)


def on_buffers(stmt: Stmt, moved: Mapping[Buffer, Buffer]) -> Stmt:
    """``stmt`` on other buffers, at the same indices."""
    return retargeted(stmt, lambda old, index: (moved[old], index) if old in moved else None)


def redirect(block: Block, name: str, buffer: Buffer, index_map: IndexMap | None = None) -> Block:
    """``block`` with accesses of buffer ``name`` turned to ``buffer``, at mapped indices."""

    def element(old: Buffer, index: Index) -> tuple[Buffer, Index] | None:
        if old.name != name:
            return None
        return buffer, index if index_map is None else index_map(block, index)

    init = None if block.init is None else retargeted(block.init, element)
    return replace(block, body=retargeted(block.body, element), init=init)


def replace_buffer(
    state: State, name: str, buffer: Buffer, index_map: IndexMap | None = None
) -> None:
    """Puts ``buffer`` in the place of the one called ``name``: declaration and all accesses."""

    def change(node: Stmt) -> Stmt | None:
        if isinstance(node, Alloc) and node.buffer.name == name:
            return Alloc(buffer, node.body)
        if isinstance(node, Block) and state.accesses(node).touch(name):
            return redirect(node, name, buffer, index_map)
        return None

    params = tuple(buffer if p.name == name else p for p in state.func.params)
    state.func = replace(state.func, params=params, body=transform_stmt(state.body, change))


def enlarge(state: State, name: str, shape: tuple[int, ...]) -> None:
    """A buffer of a larger shape; a constant grows by zeros."""
    old = state.buffer("enlarge", name)
    if shape != old.shape:
        replace_buffer(state, name, replace(old, shape=shape))
        if name in state.func.constants:
            pads = [(0, n - m) for n, m in zip(shape, old.shape, strict=True)]
            set_constant(state, name, np.pad(state.func.constants[name], pads))


def drop_buffer(state: State, name: str) -> None:
    """Takes the declaration of a local buffer away."""

    def change(node: Stmt) -> Stmt | None:
        return node.body if isinstance(node, Alloc) and node.buffer.name == name else None

    state.body = transform_stmt(state.body, change)


def set_constant(state: State, name: str, values: NDArray[Any]) -> None:
    """The function with other data of a constant parameter."""
    state.func = replace(state.func, constants={**state.func.constants, name: values})
