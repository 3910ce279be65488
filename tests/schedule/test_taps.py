"""Taps in words: sums over windows of any step and distance keep their values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.schedule.schedule import Schedule
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.script.show import show
from dovetail.tir.stmt import PrimFunc

WINDOW = """
@prim_func
def window(x: Buffer[u8, ({long}, 2)], f: Buffer[i8, ({taps}, 2)], y: Buffer[i32, ({count}, 2)]):
    a = alloc(u8, ({long}, 2), "tcm")
    for i in range({long}):
        for j in range(2):
            with block("copy"):
                vi = spatial({long}, i)
                vj = spatial(2, j)
                a[vi, vj] = x[vi, vj]
    for w in range({count}):
        for c in range(2):
            for k in range({taps}):
                with block("sum"):
                    vw = spatial({count}, w)
                    vc = spatial(2, c)
                    vk = reduce({taps}, k)
                    with init():
                        y[vw, vc] = 7
                    y[vw, vc] = y[vw, vc] + (
                        cast(i32, {x}[vw * {by} + vk * {apart} + {start}, vc])
                        * cast(i32, f[vk, vc]))
"""


def window(local: bool, count: int, taps: int, by: int, apart: int, start: int) -> PrimFunc:
    """A sum over a window of the parameter, or of a local copy of it."""
    long = (count - 1) * by + (taps - 1) * apart + start + 1
    text = WINDOW.format(long=long, taps=taps, count=count, by=by, apart=apart, start=start,
                         x="a" if local else "x")  # fmt: skip
    data = np.random.default_rng(taps).integers(-128, 128, (taps, 2), np.int8)
    return replace(parse(text), constants={"f": data})


def summed(func: PrimFunc) -> np.ndarray:
    x, _, y = func.params
    given_ = np.random.default_rng(0).integers(0, 256, x.shape, np.uint8)
    result = np.zeros(y.shape, np.int32)
    interpret(func, given_, func.constants["f"], result)
    return result


@settings(max_examples=30, deadline=None)
@given(st.booleans(), st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3),
       st.integers(0, 3), st.sampled_from([1, 2, 4]))  # fmt: skip
def test_sums_of_words_are_sums_of_taps(
    local: bool, count: int, taps: int, by: int, apart: int, start: int, step: int
) -> None:
    func = window(local, count, taps, by, apart, start)
    sch = Schedule(func)
    words = sch.word_taps("sum", "k", step)
    assert [it.extent for it in sch.get_block("sum").iters if it.reduce][1] == 4
    assert [it.extent for it in sch.get_block(words).iters][1] == 4
    assert np.array_equal(summed(sch.func), summed(func))
    assert sch.trace.replay(Schedule(func)).func == sch.func


def test_windows_across_words_that_do_not_overlap_read_one_word() -> None:
    """Of the next word they read the first places, in the same places."""
    func = window(False, 8, 3, 1, 1, 0)
    sch = Schedule(func)
    words = sch.word_taps("sum", "k", 4)
    assert [it.extent for it in sch.get_block("sum").iters if it.reduce] == [1, 4]
    assert sch.get_block(words).iters[0].extent == 3  # the last window begins in the second one
    assert "select(vk_b < vw % 4 // 2 * 2" in show(sch.func)
    assert np.array_equal(summed(sch.func), summed(func))
