"""The script: what prints parses back to equal nodes, and what is wrong is told with its place."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from dovetail.tir.expr import const, make, var
from dovetail.tir.script import (
    Buffer,
    alloc,
    block,
    cast,
    i32,
    init,
    parse,
    parse_body,
    parse_expr,
    prim_func,
    reduce,
    serial,
    show,
    show_expr,
    spatial,
    u8,
    vectorized,
    where,
)
from dovetail.tir.script.errors import ParseError
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.types import f32, i8, parse_type
from tests.tir.generate import functions

TEXT = """\
@prim_func
def matmul(x: Buffer[u8, (128, 64), "tcm"], y: Buffer[i32, (128, 32)]):
    acc = alloc(i32, (128, 32), "reg")
    for i in serial(128):
        for j in vectorized(32):
            for k in unrolled(64, pipeline=2):
                with block("dot", stage="main"):
                    vi = spatial(128, i)
                    vj = spatial(32, j)
                    vk = reduce(64, k)
                    where(vi < 100)
                    with init():
                        acc[vi, vj] = 0
                    acc[vi, vj] = acc[vi, vj] + cast(i32, x[vi, vk]) * 2
    copy(y[0:4, 0:32], acc[0:4, 0:32], token="a")
    wait("a")
    with alloc(u8, (4,)) as small:
        small[0:4] = x[3, 5:9]
    if x[0, 0] < 3:
        pass
    y[0, 0:2] = interleave(acc[1, 1], -acc[i32(1), 1])
"""


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(functions())
def test_what_prints_parses_back(func: PrimFunc) -> None:
    assert parse(show(func)) == func


def test_written_forms_parse() -> None:
    func = parse(TEXT)
    assert parse(show(func)) == func
    assert "for k in unrolled(64, pipeline=2):" in show(func)
    assert 'with block("dot", stage="main"):'.replace('"main"', "'main'") in show(func)


def test_a_python_function_is_a_kernel() -> None:
    n = 16

    def kernel(rows: int) -> PrimFunc:
        @prim_func
        def sums(x: Buffer[u8, (rows, n)], y: Buffer[i32, (rows,)]):  # type: ignore[no-untyped-def]
            for i in serial(rows):
                for k in vectorized(n):
                    with block("sum"):
                        vi = spatial(rows, i)
                        vk = reduce(n, k)
                        with init():
                            y[vi] = 0
                        y[vi] = y[vi] + cast(i32, x[vi, vk])

        return sums

    assert [p.shape for p in kernel(8).params] == [(8, 16), (8,)]
    assert parse(show(kernel(4))) == kernel(4)


def test_constants_keep_their_types() -> None:
    x = var("x", parse_type("i16x4"))
    assert show_expr(make("rounding_shr", x, const(3, x.type))) == "rounding_shr(x, 3)"
    assert show_expr(const(-3, i8) + const(2, i8)) == "i8(-3) + 2"
    assert show_expr(const(float("inf"), f32)) == 'f32("inf")'
    for text in ("i8(-3) + 2", "select(x < 3, x, 0 - x)", "lookup(x, i32x8(1))", 'f32("-inf")',
                 "call(i32x32, \"vrmpy\", x, i32(2))", "slice(x, 1, 2)", "reinterpret(i32x2, x)",
                 "(x < 2) & (x == 3)", "mul_shr(x, i32x4(7), 15)"):  # fmt: skip
        node = parse_expr(text, {"x": x.type})
        assert show_expr(node) == text
        assert parse_expr(show_expr(node), {"x": x.type}) is node


def test_zeros_of_both_signs_are_two_constants() -> None:
    assert const(-0.0, f32) is not const(0.0, f32)
    assert const(float("nan"), f32) is const(float("nan"), f32)


def test_large_shared_values_get_names() -> None:
    text = "def f(x: Buffer[i32, (4,)]):\n    t = x[0] * 3\n    u = t * t + t\n    v = u * u + u\n"
    text += "    w = v * v + v\n    z = w * w + w\n    y = z * z + z\n    x[1] = y * y + y\n"
    shown = show(parse(text))
    assert "    t0 = " in shown
    assert len(shown) < 1000
    assert parse(shown) == parse(text)


def test_an_instruction_is_its_returned_expression() -> None:
    def vrmpy_acc(acc, a, b):  # type: ignore[no-untyped-def]
        """Four products a lane."""
        products = widening_mul(a, b)  # type: ignore[name-defined]  # noqa: F821
        return acc + group_sum(cast(i32, products), 4)  # type: ignore[name-defined]  # noqa: F821

    vrmpy_acc.__annotations__.clear()
    with pytest.raises(ParseError, match="acc: an operand must have a type"):
        parse_body(vrmpy_acc)


FAULTS = {
    "x[i] = i + 1": "store: x takes u8 here, but got i32; write cast(u8, ...) or mend the span",
    "x[i, 0] = 1": "index: an index an axis of x[4] must be given, but got 2",
    "x[j] = 1": "j: a name must be an axis or a value, but got an unknown name",
    "x[i:i + j] = 1": "j: a name must be an axis or a value, but got an unknown name",
    "x[i] = x": "x: a name must be an axis or a value, but got a buffer without an index",
    "x[i] = foo(x[i])": "call: an operator must be called, but got foo",
    "x[i] = x[i] + i": "the operands must have one type, but got u8, i32",
    "x[i] = abs(x[i], x[i])": "abs: it takes 1 operands, but got 2",
    "x[i] = min(3, x[i], 2)": "min: it takes 2 operands, but got 3",
    "while x: pass": "statement: loops, blocks, stores, alloc, copy, wait and if are allowed, "
    "but got while x:",
    "t = x[0]; x[0] = 1; x[1] = t": "t: a named value must be used before its buffers change, "
    "but x was stored to since",
    "for k in zip(3): pass": "for: a loop must run over serial(n), parallel(n), vectorized(n), "
    "unrolled(n) or range(n), but got zip(3)",
    "x[i] = (1 < x[i] < 3)": "expression: operators, calls, loads and numbers are allowed, "
    "but got 1 < x[i] < 3",
    "x[i] = sat_cast(u8, 3)": "number: its type must follow from another operand, but got 3 "
    "alone; write i32(3)",
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_is_told_in_one_sentence(line: str) -> None:
    text = f"def f(x: Buffer[u8, (4,)]):\n    for i in range(4):\n        {line}\n"
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert caught.value.sentence == FAULTS[line]
    assert caught.value.line == 3


def test_a_fault_shows_its_place() -> None:
    with pytest.raises(ParseError) as caught:
        parse("def f(x: Buffer[u8, (4,)]):\n    x[1] = y\n")
    assert str(caught.value) == (
        "y: a name must be an axis or a value, but got an unknown name\n"
        "  line 2:     x[1] = y\n"
        "                     ^"
    )


def test_words_of_the_script_do_nothing_outside() -> None:
    for word in (alloc, where):
        with pytest.raises(TypeError, match="used inside @prim_func only"):
            word(1)
