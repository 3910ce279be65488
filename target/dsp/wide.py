"""Scalar rows on 64 bits: exact products, their sums and shifts. A pair's low word is its half."""

# The bodies are parsed, never run.

from __future__ import annotations

import sys

from ..declare import collect
from ..vocabulary import (
    boolx1,
    cast,
    i32,
    i32x2,
    i64,
    imm_u6,
    maximum,
    minimum,
    sat_cast,
)
from .decorators import instruction


@instruction(timing=(4, 2, 2), unit="M", asm="{d} = mpy({a},{b})", hvx="")
def dpmpyss(a: i32, b: i32) -> i64:
    """The exact product."""
    return cast(i64, a) * cast(i64, b)


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = add({a},{b})", hvx="")
def addp(a: i64, b: i64) -> i64:
    return a + b


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = sub({a},{b})", hvx="")
def subp(a: i64, b: i64) -> i64:
    return a - b


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = asr({a},#{n})", hvx="")
def asrip(a: i64, n: imm_u6) -> i64:
    return a >> cast(i64, n)


@instruction(timing=(3, 2), unit="S32", asm="{d} = sxtw({a})", hvx="")
def sxtw(a: i32) -> i64:
    return cast(i64, a)


@instruction(timing=(3, 2), unit="ALU32", asm="{d} = {a}", hvx="")
def tfrp(a: i32x2) -> i32x2:
    return a


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = asl({a},#{n})", hvx="")
def aslip(a: i64, n: imm_u6) -> i64:
    return a << cast(i64, n)


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = asr({a},#{n}):rnd", hvx="")
def asrip_rnd(a: i64, n: imm_u6) -> i64:
    """Shift right by ``n + 1`` with rounding."""
    half = a >> cast(i64, n)
    return (half >> 1) + (half & 1)


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = max({a},{b})", hvx="")
def maxp(a: i64, b: i64) -> i64:
    return maximum(a, b)


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = min({a},{b})", hvx="")
def minp(a: i64, b: i64) -> i64:
    return minimum(a, b)


@instruction(timing=(3, 2), unit="S32", asm="{d} = sat({a})", hvx="")
def satp(a: i64) -> i32:
    """The nearest value of 32 bits."""
    return sat_cast(i32, a)


@instruction(timing=(3, 2, 2), unit="S32", asm="{d} = cmp.gt({a},{b})", hvx="")
def cmpgtp(a: i64, b: i64) -> boolx1:
    return a > b


INSTRUCTIONS = collect([sys.modules[__name__]])
