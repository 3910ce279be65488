"""Kernels that a person writes, and a template for one of them, in a module that workers import."""

from __future__ import annotations

import numpy as np

from dovetail import Estimate, Schedule, Space, Template, choice, flag
from dovetail.schedule.knobs import Point
from dovetail.target.machine_facts import Machine
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

BLEND = parse("""
def blend(a: Buffer[u8, (32, 256), "tcm"], b: Buffer[u8, (32, 256), "tcm"],
          y: Buffer[u8, (32, 256), "tcm"]):
    for i in range(32):
        for j in range(256):
            with block("blend"):
                vi = spatial(32, i)
                vj = spatial(256, j)
                y[vi, vj] = cast(u8, (cast(u16, a[vi, vj]) + cast(u16, b[vi, vj]) + 1) >> 1)
""")

# Reads four rows of which each output reads three, from DDR; writes DDR.
ROWS = parse("""
def rows(x: Buffer[u8, (18, 128)], y: Buffer[i16, (16, 128)]):
    for i in range(16):
        for j in range(128):
            with block("rows"):
                vi = spatial(16, i)
                vj = spatial(128, j)
                y[vi, vj] = cast(i16, x[vi, vj]) - cast(i16, x[vi + 2, vj])
""")

# A product with weights that may be constant; the output is no input, though its block reads it.
PRODUCT = parse("""
def product(x: Buffer[i8, (4, 16), "tcm"], w: Buffer[i8, (16, 32), "tcm"],
            y: Buffer[i32, (4, 32), "tcm"]):
    for m in range(4):
        for n in range(32):
            for k in range(16):
                with block("dot"):
                    vm = spatial(4, m)
                    vn = spatial(32, n)
                    vk = reduce(16, k)
                    with init():
                        y[vm, vn] = 0
                    y[vm, vn] = y[vm, vn] + cast(i32, x[vm, vk]) * cast(i32, w[vk, vn])
""")

# ``total`` is read and written; ``low`` is written only, and not everywhere; two outputs.
ADD = parse("""
def add(x: Buffer[i32, (64,), "tcm"], total: Buffer[i32, (64,), "tcm"],
        low: Buffer[u8, (96,), "tcm"]):
    for i in range(64):
        with block("total"):
            vi = spatial(64, i)
            total[vi] = total[vi] + x[vi]
    for i in range(64):
        with block("low"):
            vi = spatial(64, i)
            low[vi] = cast(u8, total[vi])
""")

LOOKUP = parse("""
def lookup(x: Buffer[u8, (512,), "tcm"], t: Buffer[u8, (256,), "tcm"],
           y: Buffer[u8, (512,), "tcm"]):
    for i in range(512):
        with block("look"):
            vi = spatial(512, i)
            y[vi] = t[cast(i32, x[vi])]
""")

WIDE = parse("""
def wide(a: Buffer[i32, (64,), "tcm"], b: Buffer[i16, (64,), "tcm"], c: Buffer[u16, (64,), "tcm"],
         y: Buffer[i32, (64,), "tcm"], z: Buffer[i16, (64,), "tcm"]):
    for i in range(64):
        with block("y"):
            vi = spatial(64, i)
            y[vi] = min(a[vi], 1000) + cast(i32, c[vi])
    for i in range(64):
        with block("z"):
            vi = spatial(64, i)
            z[vi] = max(b[vi], -7) >> 1
""")

# Something of each output stays as it was: every second row, and what ``sums`` adds to.
EVEN = parse("""
def even(x: Buffer[u8, (16, 128)], y: Buffer[u8, (32, 128)], sums: Buffer[i16, (16, 128)]):
    for i in range(16):
        for j in range(128):
            with block("even"):
                vi = spatial(16, i)
                vj = spatial(128, j)
                y[vi * 2, vj] = x[vi, vj] + 1
    for i in range(16):
        for j in range(128):
            with block("sums"):
                vi = spatial(16, i)
                vj = spatial(128, j)
                sums[vi, vj] = sums[vi, vj] + cast(i16, x[vi, vj])
""")

DIVIDE = parse("""
def divide(a: Buffer[i8, (64,), "tcm"], b: Buffer[u8, (64,), "tcm"],
           y: Buffer[i32, (64,), "tcm"]):
    for i in range(64):
        with block("y"):
            vi = spatial(64, i)
            y[vi] = cast(i32, a[vi]) // cast(i32, b[vi])
""")

KERNELS = (BLEND, ROWS, PRODUCT, ADD, LOOKUP, WIDE, EVEN, DIVIDE)


def strides(func: PrimFunc, machine: Machine) -> Template | None:
    """A template as a person writes it, with all that one has."""
    if func.name != "blend":
        return None
    space = Space((choice("lanes", (32, 128, 64)), flag("threads")))

    def schedule(point: Point) -> Schedule:
        sch = Schedule(func)
        i, j = sch.loops("blend")
        lanes = point["lanes"]
        assert isinstance(lanes, int)
        _, j_1 = sch.split(j, (None, lanes))
        sch.vectorize(j_1)
        if point["threads"]:
            sch.parallel(i)
        return sch

    def estimate(point: Point) -> Estimate:
        lanes = point["lanes"]
        assert isinstance(lanes, int)
        return Estimate(8192 / lanes / (machine.threads if point["threads"] else 1), {})

    return Template("strides", func, machine, space, schedule, estimate)


def plain(func: PrimFunc, machine: Machine) -> Template | None:
    """The least template: one knob, no estimate."""

    def schedule(point: Point) -> Schedule:
        sch = Schedule(func)
        block = sch.blocks()[0]
        if point["threads"]:
            sch.parallel(sch.loops(block)[0])
        return sch

    return Template("plain", func, machine, Space((flag("threads"),)), schedule)


def image(
    seed: int, shape: tuple[int, ...] = (32, 256)
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
