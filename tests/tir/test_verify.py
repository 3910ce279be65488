"""The verifier: what breaks a rule is told in one sentence, what keeps them passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dovetail.tir.expr import const, hole, var
from dovetail.tir.script import parse
from dovetail.tir.stmt import Buffer, For, LoopKind, PrimFunc, Store
from dovetail.tir.types import i16, i32, u8
from dovetail.tir.verify import VerifyError, verify
from tests.tir.test_interpret import CONV

HEAD = "def f(x: Buffer[i32, (32,)], y: Buffer[i32, (32,)], t: Buffer[u8, (256,)]):\n"

GOOD = {
    "for i in range(32): x[i] = x[31 - i]": "",
    "for i in range(4):\n        for j in range(8): x[i * 8 + j] = 0": "",
    "for i in range(40):\n        if i < 32: x[i] = 0": "",
    "for i in range(4):\n        for j in range(9):\n"
    "            if i * 9 + j < 32: x[i * 9 + j] = 0": "",
    "for i in range(32): x[i] = select(i < 31, x[i + 1], 0)": "",
    "for i in range(32): x[i] = select(i < 1, 0, x[i - 1])": "",
    "for i in range(32): x[i] = cast(i32, t[cast(i32, t[i])])": "",
    "for i in range(8): x[(i * 5) % 8:(i * 5) % 8 + 25] = x[0:25]": "",
    'copy(x[0:4], y[4:8], token="a"); wait("a")': "",
    "for i in range(5):\n        for j in range(7):\n            with block('b'):\n"
    "                v = spatial(32, i * 7 + j)\n                where(v < 32)\n"
    "                x[v] = 1": "",
    "for i in range(64):\n        if (i % 2 == 0) & (i // 2 < 32): x[i // 2] = 1": "",
}  # fmt: skip

BAD = {
    "for i in range(33): x[i] = 0":
        "store: axis 0 of x must be indexed within 0..31, but got 0..32",
    "for i in range(32): x[i] = x[i + 1]":
        "load: axis 0 of x must be indexed within 0..31, but got 1..32",
    "for i in range(32): x[i] = select(i < 32, x[i + 1], 0)":
        "load: axis 0 of x must be indexed within 0..31, but got 1..32",
    "for i in range(32): x[i:i + 2] = x[0:2]":
        "store: axis 0 of x must be indexed within 0..31, but got 0..32",
    "for i in range(32): x[i] = cast(i32, t[x[i]])":
        "load: axis 0 of t must be indexed within 0..255, but got -2147483648..2147483647",
    "for i in range(3):\n        for i in range(3): x[i] = 0":
        "for: an axis must not hide another, but got i again",
    "for i in range(0): x[i] = 0":
        "for: the extent must be above 0, but got 0",
    "for i in range(9):\n        with block('b'):\n            v = spatial(8, i)\n"
    "            x[v] = 0":
        "block b: v must stay within 0..7, but got 0..8",
    "for i in range(8):\n        with block('b'):\n            v = spatial(8, i)\n"
    "            with init(): x[v] = 0\n            x[v] = 1":
        "block b: an init must have a reduce axis, but got none",
    "for i in range(8):\n        with block('b'):\n            v = reduce(8, i)\n"
    "            x[0] = y[v]":
        "block b: a reduce axis must have an init or update what it stores, but got a plain store",
    "for i in range(7):\n        with block('b'):\n            v = reduce(8, i + 1)\n"
    "            with init(): x[0] = 0\n            x[0] = x[0] + y[v]":
        "block b: a reduce axis must start at 0 for its init, but got v from 1 on",
    "copy(x[0:4], y[0:5])": "copy: both boxes must have as many elements, but got 4 and 5",
    "copy(x[0:4], t[0:4])": "copy: both boxes must have one type, but got i32 and u8",
    'copy(x[0:4], y[0:4], token="a")':
        'copy: token "a" must have a copy and a wait, but got no wait',
    "x[40] = 0": "store: axis 0 of x must be indexed within 0..31, but got 40..40",
    "x = alloc(i32, (4,)); x[0] = 1":
        "buffer: a name must not hide another, but got x again",
}  # fmt: skip


@pytest.mark.parametrize("body", GOOD)
def test_good_functions_pass(body: str) -> None:
    verify(parse(f"{HEAD}    {body}\n"))


@pytest.mark.parametrize("body", BAD)
def test_faults_are_told(body: str) -> None:
    with pytest.raises(VerifyError) as caught:
        verify(parse(f"{HEAD}    {body}\n"))
    assert caught.value.sentence == BAD[body]


def test_the_place_is_shown() -> None:
    with pytest.raises(VerifyError) as caught:
        verify(parse(HEAD + "    for i in range(33): x[i] = y[0]\n"))
    assert str(caught.value) == (
        "store: axis 0 of x must be indexed within 0..31, but got 0..32\n"
        "    x[i] = y[0]        <- here"
    )


def test_loads_may_touch_the_slack_behind_a_buffer() -> None:
    """32 words behind x, where 128 bytes of slack are given; stores may not."""
    verify(parse(HEAD + "    x[0:32] = x[32:64]\n"), slack=128)
    for body, got in (("x[0:32] = x[33:65]", "33..64"), ("x[1:33] = x[0:32]", "1..32")):
        with pytest.raises(VerifyError, match=f"within 0..31, but got {got}"):
            verify(parse(HEAD + f"    {body}\n"), slack=128)


TABLE = """def f(x: Buffer[i32, (32,)]):
    near = alloc(i32, (4,), 'tcm')
    for i in range(4):
        near[i] = max(min(i * 16 - 8, LAST), 0)
    for i in range(4):
        x[near[i]] = 1
"""


def test_an_index_from_a_table_stays_within_what_was_stored() -> None:
    verify(parse(TABLE.replace("LAST", "31")))
    with pytest.raises(
        VerifyError, match=r"axis 0 of x must be indexed within 0\.\.31, but got 0\.\.32"
    ):
        verify(parse(TABLE.replace("LAST", "32")))


def test_what_passed_is_looked_at_again_where_less_is_known() -> None:
    """The same value, under other extents, conditions, declarations and slack."""
    text = HEAD + "    for i in range(COUNT):\n        if i < LAST: y[0] = x[i] + y[0]\n"
    good = text.replace("COUNT", "40").replace("LAST", "32")
    for _ in range(2):
        verify(parse(good))
        verify(parse(good.replace("< 32", "< 33").replace("40", "32")))
        verify(parse(good.replace("< 32", "< 33")), slack=4)
        for bad in (
            good.replace("< 32", "< 33"),
            good.replace("x: Buffer[i32, (32,)", "x: Buffer[i32, (31,)"),
        ):
            with pytest.raises(VerifyError, match="load: axis 0 of x must be indexed within"):
                verify(parse(bad))


def test_scopes_apart_may_use_a_name_again() -> None:
    local = "    for i in range(2):\n        z = alloc(i32, (4,), 'reg')\n        z[0] = 1\n"
    verify(parse(HEAD + local + local))


HOLES = """    x[0] = hole("zero", i32, 1, 255)
    x[1] = cast(i32, hole("zero", u8, 1, HIGH)) + hole("one", i32, 0, 1)
"""


def test_a_hole_has_one_interval_in_which_its_number_lies() -> None:
    func = parse(HEAD + HOLES.replace("HIGH", "255"))
    for numbers in ({}, {"zero": 1, "one": 1}, {"zero": 255, "gone": 1000}):
        verify(replace(func, numbers=numbers))
    with pytest.raises(VerifyError) as caught:
        verify(replace(func, numbers={"one": 0, "zero": 256}))
    assert str(caught.value) == "number: zero must lie within 1..255, but got 256"
    with pytest.raises(VerifyError) as caught:
        verify(parse(HEAD + HOLES.replace("HIGH", "254")))
    assert caught.value.sentence == ("hole: zero must have one interval, but got 1..255 and 1..254")


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (0, 256), (3, 2)])
def test_the_interval_of_a_hole_lies_within_its_type(low: int, high: int) -> None:
    x = Buffer("x", u8, (4,))
    func = PrimFunc("f", (x,), Store(x, (const(0, i32),), hole("zero", u8, low, high)))
    with pytest.raises(VerifyError) as caught:
        verify(func)
    assert caught.value.sentence == (
        f"hole: zero must be a scalar of an interval within its type, but got {low}..{high} of u8"
    )


def test_a_convolution_passes() -> None:
    verify(parse(CONV))


def test_nodes_that_no_script_can_write() -> None:
    x = Buffer("x", u8, (4,))
    with pytest.raises(VerifyError, match="store: x takes u8, but got i16"):
        verify(PrimFunc("f", (x,), Store(x, (const(0, var("i").type),), const(1, i16))))
    stray = Store(x, (var("i"),), const(1, u8))
    with pytest.raises(VerifyError, match=r"must be indexed within 0\.\.3"):
        verify(PrimFunc("f", (x,), stray))
    with pytest.raises(VerifyError, match="x must be declared as it is used, but got no declar"):
        verify(PrimFunc("f", (), For(var("i"), 4, LoopKind.SERIAL, stray)))
    with pytest.raises(VerifyError, match=r"constant: x must be u8\[4\], but got int64\[3\]"):
        verify(
            PrimFunc("f", (x,), For(var("i"), 4, LoopKind.SERIAL, stray), {"x": np.zeros(3, int)})
        )


def test_an_author_may_answer_for_what_data_index() -> None:
    func = parse(HEAD + "    for i in range(32): x[i] = cast(i32, t[x[i]])")
    trusted = replace(func, attrs={"trusting": True})
    assert verify(trusted) is trusted
    plain = parse(HEAD + "    for i in range(32): x[i] = x[i + 1]")
    with pytest.raises(VerifyError, match="axis 0 of x"):
        verify(replace(plain, attrs={"trusting": True}))
