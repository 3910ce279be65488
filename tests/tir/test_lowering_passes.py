"""Each lowering pass keeps the values, and its text is what its docstring says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dovetail.tir.interpret import interpret
from dovetail.tir.passes.flatten import flatten_buffers
from dovetail.tir.passes.lower_blocks import lower_blocks
from dovetail.tir.passes.simplify import simplify_func
from dovetail.tir.passes.unroll import unroll_loops
from dovetail.tir.passes.vectorize import VectorizeError, vectorize_loops
from dovetail.tir.script import parse, show
from dovetail.tir.stmt import PrimFunc

vectorized = partial(vectorize_loops, size=128)
PASSES = (lower_blocks, simplify_func, flatten_buffers, vectorized, unroll_loops)

MATMUL = """
@prim_func
def f(x: Buffer[u8, (6, 8)], w: Buffer[i8, (8, 12)], b: Buffer[i32, (12,)],
      y: Buffer[i32, (6, 12)]):
    for i in serial(3):
        for k in serial(2):
            for ii in unrolled(2):
                for j in vectorized(12):
                    for kk in vectorized(4):
                        with block("dot"):
                            vi = spatial(6, i * 2 + ii)
                            vj = spatial(12, j)
                            vk = reduce(8, k * 4 + kk)
                            with init():
                                y[vi, vj] = b[vj]
                            y[vi, vj] = y[vi, vj] + cast(i32, x[vi, vk]) * cast(i32, w[vk, vj])
"""

STRIDED = """
@prim_func
def f(x: Buffer[u8, (4, 2, 8)], y: Buffer[u8, (4, 16)]):
    for i in serial(4):
        for h in vectorized(8):
            for l in vectorized(2):
                y[i, h * 2 + l] = x[i, l, h]
"""

BROADCAST = """
@prim_func
def f(x: Buffer[i32, (4,)], y: Buffer[i32, (2, 4, 3)]):
    for a in vectorized(2):
        for b in vectorized(4):
            for c in vectorized(3):
                y[a, b, c] = x[b] + 1
"""

SCATTER = """
@prim_func
def f(x: Buffer[i32, (8,)], y: Buffer[i32, (4, 2)]):
    for l in vectorized(2):
        for h in vectorized(4):
            y[h, l] = x[l * 4 + h]
"""


def bytes_of(func: PrimFunc, original: PrimFunc) -> list[bytes]:
    """What the function makes of seeded arguments of the original's shapes."""
    rng = np.random.default_rng(1)
    given = []
    for buffer, now in zip(original.params, func.params, strict=True):
        low, high = buffer.type.low, buffer.type.high
        array = rng.integers(low, high, buffer.shape, np.int64, True).astype(buffer.type.numpy)
        given.append(array.reshape(now.shape))
    interpret(func, *given)
    return [array.tobytes() for array in given]


@pytest.mark.parametrize("text", [MATMUL, STRIDED, BROADCAST, SCATTER])
def test_every_pass_keeps_the_values(text: str) -> None:
    original = parse(text)
    wanted = bytes_of(original, original)
    func = original
    for run in PASSES:
        func = run(func)
        assert bytes_of(func, original) == wanted, run


def test_the_initial_value_stands_before_the_reduction() -> None:
    text = show(lower_blocks(parse(MATMUL)))
    assert text.index("= b[") < text.index("for k in serial(2)")


def test_a_vectorized_reduction_is_a_group_sum() -> None:
    func = vectorized(flatten_buffers(simplify_func(lower_blocks(parse(MATMUL)))))
    assert "group_sum(" in show(func)


def test_lanes_in_another_order_are_transposed() -> None:
    assert "transpose(" in show(vectorized(flatten_buffers(parse(STRIDED))))


def test_an_axis_as_a_value_cannot_be_vectorized() -> None:
    text = """
@prim_func
def f(y: Buffer[i32, (4,)]):
    for i in vectorized(4):
        y[i] = i
"""
    with pytest.raises(VectorizeError, match="the value must not use the axis i itself"):
        vectorized(parse(text))


def pitched(rows: int, size: int, pitch: int) -> PrimFunc:
    """Rows put together, 16 bytes at a time."""
    return parse(
        f"""
@prim_func
def f(x: Buffer[u8, ({rows}, {pitch})], y: Buffer[u8, ({rows * size},)]):
    for i in unrolled({rows * size // 16}):
        for j in vectorized(16):
            y[i * 16 + j] = x[(i * 16 + j) // {size}, (i * 16 + j) % {size}]
"""
    )


@pytest.mark.parametrize("sizes", [(16, 5, 8), (32, 11, 16), (16, 13, 13), (16, 8, 16), (16, 3, 4)])
def test_lanes_that_lie_in_runs_are_chosen(sizes: tuple[int, int, int]) -> None:
    """Those that lie together, or as digits say, are not."""
    rows, size, pitch = sizes
    func = pitched(*sizes)
    before = flatten_buffers(func)
    after = vectorized(before)
    assert ("select" in show(after)) == (size in (3, 5, 11))
    x = np.random.default_rng(size).integers(0, 255, (rows, pitch), np.uint8)
    y = np.zeros(rows * size, np.uint8)
    interpret(unroll_loops(after), x.reshape(-1), y)
    assert np.array_equal(y, x[:, :size].reshape(-1))


def test_bytes_in_their_places_are_masked() -> None:
    func = parse(
        """
@prim_func
def f(x: Buffer[u8, (512,)], y: Buffer[u8, (512,)]):
    for i in vectorized(8):
        for c in vectorized(64):
            y[i * 64 + c] = select(c < 48, x[i * 64 + c], 0)
"""
    )
    assert show(vectorized(func)).count("x[") == 1


@pytest.mark.parametrize(("condition", "chosen"),
                         [("t < 1", False), ("t >= 1", False), ("t < 3", False), ("t == 2", False),
                          ("i < 4", True), ("t < i", True)])  # fmt: skip
def test_numbers_lie_beside_loads_where_whole_registers_are_so(
    condition: str, chosen: bool
) -> None:
    """Words of four rows of bytes, some of which are a number: none is chosen lane by lane where
    it depends on the place in the word alone."""
    func = parse(
        f"""
@prim_func
def f(x: Buffer[u8, (512,)], y: Buffer[u8, (512,)]):
    for j in vectorized(4):
        for i in vectorized(32):
            for t in vectorized(4):
                y[j * 128 + i * 4 + t] = select({condition}, 7, x[t * 128 + i * 4 + j])
"""
    )
    after = vectorized(func)
    assert ("select" in show(after)) == chosen
    x, y = np.random.default_rng(0).integers(8, 255, 512, np.uint8), np.zeros(512, np.uint8)
    interpret(after, x, y)
    t, i = np.arange(4), np.arange(32)[:, None]
    words = x.reshape(4, 32, 4).transpose(2, 1, 0)
    holds = eval(condition, {"t": t, "i": i})
    assert np.array_equal(y, np.where(holds, 7, words).reshape(-1))
