"""Sample kernels for the tests of schedules, small enough to interpret many times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.schedule.schedule import Schedule
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

MATMUL = """
@prim_func
def matmul(x: Buffer[u8, (12, 16)], w: Buffer[i8, (16, 40)], b: Buffer[i32, (40,)],
           y: Buffer[u8, (12, 40)]):
    acc = alloc(i32, (12, 40))
    for m in range(12):
        for n in range(40):
            for k in range(16):
                with block("matmul"):
                    vm = spatial(12, m)
                    vn = spatial(40, n)
                    vk = reduce(16, k)
                    with init():
                        acc[vm, vn] = b[vn]
                    acc[vm, vn] = acc[vm, vn] + cast(i32, x[vm, vk]) * cast(i32, w[vk, vn])
    for m in range(12):
        for n in range(40):
            with block("requant"):
                vm = spatial(12, m)
                vn = spatial(40, n)
                y[vm, vn] = sat_cast(u8, rounding_mul_shr(acc[vm, vn], 1518500250, 40) + 3)
"""

CONV = """
@prim_func
def conv(x: Buffer[u8, (1, 9, 8, 8)], w: Buffer[i8, (3, 3, 8, 64)], b: Buffer[i32, (64,)],
         y: Buffer[u8, (1, 9, 8, 64)]):
    xp = alloc(u8, (1, 11, 10, 8))
    acc = alloc(i32, (1, 9, 8, 64))
    for n in range(1):
        for h in range(11):
            for w_ in range(10):
                for c in range(8):
                    with block("pad"):
                        vn = spatial(1, n)
                        vh = spatial(11, h)
                        vw = spatial(10, w_)
                        vc = spatial(8, c)
                        xp[vn, vh, vw, vc] = select(
                            (1 <= vh) & (vh < 10) & (1 <= vw) & (vw < 9),
                            x[vn, min(max(vh - 1, 0), 8), min(max(vw - 1, 0), 7), vc], u8(7))
    for n in range(1):
        for h in range(9):
            for w_ in range(8):
                for o in range(64):
                    for kh in range(3):
                        for kw in range(3):
                            for c in range(8):
                                with block("conv"):
                                    vn = spatial(1, n)
                                    vh = spatial(9, h)
                                    vw = spatial(8, w_)
                                    vo = spatial(64, o)
                                    vkh = reduce(3, kh)
                                    vkw = reduce(3, kw)
                                    vc = reduce(8, c)
                                    with init():
                                        acc[vn, vh, vw, vo] = b[vo]
                                    acc[vn, vh, vw, vo] = acc[vn, vh, vw, vo] + cast(
                                        i32, xp[vn, vh + vkh, vw + vkw, vc]) * cast(
                                        i32, w[vkh, vkw, vc, vo])
    for n in range(1):
        for h in range(9):
            for w_ in range(8):
                for o in range(64):
                    with block("requant"):
                        vn = spatial(1, n)
                        vh = spatial(9, h)
                        vw = spatial(8, w_)
                        vo = spatial(64, o)
                        y[vn, vh, vw, vo] = sat_cast(u8, rounding_mul_shr(acc[vn, vh, vw, vo],
                                                     1518500250, 40) + 3)
"""

CHAIN = """
@prim_func
def chain(x: Buffer[u8, (10, 24)], z: Buffer[u8, (10, 24)], y: Buffer[u8, (10, 24)]):
    a = alloc(i32, (10, 24))
    c = alloc(i32, (10, 24))
    for i in range(10):
        for j in range(24):
            with block("scale"):
                vi = spatial(10, i)
                vj = spatial(24, j)
                a[vi, vj] = cast(i32, x[vi, vj]) * 3 - 17
    for i in range(10):
        for j in range(24):
            with block("add"):
                vi = spatial(10, i)
                vj = spatial(24, j)
                c[vi, vj] = a[vi, vj] + cast(i32, z[vi, vj])
    for i in range(10):
        for j in range(24):
            with block("clip"):
                vi = spatial(10, i)
                vj = spatial(24, j)
                y[vi, vj] = sat_cast(u8, c[vi, vj])
"""

POOL = """
@prim_func
def pool(x: Buffer[u8, (9, 11, 16)], y: Buffer[u8, (4, 5, 16)], s: Buffer[i32, (16,)]):
    best = alloc(u8, (4, 5, 16))
    for h in range(4):
        for w in range(5):
            for c in range(16):
                for kh in range(3):
                    for kw in range(3):
                        with block("pool"):
                            vh = spatial(4, h)
                            vw = spatial(5, w)
                            vc = spatial(16, c)
                            vkh = reduce(3, kh)
                            vkw = reduce(3, kw)
                            with init():
                                best[vh, vw, vc] = u8(0)
                            best[vh, vw, vc] = max(best[vh, vw, vc],
                                                   x[vh * 2 + vkh, vw * 2 + vkw, vc])
    for h in range(4):
        for w in range(5):
            for c in range(16):
                with block("copy"):
                    vh = spatial(4, h)
                    vw = spatial(5, w)
                    vc = spatial(16, c)
                    y[vh, vw, vc] = best[vh, vw, vc]
    for c in range(16):
        for h in range(4):
            for w in range(5):
                with block("sum"):
                    vc = spatial(16, c)
                    vh = reduce(4, h)
                    vw = reduce(5, w)
                    with init():
                        s[vc] = 0
                    s[vc] = s[vc] + cast(i32, best[vh, vw, vc])
"""

ROWS = """
@prim_func
def rows(x: Buffer[u8, (6, 12)], t: Buffer[u16, (256,)], y: Buffer[u8, (6, 12)]):
    m = alloc(u8, (6,))
    e = alloc(u16, (6, 12))
    s = alloc(i32, (6,))
    for i in range(6):
        for j in range(12):
            with block("most"):
                vi = spatial(6, i)
                vj = reduce(12, j)
                with init():
                    m[vi] = u8(0)
                m[vi] = max(m[vi], x[vi, vj])
    for i in range(6):
        for j in range(12):
            with block("look"):
                vi = spatial(6, i)
                vj = spatial(12, j)
                e[vi, vj] = t[cast(i32, m[vi] - x[vi, vj])]
    for i in range(6):
        for j in range(12):
            with block("sum"):
                vi = spatial(6, i)
                vj = reduce(12, j)
                with init():
                    s[vi] = 0
                s[vi] = s[vi] + cast(i32, e[vi, vj])
    for i in range(6):
        for j in range(12):
            with block("part"):
                vi = spatial(6, i)
                vj = spatial(12, j)
                y[vi, vj] = cast(u8, s[vi] - cast(i32, e[vi, vj]) >> 4)
"""

PADDED = """
@prim_func
def padded(x: Buffer[u8, (7, 10)], y: Buffer[u8, (4, 10)], s: Buffer[i32, (10,)]):
    p = alloc(u8, (9, 12))
    m = alloc(u8, (4, 10))
    for h in range(9):
        for w in range(12):
            with block("fill"):
                vh = spatial(9, h)
                vw = spatial(12, w)
                p[vh, vw] = u8(0)
    for h in range(7):
        for w in range(10):
            with block("copy"):
                vh = spatial(7, h)
                vw = spatial(10, w)
                p[vh + 1, vw + 1] = x[vh, vw]
    for h in range(4):
        for w in range(10):
            for kh in range(3):
                for kw in range(3):
                    with block("max"):
                        vh = spatial(4, h)
                        vw = spatial(10, w)
                        vkh = reduce(3, kh)
                        vkw = reduce(3, kw)
                        with init():
                            m[vh, vw] = u8(0)
                        m[vh, vw] = max(m[vh, vw], p[vh * 2 + vkh, vw + vkw])
    for h in range(4):
        for w in range(10):
            with block("out"):
                vh = spatial(4, h)
                vw = spatial(10, w)
                y[vh, vw] = m[vh, vw]
    for w in range(10):
        for h in range(7):
            with block("sum"):
                vw = spatial(10, w)
                vh = reduce(7, h)
                with init():
                    s[vw] = -5
                s[vw] = s[vw] + cast(i32, x[vh, vw])
"""

TEXTS = {
    "matmul": MATMUL, "conv": CONV, "chain": CHAIN, "pool": POOL, "rows": ROWS, "padded": PADDED,
}  # fmt: skip
OUTPUTS = ("y", "s")
Array = NDArray[Any]


def kernel(name: str) -> PrimFunc:
    """A sample kernel, its weights and biases constants."""
    func = parse(TEXTS[name])
    rng = np.random.default_rng(5)
    for param in func.params:
        if param.name in ("w", "b"):
            low, high = (-127, 127) if param.name == "w" else (-9999, 9999)
            values = rng.integers(low, high, param.shape, param.type.numpy, endpoint=True)
            func.constants[param.name] = values
        if param.name == "t":
            func.constants["t"] = rng.integers(0, 1 << 16, param.shape, np.uint16)
    return func


def outputs(func: PrimFunc, seed: int = 0) -> dict[str, Array]:
    """What ``func`` computes from random inputs; buffers that are no result are left out."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for param in func.params:
        values = func.constants.get(param.name)
        if values is None:
            values = rng.integers(0, 256, param.shape).astype(param.type.numpy)
        assert values.shape == param.shape and values.dtype == param.type.numpy
        arrays[param.name] = values.copy()
    for name in arrays.keys() & OUTPUTS:
        arrays[name][...] = 77
    interpret(func, *arrays.values())
    return {name: arrays[name] for name in OUTPUTS if name in arrays}


def same(sch: Schedule, func: PrimFunc) -> None:
    """The schedule computes what ``func`` does, and its trace replays to the same function."""
    want, got = outputs(func), outputs(sch.func)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values, err_msg=f"{name}\n{sch.trace}")
    again = Schedule(func)
    exec(str(sch.trace), {"sch": again})
    assert again.func == sch.func
    assert sch.trace.replay(Schedule(func)).func == sch.func
