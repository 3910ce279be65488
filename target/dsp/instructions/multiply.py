"""Multiplying vectors lane by lane: widening, low and high halves, fixed point with rounding."""

from __future__ import annotations

from ...vocabulary import (
    T,
    U,
    W,
    cast,
    concat,
    even,
    high,
    i8x4,
    i16,
    i16x2,
    i32,
    i64,
    low,
    mul_shr,
    odd,
    rounding_mul_shr,
    rounding_shr,
    sat_cast,
    split,
    tile,
    widening_mul,
)
from ..decorators import family, i16x64, i32x32, i32x64, instruction, u16x64

_PRODUCTS = {  # both vectors; the result's pair
    "vmpybusv": dict(T="u8x128", U="i8x128", W="i16x128", t="ub", u="b", w="h"),
    "vmpybv": dict(T="i8x128", U="i8x128", W="i16x128", t="b", u="b", w="h"),
    "vmpyubv": dict(T="u8x128", U="u8x128", W="u16x128", t="ub", u="ub", w="uh"),
    "vmpyhv": dict(T="i16x64", U="i16x64", W="i32x64", t="h", u="h", w="w"),
    "vmpyuhv": dict(T="u16x64", U="u16x64", W="u32x64", t="uh", u="uh", w="uw"),
    "vmpyhus": dict(T="i16x64", U="u16x64", W="i32x64", t="h", u="uh", w="w"),
}


def _accumulating(rows: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {f"{name}_acc": row for name, row in rows.items()}


@family(_PRODUCTS, timing=(9, 5, 5), unit="VX_DV", asm="{d}.{w} = vmpy({a}.{t},{b}.{u})")
def vmpyv(a: T, b: U) -> W:
    """Exact products of even lanes in the low register, of odd lanes in the high one."""
    return split(widening_mul(a, b))


@family(_accumulating(_PRODUCTS), timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x",
        asm="{x}.{w} += vmpy({a}.{t},{b}.{u})")  # fmt: skip
def vmpyv_acc(x: W, a: T, b: U) -> W:
    """Adds products of even lanes to the low register, of odd lanes to the high one."""
    return x + split(widening_mul(a, b))


_BY_SCALAR = {  # a vector and a scalar's bytes or halfwords; the result's pair
    "vmpybus": dict(T="u8x128", U="i8x4", W="i16x128", t="ub", u="b", w="h"),
    "vmpyub": dict(T="u8x128", U="u8x4", W="u16x128", t="ub", u="ub", w="uh"),
    "vmpyh": dict(T="i16x64", U="i16x2", W="i32x64", t="h", u="h", w="w"),
    "vmpyuh": dict(T="u16x64", U="u16x2", W="u32x64", t="uh", u="uh", w="uw"),
}


@family(_BY_SCALAR, timing=(9, 5, 2), unit="VX_DV", asm="{d}.{w} = vmpy({a}.{t},{r}.{u})")
def vmpyr(a: T, r: U) -> W:
    """Exact products with the scalar's parts in turn: even lanes low, odd lanes high."""
    return split(widening_mul(a, tile(r, 32)))


@family({f"{name}_acc": {**row, "since": 65 if name == "vmpyh" else 60}
         for name, row in _BY_SCALAR.items()},
        timing=(9, 7, 5, 2), unit="VX_DV", accumulate="x",
        asm="{x}.{w} += vmpy({a}.{t},{r}.{u})")  # fmt: skip
def vmpyr_acc(x: W, a: T, r: U) -> W:
    """Adds products with the scalar's parts in turn: even lanes low, odd lanes high."""
    return x + split(widening_mul(a, tile(r, 32)))


@instruction(timing=(9, 5, 5), unit="VX_DV", tags="signless",
             asm="{d}.h = vmpyi({a}.h,{b}.h)")  # fmt: skip
def vmpyih(a: i16x64, b: i16x64) -> i16x64:
    """The low halves of the products."""
    return a * b


@instruction(timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x", tags="signless",
             asm="{x}.h += vmpyi({a}.h,{b}.h)")  # fmt: skip
def vmpyih_acc(x: i16x64, a: i16x64, b: i16x64) -> i16x64:
    """Adds the low halves of the products."""
    return x + a * b


@instruction(timing=(9, 5, 2), unit="VX", asm="{d}.h = vmpyi({a}.h,{r}.b)")
def vmpyihb(a: i16x64, r: i8x4) -> i16x64:
    """The low halves of products with the scalar's bytes in turn."""
    return a * cast(i16, tile(r, 16))


@instruction(timing=(9, 7, 5, 2), unit="VX", accumulate="x", asm="{x}.h += vmpyi({a}.h,{r}.b)")
def vmpyihb_acc(x: i16x64, a: i16x64, r: i8x4) -> i16x64:
    """Adds the low halves of products with the scalar's bytes in turn."""
    return x + a * cast(i16, tile(r, 16))


@instruction(timing=(9, 5, 2), unit="VX", asm="{d}.w = vmpyi({a}.w,{r}.b)")
def vmpyiwb(a: i32x32, r: i8x4) -> i32x32:
    """The low words of products with the scalar's bytes in turn."""
    return a * cast(i32, tile(r, 8))


@instruction(timing=(9, 7, 5, 2), unit="VX", accumulate="x", asm="{x}.w += vmpyi({a}.w,{r}.b)")
def vmpyiwb_acc(x: i32x32, a: i32x32, r: i8x4) -> i32x32:
    """Adds the low words of products with the scalar's bytes in turn."""
    return x + a * cast(i32, tile(r, 8))


@instruction(timing=(9, 5, 2), unit="VX_DV", asm="{d}.w = vmpyi({a}.w,{r}.h)")
def vmpyiwh(a: i32x32, r: i16x2) -> i32x32:
    """The low words of products with the scalar's halfwords in turn."""
    return a * cast(i32, tile(r, 16))


@instruction(timing=(9, 7, 5, 2), unit="VX_DV", accumulate="x", asm="{x}.w += vmpyi({a}.w,{r}.h)")
def vmpyiwh_acc(x: i32x32, a: i32x32, r: i16x2) -> i32x32:
    """Adds the low words of products with the scalar's halfwords in turn."""
    return x + a * cast(i32, tile(r, 16))


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.w = vmpyie({a}.w,{b}.uh)")
def vmpyiewuh(a: i32x32, b: u16x64) -> i32x32:
    """The low words of products with the even halfwords of ``b``, unsigned."""
    return a * cast(i32, even(b))


@instruction(timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x",
             asm="{x}.w += vmpyie({a}.w,{b}.uh)")  # fmt: skip
def vmpyiewuh_acc(x: i32x32, a: i32x32, b: u16x64) -> i32x32:
    """Adds the low words of products with the even halfwords of ``b``, unsigned."""
    return x + a * cast(i32, even(b))


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.w = vmpyio({a}.w,{b}.h)")
def vmpyiowh(a: i32x32, b: i16x64) -> i32x32:
    """The low words of products with the odd halfwords of ``b``."""
    return a * cast(i32, odd(b))


@instruction(timing=(9, 5, 5), unit="VX", asm="{d}.w = vmpyieo({a}.h,{b}.h)")
def vmpyieoh(a: i16x64, b: i16x64) -> i32x32:
    """Even halfwords of ``a`` by odd ones of ``b``, times 2**16: with ``vmpyiewuh_acc`` the low
    word of a 32-bit product."""
    return widening_mul(even(a), odd(b)) << 16


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.w = vmpye({a}.w,{b}.uh)")
def vmpyewuh(a: i32x32, b: u16x64) -> i32x32:
    """``a`` times the even halfwords of ``b``, unsigned, divided by 2**16 and rounded down."""
    return mul_shr(a, even(b), 16)


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.w = vmpyo({a}.w,{b}.h):<<1:sat")
def vmpyowh(a: i32x32, b: i16x64) -> i32x32:
    """``a`` times the odd halfwords of ``b``, divided by 2**15, rounded down and saturated."""
    return mul_shr(a, odd(b), 15)


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.w = vmpyo({a}.w,{b}.h):<<1:rnd:sat")
def vmpyowh_rnd(a: i32x32, b: i16x64) -> i32x32:
    """``a`` times the odd halfwords of ``b``, divided by 2**15, rounded and saturated."""
    return rounding_mul_shr(a, odd(b), 15)


@instruction(timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x",
             asm="{x}.w += vmpyo({a}.w,{b}.h):<<1:sat:shift")  # fmt: skip
def vmpyowh_sacc(x: i32x32, a: i32x32, b: i16x64) -> i32x32:
    """``(x + a * odd(b)) >> 15`` exactly, saturated: with ``vmpyewuh`` the product >> 31."""
    return sat_cast(i32, (cast(i64, x) + cast(i64, a) * cast(i64, odd(b))) >> 15)


@instruction(timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x",
             asm="{x}.w += vmpyo({a}.w,{b}.h):<<1:rnd:sat:shift")  # fmt: skip
def vmpyowh_rnd_sacc(x: i32x32, a: i32x32, b: i16x64) -> i32x32:
    """``(x + a * odd(b) + 2**14) >> 15`` exactly, saturated: with ``vmpyewuh`` the rounding
    doubling high half of a 32-bit product."""
    return sat_cast(i32, rounding_shr(cast(i64, x) + cast(i64, a) * cast(i64, odd(b)), 15))


@instruction(timing=(9, 5, 5), unit="VX_DV", since=62, asm="{d} = vmpye({a}.w,{b}.uh)")
def vmpyewuh_64(a: i32x32, b: u16x64) -> i32x64:
    """The product by even halfwords, unsigned: its low bits times 2**16 low, the rest high."""
    product = cast(i64, a) * cast(i64, even(b))
    return concat(cast(i32, product << 16), cast(i32, product >> 16))


@instruction(timing=(9, 7, 5, 5), unit="VX_DV", since=62, accumulate="x",
             asm="{x} += vmpyo({a}.w,{b}.h)")  # fmt: skip
def vmpyowh_64_acc(x: i32x64, a: i32x32, b: i16x64) -> i32x64:
    """After ``vmpyewuh_64``: the whole 64-bit products, low words low, high words high."""
    product = cast(i64, a) * cast(i64, odd(b)) + cast(i64, high(x))
    below = ((low(x) >> 16) & 65535) | cast(i32, product << 16)
    return concat(below, cast(i32, product >> 16))


@instruction(timing=(9, 5, 5), unit={60: "VX_DV", 69: "VX"},
             asm="{d}.h = vmpy({a}.h,{b}.h):<<1:rnd:sat")  # fmt: skip
def vmpyhvsrs(a: i16x64, b: i16x64) -> i16x64:
    """``(a * b + 2**14) >> 15``, saturated."""
    return rounding_mul_shr(a, b, 15)


@instruction(timing=(9, 5, 2), unit={60: "VX_DV", 69: "VX"},
             asm="{d}.h = vmpy({a}.h,{r}.h):<<1:rnd:sat")  # fmt: skip
def vmpyhsrs(a: i16x64, r: i16x2) -> i16x64:
    """``(a * r + 2**14) >> 15`` with the scalar's halfwords in turn, saturated."""
    return rounding_mul_shr(a, tile(r, 32), 15)


@instruction(timing=(9, 5, 2), unit={60: "VX_DV", 69: "VX"},
             asm="{d}.h = vmpy({a}.h,{r}.h):<<1:sat")  # fmt: skip
def vmpyhss(a: i16x64, r: i16x2) -> i16x64:
    """``(a * r) >> 15`` with the scalar's halfwords in turn, saturated."""
    return mul_shr(a, tile(r, 32), 15)
