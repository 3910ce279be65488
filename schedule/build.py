"""New statements: nests around new blocks, local buffers, and blocks on a changed buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ..tir.expr import Expr, transform, var
from ..tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    If,
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
from .state import State
from .tree import Path

IndexMap = Callable[[Block, tuple[Expr, ...]], tuple[Expr, ...]]


def iters_of(state: State, name: str, axes: Sequence[tuple[str, int, bool]]) -> tuple[Iter, ...]:
    """Iters of a new block (name, extent, reduce), each with a new loop variable of its own."""
    return tuple(
        Iter(var(axis), extent, reduce, state.axis(f"{name}_{axis}", extent))
        for axis, extent, reduce in axes
    )


def iter_name(block: Block, name: str) -> str:
    """``name``, or ``name_2`` and so on where a variable of the block has it."""
    taken = {it.axis.attr for it in block.iters}
    taken |= {n.axis.attr for n in walk_stmt(block) if isinstance(n, For)}
    given, count = name, 1
    while given in taken:
        count += 1
        given = f"{name}_{count}"
    return given


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
    taken = {b.name for b in state.buffers()}
    given, count = name, 1
    while given in taken:
        count += 1
        given = f"{name}_{count}"
    return given


def redirect(block: Block, name: str, buffer: Buffer, index_map: IndexMap | None = None,
             loads: bool = True, stores: bool = True) -> Block:  # fmt: skip
    """``block`` with accesses of buffer ``name`` turned to ``buffer``, at mapped indices."""

    def element(index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return index if index_map is None else index_map(block, index)

    def load(node: Expr) -> Expr | None:
        if node.op == "load" and node.attr.name == name:
            return Expr("load", vector(buffer.type, node.type.lanes), element(node.args), buffer)
        return None

    def store(node: Stmt) -> Stmt | None:
        if stores and isinstance(node, Store) and node.buffer.name == name:
            return replace(node, buffer=buffer, index=element(node.index))
        return None

    def whole(stmt: Stmt) -> Stmt:
        fresh = map_exprs(stmt, lambda e: transform(e, load)) if loads else stmt
        return transform_stmt(fresh, store)

    init = None if block.init is None else whole(block.init)
    return replace(block, body=whole(block.body), init=init)


def replace_buffer(
    state: State, name: str, buffer: Buffer, index_map: IndexMap | None = None
) -> None:
    """Puts ``buffer`` in the place of the one called ``name``: declaration and all accesses."""

    def visit(node: Stmt) -> Stmt:
        match node:
            case Alloc(old, body):
                return Alloc(buffer if old.name == name else old, visit(body))
            case For(axis, extent, kind, body, notes):
                fresh = visit(body)
                return node if fresh is body else For(axis, extent, kind, fresh, notes)
            case Seq(stmts):
                return Seq(tuple(visit(s) for s in stmts))
            case If(condition, then):
                return If(condition, visit(then))
            case Block() if state.accesses(node).of(name):
                return redirect(node, name, buffer, index_map)
            case _:
                return node

    params = tuple(buffer if p.name == name else p for p in state.func.params)
    state.func = replace(state.func, params=params, body=visit(state.body))


def set_constant(state: State, name: str, values: NDArray[Any]) -> None:
    """The function with other data of a constant parameter."""
    state.func = replace(state.func, constants={**state.func.constants, name: values})
