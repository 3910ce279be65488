"""Accesses to DDR without a transfer: small operands come by loads, results go by stores."""

from __future__ import annotations

from math import prod
from random import Random

import numpy as np
import pytest

from dovetail.schedule.placing.operands import place_operands
from dovetail.schedule.placing.straight import loaded_first, stored_straight
from dovetail.schedule.placing.transfers import Transfer, rows_of
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.tir.expr import const
from dovetail.tir.interpret import interpret
from dovetail.tir.linear import linear
from dovetail.tir.passes.flatten import flatten_buffers
from dovetail.tir.script.parse import parse
from dovetail.tir.stmt import Alloc, Buffer, Copy, For, PrimFunc, Store, Wait, seq, walk_stmt
from dovetail.tir.types import i8, i32, u8

MACHINE = dsp()
ROOMY = Dsp(vectors=1 << 20)
STORES = """
def stores(x: Buffer[u8, (8, 256), "tcm"], y: Buffer[u8, (8, {pitch}), "ddr"]):
    for r in parallel(8):
        for c in serial(2):
            for l in vectorized(128):
                y[r, c * 128 + l] = x[r, c * 128 + l] + 1
"""


@pytest.mark.parametrize("seed", range(12))
def test_rows_of_any_shape_and_type_come_by_loads(seed: int) -> None:
    rng = Random(seed)
    kind = rng.choice([u8, i8, i32])
    shape = (
        rng.randint(1, 4),
        *(rng.choice([1, 2, 3, 4, 10, 32]) for _ in range(rng.randint(1, 3))),
    )
    first = rng.randrange(shape[0])
    count = rng.randint(1, shape[0] - first)
    w, near = Buffer("w", kind, shape), Buffer("near", kind, shape, "tcm")
    y = Buffer("y", kind, shape)
    moved = Transfer(Copy(rows_of(near, first, count), rows_of(w, first, count), "w_0"), 0, 0)
    use = Copy(rows_of(y, first, count), rows_of(near, first, count))
    later, phases = loaded_first([moved], [use], MACHINE)
    small = moved.bytes <= 30 * 128
    assert len(phases) == 1 + small and later == ([] if small else [moved])
    data = np.arange(prod(shape)).reshape(shape).astype(kind.numpy)
    found = np.zeros_like(data)
    body = seq(*phases) if small else seq(moved.copy, Wait("w_0"), use)
    interpret(PrimFunc("loads", (w, y), Alloc(near, body)), data, found)
    rows = slice(first, first + count)
    assert np.array_equal(found[rows], data[rows])


@pytest.mark.parametrize("seed", range(20))
def test_loads_of_whole_rows_have_linear_places(seed: int) -> None:
    """Registers cross rows of any length."""
    rng = Random(seed)
    kind, rank = rng.choice([u8, i32]), rng.randint(1, 3)
    shape = (3, *(rng.choice([1, 2, 3, 5, 10, 16]) for _ in range(rank)))
    w, near = Buffer("w", kind, shape), Buffer("near", kind, shape, "tcm")
    _, (loads, *_) = loaded_first(
        [Transfer(Copy(rows_of(near, 1, 2), rows_of(w, 1, 2), "w_1"), 0, 0)], [], ROOMY
    )
    vectors = flatten_buffers(PrimFunc("loads", (w, near), loads)).body
    for loop in walk_stmt(vectors):
        if isinstance(loop, For) and loop.extent > 1:
            assert isinstance(loop.body, Store)
            assert linear(loop.body.index[0]).terms == {loop.axis: 1}


def test_what_is_needed_late_or_is_large_comes_by_transfers() -> None:
    w, near = Buffer("w", u8, (4, 128)), Buffer("near", u8, (4, 128), "tcm")
    work = parse(STORES.format(pitch=256)).body
    soon = Transfer(Copy(rows_of(near, 0, 1), rows_of(w, 0, 1), "w_0"), 0, 0)
    late = Transfer(Copy(rows_of(near, 1, 3), rows_of(w, 1, 3), "w_1"), 0, 3)
    later, phases = loaded_first([late, soon], [work] * 4, MACHINE)
    assert later == [Transfer(late.copy, 0, 4)] and phases[1:] == [work] * 4
    large = Buffer("v", u8, (1, 1 << 14))
    moved = Transfer(Copy(rows_of(large, 0, 1), rows_of(large, 0, 1), "v_0"), 0, 0)
    assert loaded_first([moved, soon], [work], MACHINE)[0] == [Transfer(moved.copy, 0, 1)]


@pytest.mark.parametrize(("pitch", "straight"), [(256, True), (288, False)])
def test_whole_registers_are_stored_where_the_result_lies(pitch: int, straight: bool) -> None:
    """Rows that do not begin with a burst would move more bytes than a transfer."""
    func = parse(STORES.format(pitch=pitch))
    assert stored_straight(func.params[1], [func.body], MACHINE) == straight
    assert not stored_straight(func.params[1], [func.body, func.body], MACHINE)
    assert not stored_straight(func.params[1], [func.body], dsp(ddr_latency=400))
    placed = place_operands(func, MACHINE)
    assert any(isinstance(s, Copy) for s in walk_stmt(placed.body)) != straight
    data = np.arange(2048, dtype=np.uint8).reshape(8, 256)
    found = np.zeros((8, pitch), np.uint8)
    interpret(placed, data, found)
    assert np.array_equal(found[:, :256], data + 1)


def test_parts_of_bursts_are_brought_out_by_a_transfer() -> None:
    y = Buffer("y", u8, (128,))
    store = Store(y, (const(0, i32),), const(1, u8))
    assert not stored_straight(y, [seq(*[store] * 3)], MACHINE)


def test_loads_from_ddr_are_packed_before_what_waits_for_them() -> None:
    func = parse("""
def loads(x: Buffer[u8, (8, 128), "ddr"], y: Buffer[u8, (8, 128), "tcm"]):
    for r in unrolled(8):
        for l in vectorized(128):
            y[r, l] = x[r, l]
""")
    found = cost(compile_program(MACHINE.build(func), MACHINE))
    assert found.cycles < 2 * MACHINE.ddr_latency
