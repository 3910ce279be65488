"""Holes: numbers that text and rules know by their interval, and evaluation by their value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dovetail.tir.bounds import bounds
from dovetail.tir.expr import cast, const, hole, is_number, make, maximum, minimum, var, walk
from dovetail.tir.interpret import interpret
from dovetail.tir.rewrite.engine import explain
from dovetail.tir.rules import lifting_rules
from dovetail.tir.script import parse, show, show_expr
from dovetail.tir.script.errors import ParseError
from dovetail.tir.types import i16, i32, u8
from tests.tir.helpers import lift_expr

TEXT = """\
@prim_func
def plus(x: Buffer[i32, (8,)], y: Buffer[i32, (8,)]):
    for i in serial(8):
        y[i] = x[i] + hole("zero", i32, 1, 255)
"""


def test_text_parses_to_the_same_function() -> None:
    func = parse(TEXT)
    assert show(func) == TEXT and parse(show(func)) == func


def test_a_hole_is_written_with_its_interval() -> None:
    with pytest.raises(ParseError) as caught:
        parse(TEXT.replace("1, 255", "i, 255"))
    assert str(caught.value).splitlines()[0] == (
        "hole: an end of its interval must be an integer known now, but got i"
    )


def test_the_interpreter_takes_the_number() -> None:
    func = replace(parse(TEXT), numbers={"zero": 7})
    x, y = np.arange(8, dtype=np.int32), np.zeros(8, np.int32)
    interpret(func, x, y)
    np.testing.assert_array_equal(y, x + 7)
    with pytest.raises(KeyError, match="zero: a hole must have a number, but got none"):
        interpret(parse(TEXT), x, y)


def test_numbers_are_arithmetic_on_holes_and_constants() -> None:
    zero, x = hole("zero", i32, 1, 255), var("x", i32)
    assert is_number(zero) and is_number(zero - 3) and is_number(cast(u8, zero))
    assert not is_number(const(3, i32)) and not is_number(x) and not is_number(x + zero)
    assert bounds(zero * 2 - 1, {}) == (1, 509)


X = var("x", i32)
LOW, HIGH = hole("low", i32, 1, 255), hole("high", i32, 0, 254)


def test_a_rule_takes_numbers_whose_class_meets_its_condition() -> None:
    zero = hole("zero", i32, 1, 255)
    scaled = make("rounding_mul_shr", X, X, hole("shift", i32, 33, 46))
    found = lift_expr(cast(u8, maximum(minimum(scaled + zero, HIGH), LOW)))
    shown = show_expr(scaled)
    assert show_expr(found) == (
        f"max(min(sat_cast(u8, sat_add(sat_cast(i16, {shown}), "
        f"cast(i16, {show_expr(zero)}))), cast(u8, {show_expr(HIGH)})), "
        f"cast(u8, {show_expr(LOW)}))"
    )


def test_a_rule_leaves_numbers_whose_class_goes_beyond_its_condition() -> None:
    wide = hole("zero", i32, 1, 256)
    scaled = make("rounding_mul_shr", X, X, hole("shift", i32, 33, 46))
    whole = cast(u8, maximum(minimum(scaled + wide, HIGH), LOW))
    assert not any(part.op == "sat_add" for part in walk(lift_expr(whole)))
    rules = [rule for rule in lifting_rules().rules if rule.name == "zero_point_then_clamp.u8"]
    (attempt,) = explain(rules, whole)
    assert attempt.reason.endswith("does not hold: 1..256 and 255")


def test_numbers_themselves_are_left_alone() -> None:
    one, other = hole("one", i16, 0, 9), hole("other", i16, 0, 9)
    for whole in (one + other, one - other, one - 3, one * other):
        assert lift_expr(whole) is whole
