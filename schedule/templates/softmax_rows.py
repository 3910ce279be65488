"""The code of one softmax row restated: maximum, exponents, sum, reciprocal, result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce as chain

import numpy as np

from ...target.dsp.machine import Machine
from ...tir.expr import (
    Expr,
    as_type,
    cast,
    const,
    load,
    make,
    maximum,
    minimum,
    sat_cast,
    select,
    transform,
    walk,
)
from ...tir.stmt import Alloc, Block, Buffer, For, Iter, LoopKind, PrimFunc, Stmt, Store, seq
from ...tir.types import i32, u8, u16, vector
from .move import Axis
from .nests import loop_var, plus, times
from .offset import find_block

LANES = 128
WORDS, WAYS = 32, 4  # i32 lanes of a register, and registers of the sums of a vector of bytes
Axes = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Shape:
    """The rows of a softmax, and how the axis fills vectors."""

    rows: tuple[Axis, ...]  # ``come`` in the input, ``to`` in the output
    vectors: int  # whole ones of a row
    edge: int  # bytes of a last one that is cut
    step: int  # bytes between a row's vectors
    fold: int  # bytes between lanes of one sum; 0 where each lane has its own
    start: tuple[int, int]  # the first byte of the output, and of the input

    @property
    def folds(self) -> list[int]:
        """The bytes that each step of folding rotates by."""
        found, by = [], self.fold
        while 0 < by < LANES:
            found.append(by)
            by *= 2
        return found


def shared_axis(shape: Shape, machine: Machine) -> Axis:
    """The axis of rows that threads share best."""
    return max(shape.rows, key=lambda axis: axis.extent / -(-axis.extent // machine.threads))


# The kernel restated --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The rows' shape, the loops around, and the buffers and tables that a row's code names."""

    shape: Shape
    outer: tuple[tuple[str, int], ...]
    x: Buffer
    y: Buffer
    tables: tuple[Buffer, Buffer]
    shift: Expr

    m = Buffer("m", u8, (LANES,), "reg")
    acc = Buffer("acc", i32, (WAYS * WORDS,), "reg")
    one = Buffer("one", i32, (WORDS,), "reg")
    r = Buffer("r", i32, (WAYS * WORDS,), "reg")
    rotated = Buffer("rotated", u8, (2 * LANES,), "tcm")
    turned = Buffer("turned", i32, (2 * WAYS * WORDS,), "tcm")

    @property
    def bytes(self) -> tuple[Buffer, Buffer]:
        """The low and the high bytes of e."""
        size = (self.shape.vectors + 1) * LANES
        return Buffer("low", u8, (size,), "tcm"), Buffer("high", u8, (size,), "tcm")

    def source(self, outer: Sequence[Expr], v: Expr | int, lane: Expr) -> Expr:
        return self.x[self._at(outer, v, lane, 1)]

    def target(self, outer: Sequence[Expr], v: Expr | int, lane: Expr) -> tuple[Expr, ...]:
        return (self._at(outer, v, lane, 0),)

    def _at(self, outer: Sequence[Expr], v: Expr | int, lane: Expr, side: int) -> Expr:
        step = self.shape.step
        at = lane + v * step if isinstance(v, int) else times(v, step) + lane
        for axis, where in zip(self.shape.rows, outer, strict=True):
            at = times(where, axis.come if side else axis.to) + at
        return plus(at, self.shape.start[side])


def _shift(func: PrimFunc) -> Expr:
    """The shift that rounds the products of the lowered kernel."""
    store = find_block(func.body, "out").body
    assert isinstance(store, Store)
    return next(node.args[1] for node in walk(store.value) if node.op == "rounding_shr")


def restated(func: PrimFunc, shape: Shape, machine: Machine) -> PrimFunc:
    shared = shared_axis(shape, machine).name if shape.rows else ""
    rows = sorted(shape.rows, key=lambda axis: axis.name != shared)
    shape = replace(shape, rows=tuple(rows))
    x, y = (replace(p, shape=(p.size,)) for p in (func.params[0], func.params[-1]))
    table = next(p for p in func.params if p.name in func.constants)
    tables = tuple(Buffer(f"{table.name}_{n}", u8, (256,), table.scope) for n in ("low", "high"))
    outer = tuple((axis.name, axis.extent) for axis in rows)
    row = _Row(shape, outer, x, y, (tables[0], tables[1]), _shift(func))
    body = seq(*_row(row, _reciprocal(func)))
    for buffer in (row.m, row.acc, row.one, row.r, row.rotated, row.turned, *row.bytes):
        body = Alloc(buffer, body)
    for place, (name, extent) in reversed(list(enumerate(outer))):
        kind = LoopKind.SERIAL if place else LoopKind.PARALLEL  # rows are apart
        body = For(loop_var(name), extent, kind, body)
    entries = func.constants[table.name].astype(np.int64)
    parts = (entries & 255).astype(np.uint8), (entries >> 8).astype(np.uint8)
    constants = {name: data for name, data in func.constants.items() if name != table.name}
    constants.update({t.name: data for t, data in zip(tables, parts, strict=True)})
    return replace(func, params=(x, *tables, y), body=body, constants=constants)


def _reciprocal(func: PrimFunc) -> Callable[[Expr], Expr]:
    store = find_block(func.body, "recip").body
    assert isinstance(store, Store)

    def value(total: Expr) -> Expr:
        return transform(store.value, lambda e: total if e.op == "load" else None)

    return value


def _row(row: _Row, reciprocal: Callable[[Expr], Expr]) -> list[Stmt]:
    return [
        *_largest(row),
        *_exponents(row),
        *_sums(row),
        *_reciprocals(row, reciprocal),
        *_out(row),
    ]


def _nest(
    row: _Row,
    name: str,
    axes: Axes,
    store: Callable[..., Store],
    reduces: int = 0,
    init: Callable[..., Store] | None = None,
) -> Stmt:
    """Loops below the row's around a block; the first ``reduces`` of them are summed over.
    ``store`` takes the row's axes as one argument, then the loops'."""
    own = [(f"{name}_{axis}", extent) for axis, extent in axes]
    every = [*row.outer, *own]
    iters = tuple(
        Iter(loop_var(f"v_{n}"), e, len(row.outer) <= k < len(row.outer) + reduces, loop_var(n))
        for k, (n, e) in enumerate(every)
    )
    at = [it.axis for it in iters]
    outer, inner = at[: len(row.outer)], at[len(row.outer) :]
    first = init(outer, *inner) if init else None
    stmt: Stmt = Block(name, iters, store(outer, *inner), first)
    for n, extent in reversed(own):
        stmt = For(loop_var(n), extent, LoopKind.SERIAL, stmt)
    return stmt


_BYTES: Axes = (("word", WORDS), ("byte", WAYS))


def _lane(word: Expr, byte: Expr) -> Expr:
    return word * WAYS + byte


def _dealt(word: Expr, byte: Expr) -> Expr:
    """Where the sum of a lane of bytes lies."""
    return byte * WORDS + word


def _parts(
    row: _Row,
    name: str,
    store: Callable[..., Store],
    reduces: int = 0,
    init: Callable[..., Store] | None = None,
) -> list[Stmt]:
    """A nest over the row's vectors, and one over the last, whose lanes are cut: ``store`` takes
    (row's axes, vector, word, byte, bytes that count)."""
    shape, parts = row.shape, []
    first = init

    def whole(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr) -> Store:
        return store(outer, v, word, byte, LANES)

    def cut(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr) -> Store:
        return store(outer, shape.vectors, word, byte, shape.edge)

    if shape.vectors:
        parts.append(_nest(row, name, (("v", shape.vectors), *_BYTES), whole, reduces, first))
        first = None
    if shape.edge:
        parts.append(_nest(row, f"{name}_edge", (("v", 1), *_BYTES), cut, reduces, first))
    return parts


def _held(value: Expr, word: Expr, byte: Expr, count: int) -> Expr:
    """0 for the lanes that do not count."""
    return value if count == LANES else select(_lane(word, byte) < count, value, const(0, u8))


def _largest(row: _Row) -> list[Stmt]:
    def store(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr, count: int) -> Store:
        lane = _lane(word, byte)
        value = _held(row.source(outer, v, lane), word, byte, count)
        return Store(row.m, (lane,), maximum(row.m[lane], value))

    def init(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr) -> Store:
        return Store(row.m, (_lane(word, byte),), const(0, u8))

    parts = _parts(row, "max", store, 1, init)
    for by in row.shape.folds:
        parts += _folded(row, f"max_{by}", row.m, row.rotated, 1, by, maximum)
    return parts


def _folded(
    row: _Row,
    name: str,
    held: Buffer,
    memory: Buffer,
    ways: int,
    by: int,
    join: Callable[[Expr, Expr], Expr],
) -> list[Stmt]:
    """Each of ``ways`` registers joined with itself rotated: written twice, read further on."""
    lanes = LANES // held.type.bytes

    def keep(outer: Sequence[Expr], way: Expr, half: Expr, lane: Expr) -> Store:
        at = times(way, 2 * lanes) + times(half, lanes) + lane
        return Store(memory, (at,), held[times(way, lanes) + lane])

    def joined(outer: Sequence[Expr], way: Expr, half: Expr, lane: Expr) -> Store:
        at = times(way, lanes) + lane
        turned = memory[plus(times(way, 2 * lanes) + lane, by // held.type.bytes)]
        return Store(held, (at,), join(held[at], turned))

    axes = (("way", ways), ("half", 2), ("lane", lanes))
    once = (("way", ways), ("half", 1), ("lane", lanes))
    return [_nest(row, f"{name}_keep", axes, keep), _nest(row, f"{name}_join", once, joined)]


def _exponents(row: _Row) -> list[Stmt]:
    parts = []
    for table, kept in zip(row.tables, row.bytes, strict=True):

        def store(
            outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr, count: int,
            table: Buffer = table, kept: Buffer = kept,
        ) -> Store:  # fmt: skip
            lane = _lane(word, byte)
            below = row.m[lane] - row.source(outer, v, lane)
            whole = Expr("load", vector(u8, 256), (const(0, i32),), table)
            value = _held(make("lookup", whole, below), word, byte, count)
            at = lane + v * LANES if isinstance(v, int) else times(v, LANES) + lane
            return Store(kept, (at,), value)

        parts += _parts(row, kept.name, store)
    return parts


def _exponent(row: _Row, v: Expr | int, lane: Expr) -> Expr:
    """e in u16."""
    at = lane + v * LANES if isinstance(v, int) else times(v, LANES) + lane
    low, high = (cast(u16, kept[at]) for kept in row.bytes)
    return low + (high << 8)


def _sums(row: _Row) -> list[Stmt]:
    def store(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr, count: int) -> Store:
        total = row.acc[_dealt(word, byte)]
        value = cast(i32, _exponent(row, v, _lane(word, byte)))
        return Store(row.acc, total.args, total + value)

    def init(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr) -> Store:
        return Store(row.acc, (_dealt(word, byte),), const(0, i32))

    parts = _parts(row, "sum", store, 1, init)
    if row.shape.fold == 1:
        parts.append(_nest(row, "ways", (("word", WORDS),), lambda _, word: _all_ways(row, word)))
    held, ways = (row.one, 1) if row.shape.fold == 1 else (row.acc, WAYS)
    for by in row.shape.folds:
        if by >= WAYS:
            parts += _folded(row, f"sum_{by}", held, row.turned, ways, by, _add)
    return parts


def _add(a: Expr, b: Expr) -> Expr:
    return a + b


def _all_ways(row: _Row, word: Expr) -> Store:
    ways = [row.acc[plus(word, way * WORDS)] for way in range(WAYS)]
    return Store(row.one, (word,), chain(_add, ways))


def _reciprocals(row: _Row, reciprocal: Callable[[Expr], Expr]) -> list[Stmt]:
    """r in all lanes: of four registers, or of one that is then copied to all."""
    every: Axes = (("way", WAYS), ("word", WORDS))

    def apart(outer: Sequence[Expr], way: Expr, word: Expr) -> Store:
        at = way * WORDS + word
        return Store(row.r, (at,), reciprocal(row.acc[at]))

    def single(outer: Sequence[Expr], word: Expr) -> Store:
        return Store(row.one, (word,), reciprocal(row.one[word]))

    def spread(outer: Sequence[Expr], way: Expr, word: Expr) -> Store:
        return Store(row.r, (way * WORDS + word,), row.one[word])

    if row.shape.fold != 1:
        return [_nest(row, "recip", every, apart)]
    return [_nest(row, "recip", (("word", WORDS),), single), _nest(row, "spread", every, spread)]


def _out(row: _Row) -> list[Stmt]:
    def store(outer: Sequence[Expr], v: Expr, word: Expr, byte: Expr, count: int) -> Store:
        lane = _lane(word, byte)
        r = cast(u16, load(row.r, _dealt(word, byte)))
        product = make("widening_mul", _exponent(row, v, lane), r)
        scaled = sat_cast(u16, make("rounding_shr", product, as_type(row.shift, product.type)))
        return Store(row.y, row.target(outer, v, lane), cast(u8, minimum(scaled, 255)))

    return _parts(row, "out", store)
