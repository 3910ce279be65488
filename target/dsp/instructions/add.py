"""Adding, subtracting, averaging, differences: plain, saturating, widening, on pairs."""

from __future__ import annotations

from typing import Any

from ...vocabulary import (
    N,
    Q,
    T,
    W,
    abs_diff,
    absolute,
    const,
    halving_add,
    halving_sub,
    rounding_halving_add,
    sat_add,
    sat_sub,
    select,
    split,
    widening_add,
    widening_sub,
)
from ..decorators import family, i32x32, i32x64, instruction

_SINGLE = {"b": "i8x128", "h": "i16x64", "w": "i32x32"}
_PAIR = {"b": "i8x256", "h": "i16x128", "w": "i32x64"}
_LANES = {"b": 128, "h": 64, "w": 32}


def _wrapping(name: str) -> dict[str, dict[str, Any]]:
    single: dict[str, dict[str, Any]] = {
        f"{name}{t}": dict(T=kind, t=t) for t, kind in _SINGLE.items()
    }
    pairs = {
        f"{name}{t}_dv": dict(T=kind, t=t, unit="VA_DV", tags="signless pair")
        for t, kind in _PAIR.items()
    }
    return {**single, **pairs}


@family(_wrapping("vadd"), timing=(9, 7, 7), unit="VA", tags="signless",
        asm="{d}.{t} = vadd({a}.{t},{b}.{t})")  # fmt: skip
def vadd(a: T, b: T) -> T:
    """The sum of each lane, modulo its bits."""
    return a + b


@family(_wrapping("vsub"), timing=(9, 7, 7), unit="VA", tags="signless",
        asm="{d}.{t} = vsub({a}.{t},{b}.{t})")  # fmt: skip
def vsub(a: T, b: T) -> T:
    """The difference of each lane, modulo its bits."""
    return a - b


def _saturating(name: str) -> dict[str, dict[str, Any]]:
    rows = {
        "ub": ("u8x128", 60), "b": ("i8x128", 62), "uh": ("u16x64", 60), "h": ("i16x64", 60),
        "uw": ("u32x32", 62), "w": ("i32x32", 60),
    }  # fmt: skip
    pairs = {"ub": "u8x256", "b": "i8x256", "uh": "u16x128", "h": "i16x128", "uw": "u32x64",
             "w": "i32x64"}  # fmt: skip
    single: dict[str, dict[str, Any]] = {
        f"{name}{t}sat": dict(T=kind, t=t, since=v) for t, (kind, v) in rows.items()
    }
    double = {
        f"{name}{t}sat_dv": dict(T=pairs[t], t=t, since=v, unit="VA_DV")
        for t, (_, v) in rows.items()
    }
    return {**single, **double}


@family(_saturating("vadd"), timing=(9, 7, 7), unit="VA",
        asm="{d}.{t} = vadd({a}.{t},{b}.{t}):sat")  # fmt: skip
def vaddsat(a: T, b: T) -> T:
    """The sum of each lane, saturated."""
    return sat_add(a, b)


@family(_saturating("vsub"), timing=(9, 7, 7), unit="VA",
        asm="{d}.{t} = vsub({a}.{t},{b}.{t}):sat")  # fmt: skip
def vsubsat(a: T, b: T) -> T:
    """The difference of each lane, saturated."""
    return sat_sub(a, b)


_WIDENING = {
    "ubh": dict(T="u8x128", W="u16x128", t="ub", w="h", since=60),
    "uhw": dict(T="u16x64", W="u32x64", t="uh", w="w", since=60),
    "hw": dict(T="i16x64", W="i32x64", t="h", w="w", since=60),
}


@family({f"vadd{t}": row for t, row in _WIDENING.items()}, timing=(9, 5, 5), unit="VX_DV",
        asm="{d}.{w} = vadd({a}.{t},{b}.{t})")  # fmt: skip
def vaddwide(a: T, b: T) -> W:
    """Sums in twice the bits: those of even lanes in the low register, of odd ones in the high."""
    return split(widening_add(a, b))


@family({f"vadd{t}_acc": {**row, "since": 62} for t, row in _WIDENING.items()},
        timing=(9, 7, 5, 5), unit="VX_DV", accumulate="x",
        asm="{x}.{w} += vadd({a}.{t},{b}.{t})")  # fmt: skip
def vaddwide_acc(x: W, a: T, b: T) -> W:
    """Adds sums in twice the bits, even lanes low, odd lanes high."""
    return x + split(widening_add(a, b))


@family({"vsububh": {**_WIDENING["ubh"], "W": "i16x128"},
         "vsubuhw": {**_WIDENING["uhw"], "W": "i32x64"},
         "vsubhw": _WIDENING["hw"]},
        timing=(9, 5, 5), unit="VX_DV", asm="{d}.{w} = vsub({a}.{t},{b}.{t})")  # fmt: skip
def vsubwide(a: T, b: T) -> W:
    """Differences in twice the bits: even lanes in the low register, odd ones in the high."""
    return split(widening_sub(a, b))


_AVERAGED = {"ub": ("u8x128", 60), "uh": ("u16x64", 60), "h": ("i16x64", 60), "w": ("i32x32", 60),
             "b": ("i8x128", 65), "uw": ("u32x32", 65)}  # fmt: skip


@family({f"vavg{t}": dict(T=kind, t=t, since=v) for t, (kind, v) in _AVERAGED.items()},
        timing=(9, 7, 7), unit="VA", asm="{d}.{t} = vavg({a}.{t},{b}.{t})")  # fmt: skip
def vavg(a: T, b: T) -> T:
    """``(a + b) >> 1`` computed exactly."""
    return halving_add(a, b)


@family({f"vavg{t}rnd": dict(T=kind, t=t, since=v) for t, (kind, v) in _AVERAGED.items()},
        timing=(9, 7, 7), unit="VA", asm="{d}.{t} = vavg({a}.{t},{b}.{t}):rnd")  # fmt: skip
def vavgrnd(a: T, b: T) -> T:
    """``(a + b + 1) >> 1`` computed exactly."""
    return rounding_halving_add(a, b)


@family({"vnavgub": dict(T="u8x128", N="i8x128", t="ub", n="b"),
         "vnavgh": dict(T="i16x64", N="i16x64", t="h", n="h"),
         "vnavgw": dict(T="i32x32", N="i32x32", t="w", n="w"),
         "vnavgb": dict(T="i8x128", N="i8x128", t="b", n="b", since=65)},
        timing=(9, 7, 7), unit="VA", asm="{d}.{n} = vnavg({a}.{t},{b}.{t})")  # fmt: skip
def vnavg(a: T, b: T) -> N:
    """``(a - b) >> 1`` computed exactly."""
    return halving_sub(a, b)


@family({"vabsdiffub": dict(T="u8x128", N="u8x128", t="ub", n="ub"),
         "vabsdiffuh": dict(T="u16x64", N="u16x64", t="uh", n="uh"),
         "vabsdiffh": dict(T="i16x64", N="u16x64", t="h", n="uh"),
         "vabsdiffw": dict(T="i32x32", N="u32x32", t="w", n="uw")},
        timing=(9, 5, 5), unit="VX", asm="{d}.{n} = vabsdiff({a}.{t},{b}.{t})")  # fmt: skip
def vabsdiff(a: T, b: T) -> N:
    """``|a - b|``."""
    return abs_diff(a, b)


@family({f"vabs{t}": dict(T=kind, t=t, since=v)
         for t, kind, v in (("b", "i8x128", 65), ("h", "i16x64", 60), ("w", "i32x32", 60))},
        timing=(9, 7), unit="VA", asm="{d}.{t} = vabs({a}.{t})")  # fmt: skip
def vabs(a: T) -> T:
    """``|a|``, modulo the lane's bits."""
    return absolute(a)


def _conditional(name: str) -> dict[str, dict[str, Any]]:
    return {f"{name}{t}q": dict(T=kind, Q=f"boolx{_LANES[t]}", t=t) for t, kind in _SINGLE.items()}


@family(_conditional("vadd"), timing=(9, 7, 7, 7), unit="VA", accumulate="x",
        asm="if ({q}) {x}.{t} += {a}.{t}")  # fmt: skip
def vaddq(q: Q, x: T, a: T) -> T:
    """Adds where the predicate holds."""
    return select(q, x + a, x)


@family(_conditional("vsub"), timing=(9, 7, 7, 7), unit="VA", accumulate="x",
        asm="if ({q}) {x}.{t} -= {a}.{t}")  # fmt: skip
def vsubq(q: Q, x: T, a: T) -> T:
    """Subtracts where the predicate holds."""
    return select(q, x - a, x)


@instruction(timing=(9,), unit="VA", asm="{d} = #0", tags="zero")
def vd0() -> i32x32:
    """Zero."""
    return const(0, i32x32)


@instruction(timing=(9,), unit="VA_DV", asm="{d} = #0", since=65, tags="zero pair")
def vdd0() -> i32x64:
    """Zero in both registers."""
    return const(0, i32x64)
