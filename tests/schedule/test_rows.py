"""Bytes in planes, wider elements, loops that run on: primitives for many rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.schedule.schedule import Schedule
from dovetail.tir.script import show
from dovetail.tir.types import i32
from tests.schedule.kernels import kernel, same


def test_a_table_and_what_is_looked_up_in_it_are_planes_of_bytes() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.split_bytes("t")
    assert [block.name for block in sch.split_bytes("e")] == ["look_0", "look_1"]
    text = show(sch.func)
    assert "e_1[vi, vj] = t_1[cast(i32, m[vi] - x[vi, vj])]" in text
    assert "s[vi] + (cast(i32, e_0[vi, vj]) + (cast(i32, e_1[vi, vj]) << 8))" in text
    np.testing.assert_array_equal(sch.func.constants["t_1"], func.constants["t"] >> 8)
    same(sch, func)


def test_values_that_are_no_planes_are_shifted_apart() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.split_bytes("e")
    assert "e_1[vi, vj] = cast(u8, t[cast(i32, m[vi] - x[vi, vj])] >> 8)" in show(sch.func)
    same(sch, func)


def test_maxima_are_kept_in_words() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.retype("m", i32)
    text = show(sch.func)
    assert "m[vi] = max(m[vi], cast(i32, x[vi, vj]))" in text
    assert "cast(u8, m[vi]) - x[vi, vj]" in text
    same(sch, func)


def test_results_that_nobody_reads_fill_a_register() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.transform_layout("m", lambda i: (i // 3, i % 3))
    (row,) = (loop for loop in sch.loops("part") if loop.name.startswith("i"))
    outer, _ = sch.split(row, (None, 3))
    sch.rfactor("most", "j")
    sch.transform_layout("m_rf", lambda j, t, i: (t, i, j))
    for block in ("sum", "look", "most", "most_rf"):
        sch.compute_at(block, outer)
    sch.resize(sch.loops("most")[1], 8)
    assert sch.get_buffer("m").shape == (2, 8) and sch.get_buffer("m_rf").shape == (2, 8, 12)
    same(sch, func)


@pytest.mark.parametrize("block", ["most", "sum"])
def test_further_steps_of_a_reduction_change_nothing(block: str) -> None:
    func = kernel("rows")
    sch = Schedule(func)
    loop = sch.loops("sum")[1] if block == "sum" else "j"
    if block == "sum":
        sch.split_bytes("e")
        sch.resize(loop, 16)
        assert "cast(i32, select(vj < 12, e_0[vi, vj], 0))" in show(sch.func)
        assert sch.get_buffer("e_0").shape == (6, 16)
    else:
        sch.cache_read("most", "x", "tcm")
        sch.resize(loop, 16)
        assert "max(m[vi], select(vj < 12, x_tcm[vi, vj], 0))" in show(sch.func)
    same(sch, func)


def test_two_blocks_read_one_copy() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.cache_read("most", "x", "tcm", also=("look",))
    assert show(sch.func).count("x[") == 1
    same(sch, func)


def test_partial_results_of_a_middle_loop() -> None:
    func = kernel("rows")
    sch = Schedule(func)
    sch.split("j", (2, 3, 2))
    made = sch.rfactor("most", "j_1")
    assert sch.get_buffer("m_rf").shape == (3, 6)
    assert sum(it.reduce for it in sch.get_block(made).iters) == 2
    same(sch, func)
