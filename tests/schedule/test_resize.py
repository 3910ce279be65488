"""Blocks that run on into bytes that mean nothing, and staged ones: the same elements as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dovetail.schedule.schedule import Schedule
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

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


def test_an_overlapping_tail_is_a_whole_step() -> None:
    sch = Schedule(parse(TURN))
    outer, inner, tail = sch.split("k", (None, 2), tail="overlap")
    assert [sch.get_loop(loop).extent for loop in (outer, inner, tail)] == [2, 2, 2]
    turned(sch.func)
