"""Random values of many lanes: lane operators above, below and between lane-wise ones.

function(7)      # stores one value of one to eight registers; the same for each seed
"""

from __future__ import annotations

from collections.abc import Callable, Container
from random import Random

from dovetail.target.dsp.target import dsp
from dovetail.tir.expr import Expr, const, make, walk
from dovetail.tir.ops import OPS
from dovetail.tir.stmt import Buffer, PrimFunc, Store
from dovetail.tir.types import Type, i8, i16, i32, u8, u16, vector
from tests.tir.operands import plain, shifting

ELEMENTS = (u8, u8, i8, i16, u16, i32)
COMPUTED = {node.op for row in dsp().rows.values() if row.body for node in walk(row.body)}
REGISTER = 1024  # bits


def function(seed: int, computed: Container[str] = COMPUTED) -> PrimFunc:
    """A kernel that stores one value, of operators that rows compute."""
    draw = Draw(Random(seed), computed)
    kind = draw.rng.choice((*ELEMENTS, i32, i32, i32))
    lanes = REGISTER // kind.bits * draw.rng.choice((1, 1, 2, 2, 4, 4, 8, 3))
    value = draw.value(vector(kind, lanes), draw.rng.choice((2, 3, 3, 4)))
    result = Buffer("y", kind, (lanes,), "tcm")
    return PrimFunc("lanes", (*draw.params, result), Store(result, (const(0, i32),), value))


class Draw:
    """Expressions over loads from parameters that come into being on the way."""

    def __init__(self, rng: Random, computed: Container[str]) -> None:
        self.rng, self.computed = rng, computed
        self.params: list[Buffer] = []

    def value(self, kind: Type, depth: int) -> Expr:
        if depth <= 0:
            return self._leaf(kind)
        make_one = self.rng.choice(KINDS)
        found = make_one(self, kind, depth - self.rng.choice((1, 1, 2)))
        return self._plain(kind, depth - 1) if found is None else found

    def _leaf(self, kind: Type) -> Expr:
        if self.rng.random() < 0.1:
            return const(self.rng.randint(0, 9), kind)
        fits = [p for p in self.params if p.type == kind.element and p.shape[0] >= kind.lanes]
        if fits and self.rng.random() < 0.5:
            buffer = self.rng.choice(fits)
        else:
            more = self.rng.choice((0, 0, 0, kind.lanes))
            buffer = self._param(Buffer(f"x{len(self.params)}", kind.element, (kind.lanes + more,)))
        start = self.rng.choice((0, 0, 0, buffer.shape[0] - kind.lanes))
        return Expr("load", kind, (const(start, i32),), buffer)

    def _param(self, buffer: Buffer) -> Buffer:
        self.params.append(buffer)
        return buffer

    def _plain(self, kind: Type, depth: int) -> Expr:
        op = self.rng.choice(plain(kind.element, self.computed))
        return make(op, *(self.value(kind, depth) for _ in range(OPS[op].arity)))

    def _converted(self, kind: Type, depth: int) -> Expr:
        source = self.value(vector(self.rng.choice(ELEMENTS), kind.lanes), depth)
        return Expr(self.rng.choice(("cast", "sat_cast")), kind, (source,))

    def _joined(self, kind: Type, depth: int) -> Expr | None:
        size = kind.lanes * kind.bits
        ways = [n for n in (2, 2, 3, 4, 8) if size % (n * REGISTER) == 0]
        if not ways:
            return None
        n = self.rng.choice(ways)
        parts = [self.value(vector(kind, kind.lanes // n), depth) for _ in range(n)]
        return make(self.rng.choice(("concat", "interleave")), *parts)

    def _part(self, kind: Type, depth: int) -> Expr:
        n = self.rng.choice((2, 2, 4))
        whole = self.value(vector(kind, kind.lanes * n), depth)
        if self.rng.random() < 0.5:
            return make("deinterleave", whole, attr=(self.rng.randrange(n), n))
        start = self.rng.choice((0, 1, n - 1)) * kind.lanes
        return make("slice", whole, attr=(start, kind.lanes))

    def _grouped(self, kind: Type, depth: int) -> Expr | None:
        if kind.bits < 32 or kind.lanes > 256:
            return None
        n = self.rng.choice((2, 2, 4, 4, 4, 8, 32))
        wide = vector(kind, kind.lanes * n)
        if self.rng.random() < 0.2:
            return make("group_sum", self.value(wide, depth), attr=n)
        kinds = [vector(self.rng.choice(ELEMENTS[:-1]), wide.lanes) for _ in "ab"]
        a, b = (Expr("cast", wide, (self.value(each, depth),)) for each in kinds)
        return make("group_sum", a * b, attr=n)

    def _broadcast(self, kind: Type, depth: int) -> Expr | None:
        ways = [n for n in (2, 4, 32, kind.lanes, kind.lanes // 4) if n and kind.lanes % n == 0]
        n = self.rng.choice(ways)
        source = self.value(vector(kind, kind.lanes // n), depth)
        return make(self.rng.choice(("tile", "repeat")), source, attr=n)

    def _widened(self, kind: Type, depth: int) -> Expr | None:
        if kind.bits < 16:
            return None
        signs = ("u", "u") if kind.kind == "u" else self.rng.choice((("i", "i"), ("i", "u")))
        parts = [self.value(Type(s, kind.bits // 2, kind.lanes), depth) for s in signs]
        return make(self.rng.choice(("widening_mul", "widening_add")), *parts)

    def _chosen(self, kind: Type, depth: int) -> Expr:
        other = vector(self.rng.choice(ELEMENTS), kind.lanes)
        test = make(self.rng.choice(("lt", "eq")), self.value(other, 0), self.value(other, depth))
        return make("select", test, self.value(kind, depth), self.value(kind, depth))

    def _moved(self, kind: Type, depth: int) -> Expr:
        by = const(self.rng.randrange(kind.bits), kind)
        return make(self.rng.choice(shifting(self.computed)), self.value(kind, depth), by)

    def _looked_up(self, kind: Type, depth: int) -> Expr | None:
        if kind.bits > 8:
            return None
        table = self._param(Buffer(f"t{len(self.params)}", kind.element, (256,)))
        entries = Expr("load", vector(kind, 256), (const(0, i32),), table)
        index = self.value(vector(self.rng.choice((u8, i8)), kind.lanes), depth)
        return make("lookup", entries, index)


Kind = Callable[[Draw, Type, int], Expr | None]
KINDS: tuple[Kind, ...] = (
    Draw._plain, Draw._plain, Draw._converted, Draw._converted, Draw._joined, Draw._joined,
    Draw._joined, Draw._part, Draw._part, Draw._grouped, Draw._grouped, Draw._grouped,
    Draw._broadcast, Draw._widened, Draw._chosen, Draw._moved, Draw._looked_up,
)  # fmt: skip
