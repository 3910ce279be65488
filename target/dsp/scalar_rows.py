"""Scalar rows: loads and stores of 1 to 8 bytes, arithmetic, and what loops and calls are made of.

    memub(r3+#5)   r4 = add(r3,##65536)   loop0(.Lk,#12)   if (p0.new) jump:t .Lk

A load narrower than a register extends its value by the sign of the row's result type. Immediates
beyond ``SHORT`` take a constant extender, which fills one more place of the packet.
"""

# The bodies are parsed, never run.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import sys
from typing import Any

from ...tir.types import Type, boolean, parse_type
from ..declare import collect
from ..instruction import Instruction, Kind, Parameter, Register
from ..vocabulary import (
    absolute,
    boolx1,
    cast,
    concat,
    count_leading_zeros,
    equal,
    i8,
    i16,
    i32,
    i32x2,
    i64,
    imm_s8,
    imm_s10,
    imm_s32,
    imm_u5,
    maximum,
    memory,
    minimum,
    select,
    tile,
    u8,
    u8x4,
    u16,
    u32,
)
from .decorators import instruction

_LOAD: dict[str, Any] = dict(timing=(4,), unit="LD", kind=Kind.LOAD)
_STORE: dict[str, Any] = dict(timing=(0, 2), unit="ST", kind=Kind.STORE)
_ONE: dict[str, Any] = dict(timing=(3, 2), unit="ALU32")
_TWO: dict[str, Any] = dict(timing=(3, 2, 2), unit="ALU32")
_SHIFT: dict[str, Any] = dict(timing=(3, 2, 2), unit="S32")
_TIMES: dict[str, Any] = dict(timing=(4, 2, 2), unit="M")


@instruction(**_LOAD, asm="{d} = memub({addr})", bytes=1, align=1)
def loadrub() -> u8:
    return memory()


@instruction(**_LOAD, asm="{d} = memb({addr})", bytes=1, align=1)
def loadrb() -> i8:
    return memory()


@instruction(**_LOAD, asm="{d} = memuh({addr})", bytes=2, align=2)
def loadruh() -> u16:
    return memory()


@instruction(**_LOAD, asm="{d} = memh({addr})", bytes=2, align=2)
def loadrh() -> i16:
    return memory()


@instruction(**_LOAD, asm="{d} = memw({addr})", bytes=4, align=4)
def loadri() -> i32:
    return memory()


@instruction(**_LOAD, asm="{d} = memd({addr})", bytes=8, align=8)
def loadrd() -> i32x2:
    return memory()


@instruction(**_STORE, asm="memb({addr}) = {a}", bytes=1, align=1)
def storerb(a: i32) -> None: ...


@instruction(**_STORE, asm="memh({addr}) = {a}", bytes=2, align=2)
def storerh(a: i32) -> None: ...


@instruction(**_STORE, asm="memw({addr}) = {a}", bytes=4, align=4)
def storeri(a: i32) -> None: ...


@instruction(**_STORE, asm="memd({addr}) = {a}", bytes=8, align=8)
def storerd(a: i32x2) -> None: ...


@instruction(timing=(3, 0), unit="ALU32", asm="{d} = #{n}")
def tfrsi(n: imm_s32) -> i32:
    return n


@instruction(**_ONE, asm="{d} = {a}")
def tfr(a: i32) -> i32:
    return a


@instruction(**_TWO, asm="{d} = add({a},#{n})")
def addi(a: i32, n: imm_s32) -> i32:
    return a + n


@instruction(**_TWO, asm="{d} = add({a},{b})")
def add(a: i32, b: i32) -> i32:
    return a + b


@instruction(**_TWO, asm="{d} = sub({a},{b})")
def sub(a: i32, b: i32) -> i32:
    return a - b


@instruction(**_TWO, asm="{d} = sub(#{n},{a})")
def subri(a: i32, n: imm_s32) -> i32:
    return n - a


@instruction(**_TWO, asm="{d} = and({a},{b})")
def and_(a: i32, b: i32) -> i32:
    return a & b


@instruction(**_TWO, asm="{d} = and({a},#{n})")
def andir(a: i32, n: imm_s32) -> i32:
    return a & n


@instruction(**_TWO, asm="{d} = or({a},{b})")
def or_(a: i32, b: i32) -> i32:
    return a | b


@instruction(**_TWO, asm="{d} = xor({a},{b})")
def xor(a: i32, b: i32) -> i32:
    return a ^ b


@instruction(**_SHIFT, asm="{d} = max({a},{b})")
def max_(a: i32, b: i32) -> i32:
    return maximum(a, b)


@instruction(**_SHIFT, asm="{d} = min({a},{b})")
def min_(a: i32, b: i32) -> i32:
    return minimum(a, b)


@instruction(**_SHIFT, asm="{d} = asl({a},#{n})")
def asli(a: i32, n: imm_u5) -> i32:
    return a << n


@instruction(**_SHIFT, asm="{d} = asr({a},#{n})")
def asri(a: i32, n: imm_u5) -> i32:
    return a >> n


@instruction(timing=(3, 2), unit="S32", asm="{d} = vsplatb({a})")
def vsplatb(a: i32) -> u8x4:
    """The low byte in each of the four bytes."""
    return tile(cast(u8, a), 4)


@instruction(**_TIMES, asm="{d} = mpyi({a},{b})")
def mpyi(a: i32, b: i32) -> i32:
    return a * b


@instruction(timing=(4, 2, 2, 2), unit="M", asm="{acc} += mpyi({a},{b})", accumulate="acc")
def maci(acc: i32, a: i32, b: i32) -> i32:
    return acc + a * b


@instruction(timing=(4, 2, 2, 0), unit="M", asm="{acc} += mpyi({a},#{n})", accumulate="acc")
def macsip(acc: i32, a: i32, n: imm_s32) -> i32:
    return acc + a * n


@instruction(**_TWO, asm="{d} = combine({a},{b})")
def combinew(a: i32, b: i32) -> i32x2:
    """A pair of scalars: ``a`` the high one."""
    return concat(b, a)


@instruction(**_ONE, asm="{d} = {a}")
def tfrp(a: i32x2) -> i32x2:
    return a


@instruction(timing=(3, 0), unit="ALU32", asm="{d} = #{n}")
def tfrpi(n: imm_s8) -> i64:
    """A small number, its sign in the high scalar."""
    return cast(i64, n)


@instruction(**_TWO, asm="{d} = cmp.eq({a},#{n})")
def cmpeqi(a: i32, n: imm_s10) -> boolx1:
    return equal(a, n)


@instruction(**_TWO, asm="{d} = cmp.gt({a},#{n})")
def cmpgti(a: i32, n: imm_s10) -> boolx1:
    return a > n


@instruction(**_TWO, asm="{d} = cmp.gt({a},{b})")
def cmpgt(a: i32, b: i32) -> boolx1:
    return a > b


@instruction(timing=(3, 2, 2, 2), unit="ALU32", asm="{d} = mux({p},{a},{b})")
def mux(p: boolx1, a: i32, b: i32) -> i32:
    return select(p, a, b)


@instruction(**_TWO, asm="{d} = cmp.eq({a},{b})")
def cmpeq(a: i32, b: i32) -> boolx1:
    return equal(a, b)


@instruction(**_TWO, asm="{d} = cmp.gtu({a},{b})")
def cmpgtu(a: u32, b: u32) -> boolx1:
    return a > b


@instruction(**_TWO, asm="{d} = !cmp.gt({a},{b})")
def cmplte(a: i32, b: i32) -> boolx1:
    return a <= b


@instruction(timing=(3, 2, 2), unit="CR", asm="{d} = and({a},{b})")
def andp(a: boolx1, b: boolx1) -> boolx1:
    return a & b


@instruction(timing=(3, 2, 2), unit="CR", asm="{d} = or({a},{b})")
def orp(a: boolx1, b: boolx1) -> boolx1:
    return a | b


@instruction(**_SHIFT, asm="{d} = maxu({a},{b})")
def maxu(a: u32, b: u32) -> u32:
    return maximum(a, b)


@instruction(**_SHIFT, asm="{d} = minu({a},{b})")
def minu(a: u32, b: u32) -> u32:
    return minimum(a, b)


@instruction(**_SHIFT, asm="{d} = lsr({a},#{n})")
def lsri(a: u32, n: imm_u5) -> u32:
    return a >> cast(u32, n)


@instruction(timing=(3, 2), unit="S32", asm="{d} = abs({a})")
def abs_(a: i32) -> i32:
    """``|a|``, modulo 2**32."""
    return absolute(a)


@instruction(timing=(3, 2), unit="S32", asm="{d} = cl0({a})")
def cl0(a: u32) -> u32:
    return count_leading_zeros(a)


INSTRUCTIONS = collect([sys.modules[__name__]])

# Values that need no constant extender.
SHORT = {
    "tfrsi": (-32768, 32767), "addi": (-32768, 32767), "andir": (-512, 511), "subri": (-512, 511),
    "macsip": (0, 255), "cmpgti": (-512, 511), "cmpeqi": (-512, 511),
}  # fmt: skip


def _row(name: str, unit: str, asm: str, *parameters: Parameter,
         result: Type | None = None) -> Instruction:  # fmt: skip
    """A row for control, which no selection reads. ``{target}`` in its text is a label."""
    timing = (3, *(2 for _ in parameters))
    return Instruction(name, parameters, result, None, asm, timing, ((0, unit),), tags=_CONTROL)


_I32 = parse_type("i32")
_CONTROL = frozenset({"control"})
_COUNT = Parameter("n", _I32, Register.IMMEDIATE, 0, 1023)
_WORD = Parameter("a", _I32, Register.SCALAR)
_TRUE = Parameter("p", boolean, Register.CONDITION)

LOOP_COUNT = tuple(_row(f"loop{i}i", "CR", f"loop{i}({{target}},#{{n}})", _COUNT) for i in (0, 1))
LOOP_REGISTER = tuple(_row(f"loop{i}r", "CR", f"loop{i}({{target}},{{a}})", _WORD) for i in (0, 1))
JUMP_IF = _row("jumpt", "J", "if ({p}) jump:t {target}", _TRUE)
JUMP_UNLESS = _row("jumpf", "J", "if (!{p}) jump:nt {target}", _TRUE)
CALL = _row("call", "J", "call {target}")
RETURN = _row("jumpr", "JR", "jumpr {a}", _WORD)
ADDRESS_OF = _row("tfrlabel", "ALU32", "{d} = ##{target}", result=_I32)
POINT = _row("point", "ALU32", "{d} = add({base},#{offset})", result=_I32)
POINT_INDEX = _row("point_index", "ALU32", "{d} = add({base},{a})", _WORD, result=_I32)
NOP = _row("nop", "ALU32", "nop")
