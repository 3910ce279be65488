"""Statements: loops, named blocks, stores and copies over buffers; a PrimFunc is one kernel.

    PrimFunc = name, params: Buffer*, body: Stmt, constants, attrs
    Stmt = Seq(stmts)                              one after another
         | For(axis, extent, kind, body)           axis = 0 .. extent-1
         | Block(name, iters, init, body, where)   iters bound to loop expressions
         | Store(buffer, index, value)             lanes go along the last dimension
         | If(condition, then)                     a scalar condition
         | Alloc(buffer, body)                     a local buffer
         | Copy(target, source, token)             DMA of a box; asynchronous with a token
         | Wait(token)                             until the oldest copy of the token is done

Within a Block the iters' variables stand for their bindings; ``init`` runs when all reduce iters
are at 0, before ``body``; ``where`` guards the whole instance. Annotations are notes of a schedule
to later passes. Nodes are frozen and compared by value; buffers are known by name within a
function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from math import prod
from operator import is_not
from typing import Any

from numpy.typing import NDArray

from .expr import Expr, as_expr
from .hashed import Hashed
from .quick import quick
from .types import Type, i32, vector


@quick
@dataclass(frozen=True, slots=True)
class Buffer:
    """An array: element type, shape, and a memory scope ``ddr``, ``tcm`` or ``reg``."""

    name: str
    type: Type
    shape: tuple[int, ...]
    scope: str = "ddr"

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.type.bytes

    def __getitem__(self, index: Any) -> Expr:
        return load(self, *(index if isinstance(index, tuple) else (index,)))


def load(buffer: Buffer, *index: Expr | int, lanes: int = 1) -> Expr:
    """``lanes`` consecutive elements of the last dimension, from ``index`` on."""
    where = tuple(as_expr(i, i32) for i in index)
    if len(where) != len(buffer.shape):
        raise TypeError(
            f"load: an index an axis of {buffer.name}{list(buffer.shape)}, but got {len(where)}"
        )
    return Expr("load", vector(buffer.type, lanes), where, buffer)


class LoopKind(Enum):
    SERIAL = "serial"
    PARALLEL = "parallel"
    VECTORIZED = "vectorized"
    UNROLLED = "unrolled"

    __hash__ = object.__hash__  # an enumeration's own one is a Python function


@quick
@dataclass(frozen=True, slots=True)
class Seq(Hashed):
    stmts: tuple[Stmt, ...]

    __hash__ = Hashed.__hash__


@quick
@dataclass(frozen=True, slots=True)
class For(Hashed):
    """Runs ``body`` for each value of ``axis`` (an i32 variable), from 0 up to ``extent``."""

    axis: Expr
    extent: int
    kind: LoopKind
    body: Stmt
    annotations: tuple[tuple[str, object], ...] = ()

    __hash__ = Hashed.__hash__


@quick
@dataclass(frozen=True, slots=True)
class Iter:
    """One axis of a block: 0 <= axis < extent, equal to ``binding`` over the loops outside."""

    axis: Expr
    extent: int
    reduce: bool
    binding: Expr


@quick
@dataclass(frozen=True, slots=True)
class Block:
    """A named computation; schedules refer to it by name."""

    name: str
    iters: tuple[Iter, ...]
    body: Stmt
    init: Stmt | None = None
    where: Expr | None = None
    annotations: tuple[tuple[str, object], ...] = ()


@quick
@dataclass(frozen=True, slots=True)
class Store:
    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr
    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class If:
    condition: Expr
    then: Stmt


@quick
@dataclass(frozen=True, slots=True)
class Alloc:
    buffer: Buffer
    body: Stmt


@quick
@dataclass(frozen=True, slots=True)
class Region:
    """A box of a buffer: ``extent`` elements along each axis from ``start`` on."""

    buffer: Buffer
    start: tuple[Expr, ...]
    extent: tuple[int, ...]


@quick
@dataclass(frozen=True, slots=True)
class Copy:
    """The box ``source`` to the box ``target`` (same elements in row-major order).

    With a ``token`` the copy is asynchronous: the target holds the data after Wait(token).
    """

    target: Region
    source: Region
    token: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    token: str


Stmt = Seq | For | Block | Store | If | Alloc | Copy | Wait


@dataclass(frozen=True)
class PrimFunc:
    """One kernel. ``constants`` are the values of some of the params (packed weights, tables),
    ``numbers`` those of the holes, by name; neither is part of the text. ``attrs`` are plain data
    (kind, macs, shapes, ...)."""

    name: str
    params: tuple[Buffer, ...]
    body: Stmt
    constants: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    attrs: dict[str, Any] = field(default_factory=dict, compare=False)
    numbers: dict[str, int] = field(default_factory=dict, compare=False)

    def with_body(self, body: Stmt) -> PrimFunc:
        return PrimFunc(self.name, self.params, body, self.constants, self.attrs, self.numbers)


def seq(*stmts: Stmt) -> Stmt:
    """The statements in order, nested Seqs flattened; a single one stands alone."""
    flat: list[Stmt] = []
    for stmt in stmts:
        flat.extend(stmt.stmts if isinstance(stmt, Seq) else (stmt,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def children(node: Stmt) -> tuple[Stmt, ...]:
    """The statements directly below ``node``."""
    below = _BELOW.get(type(node))
    return below(node) if below is not None else ()


_BELOW: dict[type, Callable[[Any], tuple[Stmt, ...]]] = {
    Seq: lambda node: node.stmts,
    Block: lambda node: (node.body,) if node.init is None else (node.init, node.body),
    For: lambda node: (node.body,),
    Alloc: lambda node: (node.body,),
    If: lambda node: (node.then,),
}


def rebuild_stmt(node: Stmt, below: tuple[Stmt, ...]) -> Stmt:
    """``node`` with other statements below it, as ``children`` gives them."""
    match node:
        case For(axis, extent, kind, _, annotations):
            return For(axis, extent, kind, below[0], annotations)
        case Seq():
            return seq(*below)
        case Block(init=init):
            if init is None:
                return replace(node, body=below[0])
            return replace(node, init=below[0], body=below[1])
        case Alloc(buffer):
            return Alloc(buffer, below[0])
        case If(condition):
            return If(condition, below[0])
        case _:
            return node


def top(stmt: Stmt) -> tuple[list[Buffer], list[Stmt]]:
    """The buffers allocated around whole statements, and these statements in order."""
    if isinstance(stmt, Alloc):
        buffers, parts = top(stmt.body)
        return [stmt.buffer, *buffers], parts
    if not isinstance(stmt, Seq):
        return [], [stmt]
    found = [top(part) for part in stmt.stmts]
    return [b for buffers, _ in found for b in buffers], [p for _, parts in found for p in parts]


def walk_stmt(node: Stmt) -> Iterator[Stmt]:
    """``node`` and all statements below it, outer before inner, in program order."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, For):
            stack.append(node.body)
        elif not isinstance(node, Store):
            stack.extend(children(node)[::-1])


def stored_in(node: Stmt) -> set[Buffer]:
    """The buffers that stores in ``node`` write elements of."""
    return {s.buffer for s in walk_stmt(node) if isinstance(s, Store)}


def transform_stmt(
    node: Stmt,
    change: Callable[[Stmt], Stmt | None],
    below: Callable[[Stmt], tuple[Stmt, ...]] = children,
) -> Stmt:
    """Bottom-up rewriting of statements, ``below`` of which are entered; None keeps a node."""
    fresh, under = node, below(node)
    if len(under) == 1:
        only = transform_stmt(under[0], change, below)
        if only is not under[0]:
            fresh = rebuild_stmt(node, (only,))
    elif under:
        changed_below = tuple([transform_stmt(child, change, below) for child in under])
        if any(map(is_not, changed_below, under)):
            fresh = rebuild_stmt(node, changed_below)
    changed = change(fresh)
    return fresh if changed is None else changed


def exprs_in(node: Stmt) -> Iterator[Expr]:
    """The expressions that ``node`` and all statements below it hold."""
    for stmt in walk_stmt(node):
        match stmt:
            case Store(index=index, value=value):
                yield from (*index, value)
            case If(condition=condition):
                yield condition
            case Block(iters=iters, where=where):
                yield from (it.binding for it in iters)
                yield from () if where is None else (where,)
            case Copy(target=target, source=source):
                yield from (*target.start, *source.start)


def map_exprs(node: Stmt, change: Callable[[Expr], Expr]) -> Stmt:
    """``node`` with ``change`` applied to each expression it holds itself and below."""

    def region(box: Region) -> Region:
        return replace(box, start=tuple(change(e) for e in box.start))

    def one(stmt: Stmt) -> Stmt:
        match stmt:
            case Store(buffer, index, value, origin):
                fresh = tuple([change(e) for e in index]), change(value)
                return stmt if fresh == (index, value) else Store(buffer, *fresh, origin)
            case If(condition=condition):
                fresh_condition = change(condition)
                same = fresh_condition is condition
                return stmt if same else replace(stmt, condition=fresh_condition)
            case Block(iters=iters, where=where):
                bound = tuple(
                    [Iter(it.axis, it.extent, it.reduce, change(it.binding)) for it in iters]
                )
                return replace(stmt, iters=bound, where=where and change(where))
            case Copy(target=target, source=source):
                return replace(stmt, target=region(target), source=region(source))
            case _:
                return stmt

    return transform_stmt(node, one)
