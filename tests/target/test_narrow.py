"""Kernels on vectors of other lengths: legalized, selected, built and run, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.target.jit import jit
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from tests.target.narrow import built
from tests.tir.helpers import random_array

SIZES = [16, 32, 64]

KERNELS = {
    "add": """
def f(x: Buffer[i32, (64,)], y: Buffer[i32, (64,)], z: Buffer[i32, (64,)]):
    for i in vectorized(64):
        z[i] = x[i] + y[i] * 3
""",
    "rows": """
def f(x: Buffer[i16, (8, 64)], y: Buffer[i16, (8, 64)]):
    for h in serial(8):
        for i in vectorized(64):
            y[h, i] = max(x[h, i], 0) - 7
""",
    "cast": """
def f(x: Buffer[u8, (64,)], y: Buffer[i32, (64,)]):
    for i in vectorized(64):
        y[i] = cast(i32, x[i]) + 100000
""",
    "saturate": """
def f(x: Buffer[i32, (64,)], y: Buffer[i8, (64,)]):
    for i in vectorized(64):
        y[i] = sat_cast(i8, x[i] >> 20)
""",
    "dot": """
def f(x: Buffer[u8, (64, 4)], w: Buffer[i8, (64, 4)], y: Buffer[i32, (64,)]):
    for i in vectorized(64):
        for k in vectorized(4):
            y[i] = y[i] + cast(i32, x[i, k]) * cast(i32, w[i, k])
""",
    "accumulate": """
def f(x: Buffer[u8, (10, 4)], w: Buffer[i8, (10, 64, 4)], y: Buffer[i32, (64,)]):
    acc = alloc(i32, (64,), "reg")
    for i in vectorized(64):
        acc[i] = 0
    for t in serial(10):
        for i in vectorized(64):
            for k in vectorized(4):
                acc[i] = acc[i] + cast(i32, x[t, k]) * cast(i32, w[t, i, k])
    for i in vectorized(64):
        y[i] = acc[i]
""",
    "sum": """
def f(x: Buffer[i32, (64, 16)], y: Buffer[i32, (64,)]):
    for o in vectorized(64):
        for i in vectorized(16):
            y[o] = y[o] + x[o, i]
""",
    "transpose": """
def f(x: Buffer[u8, (64, 4)], y: Buffer[u8, (4, 64)]):
    for c in vectorized(4):
        for i in vectorized(64):
            y[c, i] = x[i, c]
""",
    "choose": """
def f(x: Buffer[i16, (64,)], y: Buffer[i16, (64,)], z: Buffer[i16, (64,)]):
    for i in vectorized(64):
        z[i] = select(x[i] < y[i], x[i], y[i] + 1)
""",
    "repeat": """
def f(x: Buffer[i32, (64,)], y: Buffer[i32, (64, 4)]):
    for i in vectorized(64):
        for k in vectorized(4):
            y[i, k] = x[i] + 1
""",
    "again": """
def f(x: Buffer[i32, (4,)], y: Buffer[i32, (16, 4)]):
    for h in vectorized(16):
        for i in vectorized(4):
            y[h, i] = x[i] + 1
""",
    "scalar": """
def f(x: Buffer[i32, (7,)], y: Buffer[i32, (7,)]):
    for i in serial(7):
        y[i] = x[i] * 5 + 1
""",
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KERNELS)
def test_values_are_the_interpreters(name: str, size: int) -> None:
    func = parse(KERNELS[name])
    program = built(func, size)
    assert program.vector == size
    rng = np.random.default_rng(0)
    buffers = [random_array(p.type, p.shape, rng) for p in func.params]
    wanted = [data.copy() for data in buffers]
    interpret(func, *wanted)
    jit(program)(*buffers)
    for got, want in zip(buffers, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_whole_register_again_and_again_is_loaded_once() -> None:
    ops = [op.instruction.name for op in built(parse(KERNELS["again"]), 16).ops()]
    assert sorted(n for n in ops if n.startswith(("load", "splat"))) == ["load_16", "splat_i32"]
