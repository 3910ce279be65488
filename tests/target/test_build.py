"""Programs built from kernels give the interpreter's bytes; one test a way to go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse

Arrays = list[NDArray[Any]]


def same(text: str, **shapes: tuple[int, ...]) -> list[str]:
    """Runs the kernel by interpreter and by program on the same bytes; gives its instructions."""
    func = parse(text)
    rng = np.random.default_rng(0)
    given: Arrays = []
    for buffer in func.params:
        low, high = buffer.type.low, buffer.type.high
        given.append(
            rng.integers(low, high, buffer.shape, np.int64, True).astype(buffer.type.numpy)
        )
    wanted = [array.copy() for array in given]
    interpret(func, *wanted)
    program = dsp().build(func)
    got = [array.copy() for array in given]
    jit(program)(*got)
    for buffer, a, b in zip(func.params, got, wanted, strict=True):
        np.testing.assert_array_equal(a, b, buffer.name)
    return [op.instruction.name for op in program.ops()]


HEAD = "@prim_func\ndef f("


def test_a_register_keeps_what_memory_held_before_a_store() -> None:
    same(HEAD + '''x: Buffer[i32, (64,), "tcm"], y: Buffer[i32, (64,), "tcm"]):
    a = alloc(i32, (32,), "reg")
    for l in vectorized(32):
        a[l] = x[l]
    for l in vectorized(32):
        x[l] = y[l]
    for i in serial(2):
        for l in vectorized(32):
            y[i * 32 + l] = a[l] + x[l]
''')  # fmt: skip


def test_stores_are_taken_over_by_loads_and_overwritten_ones_dropped() -> None:
    names = same(HEAD + '''x: Buffer[i32, (128,), "tcm"], y: Buffer[i32, (32,), "tcm"]):
    for l in vectorized(32):
        y[l] = 0
    for i in unrolled(4):
        for l in vectorized(32):
            y[l] = y[l] + x[i * 32 + l]
''')  # fmt: skip
    assert names.count("vmem_store") == 1
    assert names.count("vmem") == 4


def test_a_store_between_keeps_the_load() -> None:
    same(HEAD + '''x: Buffer[i32, (64,), "tcm"], y: Buffer[i32, (96,), "tcm"]):
    for l in vectorized(32):
        y[l] = x[l]
    for l in vectorized(32):
        y[l + 1] = x[l + 32]
    for l in vectorized(32):
        y[l + 64] = y[l] + y[l + 1]
''')  # fmt: skip


def test_carried_registers_swap() -> None:
    same(HEAD + '''x: Buffer[i32, (64,), "tcm"], y: Buffer[i32, (64,), "tcm"]):
    a = alloc(i32, (64,), "reg")
    t = alloc(i32, (32,), "reg")
    for l in vectorized(64):
        a[l] = x[l]
    for i in serial(3):
        for l in vectorized(32):
            t[l] = a[l]
        for l in vectorized(32):
            a[l] = a[l + 32] + 1
        for l in vectorized(32):
            a[l + 32] = t[l]
    for l in vectorized(64):
        y[l] = a[l]
''')  # fmt: skip


def test_sums_over_many_lanes() -> None:
    same(HEAD + '''x: Buffer[u8, (32, 64), "tcm"], y: Buffer[i32, (32,), "tcm"]):
    for p in vectorized(32):
        y[p] = 0
    for p in vectorized(32):
        for c in vectorized(64):
            y[p] = y[p] + cast(i32, x[p, c])
''')  # fmt: skip


def test_a_dot_product_is_one_instruction() -> None:
    names = same(HEAD + '''w: Buffer[u8, (32, 4), "tcm"], x: Buffer[u8, (4,), "tcm"],
        y: Buffer[i32, (32,), "tcm"]):
    for l in vectorized(32):
        for k in vectorized(4):
            y[l] = y[l] + cast(i32, w[l, k]) * cast(i32, x[k])
''')  # fmt: skip
    assert names.count("vrmpyub_acc") == 1


def test_requantization_narrows_with_rounding_in_the_first_step() -> None:
    names = same(HEAD + '''a: Buffer[i32, (4, 32), "tcm"], m: Buffer[i32, (4, 32), "tcm"],
        y: Buffer[u8, (32, 4), "tcm"]):
    for l in vectorized(32):
        for r in vectorized(4):
            y[l, r] = sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(a[r, l],
                m[r, l] & 1073741823, 40)), 3))
''')  # fmt: skip
    assert names.count("vasrwhrndsat") == 2
    assert "vsathub" in names


@pytest.mark.parametrize("shift", [1, 16, 30, 31, 32, 40, 47, 62])
def test_requantization_is_exact_at_every_shift(shift: int) -> None:
    text = HEAD + '''a: Buffer[i32, (32,), "tcm"], m: Buffer[i32, (32,), "tcm"],
        y: Buffer[i32, (32,), "tcm"]):
    for l in {kind}(32):
        y[l] = rounding_mul_shr(a[l] >> {down}, (m[l] & 1073741823) >> {less}, {shift})
'''  # fmt: skip
    less = max(0, 31 - shift)
    for kind in ("vectorized", "serial"):
        same(text.format(kind=kind, shift=shift, down=less, less=less))


def test_scalars_narrow_and_extend() -> None:
    same(HEAD + '''x: Buffer[i8, (16,), "tcm"], z: Buffer[u8, (16,), "tcm"],
        y: Buffer[i16, (16,), "tcm"], u: Buffer[u8, (16,), "tcm"]):
    for i in serial(16):
        y[i] = cast(i16, cast(i32, x[i]) * cast(i32, z[i]))
    for i in serial(16):
        u[i] = max(z[i], cast(u8, x[i]))
''')  # fmt: skip


def test_an_index_from_memory() -> None:
    same(HEAD + '''x: Buffer[u8, (16,), "tcm"], t: Buffer[u8, (256,), "tcm"],
        y: Buffer[u8, (16,), "tcm"]):
    for i in serial(16):
        y[i] = t[cast(i32, x[i])]
''')  # fmt: skip


def test_a_condition_is_refused() -> None:
    func = parse(HEAD + '''x: Buffer[i32, (32,), "tcm"]):
    for i in serial(32):
        if i < 4:
            x[i] = 0
''')  # fmt: skip
    with pytest.raises(SelectError, match="select: the machine has no If within a kernel"):
        dsp().build(func)
