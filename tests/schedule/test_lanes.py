"""Plain kernels: the default schedule has vector code and the interpreter's bytes, and is cheap."""

from __future__ import annotations

import re

import numpy as np
import pytest

import dovetail
from dovetail.target.dsp.target import dsp
from dovetail.tir.script import parse

IMAGE = """
@prim_func
def k(x: Buffer[u8, (34, 384), "tcm"], y: Buffer[u8, (32, 256), "tcm"]):
    for i in range(32):
        for j in range(256):
            with block("b"):
                vi = spatial(32, i)
                vj = spatial(256, j)
                y[vi, vj] = {value}
"""
TURN = """
@prim_func
def k(x: Buffer[u8, ({rows}, {columns}), "tcm"], y: Buffer[u8, ({columns}, {rows}), "tcm"]):
    for i in range({columns}):
        for j in range({rows}):
            with block("b"):
                vi = spatial({columns}, i)
                vj = spatial({rows}, j)
                y[vi, vj] = x[vj, vi]
"""
LOOK_UP = """
@prim_func
def k(x: Buffer[u8, (64, 128), "tcm"], t: Buffer[u8, (256,), "tcm"],
      y: Buffer[u8, (64, 128), "tcm"]):
    for i in range(64):
        for j in range(128):
            with block("b"):
                vi = spatial(64, i)
                vj = spatial(128, j)
                y[vi, vj] = t[cast(i32, x[vi, vj])]
"""
FAR = """
@prim_func
def k(x: Buffer[u8, (ROWS, 8, 64)], y: Buffer[u8, (8 * ROWS, 64)]):
    for i in range(ROWS):
        for j in range(8):
            for c in range(64):
                with block("b"):
                    vi = spatial(ROWS, i)
                    vj = spatial(8, j)
                    vc = spatial(64, c)
                    y[vi * 8 + vj, vc] = x[vi, vj, vc]
"""
DOWN = "max(max(x[vi, vj], x[vi + 1, vj]), x[vi + 2, vj])"
ALONG = "max(max(x[vi, vj], x[vi, vj + 1]), x[vi, vj + 2])"

CASES = {  # the kernel, and packets for 128 results
    "maximum_down": (IMAGE.format(value=DOWN), 2.5),
    "maximum_along": (IMAGE.format(value=ALONG), 4.5),
    "turn": (TURN.format(rows=128, columns=128), 6.0),
    "turn_wide": (TURN.format(rows=256, columns=144), 7.0),
    "look_up": (LOOK_UP, 9.0),
}


@pytest.mark.parametrize("name", CASES)
def test_plain_kernels_have_vector_code(name: str) -> None:
    text, most = CASES[name]
    func = parse(text)
    made = dovetail.compile(func, target=dsp(threads=1))
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 256, p.shape).astype(np.uint8) for p in func.params[:-1]]
    wanted = np.zeros(func.params[-1].shape, np.uint8)
    dovetail.interpret(func, *given, wanted)
    assert np.array_equal(made.run(*given), wanted)
    assert made.cycles * 128 / wanted.size < most


@pytest.mark.parametrize("rows", [4, 16, 512])
def test_bytes_that_stay_together_are_moved_as_they_are(rows: int) -> None:
    """By transfers, or by loads and stores where these are faster: in no case by shuffles."""
    text = FAR.replace("8 * ROWS", str(8 * rows)).replace("ROWS", str(rows))
    made = dovetail.compile(parse(text))
    x = np.arange(512 * rows).astype(np.uint8).reshape(rows, 8, 64)
    assert np.array_equal(made.run(x), x.reshape(8 * rows, 64))
    vectors = [line for line in str(made.listing).splitlines() if re.search(r"\bv\d", line)]
    assert all("vmem(" in line for line in vectors)
    assert made.cycles < 2 * (dsp().dma_start + 512 * rows / dsp().dma_rate) + 100
