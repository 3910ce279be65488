"""Data movement: bytes that lie together on both sides move as vectors, or else as words.

for h in parallel(rows):              the loop that the threads share evenly
    for w in serial(columns):         what lies apart
        run of bytes:                 whole vectors, the last of them over the one before it;
                                      less than a vector: 8, 4 or 1 bytes at a time

A kernel is a list of copies and fills, done one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, is_number
from ...tir.stmt import Block, Buffer, For, LoopKind, Stmt, Store, seq
from ..schedule import Schedule
from ..structure import flat_form
from .nests import loop_var, nest, plus, times

LANES = 128
WORDS = (8, 4, 1)  # bytes that a scalar register moves


@dataclass(frozen=True, slots=True)
class Axis:
    """One loop: elements between its steps on both sides."""

    name: str
    extent: int
    to: int
    come: int


@dataclass(frozen=True, slots=True)
class Copy:
    """``target[to + ...] = source[come + ...]``, or a number, ``value``, without a source."""

    name: str
    target: Buffer
    source: Buffer | None
    value: Expr | None
    axes: tuple[Axis, ...]
    to: int
    come: int
    run: int  # bytes that lie together on both sides, below the axes

    @property
    def steps(self) -> int:
        return prod(axis.extent for axis in self.axes)

    @property
    def word(self) -> int:
        """Bytes by which everything is aligned, at most 8."""
        numbers = [self.to, self.come, 8, *(n for a in self.axes for n in (a.to, a.come))]
        return gcd(*numbers)


def copy_of(stmt: Stmt) -> Copy | None:
    """The copy that a nest of loops around one block is."""
    while isinstance(stmt, For):
        stmt = stmt.body
    if not isinstance(stmt, Block) or not isinstance(stmt.body, Store) or stmt.init is not None:
        return None
    store = stmt.body
    value = store.value
    fixed = value.is_const or is_number(value)
    if value.type.bits != 8 or not (fixed or value.op == "load"):
        return None
    to = flat_form(store.buffer, store.index)
    come = to if fixed else flat_form(value.attr, value.args)
    axes = [
        Axis(str(it.binding.attr), it.extent, to.terms.get(it.axis, 0), come.terms.get(it.axis, 0))
        for it in stmt.iters
        if it.extent > 1
    ]
    known = {it.axis for it in stmt.iters}
    if any(it.reduce for it in stmt.iters) or not {*to.terms, *come.terms} <= known:
        return None
    if any(axis.to <= 0 or axis.come < 0 for axis in axes):
        return None
    run, outer = _run(axes)
    source, filled = (None, value) if fixed else (value.attr, None)
    return Copy(stmt.name, store.buffer, source, filled, outer, to.constant, come.constant, run)


def _run(axes: list[Axis]) -> tuple[int, tuple[Axis, ...]]:
    """The bytes that lie together, and the axes that are left."""
    run, left = 1, list(axes)
    while True:
        inner = next((axis for axis in left if axis.to == axis.come == run), None)
        if inner is None:
            return run, tuple(left)
        run *= inner.extent
        left.remove(inner)


def flat_copy(copy: Copy) -> Copy:
    """``copy`` between buffers that are one row of bytes."""

    def row(buffer: Buffer) -> Buffer:
        return replace(buffer, shape=(buffer.size,))

    source = None if copy.source is None else row(copy.source)
    return replace(copy, target=row(copy.target), source=source)


# Copies written as nests ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a run: ``count`` steps of ``width`` bytes from ``start`` on."""

    name: str
    start: int
    count: int
    width: int


def pieces_of(copy: Copy) -> list[Piece]:
    """A run as vectors or as words."""
    vectors, rest = divmod(copy.run, LANES)
    if vectors:
        last = [Piece("end", copy.run - LANES, 1, LANES)] if rest else []
        return [Piece("vectors", 0, vectors, LANES), *last]
    found, at = [], 0
    for width in WORDS:
        count = (copy.run - at) // width if copy.word % width == 0 else 0
        if count:
            found.append(Piece(f"by_{width}", at, count, width))
            at += count * width
    return found


def written(copy: Copy, shared: str) -> Stmt:
    """The copy as loops, the shared one outermost; both buffers are one row of bytes."""
    outer = sorted(copy.axes, key=lambda axis: (axis.name != shared, -axis.to))
    names = [(f"{copy.name}_{axis.name}", axis.extent) for axis in outer]
    parts = [_piece(copy, piece, outer, names) for piece in pieces_of(copy)]
    body = seq(*parts)
    for name, extent in reversed(names):
        body = For(loop_var(name), extent, LoopKind.SERIAL, body)
    return body


def _piece(copy: Copy, piece: Piece, outer: list[Axis], names: list[tuple[str, int]]) -> Stmt:
    def store(*axes: Expr) -> Store:
        *around, step, lane = axes
        inner = plus(times(step, piece.width) + lane, piece.start)
        to, come = plus(inner, copy.to), plus(inner, copy.come)
        for axis, at in zip(outer, around, strict=True):
            to = times(at, axis.to) + to
            come = times(at, axis.come) + come if axis.come else come
        value = copy.value
        if copy.source is not None:
            value = copy.source[come]
        assert value is not None
        return Store(copy.target, (to,), value)

    axes = [("step", piece.count), ("lane", piece.width)]
    return nest(f"{copy.name}_{piece.name}", axes, store, names)


def shared_axis(copy: Copy, machine: Machine, share: str) -> str:
    """The axis that threads share: the one that divides best; "" for the vectors of the run."""
    farthest = max((axis.to for axis in copy.axes), default=0)
    alone = len(pieces_of(copy)) == 1  # several pieces are told apart by the outermost axis only
    ways = {axis.name: axis.extent for axis in copy.axes if alone or axis.to == farthest}
    vectors = copy.run // LANES
    if vectors > 1 and (share == "vectors" or not ways):
        return ""
    best = max(ways, key=lambda name: _balance(ways[name], machine.threads), default="")
    if vectors > 1 and ways and ways[best] < machine.threads <= vectors:
        return ""
    return best


def _balance(extent: int, threads: int) -> float:
    return extent / (-(-extent // threads) * threads)


# Schedules --------------------------------------------------------------------------------------


def schedule_copy(sch: Schedule, copy: Copy, shared: str, unroll: int) -> None:
    """Vectors, unrolled words, threads: for the loops that ``written`` gives."""
    for piece in pieces_of(copy):
        *outer, step, lane = sch.loops(f"{copy.name}_{piece.name}")
        sch.vectorize(lane)
        if piece.count <= WORDS[0]:
            sch.unroll(step)
            first = None
        else:
            factor = unroll
            while piece.count % factor:
                factor //= 2
            first, inner = sch.split(step, (None, factor))
            sch.unroll(inner)
        if not shared and first is not None and not outer:
            sch.parallel(first)
    if shared:
        outer = sch.loops(f"{copy.name}_{pieces_of(copy)[0].name}")
        sch.parallel(outer[0])
