"""Hypothesis strategies: well-typed expressions and whole functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

from hypothesis import assume
from hypothesis import strategies as st

from dovetail.tir import type_rules
from dovetail.tir.expr import Expr, cast, const, make, sat_cast, var
from dovetail.tir.ops import OPS
from dovetail.tir.row import Beyond, Lanes, Op
from dovetail.tir.stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    Iter,
    LoopKind,
    PrimFunc,
    Region,
    Seq,
    Stmt,
    Store,
    Wait,
    seq,
    walk_stmt,
)
from dovetail.tir.types import Type, boolean, i8, i16, i32, u8, u16, vector

FLIP: st.SearchStrategy[bool] = st.booleans()
ELEMENTS = (u8, i8, u16, i16, i32)
OPERANDS = (*ELEMENTS, boolean)


@st.composite
def values(draw: st.DrawFn, kind: Type, leaves: Sequence[Expr], depth: int) -> Expr:
    """An expression of integers or flags, of type ``kind``, over ``leaves``."""
    same = [leaf for leaf in leaves if leaf.type == kind]
    if depth == 0:
        others = [leaf for leaf in leaves if leaf.type.lanes == kind.lanes]
        if draw(FLIP) and same:
            return draw(st.sampled_from(same))
        if draw(FLIP) and others and kind.is_int:
            return cast(kind.element, draw(st.sampled_from(others)))
        return const(draw(st.integers(kind.low, kind.high)), kind)

    def below(of: Type = kind) -> Expr:
        return draw(values(of, leaves, depth - 1))

    other = vector(draw(st.sampled_from(ELEMENTS)), kind.lanes)
    match draw(st.integers(0, 9)):
        case 0 if kind.is_int:
            return cast(kind.element, below(other))
        case 1 if kind.is_int:
            return sat_cast(kind.element, below(other))
        case 2 if kind.lanes > 1 and kind.lanes % 2 == 0:
            half = vector(kind, kind.lanes // 2)
            return make(draw(st.sampled_from(("interleave", "concat"))), below(half), below(half))
        case 3 if kind.is_int:
            return make("group_sum", below(vector(kind, kind.lanes * 2)), attr=2)
    ways = makers(kind.element)
    op = draw(st.sampled_from(list(ways)))
    operands = [vector(each, kind.lanes) for each in draw(st.sampled_from(ways[op]))]
    row = OPS[op]
    return make(op, *[
        const(draw(st.integers(0, _most_bits(row, each))), each) if place in row.counts
        else below(each)
        for place, each in enumerate(operands)
    ])  # fmt: skip


def _most_bits(row: Op, kind: Type) -> int:
    """By which a value is shifted at most."""
    return kind.bits - 1 if row.beyond is Beyond.IN_PLACE else min(63, kind.high)


@cache
def makers(result: Type) -> dict[str, list[tuple[Type, ...]]]:
    """The operators that give an element lane by lane, each with the operands that it takes."""
    found: dict[str, list[tuple[Type, ...]]] = {}
    for row in OPS.values():
        if row.lanes is not Lanes.SAME or not row.proven or row.rule is type_rules.given:
            continue
        for kinds in product(OPERANDS, repeat=row.arity):
            flags = boolean in kinds
            if flags and row.rule not in (type_rules.bits, type_rules.selected):
                continue  # an order of flags
            try:
                if row.type_of(kinds, None) == result:
                    found.setdefault(row.name, []).append(kinds)
            except TypeError:
                continue
    return found


@st.composite
def indices(draw: st.DrawFn, axes: Sequence[Expr], depth: int = 2) -> Expr:
    """A scalar i32 over ``axes``."""
    if depth == 0 or not axes:
        if draw(FLIP) and axes:
            return draw(st.sampled_from(list(axes)))
        return const(draw(st.integers(0, 20)), i32)
    a = draw(indices(axes, depth - 1))
    match draw(st.integers(0, 4)):
        case 0:
            return a * draw(st.integers(1, 16))
        case 1:
            return a // draw(st.integers(1, 16))
        case 2:
            return a % draw(st.integers(1, 16))
        case _:
            b = draw(indices(axes, depth - 1))
            return make(draw(st.sampled_from(("add", "sub", "add", "min"))), a, b)


def within(index: Expr, extent: int) -> Expr:
    return index % extent


@st.composite
def functions(draw: st.DrawFn) -> PrimFunc:
    """A function with loops, blocks, guards, local buffers and copies, all in bounds."""
    kinds = draw(st.lists(st.sampled_from(ELEMENTS), min_size=2, max_size=3))
    shapes = st.sampled_from(((8,), (3, 8), (2, 3, 4), ()))
    params = tuple(
        Buffer(f"p{n}", kind, draw(shapes), draw(st.sampled_from(("ddr", "tcm"))))
        for n, kind in enumerate(kinds)
    )
    body = draw(statements(params, (), 3))
    names = [s.buffer.name for s in walk_stmt(body) if isinstance(s, Alloc)]
    assume(len(set(names)) == len(names))
    return PrimFunc("generated", params, body)


@st.composite
def statements(
    draw: st.DrawFn, buffers: tuple[Buffer, ...], axes: tuple[Expr, ...], depth: int
) -> Stmt:
    """One to three statements."""
    count = draw(st.integers(1, 3 if depth else 1))
    return seq(*[draw(statement(buffers, axes, depth)) for _ in range(count)])


@st.composite
def statement(
    draw: st.DrawFn, buffers: tuple[Buffer, ...], axes: tuple[Expr, ...], depth: int
) -> Stmt:
    if depth == 0:
        return draw(stores(buffers, axes))
    mark = f"{len(axes)}_{draw(st.integers(0, 10**9))}"
    match draw(st.integers(0, 7)):
        case 0 | 1:
            axis = var(f"i{mark}")
            notes = draw(st.sampled_from(((), (("unroll", 4), ("note", "a")))))
            body = draw(statements(buffers, (*axes, axis), depth - 1))
            kind = draw(st.sampled_from(list(LoopKind)))
            return For(axis, draw(st.integers(1, 5)), kind, body, notes)
        case 2:
            return draw(blocks(buffers, axes, depth, mark))
        case 3 if axes:
            condition = draw(indices(axes)) < draw(st.integers(0, 8))
            return If(condition, draw(statements(buffers, axes, depth - 1)))
        case 4:
            local = Buffer(f"b{mark}", draw(st.sampled_from(ELEMENTS)), (8,), "reg")
            return Alloc(local, draw(statements((*buffers, local), axes, depth - 1)))
        case 5:
            return draw(copies(buffers, axes))
        case 6:
            return Seq(())
        case _:
            return draw(stores(buffers, axes))


@st.composite
def blocks(
    draw: st.DrawFn, buffers: tuple[Buffer, ...], axes: tuple[Expr, ...], depth: int, mark: str
) -> Stmt:
    iters = []
    for n, extent in enumerate(draw(st.lists(st.integers(1, 6), max_size=2))):
        reduces = draw(FLIP)
        zero_on = draw(st.sampled_from(axes or (const(0, i32),)))  # as a reduction must start
        start = zero_on if reduces else draw(indices(axes))
        iters.append(Iter(var(f"v{n}_{mark}"), extent, reduces, within(start, extent)))
    inside = (*axes, *(it.axis for it in iters))
    return Block(
        f"block{mark}",
        tuple(iters),
        draw(statements(buffers, inside, depth - 1)),
        draw(stores(buffers, inside)) if any(it.reduce for it in iters) else None,
        draw(indices(inside)) <= 5 if draw(FLIP) and inside else None,
    )


@st.composite
def copies(draw: st.DrawFn, buffers: tuple[Buffer, ...], axes: tuple[Expr, ...]) -> Stmt:
    target = draw(st.sampled_from([b for b in buffers if b.shape] or list(buffers)))
    extent = tuple(draw(st.integers(1, n)) for n in target.shape)

    def box() -> Region:
        spans = zip(target.shape, extent, strict=True)
        start = tuple(draw(indices(axes)) % (n - size + 1) for n, size in spans)
        return Region(target, start, extent)

    if draw(FLIP):
        return Copy(box(), box())
    return seq(Copy(box(), box(), "t"), Wait("t"))


@st.composite
def stores(draw: st.DrawFn, buffers: tuple[Buffer, ...], axes: tuple[Expr, ...]) -> Stmt:
    target = draw(st.sampled_from(list(buffers)))
    last = target.shape[-1] if target.shape else 1
    lanes = draw(st.sampled_from([n for n in (1, 2, 4) if last % n == 0]))

    def place(buffer: Buffer) -> tuple[Expr, ...]:
        room = (*buffer.shape[:-1], buffer.shape[-1] - lanes + 1) if buffer.shape else ()
        return tuple(within(draw(indices(axes, 1)), n) for n in room)

    wide = [b for b in buffers if (b.shape[-1] if b.shape else 1) >= lanes]
    leaves = [
        Expr("load", vector(b.type, lanes), place(b), b)
        for b in draw(st.lists(st.sampled_from(wide), max_size=2))
    ]
    kind = vector(target.type, lanes)
    value = draw(values(kind, leaves, 2))
    index = place(target)
    if draw(FLIP):  # an update, as reductions are
        value = Expr("load", kind, index, target) + value
    return Store(target, index, value)
