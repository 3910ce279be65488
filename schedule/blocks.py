"""What a block is: a map over its spatial iters, or a reduction of the form acc = acc op value.

Legality rests on two facts. A *map* stores each element from its iters alone, so that instances may
run in any order and any number of times. A *reduction* changes one element by an operator that
is associative and commutes, so that its instances may run in any order, each once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..tir.expr import Expr, walk
from ..tir.stmt import Block, Buffer, Store
from .index import Digit, digits_of

ASSOCIATIVE = ("add", "min", "max", "and_", "or_", "xor")


@dataclass(frozen=True, slots=True)
class Reduction:
    """``buffer[index] = buffer[index] op value``; ``init`` is what the first value meets."""

    buffer: Buffer
    index: tuple[Expr, ...]
    op: str
    value: Expr
    init: Expr | None


def store_of(block: Block) -> Store | None:
    """The one store that a block's body is, or None."""
    return block.body if isinstance(block.body, Store) else None


def reduction_of(block: Block) -> Reduction | None:
    """The reduction that ``block`` is; float sums are none, for their order matters."""
    store = store_of(block)
    if store is None or store.value.op not in ASSOCIATIVE:
        return None
    if store.value.type.kind == "f" and store.value.op == "add":
        return None
    init = block.init
    if init is not None and not (
        isinstance(init, Store) and init.buffer == store.buffer and init.index == store.index
    ):
        return None
    first, second = store.value.args
    for self_, value in ((first, second), (second, first)):
        if _is_load(self_, store.buffer, store.index) and not reads(value, store.buffer.name):
            return Reduction(store.buffer, store.index, store.value.op, value,
                             init.value if isinstance(init, Store) else None)  # fmt: skip
    return None


def _is_load(expr: Expr, buffer: Buffer, index: tuple[Expr, ...]) -> bool:
    return expr.op == "load" and expr.attr == buffer and expr.args == index


def reads(expr: Expr, buffer: str) -> bool:
    """Whether ``expr`` loads from ``buffer``."""
    stack, seen = [expr], set()
    while stack:
        node = stack.pop()
        if node.op == "load" and node.attr.name == buffer:
            return True
        if node.number not in seen:
            seen.add(node.number)
            stack.extend(node.args)
    return False


def init_reads(block: Block) -> set[str]:
    """The buffers that a block's init loads from."""
    if not isinstance(block.init, Store):
        return set()
    exprs = (*block.init.index, block.init.value)
    return {node.attr.name for e in exprs for node in walk(e) if node.op == "load"}


def is_map(block: Block) -> bool:
    """One store, no reduce iters, nothing read from what it writes, each element stored once."""
    store = store_of(block)
    if store is None or block.init is not None or any(it.reduce for it in block.iters):
        return False
    if any(reads(e, store.buffer.name) for e in (store.value, *store.index)):
        return False
    return injective(store.index, {it.axis: it.extent for it in block.iters})


def is_reduction(block: Block) -> bool:
    """A reduction whose elements belong to one point of the spatial iters each."""
    found = reduction_of(block)
    if found is None:
        return False
    spatial = {it.axis: it.extent for it in block.iters if not it.reduce}
    return injective(found.index, spatial)


def injective(index: tuple[Expr, ...], axes: Mapping[Expr, int]) -> bool:
    """Whether different values of ``axes`` give different indices; other variables are refused."""
    digits: list[Digit] = []
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
    for digit in digits:
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
