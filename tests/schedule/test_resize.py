"""Blocks that run on into bytes that mean nothing, and staged ones: the same elements as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dovetail.schedule.schedule import Schedule
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.spell import show_expr
from dovetail.tir.stmt import PrimFunc, Store

TURN = """
@prim_func
def turn(x: Buffer[u8, (5, 7)], y: Buffer[u8, (7, 8)]):
    for i in range(7):
        for k in range(5):
            with block("copy"):
                vi = spatial(7, i)
                vk = spatial(5, k)
                y[vi, vk] = x[vk, vi]
"""


SCALE = """
@prim_func
def scale(x: Buffer[i32, (3, 4, 2)], f: Buffer[i32, (2,)], y: Buffer[i32, (3, 4, 2)]):
    for i in range(3):
        for j in range(4):
            for k in range(2):
                with block("scale"):
                    vi = spatial(3, i)
                    vj = spatial(4, j)
                    vk = spatial(2, k)
                    y[vi, vj, vk] = x[vi, vj, vk] * f[vk]
"""


def scaled(func: PrimFunc) -> None:
    x, f = np.arange(24, dtype=np.int32).reshape(3, 4, 2), np.array([3, 5], np.int32)
    y = np.zeros((3, 4, 2), np.int32)
    interpret(func, x, func.constants["f"], y)
    assert np.array_equal(y, x * f)


def test_axes_are_joined_in_any_order() -> None:
    sch = Schedule(replace(parse(SCALE), constants={"f": np.array([3, 5], np.int32)}))
    sch.join("k", "i")
    assert [it.extent for it in sch.get_block("scale").iters] == [4, 6]
    scaled(sch.func)


def turned(func: PrimFunc) -> np.ndarray:
    x = np.arange(35, dtype=np.uint8).reshape(5, 7)
    y = np.zeros((7, 8), np.uint8)
    interpret(func, x, y)
    assert np.array_equal(y[:, :5], x.T)
    return y


def test_a_grown_block_stores_the_last_elements_again_where_nothing_is_meant() -> None:
    sch = Schedule(replace(parse(TURN), attrs={"meant": {"y": (7, 5)}}))
    sch.resize(sch.loops("copy")[1], 8)
    y = turned(sch.func)
    assert (y[:, 5:] == y[:, 4:5]).all()


def test_a_staged_block_takes_any_layout() -> None:
    sch = Schedule(replace(parse(TURN), attrs={"meant": {"y": (7, 5)}}))
    stage = sch.stage("copy", "tcm")
    sch.resize(sch.loops(stage)[1], 6)
    assert [it.extent for it in sch.get_block(stage).iters] == [7, 6]
    sch.transform_layout("copy_tcm", lambda i, k: (k // 2, i, k % 2))
    sch.resize(sch.loops("copy")[1], 8)
    turned(sch.func)


SQUARES = """
@prim_func
def squares(x: Buffer[u8, (4, 8)], y: Buffer[i32, (4,)]):
    for i in range(4):
        for k in range(5):
            with block("squares"):
                vi = spatial(4, i)
                vk = reduce(5, k)
                with init():
                    y[vi] = 0
                y[vi] = y[vi] + VALUE
"""


@pytest.mark.parametrize(
    ("value", "longer"),
    [
        ("cast(i32, widening_mul(x[vi, vk], x[vi, vk]))",
         "cast(i32, widening_mul(select(vk < 5, x[vi, vk], 0), select(vk < 5, x[vi, vk], 0)))"),
        ("cast(i32, widening_mul(x[vi, vk], x[vk % 4, vi]))",  # one factor's zeros would do, too
         "select(vk < 5, cast(i32, widening_mul(x[vi, vk], x[vk % 4, vi])), 0)"),
    ],
)  # fmt: skip
def test_squares_run_on_over_bytes_that_are_0(value: str, longer: str) -> None:
    """The bytes are chosen before they are wide."""
    sch = Schedule(parse(SQUARES.replace("VALUE", value)))
    sch.resize(sch.loops("squares")[1], 8)
    body = sch.get_block("squares").body
    assert isinstance(body, Store) and show_expr(body.value) == f"y[vi] + {longer}"
    x, found, wanted = np.arange(32, dtype=np.uint8).reshape(4, 8) * 7, *np.zeros((2, 4), np.int32)
    interpret(sch.func, x, found)
    interpret(parse(SQUARES.replace("VALUE", value)), x, wanted)
    assert np.array_equal(found, wanted)


def test_an_overlapping_tail_is_a_whole_step() -> None:
    sch = Schedule(parse(TURN))
    outer, inner, tail = sch.split("k", (None, 2), tail="overlap")
    assert [sch.get_loop(loop).extent for loop in (outer, inner, tail)] == [2, 2, 2]
    turned(sch.func)
