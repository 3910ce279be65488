"""Sums that a loop keeps in memory are kept in registers while it runs.

    for k in serial(8):                       r[0:32] = acc[0:32]
        acc[0:32] = acc[0:32] + f(k)          for k in serial(8):
                                                  r[0:32] = r[0:32] + f(k)
                                              acc[0:32] = r[0:32]

Only in innermost loops, and loops around nothing else, for buffers of which the loops touch just
these elements, at indices that do not depend on them. Runs after unrolling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from ..expr import Expr, const, loads_in, transform_loads
from ..linear import linear
from ..stmt import (
    Alloc,
    Buffer,
    For,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    children,
    rebuild_stmt,
    seq,
    transform_stmt,
    walk_stmt,
)
from ..types import i32, vector
from .checked import checked

Place = tuple[Expr, int]  # the index of an access, and its lanes


@dataclass(frozen=True, slots=True)
class _Sums:
    """The elements of one buffer that a loop accumulates, in the order of their stores."""

    buffer: Buffer
    places: tuple[Place, ...]

    @property
    def register(self) -> Buffer:
        size = sum(lanes for _, lanes in self.places)
        return Buffer(f"{self.buffer.name}_kept", self.buffer.type, (size,), "reg")

    def index(self, place: Place) -> Expr:
        before = self.places[: self.places.index(place)]
        return const(sum(lanes for _, lanes in before), i32)


@checked
def promote_sums(func: PrimFunc) -> PrimFunc:
    """``func`` with memory accumulators of innermost loops in registers."""
    return func.with_body(_visit(func.body))


def _visit(stmt: Stmt) -> Stmt:
    if isinstance(stmt, For) and (nest := _nest(stmt)):
        promoted = _promoted(stmt, nest)
        if promoted is not stmt:
            return promoted
    below = children(stmt)
    return rebuild_stmt(stmt, tuple(_visit(child) for child in below)) if below else stmt


def _nest(loop: For) -> list[For]:
    """A serial loop and those directly within it down to plain stores; empty for others."""
    if loop.kind is not LoopKind.SERIAL:
        return []
    found = [loop]
    while isinstance(found[-1].body, For):
        found.append(found[-1].body)
    inner = any(isinstance(s, For) for s in walk_stmt(found[-1].body))
    serial = all(step.kind is LoopKind.SERIAL and step.extent > 1 for step in found)
    return found if serial and not inner else []


def _promoted(loop: For, nest: list[For]) -> Stmt:
    body = nest[-1].body
    stores = [s for s in walk_stmt(body) if isinstance(s, Store)]
    plain = isinstance(body, Seq | Store) and len(stores) == sum(
        not isinstance(s, Seq) for s in walk_stmt(body)
    )
    if not plain:
        return loop
    axes = {step.axis for step in nest}
    kept: Stmt = loop
    for name in dict.fromkeys(s.buffer.name for s in stores if s.buffer.scope != "reg"):
        found = _sums(axes, [s for s in stores if s.buffer.name == name], stores)
        if found is not None:
            kept = _kept(kept, found)
    return kept


def _sums(axes: set[Expr], mine: list[Store], stores: list[Store]) -> _Sums | None:
    buffer = mine[0].buffer
    places = tuple(dict.fromkeys((s.index[0], s.value.type.lanes) for s in mine))
    if any(axes & index.free for index, _ in places) or not _disjoint(places):
        return None
    for store in stores:
        for node in loads_in(store.value):
            if node.attr.name == buffer.name and (node.args[0], node.type.lanes) not in places:
                return None
    loaded = {node.args[0] for s in mine for node in loads_in(s.value)}
    return _Sums(buffer, places) if all(index in loaded for index, _ in places) else None


def _disjoint(places: tuple[Place, ...]) -> bool:
    """Whether the elements of different places surely differ."""
    forms = [(linear(index), lanes) for index, lanes in places]
    if any(dict(form.terms) != dict(forms[0][0].terms) for form, _ in forms):
        return False
    runs = sorted((form.constant, lanes) for form, lanes in forms)
    return all(a + lanes <= b for (a, lanes), (b, _) in pairwise(runs))


def _kept(loop: Stmt, sums: _Sums) -> Stmt:
    register = sums.register
    names = {place: sums.index(place) for place in sums.places}

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr.name != sums.buffer.name:
            return None
        return Expr("load", expr.type, (names[expr.args[0], expr.type.lanes],), register)

    def store(stmt: Stmt) -> Stmt | None:
        if not isinstance(stmt, Store):
            return None
        value = transform_loads(stmt.value, node)
        if stmt.buffer.name != sums.buffer.name:
            return replace(stmt, value=value)
        where = names[stmt.index[0], stmt.value.type.lanes]
        return replace(stmt, buffer=register, index=(where,), value=value)

    def load(buffer: Buffer, index: Expr, lanes: int) -> Expr:
        return Expr("load", vector(buffer.type, lanes), (index,), buffer)

    before = [Store(register, (names[p],), load(sums.buffer, *p)) for p in sums.places]
    after = [Store(sums.buffer, (p[0],), load(register, names[p], p[1])) for p in sums.places]
    return Alloc(register, seq(*before, transform_stmt(loop, store), *after))
