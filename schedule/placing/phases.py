"""A kernel as a list of phases: unrolled loops around parallel ones are written out.

    for o in unrolled(250):            for o in parallel(1):     body
        for w in parallel(1): body     for o in parallel(2):     body with o + 1
                                       for o in parallel(4):     body with o + 3 ...

Of a long loop whose steps do not depend on each other a phase takes several. The first ones are
short, so that their constants are soon there, and the last ones, so that little is left when the
last constants come.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...target.machine_facts import Machine
from ...tir.expr import Expr, const, substitute
from ...tir.independence import independent
from ...tir.passes.simplify import simplify_stmt
from ...tir.recent import Recent
from ...tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    For,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    seq,
    top,
    walk_stmt,
)
from ...tir.types import i32

MOST = 32  # steps that are phases of their own
WHOLE = 16  # phases of full length, about
SHARE = 8  # the constants of a phase take at most TCM / this
Constants = tuple[Buffer, ...]
_recent = Recent[Stmt](512)


def phases_of(func: PrimFunc, machine: Machine) -> tuple[list[Buffer], list[Stmt]]:
    """What a kernel without blocks allocates around its phases, and these in order."""
    constants = tuple(p for p in func.params if p.name in func.constants)
    wraps, phases = top(_outermost(func.body, constants, machine))
    return list(dict.fromkeys(wraps)), phases  # an unrolled loop allocates a buffer again


def _outermost(stmt: Stmt, constants: Constants, machine: Machine) -> Stmt:
    """Nests by themselves, which points of a kernel have in common."""
    match stmt:
        case Alloc(buffer, body):
            return Alloc(buffer, _outermost(body, constants, machine))
        case Seq(stmts):
            return seq(*[_outermost(part, constants, machine) for part in stmts])
        case For():
            key = stmt, constants, machine.tcm, machine.threads
            return _recent(key, lambda: simplify_stmt(_written_out(stmt, {}, constants, machine)))
    return simplify_stmt(_written_out(stmt, {}, constants, machine))


def _written_out(
    stmt: Stmt, values: dict[Expr, Expr], constants: Constants, machine: Machine
) -> Stmt:
    if isinstance(stmt, For) and stmt.kind is LoopKind.UNROLLED and _parallel_below(stmt):
        inner = _inner(stmt.body) if stmt.extent > MOST else None
        if inner is None or not independent(stmt):
            steps = [{**values, stmt.axis: const(i, i32)} for i in range(stmt.extent)]
            return seq(*(_written_out(stmt.body, step, constants, machine) for step in steps))
        stmt = seq(*_merged(stmt, inner, constants, machine))
    if isinstance(stmt, For | Store | Copy):
        return _replaced(stmt, values) if values else stmt
    below = tuple(_written_out(child, values, constants, machine) for child in children(stmt))
    return rebuild_stmt(stmt, below)


def _parallel_below(stmt: Stmt) -> bool:
    return any(isinstance(s, For) and s.kind is LoopKind.PARALLEL for s in walk_stmt(stmt))


def _inner(stmt: Stmt) -> For | None:
    """The parallel loop, below unrolled ones of one step."""
    while isinstance(stmt, For):
        if stmt.kind is LoopKind.PARALLEL:
            return stmt
        if stmt.extent > 1:
            return None
        stmt = _replaced(stmt.body, {stmt.axis: const(0, i32)})
    return None


def _merged(loop: For, inner: For, constants: Constants, machine: Machine) -> Iterator[Stmt]:
    """The phases of a long loop around a parallel one."""
    step = sum(p.bytes // loop.extent for p in constants if p.shape[0] >= loop.extent)
    most = max(machine.tcm // SHARE // max(step, 1), 1)
    first = 0
    for count in lengths(loop.extent, min(-(-loop.extent // WHOLE), most)):
        yield _phase(loop, inner, first, count, machine)
        first += count


def lengths(extent: int, most: int) -> Iterator[int]:
    """Steps of each phase: doubled up to ``most`` and, at the end, halved."""
    length, left = 1, extent
    while left:
        count = min(length, max(left // 2, 1))
        yield count
        left -= count
        length = min(2 * length, most)


def _phase(loop: For, inner: For, first: int, count: int, machine: Machine) -> Stmt:
    """Steps ``first`` and so on: shared by threads, where the parallel loop has too few."""
    body = _replaced(inner.body, {loop.axis: loop.axis + first})
    if inner.extent < machine.threads:
        below = For(inner.axis, inner.extent, LoopKind.SERIAL, body)
        return For(loop.axis, count, LoopKind.PARALLEL, below)
    below = For(loop.axis, count, LoopKind.SERIAL, body)
    return For(inner.axis, inner.extent, LoopKind.PARALLEL, below)


def _replaced(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    return map_exprs(stmt, lambda e: substitute(e, values))
