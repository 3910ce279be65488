"""Declaring instructions: what a body may say, and what is said about a wrong one."""

# mypy: ignore-errors
# ruff: noqa: F821

from __future__ import annotations

from typing import Any

import pytest

from dovetail.target.declare import DeclareError
from dovetail.target.dsp.decorators import family, instruction
from dovetail.target.instruction import Kind, Register
from dovetail.tir.expr import cast, const, make, select, var
from dovetail.tir.types import i16, i32, parse_type

ADD: dict[str, Any] = dict(timing=(9, 7, 7), unit="VA", asm="{d}.w = vadd({a}.w,{b}.w)")
A, B = var("a", parse_type("i32x32")), var("b", parse_type("i32x32"))


def test_a_body_is_an_expression_over_the_parameters() -> None:
    @instruction(**ADD)
    def vaddw(a: i32x32, b: i32x32) -> i32x32:
        """The sum
        of each lane."""
        return a + b

    assert vaddw.body is A + B
    assert vaddw.doc == "The sum of each lane."
    assert vaddw.hvx == "V6.vaddw.128B"
    assert vaddw.unit == ((0, "VA"),)


def test_types_give_register_classes() -> None:
    @instruction(timing=(9, 1, 1, 1, 1, 1, 1), unit="VA", asm="")
    def mixed(a: i16x128, b: u8x4, c: boolx64, d: i64, e: boolx1, n: imm_s8) -> u8x128: ...

    assert [p.register for p in mixed.parameters] == [
        Register.PAIR, Register.SCALAR, Register.PREDICATE, Register.DOUBLE, Register.CONDITION,
        Register.IMMEDIATE,
    ]  # fmt: skip
    assert mixed.result_register is Register.VECTOR
    assert mixed.body is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("imm_u3", 0, 7), ("imm_s8", -128, 127), ("imm_1_63", 1, 63)],
)
def test_immediates_have_a_range(name: str, low: int, high: int) -> None:
    kinds = {"imm_u3": imm_row_u3, "imm_s8": imm_row_s8, "imm_1_63": imm_row_1_63}
    parameter = kinds[name].parameters[0]
    assert (parameter.register, parameter.low, parameter.high) == (Register.IMMEDIATE, low, high)
    assert parameter.type == i32


@instruction(timing=(3, 0), unit="ALU32", asm="{d} = #{n}")
def imm_row_u3(n: imm_u3) -> i32:
    return n


@instruction(timing=(3, 0), unit="ALU32", asm="{d} = #{n}")
def imm_row_s8(n: imm_s8) -> i32:
    return n


@instruction(timing=(3, 0), unit="ALU32", asm="{d} = #{n}")
def imm_row_1_63(n: imm_1_63) -> i32:
    return n


def test_names_conditions_and_comparisons() -> None:
    @instruction(**ADD)
    def row(a: i32x32, b: i32x32) -> i32x32:
        double, negative = a * 2, -b
        larger = double > negative
        return double if larger else negative

    double, negative = A * 2, const(0, A.type) - B
    assert row.body is select(negative < double, double, negative)


def test_a_family_gives_a_row_a_type() -> None:
    @family({"vaddh": dict(T="i16x64", t="h"), "vaddb": dict(T="i8x128", t="b", since=62)},
            timing=(9, 7, 7), unit="VA", asm="{d}.{t} = vadd({a}.{t},{b}.{t})")  # fmt: skip
    def vadd(a: T, b: T) -> T:
        return a + b

    halves, bytes_ = vadd
    assert (halves.name, str(halves.result), halves.since) == ("vaddh", "i16x64", 60)
    assert (bytes_.asm, bytes_.since) == ("{d}.b = vadd({a}.b,{b}.b)", 62)


def test_a_number_of_a_family_is_a_constant_or_a_scalar_that_must_hold_it() -> None:
    @family({"row": dict(K=5, R=-2)}, timing=(9, 5, 2), unit="VS", asm="{d} = x({a},{r})")
    def rows(a: i32x32, r: R) -> i32x32:
        return a >> K

    (row,) = rows
    assert row.body is A >> 5
    assert (row.parameters[1].register, row.parameters[1].low) == (Register.SCALAR, -2)


def test_loads_have_no_body() -> None:
    @instruction(timing=(9,), unit="LOAD,VA", kind=Kind.LOAD, asm="{d} = vmem({addr})", bytes=128)
    def vmem() -> i32x32:
        return memory()

    assert (vmem.body, vmem.bytes, vmem.result_register) == (None, 128, Register.VECTOR)


def test_words_of_bodies_build_their_operators() -> None:
    @instruction(timing=(9, 5, 2), unit="VX", asm="{d}.h = vdmpy({a}.ub,{r}.b)")
    def vdmpybus(a: u8x128, r: i8x4) -> i16x64:
        return group_sum(cast(i16, a) * cast(i16, tile(r, 32)), 2)

    a, r = var("a", parse_type("u8x128")), var("r", parse_type("i8x4"))
    product = cast(i16, a) * cast(i16, make("tile", r, attr=32))
    assert vdmpybus.body is make("group_sum", product, attr=2)


def refused(*, body: str, **fields: Any) -> str:
    """What is said about a declaration; the place is cut off."""
    with pytest.raises(DeclareError) as caught:
        instruction(**{**ADD, **fields})(WRONG[body])
    return str(caught.value).rpartition(" (")[0]


def test_the_body_must_have_the_type_of_the_result() -> None:
    assert refused(body="narrow") == (
        "instruction narrow: the body must have the type i32x32, but has i16x32"
    )


def test_a_body_has_no_loops() -> None:
    assert refused(body="loop") == (
        "instruction loop: a body is assignments and a return, not for i in b:"
    )


def test_a_body_has_only_its_words() -> None:
    assert refused(body="unknown") == "instruction unknown: a body has no words for frobnicate(a)"


def test_operands_of_an_operator_must_agree() -> None:
    assert refused(body="mixed") == (
        "instruction mixed: the operands must have one type, but got i32x32, i16x32"
    )


def test_timing_has_a_cycle_for_each_operand() -> None:
    assert refused(body="right", timing=(9, 7)) == (
        "instruction right: timing takes 3 cycles: the result's and each operand's"
    )


def test_accumulate_names_a_parameter() -> None:
    assert refused(body="right", accumulate="x") == (
        "instruction right: accumulate must name a parameter, but got 'x'"
    )


def test_asm_names_parameters() -> None:
    assert refused(body="right", asm="{d} = {c}") == (
        "instruction right: asm may name a, addr, b, d, but names 'c'"
    )


def narrow(a: i32x32, b: i32x32) -> i32x32:
    return cast(i16, a)


def loop(a: i32x32, b: i32x32) -> i32x32:
    for i in b:
        a = a + i
    return a


def unknown(a: i32x32, b: i32x32) -> i32x32:
    return frobnicate(a)


def mixed(a: i32x32, b: i32x32) -> i32x32:
    return a + cast(i16, b)


def right(a: i32x32, b: i32x32) -> i32x32:
    return a + b


WRONG = {function.__name__: function for function in (narrow, loop, unknown, mixed, right)}
