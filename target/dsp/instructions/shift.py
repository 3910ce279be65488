"""Shifts, and shifts that narrow: words to halfwords, halfwords to bytes.

Narrowing takes two registers and interleaves: the result's even lanes come from the *second*
operand. After a widening instruction, whose even lanes are the low register, the natural order is
back with ``(high, low)``.
"""

from __future__ import annotations

from ...vocabulary import (
    B,
    E,
    K,
    N,
    T,
    U,
    cast,
    const,
    count_leading_zeros,
    i32,
    interleave,
    minimum,
    reinterpret,
    rounding_shr,
    sat_cast,
    select,
    splat,
)
from ..decorators import family

_SIGNED = {"h": "i16x64", "w": "i32x32"}
_UNSIGNED = {"h": ("u16x64", 60), "w": ("u32x32", 60), "b": ("u8x128", 62)}


@family({f"vasr{t}": dict(T=kind, t=t) for t, kind in _SIGNED.items()},
        timing=(9, 5, 2), unit="VS", asm="{d}.{t} = vasr({a}.{t},{r})")  # fmt: skip
def vasr(a: T, r: i32) -> T:
    """Arithmetic shift right by the scalar, modulo the lane's bits."""
    return a >> splat(r, a)


@family({"vcl0h": dict(T="u16x64", t="uh"), "vcl0w": dict(T="u32x32", t="uw")},
        timing=(9, 5), unit="VS", asm="{d}.{t} = vcl0({a}.{t})")  # fmt: skip
def vcl0(a: T) -> T:
    """The zeros above the highest one of each lane."""
    return count_leading_zeros(a)


@family({f"vasl{t}": dict(T=kind, t=t) for t, kind in _SIGNED.items()},
        timing=(9, 5, 2), unit="VS", tags="signless",
        asm="{d}.{t} = vasl({a}.{t},{r})")  # fmt: skip
def vasl(a: T, r: i32) -> T:
    """Shift left by the scalar, modulo the lane's bits."""
    return a << splat(r, a)


@family({f"vlsr{t}": dict(T=kind, t=t, since=v) for t, (kind, v) in _UNSIGNED.items()},
        timing=(9, 5, 2), unit="VS", asm="{d}.u{t} = vlsr({a}.u{t},{r})")  # fmt: skip
def vlsr(a: T, r: i32) -> T:
    """Logical shift right by the scalar, modulo the lane's bits."""
    return a >> splat(r, a)


@family({"vasrw_acc": dict(T="i32x32", t="w"), "vasrh_acc": dict(T="i16x64", t="h", since=65)},
        timing=(9, 7, 5, 2), unit="VS", accumulate="x",
        asm="{x}.{t} += vasr({a}.{t},{r})")  # fmt: skip
def vasr_acc(x: T, a: T, r: i32) -> T:
    """Adds the value shifted right by the scalar."""
    return x + (a >> splat(r, a))


@family({"vaslw_acc": dict(T="i32x32", t="w"), "vaslh_acc": dict(T="i16x64", t="h", since=65)},
        timing=(9, 7, 5, 2), unit="VS", accumulate="x", tags="signless",
        asm="{x}.{t} += vasl({a}.{t},{r})")  # fmt: skip
def vasl_acc(x: T, a: T, r: i32) -> T:
    """Adds the value shifted left by the scalar."""
    return x + (a << splat(r, a))


_PER_LANE = {"w": dict(T="i32x32", t="w", U="u32x32", K=26, B=32),
             "h": dict(T="i16x64", t="h", U="u16x64", K=11, B=16)}  # fmt: skip


@family({f"vasr{t}v": row for t, row in _PER_LANE.items()},
        timing=(9, 5, 5), unit="VS", asm="{d}.{t} = vasr({a}.{t},{b}.{t})")  # fmt: skip
def vasrv(a: T, b: T) -> T:
    """Arithmetic shift right by each lane's count in ``b``, whose low bits (6 for words, 5 for
    halfwords) are signed: negative counts shift left."""
    count = (b << K) >> K
    left = select(count < 1 - B, const(0, T), a << (0 - count))
    return select(count < 0, left, a >> count)


@family({f"vasl{t}v": row for t, row in _PER_LANE.items()},
        timing=(9, 5, 5), unit="VS", asm="{d}.{t} = vasl({a}.{t},{b}.{t})")  # fmt: skip
def vaslv(a: T, b: T) -> T:
    """Shift left by each lane's signed count in ``b``: negative counts shift right, arithmetic."""
    count = (b << K) >> K
    right = a >> minimum(0 - count, B - 1)
    return select(count < 0, right, a << count)


@family({f"vlsr{t}v": row for t, row in _PER_LANE.items()},
        timing=(9, 5, 5), unit="VS", asm="{d}.{t} = vlsr({a}.{t},{b}.{t})")  # fmt: skip
def vlsrv(a: T, b: T) -> T:
    """Logical shift right by each lane's signed count in ``b``: negative counts shift left."""
    count = (b << K) >> K
    left = select(count < 1 - B, const(0, T), a << (0 - count))
    right = reinterpret(T, reinterpret(U, a) >> reinterpret(U, count))
    return select(count < 0, left, right)


_NARROW = {  # name: operands, result, bits of the count, first version
    "vasrwhsat": dict(T="i32x32", N="i16x64", E="i16", K=15, t="w", n="h"),
    "vasrwuhsat": dict(T="i32x32", N="u16x64", E="u16", K=15, t="w", n="uh"),
    "vasrhubsat": dict(T="i16x64", N="u8x128", E="u8", K=7, t="h", n="ub"),
    "vasrhbsat": dict(T="i16x64", N="i8x128", E="i8", K=7, t="h", n="b", since=62),
    "vasruwuhsat": dict(T="u32x32", N="u16x64", E="u16", K=15, t="uw", n="uh", since=65),
    "vasruhubsat": dict(T="u16x64", N="u8x128", E="u8", K=7, t="uh", n="ub", since=65),
}
_NARROW_ROUNDING = {
    "vasrwhrndsat": _NARROW["vasrwhsat"],
    "vasrwuhrndsat": {**_NARROW["vasrwuhsat"], "since": 62},
    "vasrhubrndsat": _NARROW["vasrhubsat"],
    "vasrhbrndsat": {**_NARROW["vasrhbsat"], "since": 60},
    "vasruwuhrndsat": {**_NARROW["vasruwuhsat"], "since": 62},
    "vasruhubrndsat": _NARROW["vasruhubsat"],
}


@family({"vasrwh": _NARROW["vasrwhsat"]}, timing=(9, 5, 5, 2), unit="VS", tags="rt8",
        asm="{d}.{n} = vasr({a}.{t},{b}.{t},{r})")  # fmt: skip
def vasrnarrow(a: T, b: T, r: i32) -> N:
    """Shifts right by the scalar modulo 16 and keeps the low halves, those of ``b`` even."""
    by = splat(r & K, a)
    return interleave(cast(E, b >> by), cast(E, a >> by))


@family(_NARROW, timing=(9, 5, 5, 2), unit="VS", tags="rt8",
        asm="{d}.{n} = vasr({a}.{t},{b}.{t},{r}):sat")  # fmt: skip
def vasrnarrowsat(a: T, b: T, r: i32) -> N:
    """Shifts right by the scalar (at most 15 for words, 7 for halfwords) and saturates; the
    results of ``b`` are the even lanes."""
    by = splat(r & K, a)
    return interleave(sat_cast(E, b >> by), sat_cast(E, a >> by))


@family(_NARROW_ROUNDING, timing=(9, 5, 5, 2), unit="VS", tags="rt8",
        asm="{d}.{n} = vasr({a}.{t},{b}.{t},{r}):rnd:sat")  # fmt: skip
def vasrnarrowrndsat(a: T, b: T, r: i32) -> N:
    """Shifts right by the scalar (at most 15 for words, 7 for halfwords) with rounding and
    saturates; the results of ``b`` are the even lanes."""
    by = splat(r & K, a)
    return interleave(sat_cast(E, rounding_shr(b, by)), sat_cast(E, rounding_shr(a, by)))


@family({"vroundwh": {**_NARROW["vasrwhsat"], "K": 16},
         "vroundwuh": {**_NARROW["vasrwuhsat"], "K": 16},
         "vroundhub": {**_NARROW["vasrhubsat"], "K": 8},
         "vroundhb": {**_NARROW["vasrhbsat"], "K": 8, "since": 60},
         "vrounduwuh": {**_NARROW["vasruwuhsat"], "K": 16, "since": 62},
         "vrounduhub": {**_NARROW["vasruhubsat"], "K": 8, "since": 62}},
        timing=(9, 5, 5), unit="VS", asm="{d}.{n} = vround({a}.{t},{b}.{t}):sat")  # fmt: skip
def vround(a: T, b: T) -> N:
    """The rounded high halves, saturated; the results of ``b`` are the even lanes."""
    return interleave(sat_cast(E, rounding_shr(b, K)), sat_cast(E, rounding_shr(a, K)))
