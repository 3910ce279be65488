"""LLVM IR of sums: an accumulator takes in the terms of a sum of neighbours one after another.

x + group_sum(cast(i32, a) * cast(i32, b), 4)    four bytes a lane: two multiply-adds of halfwords
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from ..tir.expr import Expr, cast, make
from ..tir.types import Type
from .llvm import Lowering, ir_type, rule
from .llvm_lanes import joined, shuffled


@rule("add")
def _add(low: Lowering, node: Expr) -> Any:
    if not node.type.is_int:
        return low.builder.fadd(*[low.value(arg) for arg in node.args])
    return reduce(low.builder.add, [term for arg in node.args for term in _terms(low, arg)])


def _terms(low: Lowering, node: Expr) -> list[Any]:
    return _summands(low, node) if node.op == "group_sum" else [low.value(node)]


@rule("group_sum")
def _group_sum(low: Lowering, node: Expr) -> Any:
    add = low.builder.fadd if node.type.kind == "f" else low.builder.add
    return reduce(add, _summands(low, node))


def _summands(low: Lowering, node: Expr) -> list[Any]:
    """Values whose sum is the group sum."""
    inner, n = node.args[0], node.attr
    return _dot(low, inner, n, node.type) or [
        low.value(make("deinterleave", inner, attr=(part, n))) for part in range(n)
    ]


def _dot(low: Lowering, inner: Expr, n: int, result: Type) -> list[Any] | None:
    """Sums of four byte products or two halfword products as multiply-adds of halfwords."""
    if inner.op != "mul" or not all(arg.op == "cast" for arg in inner.args) or result.bits < 32:
        return None
    a, b = (arg.args[0] for arg in inner.args)
    if result.bits != 32 or a.type.bits != b.type.bits or result.lanes == 1:
        return None
    if (n, a.type.bits) == (2, 16) and a.type.signed and b.type.signed:
        return [_multiply_add(low, low.value(a), low.value(b), result.lanes)]
    if (n, a.type.bits) != (4, 8):
        return None
    sums = []
    for part in (0, 1):
        first, second = (low.value(_halfwords(x, part)) for x in (a, b))
        sums.append(_multiply_add(low, first, second, result.lanes))
    return sums


def _halfwords(value: Expr, part: int) -> Expr:
    """Even or odd bytes as halfwords that hold their values."""
    return cast(Type("i", 16), make("deinterleave", value, attr=(part, 2)))


_MULTIPLY_ADDS = (  # the feature of the host, halfwords a register, the instruction
    ("avx512bw", 32, "llvm.x86.avx512.pmaddw.d.512"),
    ("avx2", 16, "llvm.x86.avx2.pmadd.wd"),
)


def _multiply_add(low: Lowering, a: Any, b: Any, lanes: int) -> Any:
    """a[2i] * b[2i] + a[2i+1] * b[2i+1] of signed halfwords in 32 bits, modulo 2**32."""
    half = Type("i", 16, 2 * lanes)
    for feature, count, name in _MULTIPLY_ADDS:
        if feature in low.features and half.lanes % count == 0:
            part, parts = Type("i", 32, count // 2), []
            for at in range(0, half.lanes, count):
                taken = [shuffled(low, x, half, range(at, at + count)) for x in (a, b)]
                parts.append(low.call(name, ir_type(part), *taken))
            return joined(low, parts, part)
    wide, products = ir_type(Type("i", 32, lanes)), []
    for first in (0, 1):
        taken = [shuffled(low, x, half, range(first, half.lanes, 2)) for x in (a, b)]
        products.append(low.builder.mul(*[low.builder.sext(x, wide) for x in taken]))
    return low.builder.add(*products)
