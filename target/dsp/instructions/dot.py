"""Multiplying and summing neighbours: four, two or three taps into each wider lane."""

from __future__ import annotations

from ...vocabulary import (
    T,
    U,
    cast,
    concat,
    even,
    group_sum,
    high,
    i8x4,
    i16,
    i32,
    i64,
    lane,
    low,
    odd,
    sat_cast,
    split,
    tile,
)
from ..decorators import (
    family,
    i8x256,
    i16x64,
    i16x128,
    i32x32,
    i32x64,
    instruction,
    u8x128,
    u8x256,
)

_UNSIGNED = dict(T="u8x128", U="u8x128", t="ub", u="ub", w="uw")
_MIXED = dict(T="u8x128", U="i8x128", t="ub", u="b", w="w")
_SIGNED = dict(T="i8x128", U="i8x128", t="b", u="b", w="w")


@family({"vrmpyub": dict(U="u8x4", u="ub", w="uw"), "vrmpybus": dict(U="i8x4", u="b", w="w")},
        timing=(9, 5, 2), unit="VX", tags="dot", asm="{d}.{w} = vrmpy({a}.ub,{r}.{u})")  # fmt: skip
def vrmpyr(a: u8x128, r: U) -> i32x32:
    """Each four bytes by the scalar's four, summed into 32 bits."""
    return group_sum(cast(i32, a) * cast(i32, tile(r, 32)), 4)


@family({"vrmpyub_acc": dict(U="u8x4", u="ub", w="uw"),
         "vrmpybus_acc": dict(U="i8x4", u="b", w="w")},
        timing=(9, 7, 5, 2), unit="VX", accumulate="x", tags="dot",
        asm="{x}.{w} += vrmpy({a}.ub,{r}.{u})")  # fmt: skip
def vrmpyr_acc(x: i32x32, a: u8x128, r: U) -> i32x32:
    """Adds each four bytes by the scalar's four."""
    return x + group_sum(cast(i32, a) * cast(i32, tile(r, 32)), 4)


@family({"vrmpyubv": _UNSIGNED, "vrmpybusv": _MIXED, "vrmpybv": _SIGNED},
        timing=(9, 5, 5), unit="VX", tags="dot",
        asm="{d}.{w} = vrmpy({a}.{t},{b}.{u})")  # fmt: skip
def vrmpyv(a: T, b: U) -> i32x32:
    """Four products of bytes summed into each 32-bit lane."""
    return group_sum(cast(i32, a) * cast(i32, b), 4)


@family({"vrmpyubv_acc": _UNSIGNED, "vrmpybusv_acc": _MIXED, "vrmpybv_acc": _SIGNED},
        timing=(9, 7, 5, 5), unit={60: "VX_DV", 69: "VX"}, accumulate="x", tags="dot",
        asm="{x}.{w} += vrmpy({a}.{t},{b}.{u})")  # fmt: skip
def vrmpyv_acc(x: i32x32, a: T, b: U) -> i32x32:
    """Adds four products of bytes to each 32-bit lane."""
    return x + group_sum(cast(i32, a) * cast(i32, b), 4)


@instruction(timing=(9, 5, 2), unit="VX", asm="{d}.h = vdmpy({a}.ub,{r}.b)")
def vdmpybus(a: u8x128, r: i8x4) -> i16x64:
    """Each two bytes by two of the scalar's, summed modulo 2**16."""
    return group_sum(cast(i16, a) * cast(i16, tile(r, 32)), 2)


@instruction(timing=(9, 7, 5, 2), unit="VX", accumulate="x", asm="{x}.h += vdmpy({a}.ub,{r}.b)")
def vdmpybus_acc(x: i16x64, a: u8x128, r: i8x4) -> i16x64:
    """Adds each two bytes by two of the scalar's, modulo 2**16."""
    return x + group_sum(cast(i16, a) * cast(i16, tile(r, 32)), 2)


@instruction(timing=(9, 5, 2), unit="VX", asm="{d}.w = vdmpy({a}.h,{r}.b)")
def vdmpyhb(a: i16x64, r: i8x4) -> i32x32:
    """Each two halfwords by two of the scalar's bytes, summed."""
    return group_sum(cast(i32, a) * cast(i32, tile(r, 16)), 2)


@instruction(timing=(9, 7, 5, 2), unit="VX", accumulate="x", asm="{x}.w += vdmpy({a}.h,{r}.b)")
def vdmpyhb_acc(x: i32x32, a: i16x64, r: i8x4) -> i32x32:
    """Adds each two halfwords by two of the scalar's bytes."""
    return x + group_sum(cast(i32, a) * cast(i32, tile(r, 16)), 2)


@instruction(timing=(9, 5, 5), unit={60: "VX_DV", 69: "VX"}, tags="dot",
             asm="{d}.w = vdmpy({a}.h,{b}.h):sat")  # fmt: skip
def vdmpyhvsat(a: i16x64, b: i16x64) -> i32x32:
    """Two products of halfwords summed into each lane, saturated."""
    return sat_cast(i32, group_sum(cast(i64, a) * cast(i64, b), 2))


@instruction(timing=(9, 7, 5, 5), unit={60: "VX_DV"}, accumulate="x", tags="dot",
             asm="{x}.w += vdmpy({a}.h,{b}.h):sat")  # fmt: skip
def vdmpyhvsat_acc(x: i32x32, a: i16x64, b: i16x64) -> i32x32:
    """Adds two products of halfwords, exactly, then saturates."""
    return sat_cast(i32, cast(i64, x) + group_sum(cast(i64, a) * cast(i64, b), 2))


@instruction(timing=(9, 5, 2), unit="VX_DV", asm="{d}.h = vdmpy({a}.ub,{r}.b)")
def vdmpybus_dv(a: u8x256, r: i8x4) -> i16x128:
    """Two taps at each position; the high register is the low one moved by two lanes."""
    first, second = cast(i16, low(a)), cast(i16, high(a))
    taps = cast(i16, tile(r, 32))
    at_even = even(first) * even(taps) + odd(first) * odd(taps)
    return concat(at_even, odd(first) * even(taps) + even(second) * odd(taps))


@instruction(timing=(9, 7, 5, 2), unit="VX_DV", accumulate="x",
             asm="{x}.h += vdmpy({a}.ub,{r}.b)")  # fmt: skip
def vdmpybus_dv_acc(x: i16x128, a: u8x256, r: i8x4) -> i16x128:
    """Adds two taps at each position; the high register is the low one moved by two lanes."""
    first, second = cast(i16, low(a)), cast(i16, high(a))
    taps = cast(i16, tile(r, 32))
    at_even = even(first) * even(taps) + odd(first) * odd(taps)
    return x + concat(at_even, odd(first) * even(taps) + even(second) * odd(taps))


_TAPS = {"vtmpybus": dict(T="u8x256", t="ub"), "vtmpyb": dict(T="i8x256", t="b")}


@family(_TAPS, timing=(9, 5, 2), unit="VX_DV", asm="{d}.h = vtmpy({a}.{t},{r}.b)")
def vtmpy(a: T, r: i8x4) -> i16x128:
    """Three taps at each position, the third of weight 1; the high register is the low one moved
    by two lanes."""
    first, second = cast(i16, low(a)), cast(i16, high(a))
    taps = cast(i16, tile(r, 32))
    at_even = even(first) * even(taps) + odd(first) * odd(taps) + even(second)
    at_odd = odd(first) * even(taps) + even(second) * odd(taps) + odd(second)
    return concat(at_even, at_odd)


@family({f"{name}_acc": row for name, row in _TAPS.items()}, timing=(9, 7, 5, 2), unit="VX_DV",
        accumulate="x", asm="{x}.h += vtmpy({a}.{t},{r}.b)")  # fmt: skip
def vtmpy_acc(x: i16x128, a: T, r: i8x4) -> i16x128:
    """Adds three taps at each position, the third of weight 1."""
    first, second = cast(i16, low(a)), cast(i16, high(a))
    taps = cast(i16, tile(r, 32))
    at_even = even(first) * even(taps) + odd(first) * odd(taps) + even(second)
    at_odd = odd(first) * even(taps) + even(second) * odd(taps) + odd(second)
    return x + concat(at_even, at_odd)


@instruction(timing=(9, 5, 2), unit="VX_DV", asm="{d}.h = vmpa({a}.ub,{r}.b)")
def vmpabus(a: u8x256, r: i8x4) -> i16x128:
    """The two registers weighted and summed: even bytes by r0 and r1, odd ones by r2 and r3."""
    first, second, taps = cast(i16, low(a)), cast(i16, high(a)), cast(i16, r)
    at_even = even(first) * tile(lane(taps, 0), 64) + even(second) * tile(lane(taps, 1), 64)
    at_odd = odd(first) * tile(lane(taps, 2), 64) + odd(second) * tile(lane(taps, 3), 64)
    return concat(at_even, at_odd)


@instruction(timing=(9, 7, 5, 2), unit="VX_DV", accumulate="x", asm="{x}.h += vmpa({a}.ub,{r}.b)")
def vmpabus_acc(x: i16x128, a: u8x256, r: i8x4) -> i16x128:
    """Adds the two registers weighted: even bytes by r0 and r1, odd ones by r2 and r3."""
    first, second, taps = cast(i16, low(a)), cast(i16, high(a)), cast(i16, r)
    at_even = even(first) * tile(lane(taps, 0), 64) + even(second) * tile(lane(taps, 1), 64)
    at_odd = odd(first) * tile(lane(taps, 2), 64) + odd(second) * tile(lane(taps, 3), 64)
    return x + concat(at_even, at_odd)


@instruction(timing=(9, 5, 5), unit="VX_DV", asm="{d}.h = vmpa({a}.ub,{b}.b)")
def vmpabusv(a: u8x256, b: i8x256) -> i16x128:
    """The products of the low registers and of the high ones, summed: even lanes, then odd."""
    products = cast(i16, a) * cast(i16, b)
    return split(low(products) + high(products))


@instruction(timing=(9, 5, 2), unit="VX_DV", asm="{d}.w = vmpa({a}.h,{r}.b)")
def vmpahb(a: i16x128, r: i8x4) -> i32x64:
    """The two registers weighted and summed: even halfwords by r0 and r1, odd by r2 and r3."""
    first, second, taps = cast(i32, low(a)), cast(i32, high(a)), cast(i32, r)
    at_even = even(first) * tile(lane(taps, 0), 32) + even(second) * tile(lane(taps, 1), 32)
    at_odd = odd(first) * tile(lane(taps, 2), 32) + odd(second) * tile(lane(taps, 3), 32)
    return concat(at_even, at_odd)
