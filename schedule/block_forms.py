"""What a block is: a map over its spatial iters, or a reduction of the form acc = acc op value.

Legality rests on two facts. A *map* stores each element from its iters alone, so that instances may
run in any order and any number of times. A *reduction* changes one element by an operator that
is associative and commutes, so that its instances may run in any order, each once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from ..tir.evaluate_expr import loads
from ..tir.expr import Expr
from ..tir.linear import Linear, from_linear, linear
from ..tir.ops import OPS
from ..tir.stmt import Block, Buffer, Iter, Stmt, Store, walk_stmt
from .index import Digit, digits_of, form_bounds


@dataclass(frozen=True, slots=True)
class Reduction:
    """``buffer[index] = buffer[index] op value``; ``init`` is what the first value meets."""

    buffer: Buffer
    index: tuple[Expr, ...]
    op: str
    value: Expr
    init: Expr | None


def extents_of(iters: Iterable[Iter]) -> dict[Expr, int]:
    """The extents of iters by their variables."""
    return {it.axis: it.extent for it in iters}


def store_of(block: Block) -> Store | None:
    """The one store that a block's body is, or None."""
    return block.body if isinstance(block.body, Store) else None


def reduction_of(block: Block) -> Reduction | None:
    """The reduction that ``block`` is; of floats only extremes are, for order matters."""
    store = store_of(block)
    row = OPS[store.value.op] if store else None
    if store is None or row is None or row.neutral is None:
        return None
    if store.value.type.kind == "f" and row.wraps:
        return None
    init = block.init
    if init is not None and not (
        isinstance(init, Store) and init.buffer == store.buffer and init.index == store.index
    ):
        return None
    first, second = store.value.args
    for self_, value in ((first, second), (second, first)):
        if _is_load(self_, store.buffer, store.index) and store.buffer.name not in loads(value):
            return Reduction(store.buffer, store.index, store.value.op, value,
                             init.value if isinstance(init, Store) else None)  # fmt: skip
    return None


def _is_load(expr: Expr, buffer: Buffer, index: tuple[Expr, ...]) -> bool:
    return expr.op == "load" and expr.attr == buffer and expr.args == index


def read_in(node: Stmt | None) -> frozenset[str]:
    """The names of the buffers that stores in ``node`` load from."""
    stores = (s for s in walk_stmt(node) if isinstance(s, Store)) if node is not None else ()
    return frozenset[str]().union(*(loads(e) for s in stores for e in (*s.index, s.value)))


def is_map(block: Block) -> bool:
    """One store, no reduce iters, nothing read from what it writes, each element stored once."""
    store = store_of(block)
    if store is None or block.init is not None or any(it.reduce for it in block.iters):
        return False
    if store.buffer.name in read_in(store):
        return False
    return injective(store.index, extents_of(block.iters))


def is_reduction(block: Block) -> bool:
    """A reduction whose elements belong to one point of the spatial iters each."""
    found = reduction_of(block)
    if found is None:
        return False
    return injective(found.index, extents_of(it for it in block.iters if not it.reduce))


def injective(index: tuple[Expr, ...], axes: Mapping[Expr, int]) -> bool:
    """Whether different values of ``axes`` give different indices; other variables are refused."""
    return _injective(index, tuple(axes.items()))


@lru_cache(maxsize=1 << 12)
def _injective(index: tuple[Expr, ...], extents: tuple[tuple[Expr, int], ...]) -> bool:
    axes, digits = dict(extents), list[Digit]()
    for expr in index:
        found = digits_of(expr, axes)
        if found is None or not mixed_radix(found[0]):
            return False
        digits.extend(found[0])
    return covers(digits, axes)


def mixed_radix(digits: list[Digit]) -> bool:
    """Whether the sum determines each of its digits: coefficients exceed what lies below."""
    span = 0
    for digit in sorted(digits, key=lambda d: abs(d.coefficient)):
        if digit.extent == 1:
            continue
        if abs(digit.coefficient) <= span:
            return False
        span += abs(digit.coefficient) * (digit.extent - 1)
    return True


def covers(digits: list[Digit], axes: Mapping[Expr, int]) -> bool:
    """Whether the digits determine each axis: from 1 up to its extent without a gap."""
    ranges: dict[Expr, list[Digit]] = {}
    for digit in _of_sums(digits, axes):
        ranges.setdefault(digit.base, []).append(digit)
    known: dict[Expr, int] = {}
    for base, parts in ranges.items():
        reach = 1
        for digit in sorted(parts, key=lambda d: d.low):
            if digit.low <= reach:
                reach = max(reach, digit.high)
        known[base] = reach
    inner: list[Digit] = []
    for base, reach in known.items():  # a base that is itself a sum of axes
        if base.op != "var":
            found = digits_of(base, axes)
            if found is None or not mixed_radix(found[0]):
                continue
            span = sum(abs(d.coefficient) * (d.extent - 1) for d in found[0])
            if reach > span and all(d.low == 1 for d in found[0]):
                inner.extend(found[0])
    for digit in inner:
        known[digit.base] = max(known.get(digit.base, 1), digit.high)
    return all(extent == 1 or known.get(axis, 1) >= extent for axis, extent in axes.items())


def _of_sums(digits: list[Digit], axes: Mapping[Expr, int]) -> list[Digit]:
    """Digits of x and the last ones of r as those of c*x + r, where other digits are of that sum
    and r is below c."""
    found = [_unwrapped(digit, axes) for digit in digits]
    for base in dict.fromkeys(digit.base for digit in found if digit.base.op != "var"):
        x, c, rest = _leading(base, axes)
        last = from_linear(rest)
        for k, digit in enumerate(found if c else ()):
            if digit.base is x:
                found[k] = replace(digit, base=base, low=digit.low * c, high=digit.high * c)
            elif digit.base is last and c % digit.high == 0:
                found[k] = replace(digit, base=base)
    return found


def _leading(base: Expr, axes: Mapping[Expr, int]) -> tuple[Expr, int, Linear]:
    """x, c and r of a sum c*x + r with 0 <= r < c; c is 0 where it is none."""
    form = linear(base)
    x, c = max(form.terms.items(), key=lambda term: term[1])
    rest = form.plus(form.only(lambda atom: atom is x), -1)
    low, high = form_bounds(rest, axes)
    inside = 0 <= low and high < c
    return x, c if inside else 0, rest


def _unwrapped(digit: Digit, axes: Mapping[Expr, int]) -> Digit:
    """A digit of c*(x % m) + r, which is (c*x + r) % (c*m), as one of c*x + r."""
    if digit.base.op == "var":
        return digit
    x, c, rest = _leading(digit.base, axes)
    if not c or x.op != "mod" or not x.args[1].is_const or digit.high > c * int(x.args[1].attr):
        return digit
    whole = from_linear(rest.plus(linear(x.args[0]), c))
    return Digit(digit.coefficient, whole, digit.low, digit.high)
