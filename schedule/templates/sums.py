"""Sums over pixels restated: bytes added in u16, rows in i32, blocks of rows apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce as fold
from math import prod

from ...tir.expr import Expr, cast, const, load, make, select, transform
from ...tir.stmt import Alloc, Block, Buffer, For, Iter, LoopKind, PrimFunc, Stmt, Store, seq
from ...tir.types import i32, u8, u16
from ..knobs import Point, number
from ..structure import flat_form
from .move import WORDS, Axis
from .named import find_block
from .nests import loop_var, plus, reshaped, times

Axes = Sequence[tuple[str, int]]  # loops: names and extents
Finish = Callable[[Expr], Expr]  # a sum requantized

LANES = 128
EXACT = 257  # bytes whose sum fits u16
WAYS = 4  # i32 lanes of a vector of bytes lie in as many registers


@dataclass(frozen=True, slots=True)
class Shape:
    """A sum over pixels: axes that stay, rows that are summed, and one row of pixels."""

    kept: tuple[Axis, ...]  # ``come`` in the input, ``to`` in the output
    rows: tuple[Axis, ...]  # summed, outermost first
    columns: int  # pixels of a row that are summed
    deep: int  # channels stored
    source: Buffer
    target: Buffer
    start: Expr  # what the sum begins with
    offset: tuple[int, int]  # of the first byte: in the output, in the input

    @property
    def pixels(self) -> int:
        """Pixels in a vector."""
        return max(LANES // self.deep, 1)

    @property
    def vectors(self) -> int:
        """Vectors of channels."""
        return max(self.deep // LANES, 1)

    @property
    def taps(self) -> int:
        """Pixels that are summed into one."""
        return self.steps * self.columns

    @property
    def windows(self) -> int:
        return prod(axis.extent for axis in self.kept)

    @property
    def groups(self) -> int:
        """Vectors of pixels in a row; the last one may be cut."""
        return -(-self.columns // self.pixels)

    @property
    def steps(self) -> int:
        """Rows in all."""
        return prod(axis.extent for axis in self.rows)


def shape_of(func: PrimFunc) -> Shape | None:
    """The sum that a kernel takes of its input; None where pixels of a vector stay apart."""
    block = find_block(func.body, "sum")
    store, init = block.body, block.init
    assert isinstance(store, Store) and isinstance(init, Store)
    term = store.value.args[1].args[0]
    x, y = func.params[0], func.params[-1]
    if term.op != "load" or term.attr.name != x.name:
        return None
    come, to = flat_form(x, term.args), flat_form(y, store.index)
    if not {*come.terms, *to.terms} <= {it.axis for it in block.iters}:
        return None
    axes = {
        v: Axis(str(v.attr), extent, to.terms.get(v, 0), come.terms.get(v, 0))
        for v, extent in ((it.axis, it.extent) for it in block.iters)
        if extent > 1
    }
    deep, reduced = y.shape[3], {it.axis for it in block.iters if it.reduce}
    lane = next((v for v, a in axes.items() if a.come == a.to == 1), None)
    if lane is None or lane in reduced or x.shape[3] != deep:
        return None
    row = next((v for v in axes if v in reduced and axes[v].come == deep), None)
    rows = [axes[v] for v in axes if v in reduced and v is not row]
    kept = [axes[v] for v in axes if v not in reduced and v is not lane]
    if axes[lane].extent != deep or (deep < LANES and any(a.come % LANES for a in (*rows, *kept))):
        return None
    rows.sort(key=lambda axis: -axis.come)
    columns = axes[row].extent if row is not None else 1
    return Shape(tuple(kept), tuple(rows), columns, deep, x, y, init.value,
                 (to.constant, come.constant))  # fmt: skip


# The kernel restated --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """A point's loops: names and extents."""

    shape: Shape
    blocks: int
    together: int
    chunk: int  # vectors of a row that one step adds
    fused: bool

    @property
    def whole(self) -> int:
        """Groups of a row that are not cut."""
        return self.shape.columns // self.shape.pixels

    @property
    def single(self) -> bool:
        """Whether a step takes whole rows."""
        return self.shape.groups <= self.chunk

    @property
    def step(self) -> int:
        """Whole groups that a step takes where it takes part of a row."""
        return next(d for d in range(min(self.chunk, self.whole), 0, -1) if self.whole % d == 0)


def planned(shape: Shape, point: Point) -> Plan:
    blocks = number(point, "blocks")
    fused = blocks == 1 and shape.pixels == 1
    return Plan(shape, blocks, number(point, "rows"), number(point, "chunk"), fused)


def restated(func: PrimFunc, shape: Shape, plan: Plan) -> PrimFunc:
    """``func`` as the one or two phases."""
    x = replace(shape.source, shape=(shape.source.size,))
    y = replace(shape.target, shape=(shape.target.size,))
    kept = prod(axis.extent for axis in shape.kept)
    acc = Buffer("acc", i32, (kept, shape.vectors, plan.blocks, LANES), "reg")
    sums = Buffer("s", i32, (kept, shape.vectors, plan.blocks, 2 * LANES), "tcm")
    outer = [(axis.name, axis.extent) for axis in shape.kept]
    outer += [("cv", shape.vectors), ("block", plan.blocks)]
    parts = _parts(plan, x, acc, outer)
    finish = _value(func)
    if plan.fused:
        parts.append(_block("requant", outer, [*_lane_axes(shape)], [],
                            lambda *v: _final(plan, y, finish, v, _acc(plan, acc, v))))  # fmt: skip
        body = _loops(outer, seq(*parts))
    else:
        parts.append(_block("keep", outer, [*_lane_axes(shape)], [],
                            lambda *v: _kept(plan, sums, acc, v)))  # fmt: skip
        second = _second(plan, y, sums, finish, [(f"{n}_2", e) for n, e in outer[:-1]])
        body = Alloc(sums, seq(_loops(outer, seq(*parts)), second))
    return reshaped(func, {shape.source: x, shape.target: y}, Alloc(acc, body))


def _loops(axes: Axes, body: Stmt) -> Stmt:
    for name, extent in reversed(axes):
        body = For(loop_var(name), extent, LoopKind.SERIAL, body)
    return body


def _block(
    name: str,
    outer: Axes,
    inner: Axes,
    summed: Axes,
    store: Callable[..., Store],
    init: Callable[..., Store] | None = None,
) -> Stmt:
    """A block under ``outer`` loops that stand already, then loops over ``summed``, ``inner``."""
    own = [(f"{name}_{axis}", extent) for axis, extent in (*summed, *inner)]
    names = [n for n, _ in outer] + [n for n, _ in own]
    extents = [e for _, e in outer] + [e for _, e in own]
    reduces = {n for n, _ in own[: len(summed)]}
    iters = tuple(
        Iter(loop_var(f"v_{n}"), e, n in reduces, loop_var(n))
        for n, e in zip(names, extents, strict=True)
    )
    axes = [it.axis for it in iters]
    stmt: Stmt = Block(name, iters, store(*axes), init(*axes) if init else None)
    return _loops(own, stmt)


def _lane_axes(shape: Shape) -> tuple[tuple[str, int], ...]:
    """The lanes of a vector: pixels, words of four channels, channels of a word."""
    channels = min(shape.deep, LANES)
    return ("p", shape.pixels), ("word", channels // WAYS), ("byte", WAYS)


def _split(plan: Plan, axes: Sequence[Expr]) -> tuple[list[Expr], Expr, Expr, list[Expr]]:
    """(kept axes, vector of channels, block, the rest) of a block's axes."""
    count = len(plan.shape.kept)
    return list(axes[:count]), axes[count], axes[count + 1], list(axes[count + 2 :])


def _number(plan: Plan, kept: Sequence[Expr]) -> Expr:
    """The row-major number of a point of the kept axes."""
    whole: Expr = const(0, i32)
    for axis, at in zip(plan.shape.kept, kept, strict=True):
        whole = at if whole.is_const else times(whole, axis.extent) + at
    return whole


def _acc(plan: Plan, acc: Buffer, axes: Sequence[Expr]) -> Expr:
    """The lane's sum: lane 4 * i + way lies in register ``way``."""
    kept, cv, block, rest = _split(plan, axes)
    p, word, byte = rest[-3:]
    registers = LANES // WAYS
    per_pixel = min(plan.shape.deep, LANES) // WAYS
    at = byte * registers + (times(p, per_pixel) + word if plan.shape.pixels > 1 else word)
    return acc[_number(plan, kept), cv, block, at]


def _parts(plan: Plan, x: Buffer, acc: Buffer, outer: list[tuple[str, int]]) -> list[Stmt]:
    """The sums of a block of rows, and of the pixels at the end of rows where they come apart."""
    shape = plan.shape
    summed = _row_loops(plan)
    lanes = list(_lane_axes(shape))

    def init(*axes: Expr) -> Store:
        target = _acc(plan, acc, axes)
        return Store(target.attr, target.args, shape.start if plan.fused else const(0, i32))

    def whole(*axes: Expr) -> Store:
        groups = range(shape.groups) if plan.single else range(plan.step)
        return _added(plan, x, acc, axes, groups, not plan.single)

    def edge(*axes: Expr) -> Store:
        return _added(plan, x, acc, axes, [plan.whole], False)

    chunks = [] if plan.single else [("chunk", plan.whole // plan.step)]
    parts = [_block("part", outer, lanes, [*summed, *chunks], whole, init)]
    if not plan.single and plan.whole < shape.groups:
        parts.append(_block("edge", outer, lanes, summed, edge))
    return parts


def _row_loops(plan: Plan) -> list[tuple[str, int]]:
    """The rows of one block, ``together`` of the innermost at once."""
    rows = [(axis.name, axis.extent) for axis in plan.shape.rows] or [("row", 1)]
    rows[0] = rows[0][0], rows[0][1] // plan.blocks
    rows[-1] = rows[-1][0], rows[-1][1] // plan.together
    return rows


def _added(
    plan: Plan, x: Buffer, acc: Buffer, axes: Sequence[Expr], groups: Sequence[int], chunked: bool
) -> Store:
    """``acc`` and the sum of some vectors of a row, or of several rows."""
    shape = plan.shape
    kept, cv, block, rest = _split(plan, axes)
    count = max(len(shape.rows), 1)
    rows, (p, word, byte) = rest[:count], rest[-3:]
    at = plus(word * WAYS + byte, shape.offset[1])
    if shape.vectors > 1:
        at = times(cv, LANES) + at
    for axis, where in zip(shape.kept, kept, strict=True):
        at = times(where, axis.come) + at
    strides = [axis.come for axis in shape.rows] or [0]
    if plan.blocks > 1:
        at = times(block, strides[0] * (shape.rows[0].extent // plan.blocks)) + at
    for place, (where, stride) in enumerate(zip(rows, strides, strict=True)):
        scale = stride * (plan.together if place == count - 1 else 1)
        at = times(where, scale) + at if scale else at
    if chunked:
        at = times(rest[count], plan.step * shape.pixels * shape.deep) + at
    terms = []
    for row in range(plan.together):
        for group in groups:
            start = row * strides[-1] + group * shape.pixels * shape.deep
            byte_at = times(p, shape.deep) + at if shape.pixels > 1 else at
            terms.append(_cut(shape, x[plus(byte_at, start)], p, group))
    target = _acc(plan, acc, axes)
    return Store(target.attr, target.args, target + cast(i32, summed(terms)))


def _cut(shape: Shape, value: Expr, p: Expr, group: int) -> Expr:
    """0 for the pixels of a vector that lie behind the end of the row."""
    left = shape.columns - group * shape.pixels
    if left >= shape.pixels:
        return value
    return select(p < left, value, const(0, u8))


def summed(terms: list[Expr]) -> Expr:
    """At most ``EXACT`` bytes added in u16: pairs first, as widening sums."""
    pairs = [make("widening_add", a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
    odd = [cast(u16, terms[-1])] if len(terms) % 2 else []
    return fold(lambda a, b: a + b, [*pairs, *odd])


def _value(func: PrimFunc) -> Finish:
    """The requantization of a sum."""
    store = find_block(func.body, "requant").body
    assert isinstance(store, Store)

    def finish(total: Expr) -> Expr:
        return transform(
            store.value, lambda e: total if e.op == "load" and e.attr.name == "acc" else None
        )

    return finish


def _final(plan: Plan, y: Buffer, finish: Finish, axes: Sequence[Expr], total: Expr) -> Store:
    kept, cv, _, (_, word, byte) = _split(plan, axes)
    return Store(y, (_place(plan, kept, cv, word * WAYS + byte),), finish(total))


def _place(plan: Plan, kept: Sequence[Expr], cv: Expr, lane: Expr) -> Expr:
    at = plus(lane, plan.shape.offset[0])
    if plan.shape.vectors > 1:
        at = times(cv, LANES) + at
    for axis, where in zip(plan.shape.kept, kept, strict=True):
        at = times(where, axis.to) + at if axis.to else at
    return at


def _kept(plan: Plan, sums: Buffer, acc: Buffer, axes: Sequence[Expr]) -> Store:
    kept, cv, block, (p, word, byte) = _split(plan, axes)
    lane = word * WAYS + byte
    if plan.shape.pixels > 1:
        lane = times(p, plan.shape.deep) + lane
    where = (_number(plan, kept), cv, block, lane)
    return Store(sums, where, _acc(plan, acc, axes))


def _second(plan: Plan, y: Buffer, sums: Buffer, finish: Finish, outer: Axes) -> Stmt:
    """The sums requantized by whole vectors; where the output has no room behind its last pixel,
    into rows of their own, from which words are moved."""
    shape, lanes = plan.shape, [("lane", LANES)]
    last = sum(axis.to * (axis.extent - 1) for axis in shape.kept) + (shape.vectors - 1) * LANES

    def direct(*axes: Expr) -> Store:
        *kept, cv, lane = axes
        return Store(y, (_place(plan, kept, cv, lane),), _joined(plan, sums, finish, axes))

    if shape.offset[0] + last + LANES <= y.size:
        return _loops(outer, _block("requant", outer, lanes, [], direct))
    rows = Buffer("rows", u8, (prod(axis.extent for axis in shape.kept), LANES), "tcm")

    def apart(*axes: Expr) -> Store:
        *kept, _, lane = axes
        return Store(rows, (_number(plan, kept), lane), _joined(plan, sums, finish, axes))

    def moved(*axes: Expr) -> Store:
        *kept, cv, word, byte = axes
        lane = word * WORDS[0] + byte
        return Store(y, (_place(plan, kept, cv, lane),), load(rows, _number(plan, kept), lane))

    requant = _block("requant", outer, lanes, [], apart)
    words = [("word", shape.deep // WORDS[0]), ("byte", WORDS[0])]
    return Alloc(rows, _loops(outer, seq(requant, _block("place", outer, words, [], moved))))


def _joined(plan: Plan, sums: Buffer, finish: Finish, axes: Sequence[Expr]) -> Expr:
    """The sum of all blocks, and of the pixels that share a vector; lanes behind mean nothing."""
    shape = plan.shape
    *kept, cv, lane = axes
    terms = [
        load(sums, _number(plan, kept), cv, block, plus(lane, p * shape.deep))
        for block in range(plan.blocks)
        for p in range(shape.pixels)
    ]
    total = plus(fold(lambda a, b: a + b, terms), shape.start)
    return finish(total)
