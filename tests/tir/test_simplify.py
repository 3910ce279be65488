"""The simplifier and the index algebra below it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dovetail.tir.bounds import bounds
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, var
from dovetail.tir.linear import from_sum, sum_of
from dovetail.tir.passes.simplify import simplify_func, simplify_stmt
from dovetail.tir.script import parse, show, show_expr
from dovetail.tir.simplifier import simplify
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.types import i8, i16, i32, u8, vector
from tests.tir.generate import functions, indices, values
from tests.tir.helpers import Array, keeps, parsed, random_env, rewrites, same_values

AXES = (var("i"), var("j"), var("k"))
RANGES = {AXES[0]: (0, 7), AXES[1]: (0, 15), AXES[2]: (0, 99)}
NAMED = {str(axis.attr): ends for axis, ends in RANGES.items()}
INDEX = {"i": "i32", "j": "i32", "k": "i32"}
QUIET = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("before", "after"), [
    ("(k // 16) * 64 + (k % 16) * 4", "k * 4"),
    ("(j * 8 + i) // 8", "j"),
    ("(j * 8 + i) % 8", "i"),
    ("k // 4 // 8 * 32 + (k // 4 % 8) * 4 + k % 4", "k"),
    ("(j * 16 + i) // 8", "j * 2"),
    ("(j * 8 + i * 2 + 1) // 4", "j * 2 + i // 2"),
    ("(k + 16) // 16", "k // 16 + 1"),
    ("(k * 6 + 4) % 8", "(k * 3 + 2) % 4 * 2"),
    ("i * 2 + k * 3 - i * 2 + 3 - 3", "k * 3"),
    ("min(j, 15)", "j"),
    ("max(min(i, 9), 0) + 0", "i"),
    ("(i - 8) // 8", "-1"),
    ("select(i < 8, j, k)", "j"),
    ("select(j * 8 + i < 128, 1, k)", "i32(1)"),
    ("i32(3) * i32(4) + i", "i + 12"),
    ("k % 100", "k"),
    ("4 * i + 32 * k", "k * 32 + i * 4"),
])  # fmt: skip
def test_indices_become_canonical(before: str, after: str) -> None:
    after = f"i32({after})" if after.strip("-").isdigit() else after
    rewrites(lambda e: simplify(e, RANGES), before, after, NAMED, **INDEX)


@pytest.mark.parametrize(("before", "after"), [
    ("max(min(cast(i32, x), 300), 0)", "cast(i32, x)"),
    ("cast(u8, cast(i32, x))", "x"),
    ("sat_cast(i16, x)", "cast(i16, x)"),
    ("(x + 0) * 1", "x"),
    ("3 + x + 4", "x + 7"),
    ("x * 0", "u8x4(0)"),
    ("x >> 0", "x"),
    ("select(x < x, x, 3)", "select(x < x, x, 3)"),
    ("x - x", "u8x4(0)"),
])  # fmt: skip
def test_data_loses_what_does_nothing(before: str, after: str) -> None:
    rewrites(simplify, before, after, x="u8x4")


@pytest.mark.parametrize("text", [
    "cast(i8, cast(i16, y))",  # keeps what a rule does not name
    "(i + k) // 8",
    "max(y, 0)",
    "cast(i32, cast(i8, y))",  # the inner cast loses bits
    "sat_cast(u8, y)",
    "y + y",
])  # fmt: skip
def test_what_it_must_not_touch(text: str) -> None:
    ranges = {AXES[0]: (0, 7), AXES[2]: (0, 99)}
    if text.startswith("cast(i8"):
        assert show_expr(simplify(parsed(text, {"y": "i16x4"}))) == "cast(i8, y)"
        return
    keeps(lambda e: simplify(e, ranges), text, y="i16x4", **INDEX)


def test_an_index_that_may_wrap_stays() -> None:
    keeps(simplify, "(k * 8 + 7) // 8", k="i32")


def equal(got: Array, want: Array, text: str) -> None:
    left, right = np.broadcast_arrays(got, want)
    np.testing.assert_array_equal(left, right, err_msg=text)


@QUIET
@given(indices(AXES, 4))
def test_simplifying_keeps_an_index(index: Expr) -> None:
    env = random_env({str(a.attr): a.type for a in AXES}, NAMED, 64)
    simple = simplify(index, RANGES)
    got, want = evaluate_expr(simple, env), evaluate_expr(index, env)
    equal(got, want, show_expr(index))
    assert simplify(simple, RANGES) is simple


@QUIET
@given(st.sampled_from((u8, i8, i16, i32)).flatmap(
    lambda kind: values(vector(kind, 4), (var("x", vector(u8, 4)), var("y", vector(i16, 4)),
                                          var("z", vector(i32, 4))), 3)))  # fmt: skip
def test_simplifying_keeps_data_and_bounds_hold(value: Expr) -> None:
    env = random_env({"x": vector(u8, 4), "y": vector(i16, 4), "z": vector(i32, 4)}, {}, 64)
    want = evaluate_expr(value, env)
    got = evaluate_expr(simplify(value), env)
    equal(got, want, show_expr(value))
    low, high = bounds(value, {})
    assert low <= want.min() and want.max() <= high


@QUIET
@given(functions())
def test_simplifying_keeps_functions(func: PrimFunc) -> None:
    body = simplify_stmt(func.body)  # not a whole pass: guards may keep reductions off their start
    same_values(func, func.with_body(body))


def test_statements_that_never_run_go() -> None:
    func = parse("""
def f(x: Buffer[u8, (8,)]):
    for i in range(8, unroll=2):
        if i < 8:
            x[i] = 1
        if i > 8:
            x[i] = 2
    for i in range(3):
        with block("b"):
            v = spatial(8, i * 4)
            where(v < 8)
            x[v] = 3
""")
    want = parse("""
def f(x: Buffer[u8, (8,)]):
    for i in range(8, unroll=2):
        x[i] = 1
    for i in range(3):
        with block("b"):
            v = spatial(8, i * 4)
            where(v < 8)
            x[v] = 3
""")
    assert show(simplify_func(func)) == show(want)


def test_sums_of_atoms() -> None:
    i, j, _ = AXES
    form = sum_of(i * 16 + j - 1 - i * 4)
    assert (dict(form.terms), form.constant) == ({i: 12, j: 1}, -1)
    assert show_expr(from_sum(form, i32)) == "i * 12 + j - 1"
    assert dict(sum_of(i * j + 2).terms) == {i * j: 1}
    assert show_expr(from_sum(sum_of(3 - i), i32)) == "i * -1 + 3"


def test_bounds_of_indices() -> None:
    i, j, k = AXES
    assert bounds(i * 16 + j, RANGES) == (0, 127)
    assert bounds((k - 5) // 8, RANGES) == (-1, 11)
    assert bounds(k % 64, RANGES) == (0, 63)
    assert bounds(parsed("rounding_shr(x, 4)", {"x": "i16"}), {}) == (-2048, 2048)
    assert bounds(parsed("widening_mul(x, y)", {"x": "u8", "y": "i8"}), {}) == (-32640, 32385)
