"""Elements stored once for each step of a loop: sums keep their values, copies write as often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dovetail.schedule.schedule import Schedule
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

SUMS = """
@prim_func
def sums(x: Buffer[u8, (5,)], f: Buffer[i8, (3, 5)], b: Buffer[i32, (2,)], y: Buffer[i32, (3, 2)]):
    a = alloc(u8, (5,), "tcm")
    for c in range(5):
        with block("copy"):
            vc = spatial(5, c)
            a[vc] = x[vc]
    for o in range(3):
        for p in range(2):
            for c in range(5):
                with block("sum"):
                    vo = spatial(3, o)
                    vp = spatial(2, p)
                    vc = reduce(5, c)
                    with init():
                        y[vo, vp] = b[vp]
                    y[vo, vp] = y[vo, vp] + cast(i32, a[vc]) * cast(i32, f[vo, vc])
"""
RNG = np.random.default_rng(0)
DATA = {"f": RNG.integers(-128, 128, (3, 5), np.int8), "b": np.array([7, -9], np.int32)}


def summed(func: PrimFunc) -> np.ndarray:
    given = np.random.default_rng(1).integers(0, 256, 5, np.uint8)
    result = np.zeros((3, 2), np.int32)
    interpret(func, given, func.constants["f"], func.constants["b"], result)
    return result


def test_elements_are_stored_once_for_each_step() -> None:
    func = replace(parse(SUMS), constants=DATA)
    sch = Schedule(func)
    o, p, _ = sch.loops("sum")
    sch.repeat("sum", "a", o)
    sch.repeat("sum", "f", p)
    sch.repeat("sum", "b", o)
    sch.transform_layout("a", lambda c, again: (again, c))
    shapes = [sch.get_buffer(name).shape for name in "afb"]
    assert shapes == [(3, 5), (3, 5, 2), (2, 3)]
    assert len(sch.loops("copy")) == 2
    assert np.array_equal(summed(sch.func), summed(func))
