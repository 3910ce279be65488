"""Blocks become plain loops and stores: initial values get their own nest, iters their bindings.

    for i, k:  with block: vi=i, vk=k;  init: a[vi] = 0;  a[vi] = a[vi] + x[vi, vk]

becomes

    for i:  a[i] = 0
            for k:  a[i] = a[i] + x[i, k]
"""

from __future__ import annotations

from dataclasses import replace

from ..expr import Expr, conjuncts, free_vars, substitute, var
from ..recent import Recent
from ..stmt import (
    Alloc,
    Block,
    For,
    If,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    children,
    map_exprs,
    rebuild_stmt,
    seq,
    walk_stmt,
)
from .checked import checked

_recent = Recent[Stmt](512)


@checked
def lower_blocks(func: PrimFunc) -> PrimFunc:
    """``func`` without blocks."""
    return func.with_body(_outermost(func.body))


def _outermost(stmt: Stmt) -> Stmt:
    """Nests by themselves, which points of a kernel have in common."""
    match stmt:
        case Alloc(buffer, body):
            return Alloc(buffer, _outermost(body))
        case Seq(stmts):
            return seq(*map(_outermost, stmts))
        case For():
            return _recent(stmt, lambda: _inline(_place_inits(stmt)))
    return _inline(_place_inits(stmt))


def _inline(stmt: Stmt) -> Stmt:
    if isinstance(stmt, Block):
        body = _bound(_inline(stmt.body), stmt)
        return _guarded(body, stmt)
    below = children(stmt)
    return rebuild_stmt(stmt, tuple(_inline(child) for child in below)) if below else stmt


def _bound(body: Stmt, block: Block) -> Stmt:
    values = {it.axis: it.binding for it in block.iters}
    return map_exprs(body, lambda e: substitute(e, values))


def _guarded(body: Stmt, block: Block) -> Stmt:
    if block.where is None:
        return body
    return If(substitute(block.where, {it.axis: it.binding for it in block.iters}), body)


def _place_inits(stmt: Stmt) -> Stmt:
    """Moves each init in front of the outermost loop that drives a reduction of its block."""
    if isinstance(stmt, For):
        inits: list[Stmt] = []
        body = stmt.body
        reductions = _reductions(body)
        if not reductions:
            return stmt
        for block in reductions:
            if _drives(stmt, block):
                nest = _init_nest(stmt, block)
                inits.append(nest)
                body = _without_init(body, block.name)
        return seq(*inits, rebuild_stmt(stmt, (_place_inits(body),)))
    if isinstance(stmt, Block) and stmt.init is not None:
        return replace(stmt, init=None, body=seq(stmt.init, stmt.body))
    below = children(stmt)
    if not below:
        return stmt
    return rebuild_stmt(stmt, tuple(map(_place_inits, below)))


def _reductions(stmt: Stmt) -> list[Block]:
    return [s for s in walk_stmt(stmt) if isinstance(s, Block) and s.init is not None]


def _drives(loop: For, block: Block) -> bool:
    return any(it.reduce and loop.axis in free_vars(it.binding) for it in block.iters)


def _init_nest(loop: For, block: Block) -> Stmt:
    """The init under copies of those loops, inside ``loop``, that its spatial iters need."""
    spatial: set[Expr] = set()
    for it in block.iters:
        if not it.reduce:
            spatial |= free_vars(it.binding)
    assert block.init is not None
    values = {it.axis: it.binding for it in block.iters}
    nest: Stmt = map_exprs(block.init, lambda e: substitute(e, values))
    if block.where is not None:
        nest = _guard_init(nest, block, values)
    for inner in reversed(_path(loop, block.name) or []):
        if inner.axis in spatial:
            fresh = var(f"{inner.axis.attr}_init")
            renamed = {inner.axis: fresh}
            nest = map_exprs(nest, lambda e, renamed=renamed: substitute(e, renamed))  # type: ignore[misc]
            kind = LoopKind.SERIAL if inner.kind is LoopKind.PARALLEL else inner.kind
            nest = For(fresh, inner.extent, kind, nest)
    return nest


def _guard_init(nest: Stmt, block: Block, values: dict[Expr, Expr]) -> Stmt:
    """The block's guard, as far as it does not speak of reductions (those only skip terms)."""
    reduces = {it.axis for it in block.iters if it.reduce}
    reduces |= {v for it in block.iters if it.reduce for v in free_vars(it.binding)}
    parts = [e for e in conjuncts(block.where) if not free_vars(e) & reduces]
    for part in parts:
        nest = If(substitute(part, values), nest)
    return nest


def _path(stmt: Stmt, name: str) -> list[For] | None:
    """The loops from ``stmt`` down to a block, outermost first; None where it is not there."""
    if isinstance(stmt, Block):
        return [] if stmt.name == name else None
    for child in children(stmt):
        found = _path(child, name)
        if found is not None:
            return [stmt, *found] if isinstance(stmt, For) else found
    return None


def _without_init(stmt: Stmt, name: str) -> Stmt:
    if isinstance(stmt, Block):
        return replace(stmt, init=None) if stmt.name == name else stmt
    below = children(stmt)
    return rebuild_stmt(stmt, tuple(_without_init(c, name) for c in below)) if below else stmt
