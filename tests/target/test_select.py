"""Selection: the row that is taken, and what the record says about the others."""

from __future__ import annotations

from collections import Counter

import pytest

from dovetail.target.dsp.decorators import i16x64, i32x32, instruction
from dovetail.target.dsp.rows import COSTS, selector
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Instruction
from dovetail.target.select import Selector
from dovetail.target.selection_record import Covered, Emitted, Expanded, SelectionRecord, Trial
from dovetail.tir.expr import Expr, cast, const, make, var
from dovetail.tir.script import parse
from dovetail.tir.types import i16, i32, u8, vector
from tests.target.test_build import HEAD

A, B, C = (var(name, vector(i32, 32)) for name in "abc")
ADD = '{d}.w = vadd({a}.w,{b}.w)'  # fmt: skip


def declared() -> list[Instruction]:
    """Rows of which some are better than others."""

    @instruction(timing=(9, 7, 7), unit="VX", asm=ADD)
    def dear(a: i32x32, b: i32x32) -> i32x32:
        return a + b

    @instruction(timing=(9, 7, 7), unit="VA", asm=ADD)
    def cheap(a: i32x32, b: i32x32) -> i32x32:
        return a + b

    @instruction(timing=(9, 7, 7), unit="VA", asm=ADD)
    def twin(a: i32x32, b: i32x32) -> i32x32:
        return a + b

    @instruction(timing=(9, 7), unit="VA", asm="{d}.w = vadd({a}.w,{a}.w)")
    def double(a: i32x32) -> i32x32:
        return a + a

    @instruction(timing=(9, 7, 7, 7), unit="VA", asm="{d}.w = vadd({a}.w,{b}.w):{c}")
    def both(a: i32x32, b: i32x32, c: i32x32) -> i32x32:
        return a + b * c

    @instruction(timing=(9, 7, 7), unit="VA", asm=ADD)
    def halves(a: i16x64, b: i16x64) -> i16x64:
        return a + b

    return [dear, cheap, twin, double, both, halves]


def trials(node: Expr, users: int = 1, **refused: str) -> dict[str, Trial]:
    """The record of covering ``node`` by the declared rows."""
    record = SelectionRecord()
    select = Selector(declared(), (), refused, COSTS).recording(record)
    found = select.cover(node, lambda _: users)
    (event,) = record.events
    assert isinstance(event, Covered)
    assert event.row is (found.row if found else None)
    return {trial.row.name: trial for trial in event.trials}


def reasons(node: Expr, users: int = 1, **refused: str) -> dict[str, str]:
    return {name: trial.reason for name, trial in trials(node, users, **refused).items()}


def test_the_row_that_takes_in_most_wins() -> None:
    found = reasons(A + B * C)
    assert found == {
        "both": "",
        "cheap": "fewer: takes 1 in one, both 2",
        "twin": "fewer: takes 1 in one, both 2",
        "dear": "fewer: takes 1 in one, both 2",
        "double": "operand: a must be the same value each time, but got a and b * c",
        "halves": "type: i16x64 is needed, but got i32x32",
    }


def test_a_value_that_others_need_does_not_vanish() -> None:
    found = reasons(A + B * C, users=2)
    assert found["both"] == "users: others need the inner mul of i32x32"
    assert found["cheap"] == ""


def test_the_cheaper_unit_and_then_the_table_decide() -> None:
    found = reasons(A + B)
    assert found["cheap"] == ""
    assert found["dear"] == "unit: VX is dearer than VA of cheap"
    assert found["twin"] == "equal: cheap comes first in the table"
    assert found["both"] == "operator: mul is needed, but got var"


def test_rows_that_must_not_be_used_say_why() -> None:
    found = reasons(A + B * C, both="forbidden: by this test")
    assert found["both"] == "forbidden: by this test"
    assert found["cheap"] == ""


def test_the_nearest_rows_come_first() -> None:
    found = trials(A + B * C, users=2)
    assert next(iter(found)) == "cheap"
    assert [trial.near for trial in found.values()] == [True] * 5 + [False]
    assert found["both"].met == found["both"].inside == 2


def test_immediates_have_a_range() -> None:
    record = SelectionRecord()
    select = selector(66).recording(record)
    for by in (31, 40):
        select.cover(var("x", i32) << const(by, i32), lambda _: 1)
    near, far = (
        {trial.row.name: trial.reason for trial in event.trials}
        for event in record.events
        if isinstance(event, Covered)
    )
    assert near["asli"] == ""
    assert far["asli"] == "immediate: n must be 0..31, but got 40"


def test_accumulating_rows_that_take_both_multipliers_are_named() -> None:
    a, b, c = var("a", vector(u8, 128)), var("b", vector(u8, 128)), A
    node = c + make("group_sum", cast(i32, a) * cast(i32, b), attr=4)
    record = SelectionRecord()
    found = selector(66).recording(record).cover(node, lambda _: 1)
    (event,) = record.events
    assert isinstance(event, Covered) and found is not None and found.row.name == "vaddw"
    told = {trial.row.name: trial.reason for trial in event.trials}
    assert told["vrmpyubv_acc"].startswith("pipes: product and sum apart")


def test_recording_changes_nothing_and_forbidding_does() -> None:
    node = A + B
    plain, record = selector(66), SelectionRecord()
    again = plain.recording(record)
    assert plain.cover(node, lambda _: 1) == again.cover(node, lambda _: 1)
    assert plain.record is None and len(record.events) == 1
    less = selector(66, frozenset({"vaddw"})).cover(node, lambda _: 1)
    assert less is None


KERNEL = HEAD + '''x: Buffer[i32, (128,), "tcm"], m: Buffer[i32, (128,), "tcm"],
      y: Buffer[u8, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(x[l], m[l], 38)), 3))
'''  # fmt: skip


def test_the_rows_of_the_record_are_those_of_the_program() -> None:
    record = SelectionRecord()
    program = dsp().build(parse(KERNEL), record=record)
    written = Counter(
        event.row.name
        for event in record.events
        if isinstance(event, (Covered, Emitted)) and event.row is not None
    )
    made = Counter(op.instruction.name for op in program.ops())
    assert all(made[name] == count for name, count in written.items())
    assert set(made) - set(written) <= {"tfrsi", "lvsplatw", "vassign", "combinew"}  # constants
    assert {e.name for e in record.events if isinstance(e, Expanded)} >= {"requantize"}
    assert made == Counter(op.instruction.name for op in dsp().build(parse(KERNEL)).ops())


def test_a_row_that_the_code_asks_for_by_name_is_missed_when_forbidden() -> None:
    with pytest.raises(SelectError) as caught:
        dsp().build(parse(KERNEL), forbidden=frozenset({"vmpyewuh"}))
    assert str(caught.value) == (
        "select: the kernel's code asks for vmpyewuh by name, but it is forbidden"
    )


def test_a_narrower_type_is_another_row() -> None:
    a = var("a", vector(i16, 64))
    assert reasons(a + a)["halves"] == ""
