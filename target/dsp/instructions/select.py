"""Comparing, choosing, bitwise logic, splats and copies."""

from __future__ import annotations

from ...vocabulary import Q, T, const, equal, i32, iota, maximum, minimum, select, splat, tile, u8x4
from ..decorators import boolx128, family, i32x32, i32x64, instruction, u8x128

_LANES = {"b": ("i8x128", 128), "h": ("i16x64", 64), "w": ("i32x32", 32), "ub": ("u8x128", 128),
          "uh": ("u16x64", 64), "uw": ("u32x32", 32)}  # fmt: skip


def _compared(name: str, kinds: str) -> dict[str, dict[str, object]]:
    return {
        f"{name}{t}": dict(T=_LANES[t][0], Q=f"boolx{_LANES[t][1]}", t=t) for t in kinds.split()
    }


@family(_compared("vgt", "b h w ub uh uw"), timing=(9, 7, 7), unit="VA",
        asm="{d} = vcmp.gt({a}.{t},{b}.{t})")  # fmt: skip
def vgt(a: T, b: T) -> Q:
    """``a > b`` for each lane, in every byte of the lane."""
    return a > b


@family(_compared("veq", "b h w"), timing=(9, 7, 7), unit="VA", tags="signless",
        asm="{d} = vcmp.eq({a}.{t},{b}.{t})")  # fmt: skip
def veq(a: T, b: T) -> Q:
    """``a == b`` for each lane, in every byte of the lane."""
    return equal(a, b)


@family({"vmux": dict(T="i8x128", Q="boolx128"),
         "vmux_h": dict(T="i16x64", Q="boolx64", hvx="V6.vmux.128B"),
         "vmux_w": dict(T="i32x32", Q="boolx32", hvx="V6.vmux.128B")},
        timing=(9, 7, 7, 7), unit="VA", tags="signless", asm="{d} = vmux({q},{a},{b})")  # fmt: skip
def vmux(q: Q, a: T, b: T) -> T:
    """``a`` where the predicate holds, else ``b``."""
    return select(q, a, b)


_ORDERED = {"ub": 60, "uh": 60, "h": 60, "w": 60, "b": 62}


@family({f"vmax{t}": dict(T=_LANES[t][0], t=t, since=v) for t, v in _ORDERED.items()},
        timing=(9, 7, 7), unit="VA", asm="{d}.{t} = vmax({a}.{t},{b}.{t})")  # fmt: skip
def vmax(a: T, b: T) -> T:
    """The larger of each lane."""
    return maximum(a, b)


@family({f"vmin{t}": dict(T=_LANES[t][0], t=t, since=v) for t, v in _ORDERED.items()},
        timing=(9, 7, 7), unit="VA", asm="{d}.{t} = vmin({a}.{t},{b}.{t})")  # fmt: skip
def vmin(a: T, b: T) -> T:
    """The smaller of each lane."""
    return minimum(a, b)


def _bitwise(name: str) -> dict[str, dict[str, object]]:
    """One instruction, which knows no lanes, as rows of words, halfwords and bytes."""
    lanes = {"": "i32x32", "_h": "i16x64", "_b": "i8x128"}
    return {name + end: dict(T=kind, hvx=f"V6.{name}.128B") for end, kind in lanes.items()}


@family(_bitwise("vand"), timing=(9, 7, 7), unit="VA", tags="bits", asm="{d} = vand({a},{b})")
def vand(a: T, b: T) -> T:
    """Bitwise and."""
    return a & b


@family(_bitwise("vor"), timing=(9, 7, 7), unit="VA", tags="bits", asm="{d} = vor({a},{b})")
def vor(a: T, b: T) -> T:
    """Bitwise or."""
    return a | b


@family(_bitwise("vxor"), timing=(9, 7, 7), unit="VA", tags="bits", asm="{d} = vxor({a},{b})")
def vxor(a: T, b: T) -> T:
    """Bitwise exclusive or."""
    return a ^ b


@family(_bitwise("vnot"), timing=(9, 7), unit="VA", tags="bits", asm="{d} = vnot({a})")
def vnot(a: T) -> T:
    """Every bit turned."""
    return a ^ -1


@instruction(timing=(9, 7), unit="VA", tags="bits", asm="{d} = {a}")
def vassign(a: i32x32) -> i32x32:
    """A copy."""
    return a


@instruction(timing=(9, 7), unit="VA_DV", tags="bits pair", asm="{d} = {a}")
def vassignp(a: i32x64) -> i32x64:
    """A copy of a pair (the assembler writes it as vcombine of the two registers)."""
    return a


@family({"lvsplatb": dict(T="i8x128", dot=".b", since=62),
         "lvsplath": dict(T="i16x64", dot=".h", since=62),
         "lvsplatw": dict(T="i32x32", dot="")},
        timing=(9, 2), unit="VX", tags="splat signless", asm="{d}{dot} = vsplat({r})")  # fmt: skip
def lvsplat(r: i32) -> T:
    """The low bits of the scalar in every lane."""
    return splat(r, const(0, T))


@instruction(timing=(9, 7, 7), unit="VA_DV", asm="{d} = and({a},{b})")
def pred_and(a: boolx128, b: boolx128) -> boolx128:
    """Both predicates."""
    return a & b


@instruction(timing=(9, 7, 7), unit="VA_DV", asm="{d} = or({a},{b})")
def pred_or(a: boolx128, b: boolx128) -> boolx128:
    """Either predicate."""
    return a | b


@instruction(timing=(9, 7, 7), unit="VA_DV", asm="{d} = xor({a},{b})")
def pred_xor(a: boolx128, b: boolx128) -> boolx128:
    """Just one of the predicates."""
    return a ^ b


@instruction(timing=(9, 7), unit="VA", asm="{d} = not({a})")
def pred_not(a: boolx128) -> boolx128:
    """The opposite predicate."""
    return a ^ const(1, boolx128)


@instruction(timing=(9, 7), unit="VA_DV", hvx="", tags="bits", asm="{d} = or({a},{a})")
def pred_move(a: boolx128) -> boolx128:
    """A copy of a predicate."""
    return a


@instruction(timing=(9, 2), unit="VP", asm="{d} = vsetq({r})")
def pred_scalar2(r: i32) -> boolx128:
    """The first ``r & 127`` bytes: none for 0."""
    return iota(u8x128) < splat(r & 127, const(0, u8x128))


@instruction(timing=(9, 2), unit="VP", asm="{d} = vsetq2({r})", since=62)
def pred_scalar2v2(r: i32) -> boolx128:
    """The first ``((r - 1) & 127) + 1`` bytes: all for 0."""
    return iota(u8x128) <= splat((r - 1) & 127, const(0, u8x128))


@instruction(timing=(9, 7, 2), unit="VX", asm="{d} = vand({q},{r})")
def vandqrt(q: boolx128, r: u8x4) -> u8x128:
    """The scalar's bytes where the predicate holds, else 0."""
    return select(q, tile(r, 32), const(0, u8x128))


@instruction(timing=(9, 7, 2), unit="VX", asm="{d} = vand({a},{r})")
def vandvrt(a: u8x128, r: u8x4) -> boolx128:
    """Bytes that share a bit with the scalar's bytes."""
    return const(0, u8x128) < (a & tile(r, 32))


@instruction(timing=(9, 7, 7), unit="VA", asm="{d} = vand({q},{a})", since=62)
def vandvqv(q: boolx128, a: u8x128) -> u8x128:
    """``a`` where the predicate holds, else 0."""
    return select(q, a, const(0, u8x128))


@instruction(timing=(9, 7, 7), unit="VA", asm="{d} = vand(!{q},{a})", since=62)
def vandvnqv(q: boolx128, a: u8x128) -> u8x128:
    """0 where the predicate holds, else ``a``."""
    return select(q, const(0, u8x128), a)
