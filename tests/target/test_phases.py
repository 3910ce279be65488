"""What a program may not keep from one phase to the next, and rounding where lanes are full."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.schedule.schedule import Schedule
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.tir.script import parse

SUM = """
@prim_func
def total(x: Buffer[i32, (4, 64)], y: Buffer[i32, (4, 64)]):
    s = alloc(i32, (1,), "reg")
    for k in range(64):
        with block("sum"):
            vk = reduce(64, k)
            with init():
                s[0] = 0
            s[0] = s[0] + x[0, vk]
    for i in range(4):
        for j in range(64):
            with block("add"):
                vi = spatial(4, i)
                vj = spatial(64, j)
                y[vi, vj] = x[vi, vj] + s[0]
"""

ROUND = """
@prim_func
def rounded(x: Buffer[i32, (4, 64)], y: Buffer[i32, (4, 64)]):
    for i in range(4):
        for j in range(64):
            with block("round"):
                vi = spatial(4, i)
                vj = spatial(64, j)
                y[vi, vj] = rounding_shr(x[vi, vj], SHIFT)
"""


def test_a_register_does_not_outlive_its_phase() -> None:
    sch = Schedule(parse(SUM))
    sch.parallel(sch.loops("add")[0])
    with pytest.raises(SelectError) as caught:
        dsp().build(sch.func)
    assert str(caught.value) == (
        "registers: a value must be made in the phase that reads it, but got s, which another one "
        "makes; set its scope to tcm"
    )
    sch.set_scope("s", "tcm")
    x, y = np.arange(256, dtype=np.int32).reshape(4, 64), np.zeros((4, 64), np.int32)
    jit(dsp().build(sch.func))(x, y)
    np.testing.assert_array_equal(y, x + x[0].sum())


@pytest.mark.parametrize("shift", [1, 2, 16, 31])
@pytest.mark.parametrize("vector", [False, True])
def test_a_rounding_shift_of_the_largest_values_does_not_wrap(shift: int, vector: bool) -> None:
    sch = Schedule(parse(ROUND.replace("SHIFT", str(shift))))
    if vector:
        _, lanes = sch.split(sch.loops("round")[1], (None, 32))
        sch.vectorize(lanes)
    x = np.random.default_rng(0).integers(-(2**31), 2**31, (4, 64)).astype(np.int32)
    x[0, :4] = 2**31 - 1, 2**31 - 2, -(2**31), 1 - 2**31
    y = np.zeros_like(x)
    jit(dsp().build(sch.func))(x, y)
    np.testing.assert_array_equal(y, (x.astype(np.int64) + (1 << shift - 1)) >> shift)
