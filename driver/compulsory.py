"""The least work of a kernel by its text: elements that every schedule must load and store.

    least_work(func)              # Work(loaded=67584, stored=65536, ...)

An element of a parameter counts if a load or store certainly reaches it: in a block that runs over
all of its iters, without a guard, at an index that is a sum over these, outside of the branches of
a ``select``, and on the way to an output. What is not certain counts 0, so the bound stays true.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph.graph import Array
from ..schedule.normalize import prepare
from ..target.cost import Work
from ..tir.expr import Expr
from ..tir.linear import linear
from ..tir.simplifier import simplify
from ..tir.stmt import Block, Buffer, For, If, PrimFunc, Stmt, Store, children, stored_in

Extents = dict[Expr, int]
Marks = dict[str, Array]  # by parameter: which elements are touched


def least_work(func: PrimFunc) -> Work:
    """Bytes only: how many products a kernel needs depends on how it is written."""
    blocks = _certain(func)
    stored = _stored(func, blocks)
    own = {buffer.name for buffer in stored_in(func.body)}  # the kernel may have made what it loads
    loaded = {name: marks for name, marks in _marks(func).items() if name not in own}
    for block in blocks:
        for store, inside in _stores(block, _extents(block)):
            for node in (n for e in (simplify(store.value), *store.index) for n in _loads(e)):
                _mark(loaded, node.attr, node.args, inside)
    params = [p for p in func.params if p.name in stored]
    return Work(
        ddr=sum(_bytes(p, loaded) + _bytes(p, stored) for p in params if p.scope == "ddr"),
        loaded=sum(_bytes(p, loaded) for p in params),
        stored=sum(_bytes(p, stored) for p in params),
        moves=any(store.value.op in ("load", "const") for b in blocks for store, _ in _stores(b)),
    )


def overwritten(func: PrimFunc) -> set[str]:
    """The parameters of which certainly every element is stored."""
    return {name for name, marks in _stored(func, _certain(func)).items() if marks.all()}


def _stored(func: PrimFunc, blocks: list[Block]) -> Marks:
    found = _marks(func)
    for block in blocks:
        for store, inside in _stores(block, _extents(block)):
            _mark(found, store.buffer, store.index, inside)
    return found


def _extents(block: Block) -> Extents:
    return {it.axis: it.extent for it in block.iters}


def _marks(func: PrimFunc) -> Marks:
    """Of each parameter that is not constant: code may hold constants itself."""
    free = [p for p in func.params if p.name not in func.constants]
    return {p.name: np.zeros(p.size, np.bool_) for p in free}


def _bytes(param: Buffer, marks: Marks) -> int:
    return int(np.count_nonzero(marks.get(param.name, 0))) * param.type.bytes


def _certain(func: PrimFunc) -> list[Block]:
    """The blocks that run over all of their iters, without a guard, on the way to an output."""
    state = prepare(func)
    every = list(_unguarded(state.body))
    needed, before = {p.name for p in func.params}, set[str]()
    while needed != before:
        before = set(needed)
        for block in every:
            reads, writes = _names(block)
            needed |= reads if writes & needed else set()
    return [b for b in every if b.name not in state.partial and _names(b)[1] & needed]


def _names(block: Block) -> tuple[set[str], set[str]]:
    """The buffers that a block certainly reads, and those that it writes."""
    stores = [store for store, _ in _stores(block)]
    reads = {n.attr.name for s in stores for e in (s.value, *s.index) for n in _loads(e)}
    return reads, {store.buffer.name for store in stores}


def _unguarded(stmt: Stmt) -> Iterator[Block]:
    if isinstance(stmt, Block):
        if stmt.where is None:
            yield stmt
    elif not isinstance(stmt, If):
        for child in children(stmt):
            yield from _unguarded(child)


def _stores(stmt: Stmt, extents: Extents | None = None) -> Iterator[tuple[Store, Extents]]:
    """The unguarded stores below a statement, with the extents of the axes around them."""
    extents = extents or {}
    match stmt:
        case Store():
            yield stmt, extents
        case If():
            return
        case For(axis=axis, extent=extent, body=body):
            yield from _stores(body, {**extents, axis: extent})
        case _:
            for child in children(stmt):
                yield from _stores(child, extents)


def _loads(expr: Expr) -> Iterator[Expr]:
    """The loads on which a value depends in any case."""
    if expr.op == "load":
        yield expr
    for arg in expr.args[:1] if expr.op == "select" else expr.args:
        yield from _loads(arg)


def _mark(marks: Marks, buffer: Buffer, index: tuple[Expr, ...], extents: Extents) -> None:
    """Marks the elements at an index over axes that take all values of their extents."""
    if buffer.name not in marks:
        return
    start, steps, stride = 0, dict[Expr, int](), 1
    for expr, extent in zip(reversed(index), reversed(buffer.shape), strict=True):
        form = linear(expr)
        start += form.constant * stride
        for axis, coefficient in form.terms.items():
            steps[axis] = steps.get(axis, 0) + coefficient * stride
        stride *= extent
    if steps.keys() <= extents.keys():
        reached = [(step, extents[axis]) for axis, step in steps.items() if step]
        marks[buffer.name] |= _reached(start, reached, buffer.size)


def _reached(start: int, steps: list[tuple[int, int]], size: int) -> Array:
    """Which of ``size`` elements are ``start`` plus a multiple of each step below its extent."""
    found = np.zeros(size, np.bool_)
    found[start + sum(min(step, 0) * (extent - 1) for step, extent in steps)] = True
    for step, extent in steps:
        covered = 1
        while covered < extent:  # doubles what is reached
            more = min(covered, extent - covered)
            by = abs(step) * more
            found[by:] |= found[:-by]
            covered += more
    return found
