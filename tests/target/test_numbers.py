"""Numbers in code: immediates that are packed by their interval, whatever they are."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.target.numbers import HoleFiller, count_of, spread
from dovetail.target.program import Late
from dovetail.tir.expr import const, hole, make, var
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.types import i32, u32, vector

SHIFT = hole("shift", i32, 33, 46)


def test_late_immediates_are_equal_with_their_interval() -> None:
    one = Late(7, 0, 255)
    assert one == Late(7, 0, 255) and one != Late(7, 0, 99) and one != 7 and f"{one}" == "7"
    assert pickle.loads(pickle.dumps(one)) == one and hash(one) == hash(Late(7, 0, 255))


def test_numbers_are_filled() -> None:
    found = HoleFiller({"shift": 38})(SHIFT - 31)
    assert isinstance(found, Late) and (int(found), found.low, found.high) == (7, 2, 15)
    assert HoleFiller({})(const(5, i32)) == 5


def test_counts_are_constants_or_numbers_within() -> None:
    wide = vector(i32, 32)
    assert count_of(const(9, wide), 0, 31) == (const(9, i32), 9, 9)
    assert count_of(make("tile", SHIFT, attr=32), 31, 62) == (SHIFT, 33, 46)
    assert count_of(SHIFT, 0, 45) is None and count_of(var("s", wide), 0, 31) is None
    assert spread(SHIFT, var("x", vector(u32, 32))).type == vector(u32, 32)


PLUS = """
@prim_func
def plus(x: Buffer[i32, (64,), "tcm"], y: Buffer[i32, (64,), "tcm"]):
    for i in {kind}(64):
        y[i] = (x[i] + hole("more", i32, {low}, {high})) >> hole("by", i32, 1, 15)
"""


def filled(kind: str, low: int, high: int, **numbers: int) -> PrimFunc:
    text = PLUS.format(kind=kind, low=low, high=high)
    return replace(parse(text), numbers=numbers)


@pytest.mark.parametrize("kind", ["vectorized", "serial"])
@pytest.mark.parametrize("more", [-70000, -3, 0, 5, 70000])
def test_code_is_the_same_but_for_the_immediate(kind: str, more: int) -> None:
    machine = dsp(threads=1)
    first = filled(kind, -70000, 70000, more=1, by=2)
    func = filled(kind, -70000, 70000, more=more, by=9)
    listings = [compile_program(machine.build(each), machine) for each in (first, func)]
    assert listings[0].code_bytes == listings[1].code_bytes
    x = np.arange(-32, 32, dtype=np.int32) * 1234567
    want, got = np.zeros(64, np.int32), np.zeros(64, np.int32)
    interpret(func, x, want)
    jit(machine.build(func))(x.view(np.uint8), got.view(np.uint8))
    np.testing.assert_array_equal(got, want)


def test_an_immediate_is_long_where_its_class_is() -> None:
    machine = dsp(threads=1)
    short, long = (
        compile_program(machine.build(filled("serial", *ends, more=77, by=1)), machine).text
        for ends in ((0, 255), (0, 70000))
    )
    assert "#77)" in short and "##77)" not in short and "##77)" in long


def test_a_hole_without_a_number_is_refused() -> None:
    with pytest.raises(SelectError) as caught:
        dsp().build(filled("vectorized", 0, 9, more=3))
    assert str(caught.value) == (
        "numbers: a hole must have one in PrimFunc.numbers, but by has none"
    )
