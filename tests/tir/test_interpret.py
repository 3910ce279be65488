"""The interpreter: loops at once give what one step after another gives, and known kernels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dovetail.tir import interpret as interpreter
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, var
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse, parse_expr, show
from dovetail.tir.stmt import For, PrimFunc
from dovetail.tir.types import i32, parse_type
from tests.tir.generate import functions
from tests.tir.helpers import random_array, run

CONV = """
def conv(x: Buffer[u8, (1, 18, 18, 64)], w: Buffer[i8, (3, 3, 64, 72)], b: Buffer[i32, (72,)],
         y: Buffer[u8, (1, 16, 16, 72)]):
    acc = alloc(i32, (1, 16, 16, 72))
    for h in range(16):
        for q in range(16):
            for o in range(72):
                for r in range(3):
                    for s in range(3):
                        for c in range(64):
                            with block("conv"):
                                vh = spatial(16, h); vw = spatial(16, q); vo = spatial(72, o)
                                vr = reduce(3, r); vs = reduce(3, s); vc = reduce(64, c)
                                with init():
                                    acc[0, vh, vw, vo] = b[vo]
                                acc[0, vh, vw, vo] = acc[0, vh, vw, vo] + cast(
                                    i32, x[0, vh + vr, vw + vs, vc]) * cast(i32, w[vr, vs, vc, vo])
    for h in range(16):
        for q in range(16):
            for o in range(72):
                with block("requantize"):
                    vh = spatial(16, h); vw = spatial(16, q); vo = spatial(72, o)
                    y[0, vh, vw, vo] = sat_cast(
                        u8, rounding_mul_shr(acc[0, vh, vw, vo], 1 << 30, 40) + 3)
"""


def slowly(func: PrimFunc, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The run in which no loop runs at once."""
    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "independent", lambda loop: False)
        return run(func)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(func=functions())
def test_at_once_is_as_step_by_step(func: PrimFunc, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = run(func), slowly(func, monkeypatch)
    for name in fast:
        np.testing.assert_array_equal(fast[name], slow[name], err_msg=show(func))


def test_a_convolution_of_ten_million_products_takes_a_second() -> None:
    rng = np.random.default_rng(0)
    func = parse(CONV)
    x, w, _, y = (random_array(p.type, p.shape, rng) for p in func.params)
    b = rng.integers(-1000, 1000, 72).astype(np.int32)
    start = time.perf_counter()
    interpret(func, x, w, b, y)
    assert time.perf_counter() - start < 3
    acc = np.zeros((1, 16, 16, 72), np.int64) + b
    for r in range(3):
        for s in range(3):
            acc += x[:, r : r + 16, s : s + 16].astype(np.int64) @ w[r, s].astype(np.int64)
    want = np.clip(((acc * (1 << 30) + (1 << 39)) >> 40) + 3, 0, 255)
    np.testing.assert_array_equal(y, want)


def loops_at_once(text: str) -> list[str]:
    """The axes that run at once."""
    from dovetail.tir.independence import independent
    from dovetail.tir.stmt import walk_stmt

    func = parse(text)
    return [s.axis.attr for s in walk_stmt(func.body) if isinstance(s, For) and independent(s)]


def test_all_loops_of_a_convolution_run_at_once() -> None:
    assert "".join(loops_at_once(CONV)) == "hqorschqo"


@pytest.mark.parametrize(("body", "want"), [
    ("x[i] = x[i] + 1", "i"),
    ("x[i + 1] = x[i]", ""),  # each step reads what the one before wrote
    ("x[0] = x[0] + x[i]", ""),  # x[0] is among what is summed
    ("y[0] = y[0] + x[i]", "i"),
    ("y[0] = y[0] - x[i]", ""),
    ("y[0] = max(y[0], x[i])", "i"),
    ("y[i // 4] = min(y[i // 4], x[i])", "i"),
    ("y[0] = x[i]", ""),  # the last step's value stays
    ("x[i * 2:i * 2 + 2] = x[i * 2:i * 2 + 2] + 1", "i"),
    ("x[i:i + 2] = x[i:i + 2] * 2", ""),  # steps overlap
    ("z[i // 4, i % 4] = x[i]", "i"),
    ("z[i // 5, i % 4] = x[i]", ""),
    ("copy(x[i:i + 1], y[0:1])", "i"),
    ('copy(x[i:i + 1], y[0:1], token="t"); wait("t")', ""),
])  # fmt: skip
def test_a_loop_runs_at_once_where_its_steps_are_independent(body: str, want: str) -> None:
    text = "def f(x: Buffer[i32, (32,)], y: Buffer[i32, (32,)], z: Buffer[i32, (5, 5)]):\n"
    assert "".join(loops_at_once(f"{text}    for i in range(14):\n        {body}\n")) == want


def test_init_runs_where_all_reduce_axes_are_at_zero() -> None:
    text = """
def f(x: Buffer[i32, (4, 6)], y: Buffer[i32, (4,)]):
    for k in range({outer}):
        for i in range(4):
            for j in range(6):
                with block("sum"):
                    vi = spatial(4, i)
                    vj = reduce(6, j)
                    with init():
                        y[vi] = 5
                    y[vi] = y[vi] + x[vi, vj]
"""
    for outer in (1, 3):  # a sum that is made again starts again
        arrays = run(parse(text.format(outer=outer)))
        np.testing.assert_array_equal(
            arrays["y"], arrays["x"].sum(axis=1, dtype=np.int32) + np.int32(5)
        )


def test_guards_keep_loads_inside() -> None:
    text = """
def pad(x: Buffer[u8, (5,)], y: Buffer[u8, (9,)]):
    for i in range(9):
        y[i] = select((i >= 2) & (i < 7), x[i - 2], 7)
    for i in range(16):
        with block("tail"):
            v = spatial(9, i)
            where(v < 9)
            y[v] = y[v] + 1
    for i in range(16):
        if i < 9:
            y[i] = y[i] + 1
"""
    arrays = run(parse(text))
    want = np.full(9, 9, np.uint8)
    want[2:7] = arrays["x"] + np.uint8(2)
    np.testing.assert_array_equal(arrays["y"], want)


def test_a_place_outside_is_told() -> None:
    func = parse("def f(x: Buffer[u8, (5,)]):\n    for i in range(6):\n        x[i] = 1\n")
    with pytest.raises(IndexError) as caught:
        interpret(func, np.zeros(5, np.uint8))
    assert str(caught.value) == "x: axis 0 must be indexed within 0..4, but got 5"


def test_what_nothing_wrote_shows() -> None:
    text = """
def f(y: Buffer[i32, (2,)]):
    for i in range(2):
        a = alloc(i32, (4,), "reg")
        y[i] = a[i]
"""
    assert list(run(parse(text))["y"]) == [np.int32(np.uint32(0xA5A5A5A5))] * 2


def test_an_asynchronous_copy_lands_at_its_wait() -> None:
    text = """
def f(x: Buffer[u8, (4,)], y: Buffer[u8, (4,)], z: Buffer[u8, (8,)]):
    copy(y[0:4], x[0:4], token="t")
    z[0:4] = y[0:4]
    wait("t")
    z[4:8] = y[0:4]
"""
    arrays = run(parse(text))
    assert list(arrays["z"][:4]) == [0xA5] * 4
    np.testing.assert_array_equal(arrays["z"][4:], arrays["x"])
    alone = parse('def f(x: Buffer[u8, (4,)]):\n    wait("t")\n')
    with pytest.raises(RuntimeError, match='a copy with token "t" must be under way'):
        run(alone)


def test_instructions_run_by_their_bodies() -> None:
    text = 'def f(x: Buffer[u8, (8,)]):\n    x[0:8] = call(u8x8, "double", x[0:8], u8(1))\n'
    body = parse_expr("a + a + tile(b, 8)", {"a": parse_type("u8x8"), "b": parse_type("u8")})
    x = np.arange(8, dtype=np.uint8)
    interpret(parse(text), x, calls={"double": (("a", "b"), body)})
    np.testing.assert_array_equal(x, np.arange(8) * 2 + 1)
    with pytest.raises(KeyError, match="the body of double must be given"):
        interpret(parse(text), x)


def test_arrays_must_fit() -> None:
    func = parse("def f(x: Buffer[u8, (4,)], w: Buffer[i8, (4,)]):\n    x[0] = 1\n")
    func.constants["w"] = np.zeros(4, np.int8)
    interpret(func, np.zeros(4, np.uint8))
    with pytest.raises(TypeError, match=r"f: it takes 1 arrays \(x\), but got 0"):
        interpret(func)
    with pytest.raises(TypeError, match=r"f: x must be u8\[4\], but got int8\[4\]"):
        interpret(func, np.zeros(4, np.int8))


def test_strided_arrays_change_in_place() -> None:
    func = parse(
        "def f(x: Buffer[u8, (4,)]):\n    for i in range(4):\n        x[i] = cast(u8, i)\n"
    )
    base = np.zeros(8, np.uint8)
    interpret(func, base[::2])
    assert list(base) == [0, 0, 1, 0, 2, 0, 3, 0]


def test_an_expression_has_a_value() -> None:
    x: Expr = var("x", i32)
    got = evaluate_expr(x * 3 + 1, {"x": np.array([[1], [2]], np.int32)})
    assert got.tolist() == [[4], [7]]


def test_lanes_below_a_choice_are_loaded_where_they_stand() -> None:
    func = parse("""
@prim_func
def f(x: Buffer[i32, (4,)], c: Buffer[i32, (4,)], y: Buffer[i32, (4,)]):
    y[0:4] = select(c[0:4] < 1, concat(slice(x[0:4], 2, 2), slice(x[0:4], 0, 2)), 9)
""")
    x, c, y = (np.array(a, np.int32) for a in ([5, 6, 7, 8], [0, 1, 0, 1], [0] * 4))
    interpret(func, x, c, y)
    assert y.tolist() == [7, 9, 5, 9]
