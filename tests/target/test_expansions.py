"""Every expansion is equal to what it expands wherever it applies, and no way out goes untried."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dovetail.target.division import shift_down
from dovetail.target.dsp.hvx_expansions import EXPANSIONS
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.quotients import by_number
from dovetail.target.dsp.target import Dsp
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Instruction, Register
from dovetail.target.jit import jit
from dovetail.tir.evaluate_expr import evaluate_expr, hole_key
from dovetail.tir.expr import (
    Expr,
    cast,
    const,
    free_vars,
    hole,
    make,
    select,
    substitute,
    var,
    walk,
)
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.types import Type, i8, i16, i32, u8, u16, u32, vector
from tests.tir.helpers import Array, random_array
from tests.tir.reached import Reached


def body_of(row: Instruction) -> Expr:
    """The row's meaning over registers of words, whatever lanes it sees in them."""
    words = {
        var(p.name, p.type): make("reinterpret", var(p.name, WORDS), attr=p.type)
        for p in row.parameters
        if p.register is Register.VECTOR and p.type != WORDS
    }
    assert row.body is not None
    return substitute(row.body, words)


WORDS = vector(i32, 32)
CALLS = {
    name: (tuple(p.name for p in row.parameters), body_of(row))
    for name, row in TABLE.items()
    if row.body is not None
}
LANES = (1, 32)  # of the instructions that are called


BANDS = ((0, 0), (0, 9), (1, 1), (1, 15), (2, 15), (16, 30), (1, 30), (31, 31), (31, 46), (32, 32),
         (33, 46), (47, 62))  # fmt: skip


def quotients(op: str) -> list[Expr]:
    """Nodes of ``op`` over words and narrower values, by variables and numbers."""
    found = []
    for lanes in LANES:
        x, m = (var(name, vector(i32, lanes)) for name in "xm")
        narrow = [cast(i32, var(f"x_{n}", vector(n, lanes))) for n in (i8, u8, u16)]
        least = make("max", m, const(1, m.type))
        by = [const(n, x.type) for n in (-(1 << 31), -8, -3, -1, 0, 1, 2, 3, 64, 99, 1 << 30)]
        found += [make(op, a, b) for a in (x, *narrow) for b in (m, least, *narrow, *by)]
        found += [make(op, const(1 << 30, x.type), b) for b in (m, least)]
    words = var("x", u32), var("m", u32)
    found += [make(op, var("x", u8), var("m", u8)), make(op, *words)]
    for kind in (i16, u16):
        x, small = var("x", vector(kind, 64)), cast(kind, var("x_8", vector(u8, 64)))
        values = x, small, make("min", x, const(30000, x.type))
        numbers = (2, 3, 7, 9, 10, 64, 127, 255, 641, 1 << 14, 20000, kind.high)
        found += [make(op, value, const(n, x.type)) for value in values for n in numbers]
    return found


def chosen(op: str) -> list[Expr]:
    """Sums and differences of words, of which some are added or taken only where it is chosen."""
    x, m = (var(name, WORDS) for name in "xm")
    zero, one = const(0, WORDS), const(1, WORDS)
    return [make(op, x, value) for value in (
        m, select(x < m, zero, m), select(x < m, m, zero), select(x < m, one, m))]  # fmt: skip


def products() -> list[Expr]:
    """Products of words, by each other and by numbers."""
    found = []
    for kind in (i32, u32, i16):
        x, m = (var(name, vector(kind, 32)) for name in "xm")
        found += [make("mul", x, b) for b in (m, *(const(n, x.type) for n in (0, 1, 3, 128, 4096)))]
    return [*found, make("mul", x, const(-4, x.type)), make("mul", var("x", i32), var("m", i32))]


def looked_up() -> list[Expr]:
    """Entries of tables of one register, of two, and of one that is in memory."""
    parts = [var(name, vector(u8, 128)) for name in "xm"]
    tables = [parts[0], make("concat", *parts), make("concat", *parts, *parts)]
    found = [make("lookup", table, var("i", vector(u8, 128))) for table in tables]
    return [*found, make("lookup", tables[1], var("i", u8))]


def narrowed() -> list[Expr]:
    """Bytes and halfwords of two registers in turn, saturated or not."""
    pairs = [(u8, u16, "sat_cast"), (u8, i16, "sat_cast"), (u16, u32, "sat_cast"),
             (u8, u32, "sat_cast"), (u8, u16, "cast")]  # fmt: skip
    return [
        make("interleave", *(Expr(op, vector(to, 32), (var(n, vector(kind, 32)),)) for n in "xm"))
        for to, kind, op in pairs
    ]


def candidates(op: str) -> list[Expr]:
    """Nodes of ``op`` with all shifts, over whole and narrow values, of one lane and of many."""
    if op in ("floordiv", "mod", "shr", "shl"):
        return quotients(op)
    if op in ("add", "sub"):
        return chosen(op)
    if op == "interleave":
        return narrowed()
    if op == "mul":
        return products()
    if op == "lookup":
        return looked_up()
    if op == "tile":
        kinds = [vector(u8, 4), vector(i16, 2), vector(u8, 8), vector(i16, 4), i32]
        return [make("tile", var("x", kind), attr=32) for kind in kinds]
    if op == "count_leading_zeros":
        return [make(op, var("x", vector(kind, n))) for kind in (u8, u16) for n in (1, 32)]
    found = []
    for kind in (u8, i8, u16, i16, u32, i32):
        for lanes in LANES:
            x, m = (var(name, vector(kind, lanes)) for name in "xm")
            values = [x]
            if kind == i32:
                values += [cast(i32, var(f"x{n.bits}", vector(n, lanes))) for n in (i8, u8, i16)]
            counts = [const(n, i32) for n in (*range(34), 47, 61, 62, 63, 64, 69)]
            counts += [hole("n", i32, *band) for band in BANDS]
            for count in counts:
                by = make("tile", count, attr=lanes) if not count.is_const else (
                    const(count.attr, vector(i32, lanes)))  # fmt: skip
                if op == "rounding_shr":
                    found += [make(op, value, by) for value in values]
                else:
                    factors = (m, const(99, x.type))
                    found += [make(op, value, f, by) for value in values for f in factors]
    by, x = var("s", WORDS), var("x", WORDS)
    return [*found, make(op, x, by) if op == "rounding_shr" else make(op, x, x, by)]


def values(node: Expr, rng: np.random.Generator) -> Array:
    """Random and extreme values, and every pair of extremes."""
    some = random_array(node.type, (64, node.type.lanes), rng)
    low, high = node.type.low, node.type.high
    ends = np.array([low, low + 1, -1 if low else 1, 0, 1, high - 1, high], node.type.numpy)
    grid = np.repeat(ends, 7) if node.attr != "m" else np.tile(ends, 7)
    return np.concatenate([some, np.broadcast_to(grid[:, None], (49, node.type.lanes))])


def ends(node: Expr) -> tuple[int, ...]:
    """The ends of the class of the number that the shift is, or none that matters."""
    found = [part.attr for part in walk(node) if part.op == "hole"]
    return (found[0].low, found[0].high) if found else (0,)


def test_expansions_are_equal_and_all_are_tried() -> None:
    rng = np.random.default_rng(0)
    reached, applied = Reached([e.rewrite for e in EXPANSIONS]), Counter[str]()
    for expansion in EXPANSIONS:
        for node in candidates(expansion.op):
            with reached:
                smaller = expansion.rewrite(node)
            if smaller is None:
                continue
            applied[expansion.name] += 1
            env = {str(leaf.attr): values(leaf, rng) for leaf in free_vars(node)}
            for number in ends(node):
                env[hole_key("n")] = np.full(1, number, np.int64)
                want, got = evaluate_expr(node, env), evaluate_expr(smaller, env, calls=CALLS)
                same = got.view(want.dtype)  # whatever sign the last row gives its lanes
                np.testing.assert_array_equal(same, want, err_msg=f"{expansion.name}: {node}")
    assert set(applied) == {e.name for e in EXPANSIONS}
    assert reached.missed() == []


@pytest.mark.parametrize(("kind", "most"), [(u16, 65535), (u16, 40000), (i16, 32767), (u16, 510)])
def test_halfwords_are_divided_by_every_number(kind: Type, most: int) -> None:
    """Where a quotient changes, and at the ends, for divisors of all sizes."""
    lanes = 512
    x = make("min", var("x", vector(kind, lanes)), const(most, vector(kind, lanes)))
    rng = np.random.default_rng(0)
    some = rng.integers(2, kind.high, 40, endpoint=True).tolist()
    for divisor in {*range(2, 300), kind.high, kind.high - 1, 1 << 13, (1 << 14) - 1, *some}:
        node = make("floordiv", x, const(divisor, x.type))
        quotient = shift_down(node) or by_number(node)
        assert quotient is not None
        near = np.arange(0, most + 1, divisor)
        near = np.concatenate([near, near - 1, [0, most, kind.low, kind.low + 1, kind.high]])
        some_near = rng.choice(near, lanes) % (1 << 16)
        env = {"x": some_near.astype(np.uint16).view(kind.numpy)}
        wanted = np.minimum(env["x"].astype(np.int64), most) // divisor
        got = evaluate_expr(quotient, env, calls=CALLS)
        np.testing.assert_array_equal(got, wanted, err_msg=f"by {divisor}")


PRODUCT = """
def f(x: Buffer[i32, (32,)], m: Buffer[i32, (32,)], y: Buffer[i32, (32,)]):
    for i in KIND(32):
        y[i] = rounding_mul_shr(x[i], m[i], SHIFT)
"""


@pytest.mark.parametrize("shift", [0, 20, 30, 31, 32, 62])
@pytest.mark.parametrize("kind", ["vectorized", "serial"])
def test_a_product_shifted_by_any_number_is_right_or_refused(kind: str, shift: int) -> None:
    """Vectors with a shift below 31 need values that leave room: none is known here."""
    func = parse(PRODUCT.replace("KIND", kind).replace("SHIFT", str(shift)))
    if kind == "vectorized" and shift < 31:
        with pytest.raises(SelectError):
            Dsp().build(func)
        return
    rng = np.random.default_rng(0)
    x, m = (random_array(i32, (32,), rng) for _ in "xm")
    x[:2], m[:2] = i32.low, (i32.low, i32.high)
    want, got = np.zeros(32, np.int32), np.zeros(32, np.int32)
    interpret(func, x, m, want)
    jit(Dsp().build(func))(x, m, got)
    np.testing.assert_array_equal(got, want)


QUOTIENT = """
def f(x: Buffer[i32, (64,)], m: Buffer[i32, (64,)], y: Buffer[i32, (64,)]):
    for i in KIND(64):
        y[i] = VALUE
"""


HALFWORDS = """
def f(x: Buffer[KIND, (128,)], y: Buffer[KIND, (128,)]):
    for i in vectorized(128):
        y[i] = VALUE
"""


@pytest.mark.parametrize("value", ["x[i] // 9", "x[i] // 255", "x[i] % 10", "min(x[i], 510) // 4"])
@pytest.mark.parametrize("kind", [i16, u16], ids=str)
def test_halfwords_are_divided(kind: Type, value: str) -> None:
    func = parse(HALFWORDS.replace("KIND", str(kind)).replace("VALUE", value))
    x = random_array(kind, (128,), np.random.default_rng(0))
    x[:4] = kind.low, kind.high, 254, 255
    want, got = np.zeros(128, kind.numpy), np.zeros(128, kind.numpy)
    interpret(func, x, want)
    jit(Dsp().build(func))(x, got)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("value", ["x[i] // m[i]", "x[i] % m[i]", "1073741824 // m[i]", "x[i] // 7",
                                   "x[i] % -64", "x[i] // 64 + x[i] % 64"])  # fmt: skip
@pytest.mark.parametrize("kind", ["vectorized", "serial"])
def test_words_are_divided(kind: str, value: str) -> None:
    func = parse(QUOTIENT.replace("KIND", kind).replace("VALUE", value))
    rng = np.random.default_rng(0)
    x, m = (random_array(i32, (64,), rng) for _ in "xm")
    m[8:24] = rng.integers(-9, 9, 16)
    x[:6] = m[4:8] = i32.low
    m[:4] = (-1, 0, 1, 7)
    want, got = np.zeros(64, np.int32), np.zeros(64, np.int32)
    interpret(func, x, m, want)
    jit(Dsp().build(func))(x, m, got)
    np.testing.assert_array_equal(got, want)
