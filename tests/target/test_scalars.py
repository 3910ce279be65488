"""Scalar code gives the interpreter's values at the edges of every type."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.types import parse_type


def same(kind: str, result: str, value: str) -> None:
    """Every pair of edges of ``kind`` as x and z."""
    low, high = parse_type(kind).low, parse_type(kind).high
    edges = np.array([low, low + 1, low // 2, 0, 1, 2, 77, high // 2, high - 1, high])
    x, z = (each.reshape(-1).astype(parse_type(kind).numpy) for each in np.meshgrid(edges, edges))
    element = re.sub(r"\b[xz]\b", r"\g<0>[i]", value)
    func = parse(f"""
@prim_func
def f(x: Buffer[{kind}, (100,)], z: Buffer[{kind}, (100,)], y: Buffer[{result}, (100,)]):
    for i in range(100):
        y[i] = {element}
""")
    wanted, got = (np.zeros(100, parse_type(result).numpy) for _ in range(2))
    interpret(func, x, z, wanted)
    jit(dsp().build(func))(x, z, got)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", ["u8", "i8", "u16", "i16"])
@pytest.mark.parametrize("op", ["+", "-", "*"])
def test_narrow_arithmetic_wraps_before_it_is_widened(kind: str, op: str) -> None:
    same(kind, "i32", f"cast(i32, x {op} z)")
    same(kind, kind, f"max(x {op} z, 5)")
    same(kind, kind, f"(x {op} z) {op} 3")


@pytest.mark.parametrize("kind", ["u8", "i8", "u16", "i16"])
def test_narrow_shifts_and_magnitudes_wrap(kind: str) -> None:
    same(kind, "i32", "cast(i32, x << 3)")
    same(kind, kind, "x >> 9")
    if kind[0] == "i":
        same(kind, "i32", "cast(i32, abs_diff(x, z))")
        same(kind, "i32", "cast(i32, x // -1)")


def test_products_of_halfwords_are_words() -> None:
    same("u16", "u16", "cast(u16, widening_mul(x, z) >> 16)")
    same("i16", "i16", "cast(i16, widening_mul(x, z) >> 16)")


@pytest.mark.parametrize("kind", ["u8", "i8", "u16", "i16", "i32"])
@pytest.mark.parametrize("value", [
    "sat_add(x, z)", "sat_sub(x, z)", "halving_add(x, z)", "rounding_halving_add(x, z)",
])  # fmt: skip
def test_words_are_added_exactly(kind: str, value: str) -> None:
    same(kind, kind, value)


@pytest.mark.parametrize("kind", ["i8", "i16", "i32"])
def test_halving_a_difference(kind: str) -> None:
    same(kind, kind, "halving_sub(x, z)")


@pytest.mark.parametrize("kind", ["u8", "i16", "i32"])
@pytest.mark.parametrize("condition", [
    "x <= z", "(x < z) & (z <= 77)", "(z <= x) | (x < 1)", "(1 <= x) & (x <= z) & (z < 77)",
])  # fmt: skip
def test_choices_by_several_conditions(kind: str, condition: str) -> None:
    same(kind, kind, f"select({condition}, x, z)")


def test_words_of_both_signs() -> None:
    same("i32", "i32", "cast(i32, cast(u32, x) >> 3)")
    same("i32", "u32", "abs_diff(x, z)")
    same("u32", "i32", "sat_cast(i32, x)")
    same("u32", "u8", "sat_cast(u8, x)")
    same("i32", "u32", "sat_cast(u32, x)")


def test_a_word_is_widened_by_its_sign() -> None:
    same("i32", "i32", "cast(i32, widening_add(x, z) >> 1)")
    same("i32", "i32", "cast(i32, widening_mul(x, z) >> 31)")


@pytest.mark.parametrize("shift", [31, 38])
def test_narrow_requantization_saturates(shift: int) -> None:
    same("i32", "i32", f"rounding_mul_shr(x, 1518500250, {shift})")
    same("i16", "i16", "rounding_mul_shr(x, z, 3)")


@pytest.mark.parametrize("value", [
    "x + z", "x - z", "x * z", "x << 3", "x & z", "x | z", "x ^ z", "abs(x)", "min(x + 1, z)",
    "select(x == z, x, z + 1)", "select(x - z < z, x, 4000000000)", "sat_add(x, z)",
    "sat_sub(x, z)", "halving_add(x, z)", "x // z", "x % z", "x // 7", "x >> z", "x << z",
])  # fmt: skip
def test_words_without_sign(value: str) -> None:
    same("u32", "u32", value)


def test_words_without_sign_are_widened() -> None:
    same("u32", "i64", "cast(i64, x) + cast(i64, z)")
    same("u32", "u32", "cast(u32, (cast(i64, x) + cast(i64, z)) >> 1)")


@pytest.mark.parametrize("kind", ["u8", "i8", "u16", "i16", "i32"])
@pytest.mark.parametrize("op", ["<<", ">>", "//", "%"])
def test_shifts_and_quotients_of_what_is_not_known(kind: str, op: str) -> None:
    same(kind, kind, f"x {op} z")


@pytest.mark.parametrize("value", ["sat_add(x, z)", "halving_add(x, z)"])
def test_what_no_row_computes_of_long_numbers_is_refused(value: str) -> None:
    with pytest.raises(SelectError, match="no instruction computes"):
        same("i64", "i64", value)


@pytest.mark.parametrize("kind", ["u8", "u16", "u32"])
def test_leading_zeros_are_those_of_the_narrow_value(kind: str) -> None:
    same(kind, kind, "count_leading_zeros(x)")
    same(kind, kind, "count_leading_zeros(x ^ z) + z")
