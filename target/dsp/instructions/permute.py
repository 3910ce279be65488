"""Moving lanes: extending, packing, shuffling, aligning, table look-ups."""

from __future__ import annotations

from typing import Any

from ...vocabulary import (
    E,
    K,
    N,
    R,
    S,
    T,
    W,
    cast,
    concat,
    const,
    equal,
    even,
    exchange,
    high,
    i32,
    imm_u3,
    interleave,
    lookup,
    low,
    odd,
    rotate,
    sat_cast,
    select,
    splat,
    split,
)
from ..decorators import family, i8x128, i8x256, i32x32, i32x64, instruction, u8x128

_EXTEND = {
    "b": dict(T="i8x128", W="i16x128", E="i16", t="b", w="h"),
    "h": dict(T="i16x64", W="i32x64", E="i32", t="h", w="w"),
    "ub": dict(T="u8x128", W="u16x128", E="u16", t="ub", w="uh"),
    "uh": dict(T="u16x64", W="u32x64", E="u32", t="uh", w="uw"),
}


@family({"vzb": {**_EXTEND["ub"], "x": "vzxt"}, "vzh": {**_EXTEND["uh"], "x": "vzxt"},
         "vsb": {**_EXTEND["b"], "x": "vsxt"}, "vsh": {**_EXTEND["h"], "x": "vsxt"}},
        timing=(9, 7), unit="VA_DV", asm="{d}.{w} = {x}({a}.{t})")  # fmt: skip
def vextend(a: T) -> W:
    """Lanes in twice the bits: even ones in the low register, odd ones in the high register."""
    return split(cast(E, a))


@family({f"vunpack{t}": row for t, row in _EXTEND.items()}, timing=(9, 5), unit="VP_VS",
        asm="{d}.{w} = vunpack({a}.{t})")  # fmt: skip
def vunpack(a: T) -> W:
    """Lanes in twice the bits, in their natural order."""
    return cast(E, a)


_SATURATE: dict[str, dict[str, Any]] = {
    "hub": dict(T="i16x64", N="u8x128", E="u8", t="h", n="ub"),
    "hb": dict(T="i16x64", N="i8x128", E="i8", t="h", n="b"),
    "wh": dict(T="i32x32", N="i16x64", E="i16", t="w", n="h"),
    "wuh": dict(T="i32x32", N="u16x64", E="u16", t="w", n="uh"),
    "uwuh": dict(T="u32x32", N="u16x64", E="u16", t="uw", n="uh", since=62),
}


@family({f"vsat{t}": _SATURATE[t] for t in ("hub", "wh", "uwuh")}, timing=(9, 7, 7), unit="VA",
        asm="{d}.{n} = vsat({a}.{t},{b}.{t})")  # fmt: skip
def vsat(a: T, b: T) -> N:
    """Saturates to half the bits; the results of ``b`` are the even lanes."""
    return interleave(sat_cast(E, b), sat_cast(E, a))


@family({f"vpack{t}_sat": _SATURATE[t] for t in ("hub", "hb", "wh", "wuh")}, timing=(9, 5, 5),
        unit="VP", asm="{d}.{n} = vpack({a}.{t},{b}.{t}):sat")  # fmt: skip
def vpacksat(a: T, b: T) -> N:
    """Saturates to half the bits in natural order: ``b`` first."""
    return concat(sat_cast(E, b), sat_cast(E, a))


_HALVES = {"b": dict(T="i16x64", N="i8x128", E="i8", K=8, t="h", n="b"),
           "h": dict(T="i32x32", N="i16x64", E="i16", K=16, t="w", n="h")}  # fmt: skip


@family({f"vpacke{n}": row for n, row in _HALVES.items()}, timing=(9, 5, 5), unit="VP",
        tags="signless", asm="{d}.{n} = vpacke({a}.{t},{b}.{t})")  # fmt: skip
def vpacke(a: T, b: T) -> N:
    """The low halves of the lanes in natural order: ``b`` first."""
    return concat(cast(E, b), cast(E, a))


@family({f"vpacko{n}": row for n, row in _HALVES.items()}, timing=(9, 5, 5), unit="VP",
        tags="signless", asm="{d}.{n} = vpacko({a}.{t},{b}.{t})")  # fmt: skip
def vpacko(a: T, b: T) -> N:
    """The high halves of the lanes in natural order: ``b`` first."""
    return concat(cast(E, b >> K), cast(E, a >> K))


@family({"vshuffeb": _HALVES["b"], "vshufeh": _HALVES["h"]}, timing=(9, 7, 7), unit="VA",
        tags="signless", asm="{d}.{n} = vshuffe({a}.{n},{b}.{n})")  # fmt: skip
def vshuffe(a: T, b: T) -> N:
    """The low halves of the lanes interleaved: those of ``b`` even, those of ``a`` odd."""
    return interleave(cast(E, b), cast(E, a))


@family({"vshuffob": _HALVES["b"], "vshufoh": _HALVES["h"]}, timing=(9, 7, 7), unit="VA",
        tags="signless", asm="{d}.{n} = vshuffo({a}.{n},{b}.{n})")  # fmt: skip
def vshuffo(a: T, b: T) -> N:
    """The high halves of the lanes interleaved: those of ``b`` even, those of ``a`` odd."""
    return interleave(cast(E, b >> K), cast(E, a >> K))


@family({"vshufoeb": dict(T="i8x128", W="i8x256", t="b"),
         "vshufoeh": dict(T="i16x64", W="i16x128", t="h")},
        timing=(9, 7, 7), unit="VA_DV", tags="signless",
        asm="{d}.{t} = vshuffoe({a}.{t},{b}.{t})")  # fmt: skip
def vshuffoe(a: T, b: T) -> W:
    """Even lanes of ``b`` and ``a`` interleaved in the low register, odd ones in the high one."""
    return concat(interleave(even(b), even(a)), interleave(odd(b), odd(a)))


_BUTTERFLY = {  # the scalar operand: minus the bytes of an element
    "b": dict(T="i8x128", W="i8x256", R=-1),
    "h": dict(T="i16x64", W="i16x128", R=-2),
    "w": dict(T="i32x32", W="i32x64", R=-4),
}


@family({f"vshuffvdd_{t}": row for t, row in _BUTTERFLY.items()}, timing=(9, 5, 5, 2),
        unit="VP_VS", hvx="V6.vshuffvdd.128B", tags="rt8 signless",
        asm="{d} = vshuff({a},{b},{r})")  # fmt: skip
def vshuffvdd(a: T, b: T, r: R) -> W:
    """Interleaves two registers, ``b`` even and ``a`` odd: gives the halves of a widening
    instruction their natural order."""
    return interleave(b, a)


@family({f"vdealvdd_{t}": row for t, row in _BUTTERFLY.items()}, timing=(9, 5, 5, 2),
        unit="VP_VS", hvx="V6.vdealvdd.128B", tags="rt8 signless",
        asm="{d} = vdeal({a},{b},{r})")  # fmt: skip
def vdealvdd(a: T, b: T, r: R) -> W:
    """Of ``b`` then ``a``, the even lanes in the low register and the odd ones in the high one."""
    return split(concat(b, a))


_PIECES: dict[str, Any] = dict(timing=(9, 5, 5, 2), unit="VP_VS", hvx="V6.vdealvdd.128B",
                               tags="rt8 bits", asm="{d} = vdeal({a},{b},{r})")  # fmt: skip


@family({"vdealvdd_64": dict(R=-64)}, **_PIECES)
def vdealvdd_halves(a: i8x128, b: i8x128, r: R) -> i8x256:
    """Of ``b`` then ``a``, the low halves in the low register, the high ones in the high one."""
    return concat(low(b), low(a), high(b), high(a))


@family({"vdealvdd_32": dict(R=-32)}, **_PIECES)
def vdealvdd_quarters(a: i8x128, b: i8x128, r: R) -> i8x256:
    """Of the quarters of ``b`` then ``a``, the even ones low and the odd ones high."""
    evens = concat(low(low(b)), low(high(b)), low(low(a)), low(high(a)))
    odds = concat(high(low(b)), high(high(b)), high(low(a)), high(high(a)))
    return concat(evens, odds)


@family({f"vshuffvdd_x{size}": dict(R=size, S=size) for size in (1, 2, 4, 8, 16, 32, 64)},
        timing=(9, 5, 5, 2), unit="VP_VS", hvx="V6.vshuffvdd.128B", tags="rt8 bits",
        asm="{d} = vshuff({a},{b},{r})")  # fmt: skip
def vshuffvdd_exchange(a: i8x128, b: i8x128, r: R) -> i8x256:
    """Exchanges the odd pieces of ``b`` with the even ones of ``a``, ``S`` bytes each."""
    return exchange(a, b, S)


@family({"vdealb": dict(T="i8x128", t="b"), "vdealh": dict(T="i16x64", t="h")},
        timing=(9, 5), unit="VP", tags="signless", asm="{d}.{t} = vdeal({a}.{t})")  # fmt: skip
def vdeal(a: T) -> T:
    """Even lanes, then odd lanes."""
    return split(a)


@family({"vshuffb": dict(T="i8x128", t="b"), "vshuffh": dict(T="i16x64", t="h")},
        timing=(9, 5), unit="VP", tags="signless", asm="{d}.{t} = vshuff({a}.{t})")  # fmt: skip
def vshuff(a: T) -> T:
    """The two halves interleaved."""
    return interleave(low(a), high(a))


@instruction(timing=(9, 5, 5), unit="VP", tags="signless", asm="{d}.b = vdeale({a}.b,{b}.b)")
def vdealb4w(a: i8x128, b: i8x128) -> i8x128:
    """Bytes 0 of each word of ``b``, then bytes 2; then those of ``a``."""
    return concat(split(even(b)), split(even(a)))


@instruction(timing=(9, 5, 5, 2), unit="VP", tags="rt8 bits", asm="{d} = valign({a},{b},{r})")
def valignb(a: i8x128, b: i8x128, r: i32) -> i8x128:
    """128 bytes from byte ``r & 127`` of ``b`` followed by ``a``."""
    return low(rotate(concat(b, a), r & 127))


@instruction(timing=(9, 5, 5, 2), unit="VP", tags="bits", asm="{d} = valign({a},{b},#{i})")
def valignbi(a: i8x128, b: i8x128, i: imm_u3) -> i8x128:
    """128 bytes from byte ``i`` of ``b`` followed by ``a``."""
    return low(rotate(concat(b, a), i))


@instruction(timing=(9, 5, 5, 2), unit="VP", tags="rt8 bits", asm="{d} = vlalign({a},{b},{r})")
def vlalignb(a: i8x128, b: i8x128, r: i32) -> i8x128:
    """The last ``r & 127`` bytes of ``b``, then the first bytes of ``a``."""
    return low(rotate(concat(b, a), 128 - (r & 127)))


@instruction(timing=(9, 5, 5, 2), unit="VP", tags="bits", asm="{d} = vlalign({a},{b},#{i})")
def vlalignbi(a: i8x128, b: i8x128, i: imm_u3) -> i8x128:
    """The last ``i`` bytes of ``b``, then the first bytes of ``a``."""
    return low(rotate(concat(b, a), 128 - i))


@instruction(timing=(9, 5, 2), unit="VP", tags="bits", asm="{d} = vror({a},{r})")
def vror(a: i8x128, r: i32) -> i8x128:
    """The bytes rotated right by ``r``: byte ``r`` comes first."""
    return rotate(a, r)


@instruction(timing=(9, 7, 7), unit="VA_DV", tags="bits pair", asm="{d} = vcombine({a},{b})")
def vcombine(a: i32x32, b: i32x32) -> i32x64:
    """A pair: ``b`` low, ``a`` high."""
    return concat(b, a)


_LUT: dict[str, Any] = dict(timing=(9, 5, 5, 2), unit="VP")
_LUT_OR: dict[str, Any] = dict(timing=(9, 7, 5, 5, 2), unit="VP_VS", accumulate="x")


@instruction(**_LUT, tags="rt8 lut", asm="{d}.b = vlut32({a}.b,{b}.b,{r})")
def vlutvvb(a: u8x128, b: i8x128, r: i32) -> i8x128:
    """Entry ``a % 64`` of the table where ``a // 32 == r & 7``, else 0; the entries are the even
    bytes of ``b``, or its odd bytes where bit 1 of ``r`` is set."""
    entry = lookup(b, (a & 63) * 2 + splat((r >> 1) & 1, a))
    return select(equal(a >> 5, splat(r & 7, a)), entry, const(0, i8x128))


@instruction(**_LUT_OR, tags="rt8 lut", asm="{x}.b |= vlut32({a}.b,{b}.b,{r})")
def vlutvvb_oracc(x: i8x128, a: u8x128, b: i8x128, r: i32) -> i8x128:
    """Or with entry ``a % 64`` of the table where ``a // 32 == r & 7``."""
    entry = lookup(b, (a & 63) * 2 + splat((r >> 1) & 1, a))
    return x | select(equal(a >> 5, splat(r & 7, a)), entry, const(0, i8x128))


@instruction(**_LUT, tags="lut", since=62, asm="{d}.b = vlut32({a}.b,{b}.b,#{i})")
def vlutvvbi(a: u8x128, b: i8x128, i: imm_u3) -> i8x128:
    """Entry ``a % 64`` of the table where ``a // 32 == i``, else 0; the entries are the even
    bytes of ``b``, or its odd bytes where bit 1 of ``i`` is set."""
    entry = lookup(b, (a & 63) * 2 + splat((i >> 1) & 1, a))
    return select(equal(a >> 5, splat(i, a)), entry, const(0, i8x128))


@instruction(**_LUT_OR, tags="lut", since=62, asm="{x}.b |= vlut32({a}.b,{b}.b,#{i})")
def vlutvvb_oracci(x: i8x128, a: u8x128, b: i8x128, i: imm_u3) -> i8x128:
    """Or with entry ``a % 64`` of the table where ``a // 32 == i``."""
    entry = lookup(b, (a & 63) * 2 + splat((i >> 1) & 1, a))
    return x | select(equal(a >> 5, splat(i, a)), entry, const(0, i8x128))
