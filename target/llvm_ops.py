"""LLVM IR of arithmetic: plain, fixed-point, conversions and comparisons."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir

from ..tir.expr import Expr, cast, make
from ..tir.types import Type
from .llvm import Lowering, ir_type, mangled, rule


def wider(kind: Type, bits: int, signed: bool = True) -> Type:
    return Type("i" if signed else "u", bits, kind.lanes)


def at_least(low: Lowering, node: Expr, bits: int) -> Any:
    """The exact value of an integer node in ``bits`` bits."""
    return low.resize(low.value(node), node.type, wider(node.type, bits))


# Plain ----------------------------------------------------------------------------------------

_INTEGER = {"sub": "sub", "mul": "mul", "and_": "and_", "or_": "or_", "xor": "xor"}
_FLOAT = {"sub": "fsub", "mul": "fmul"}


@rule(*_INTEGER)
def _plain(low: Lowering, node: Expr) -> Any:
    words = _FLOAT if node.type.kind == "f" else _INTEGER
    return getattr(low.builder, words[node.op])(*[low.value(arg) for arg in node.args])


@rule("floordiv", "mod")
def _divided(low: Lowering, node: Expr) -> Any:
    """Rounds down; by 0 gives 0, as in NumPy; the smallest by -1 wraps."""
    build, kind = low.builder, node.type
    a, b = (low.value(arg) for arg in node.args)
    zero, one = low.constant(kind, 0), low.constant(kind, 1)
    by_zero = build.icmp_unsigned("==", b, zero)
    if not kind.signed:
        safe = build.select(by_zero, one, b)
        result = build.udiv(a, safe) if node.op == "floordiv" else build.urem(a, safe)
        return build.select(by_zero, zero, result)
    minus = low.constant(kind, -1)
    negated = build.icmp_signed("==", b, minus)
    safe = build.select(build.or_(by_zero, negated), one, b)
    quotient, rest = build.sdiv(a, safe), build.srem(a, safe)
    apart = build.icmp_signed("<", build.xor(rest, safe), zero)
    down = build.and_(apart, build.icmp_signed("!=", rest, zero))
    if node.op == "floordiv":
        result = build.select(down, build.sub(quotient, one), quotient)
        result = build.select(negated, build.sub(zero, a), result)
    else:
        result = build.select(down, build.add(rest, safe), rest)
        result = build.select(negated, zero, result)
    return build.select(by_zero, zero, result)


@rule("min", "max")
def _ordered(low: Lowering, node: Expr) -> Any:
    a, b = (low.value(arg) for arg in node.args)
    if node.type.kind == "f":  # a NaN on either side gives NaN
        name = "minimum" if node.op == "min" else "maximum"
        return low.intrinsic(name, node.type, a, b)
    return low.intrinsic(f"{'s' if node.type.signed else 'u'}{node.op}", node.type, a, b)


@rule("shl", "shr")
def _shifted(low: Lowering, node: Expr) -> Any:
    """Counts are taken modulo the bits."""
    a, b = (low.value(arg) for arg in node.args)
    by = low.builder.and_(b, low.constant(node.type, node.type.bits - 1))
    if node.op == "shl":
        return low.builder.shl(a, by)
    return low.builder.ashr(a, by) if node.type.signed else low.builder.lshr(a, by)


@rule("eq", "lt", "le")
def _compared(low: Lowering, node: Expr) -> Any:
    sign = {"eq": "==", "lt": "<", "le": "<="}[node.op]
    kind = node.args[0].type
    a, b = (low.value(arg) for arg in node.args)
    if kind.kind == "f":
        return low.builder.fcmp_ordered(sign, a, b)
    return (low.builder.icmp_signed if kind.signed else low.builder.icmp_unsigned)(sign, a, b)


@rule("abs", "rint")
def _one(low: Lowering, node: Expr) -> Any:
    value, kind = low.value(node.args[0]), node.type
    if kind.kind == "f":
        return low.intrinsic("fabs" if node.op == "abs" else "roundeven", kind, value)
    if node.op == "rint" or not kind.signed:
        return value
    return low.intrinsic("smax", kind, value, low.builder.neg(value))


@rule("count_leading_zeros")
def _leading_zeros(low: Lowering, node: Expr) -> Any:
    """Of 0, too, which ``ctlz`` is told not to leave open."""
    value, any_of_zero = low.value(node.args[0]), ir.IntType(1)(0)
    return low.intrinsic("ctlz", node.type, value, any_of_zero)


@rule("select")
def _select(low: Lowering, node: Expr) -> Any:
    number = low.number(node.args[0])
    if number is not None:
        return low.item(node.args[1] if number else node.args[2])
    return low.builder.select(*[low.value(arg) for arg in node.args])


# Conversions ----------------------------------------------------------------------------------


@rule("cast")
def _cast(low: Lowering, node: Expr) -> Any:
    inner = node.args[0]
    if inner.op == "tile":
        return low.value(make("tile", cast(node.type.element, inner.args[0]), attr=inner.attr))
    value, source, target = low.value(node.args[0]), node.args[0].type, node.type
    build = low.builder
    if target.kind == "b":
        zero = low.constant(source, 0)
        return (build.fcmp_unordered if source.kind == "f" else build.icmp_signed)(
            "!=", value, zero
        )
    if source.kind == "f" and target.kind == "f":
        return (build.fpext if target.bits > source.bits else build.fptrunc)(value, ir_type(target))
    if target.kind == "f":
        convert = build.sitofp if source.signed else build.uitofp
        return convert(value, ir_type(target))
    if source.kind == "f":
        whole = wider(target, 64)
        return low.resize(_to_integer(low, value, source, whole), whole, target)
    return low.resize(value, source, target)


def _to_integer(low: Lowering, value: Any, source: Type, target: Type) -> Any:
    """Toward zero, saturated."""
    name = "llvm.fptosi.sat" if target.signed else "llvm.fptoui.sat"
    return low.call(f"{name}.{mangled(target)}.{mangled(source)}", ir_type(target), value)


@rule("sat_cast")
def _saturated(low: Lowering, node: Expr) -> Any:
    value, source, target = low.value(node.args[0]), node.args[0].type, node.type
    if source.kind == "f":
        return _to_integer(low, low.intrinsic("roundeven", source, value), source, target)
    return low.resize(clamp(low, value, source, target), source, target)


def clamp(low: Lowering, value: Any, source: Type, target: Type) -> Any:
    """An integer of type ``source`` in the range of the elements of ``target``."""
    if source.kind == "b":
        return value
    sign = "s" if source.signed else "u"
    if target.low > source.low:
        value = low.intrinsic(f"{sign}max", source, value, low.constant(source, target.low))
    if target.high < source.high:
        value = low.intrinsic(f"{sign}min", source, value, low.constant(source, target.high))
    return value


# Fixed point ----------------------------------------------------------------------------------


@rule("widening_add", "widening_sub", "widening_mul")
def _widening(low: Lowering, node: Expr) -> Any:
    a, b = (at_least(low, arg, node.type.bits) for arg in node.args)
    return getattr(low.builder, node.op.removeprefix("widening_"))(a, b)


@rule("sat_add", "sat_sub")
def _saturating(low: Lowering, node: Expr) -> Any:
    sign = "s" if node.type.signed else "u"
    a, b = (low.value(arg) for arg in node.args)
    return low.intrinsic(f"{sign}{node.op.removeprefix('sat_')}.sat", node.type, a, b)


@rule("halving_add", "rounding_halving_add")
def _halving(low: Lowering, node: Expr) -> Any:
    """Without a wider type: (a & b) + ((a ^ b) >> 1), rounding up (a | b) - ((a ^ b) >> 1)."""
    build = low.builder
    a, b = (low.value(arg) for arg in node.args)
    shift = build.ashr if node.type.signed else build.lshr
    half = shift(build.xor(a, b), low.constant(node.type, 1))
    if node.op == "halving_add":
        return build.add(build.and_(a, b), half)
    return build.sub(build.or_(a, b), half)


@rule("halving_sub")
def _halving_sub(low: Lowering, node: Expr) -> Any:
    wide = wider(node.type, 2 * node.type.bits)
    a, b = (at_least(low, arg, wide.bits) for arg in node.args)
    half = low.builder.ashr(low.builder.sub(a, b), low.constant(wide, 1))
    return low.resize(half, wide, node.type)


@rule("abs_diff")
def _abs_diff(low: Lowering, node: Expr) -> Any:
    a, b = (low.value(arg) for arg in node.args)
    kind = node.args[0].type
    sign = "s" if kind.signed else "u"
    larger = low.intrinsic(f"{sign}max", kind, a, b)
    return low.builder.sub(larger, low.intrinsic(f"{sign}min", kind, a, b))


@rule("rounding_shr")
def _rounding_shr(low: Lowering, node: Expr) -> Any:
    value, kind = low.value(node.args[0]), node.type
    return rounding_shift(low, value, kind, node.args[1])


def rounding_shift(low: Lowering, value: Any, kind: Type, by: Expr) -> Any:
    """(value + 2**(by-1)) >> by without overflow: the last bit shifted out is added."""
    build, one = low.builder, low.constant(kind, 1)
    number = low.number(by)
    if number is not None:
        if number <= 0:
            return value
        last = build.and_(shift_right(low, value, kind, number - 1), one)
        return build.add(shift_right(low, value, kind, number), last)
    count = count_of(low, by, kind)
    last = build.and_(shift_right(low, value, kind, build.sub(count, one)), one)
    shifted = build.add(shift_right(low, value, kind, count), last)
    return build.select(build.icmp_signed(">", count, low.constant(kind, 0)), shifted, value)


def count_of(low: Lowering, by: Expr, kind: Type) -> Any:
    """A shift count as signed lanes as wide as ``kind``; numbers beyond are saturated."""
    signed = wider(kind, kind.bits)
    return low.resize(clamp(low, low.value(by), by.type, signed), by.type, signed)


def shift_right(low: Lowering, value: Any, kind: Type, count: Any) -> Any:
    """``value >> count`` where the count, an int or lanes, may be the bits or more."""
    build, last = low.builder, kind.bits - 1
    if isinstance(count, int):
        if kind.signed:
            return build.ashr(value, low.constant(kind, min(count, last)))
        inside = build.lshr(value, low.constant(kind, min(count, last)))
        return inside if count <= last else low.constant(kind, 0)
    capped = low.intrinsic("umin", kind, count, low.constant(kind, last))
    if kind.signed:
        return build.ashr(value, capped)
    inside = build.icmp_unsigned("<=", count, low.constant(kind, last))
    return build.select(inside, build.lshr(value, capped), low.constant(kind, 0))


@rule("mul_shr", "rounding_mul_shr")
def _mul_shr(low: Lowering, node: Expr) -> Any:
    """The exact product in 64 bits (32 where it fits), shifted, saturated."""
    a, b, by = node.args
    small = a.type.bits <= 16 and b.type.bits <= 16 and (a.type.signed or b.type.signed)
    wide = wider(node.type, 32 if small else 64)
    product = low.builder.mul(at_least(low, a, wide.bits), at_least(low, b, wide.bits))
    if node.op == "rounding_mul_shr":
        shifted = rounding_shift(low, product, wide, by)
    else:
        number = low.number(by)
        count = count_of(low, by, wide) if number is None else number
        shifted = shift_right(low, product, wide, count)
    return low.resize(clamp(low, shifted, wide, node.type), wide, node.type)
