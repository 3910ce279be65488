"""Products of two activations: zero points taken out, sums that end in zeros, kernels by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.structure import structure
from dovetail.schedule.templates.fold_made import Made, made_of
from dovetail.schedule.templates.fold_words import shifted
from dovetail.schedule.templates.folds import products
from dovetail.schedule.tree import blocks_below
from dovetail.target.dsp.target import dsp
from dovetail.tir.script import parse
from dovetail.tir.spell import show_expr
from dovetail.tir.stmt import PrimFunc, Store
from tests.schedule.kernels import outputs, same

TEXT = """
@prim_func
def scores(x: Buffer[u8, (1, 1, 8, 32)], v: Buffer[u8, (1, 1, 16, 32)],
           y: Buffer[u8, (1, 1, 8, 32)]):
    s = alloc(i32, (1, 1, 8, 32))
    for i in range(8):
        for j in range(32):
            for k in range(13):
                with block("first"):
                    a = spatial(8, i)
                    b = spatial(32, j)
                    c = reduce(13, k)
                    with init():
                        s[0, 0, a, b] = 7
                    s[0, 0, a, b] = s[0, 0, a, b] + LEFT * RIGHT
    for i in range(8):
        for j in range(32):
            with block("second"):
                a = spatial(8, i)
                b = spatial(32, j)
                y[0, 0, a, b] = sat_cast(u8, s[0, 0, a, b] >> 6)
"""
PLAIN = "cast(i32, x[0, 0, a, c])", "cast(i32, v[0, 0, c, b])"
SHIFTED = f"({PLAIN[0]} + -3)", f"({PLAIN[1]} + -200)"


def scores(left: str, right: str) -> PrimFunc:
    return parse(TEXT.replace("LEFT", left).replace("RIGHT", right))


def value(sch: Schedule, block: str) -> str:
    body = sch.get_block(block).body
    assert isinstance(body, Store)
    return show_expr(body.value)


@pytest.mark.parametrize("order", ["xv", "vx"])
def test_numbers_leave_the_operands(order: str) -> None:
    func = scores(*SHIFTED)
    sch = Schedule(func)
    assert len([sch.offset_operand("first", name) for name in order]) == 2
    assert value(sch, "first") == f"s[0, 0, a, b] + {PLAIN[0]} * {PLAIN[1]}"
    same(sch, func)


def test_a_number_of_one_operand_wants_sums_of_the_other() -> None:
    func = scores(PLAIN[0], SHIFTED[1])
    sch = Schedule(func)
    sch.offset_operand("first", "v")
    assert sch.get_buffer("first_csum").shape == (8,)
    with pytest.raises(ScheduleError):
        sch.offset_operand("first", "v")
    same(sch, func)


def test_a_sum_runs_on_over_zeros_as_it_is() -> None:
    func = scores(*PLAIN)
    sch = Schedule(func)
    copy = sch.cache_read("first", "v", "tcm")
    sch.trim("v_tcm")
    sch.resize(sch.loops(copy)[2], 16, beyond="zeros")
    sch.resize(sch.loops("first")[2], 16)
    assert "select" in value(sch, "v_tcm") and "select" not in value(sch, "first")
    same(sch, func)


def test_a_sum_runs_on_with_a_choice_where_nothing_ends_in_zeros() -> None:
    func = scores(*PLAIN)
    sch = Schedule(func)
    copy = sch.cache_read("first", "v", "tcm")
    sch.trim("v_tcm")
    sch.resize(sch.loops(copy)[2], 14, beyond="zeros")
    sch.resize(sch.loops("first")[2], 16)  # two rows of zeros, one of anything
    assert "select" in value(sch, "first")
    same(sch, func)


def test_elements_that_mean_nothing_are_the_last_one_again() -> None:
    func = replace(scores(*PLAIN), attrs={"meant": {"y": (1, 1, 8, 30)}})
    sch = Schedule(func)
    sch.resize(sch.loops("second")[1], 30)
    sch.trim("s")
    sch.resize(sch.loops("second")[1], 32, beyond="last")
    assert sch.get_buffer("s").shape[3] == sch.get_block("first").iters[1].extent == 30
    wanted, found = (outputs(f)["y"] for f in (func, sch.func))
    assert (found[..., :30] == wanted[..., :30]).all()
    assert (found[..., 30:] == found[..., 29:30]).all()


def made(func: PrimFunc) -> Made | None:
    found = structure(next(blocks_below(func.body)))
    assert found is not None
    return made_of(Schedule(func), found, 128)


@pytest.mark.parametrize("operands", [PLAIN, SHIFTED, (SHIFTED[1], SHIFTED[0])])
def test_kernels_by_hand_are_products(operands: tuple[str, str]) -> None:
    func = scores(*operands)
    found = made(func)
    assert found is not None
    assert (found.words.scalars.buffer.name, found.words.vectors.buffer.name) == ("x", "v")
    assert shifted(found.words.found, found.words.scalars) == (operands != PLAIN)
    template = products(func, dsp())
    assert template is not None
    same(template.schedule(next(iter(template.space))), func)


def test_others_are_none() -> None:
    assert made(scores(PLAIN[0], PLAIN[0])) is None
    assert made(scores("cast(i32, x[0, 0, a, b])", PLAIN[1])) is None
