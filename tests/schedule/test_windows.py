"""Reductions by windows: their terms as one expression, rows before columns, no padded copy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.structure import Form, structure
from dovetail.tir.expr import walk
from dovetail.tir.passes.lower_blocks import lower_blocks
from dovetail.tir.passes.simplify import simplify_func
from dovetail.tir.script import parse
from dovetail.tir.script.show import show_stmt
from dovetail.tir.stmt import Store
from tests.schedule.kernels import kernel, same

Steps = Callable[[Schedule], object]

BEYOND = """
@prim_func
def k(x: Buffer[u8, (8,)], y: Buffer[u8, (8,)]):
    p = alloc(u8, (12,))
    for i in range(12):
        with block("fill"):
            vi = spatial(12, i)
            p[vi] = u8({})
    for i in range(8):
        with block("copy"):
            vi = spatial(8, i)
            p[vi + 3] = x[vi]
    for i in range(8):
        for k in range(3):
            with block("max"):
                vi = spatial(8, i)
                vk = reduce(3, k)
                with init():
                    y[vi] = u8(0)
                y[vi] = max(y[vi], p[vi + vk])
"""


def summed(sch: Schedule) -> None:
    sch.split("h_5", (None, 7))
    sch.expand("sum", "h_5_1")


def narrow(sch: Schedule) -> None:
    sch.rfactor("sum", "h_5")
    sch.retype("s_rf", "u16")


STEPS: dict[str, Steps] = {
    "nearest": lambda sch: sch.guard("max", "p"),
    "rows": lambda sch: sch.separate("max", "kh"),
    "columns": lambda sch: sch.expand("max", "kw"),
    "sum": summed,
    "narrow": narrow,
}


@pytest.mark.parametrize("chosen", [*product((False, True), repeat=3)])
def test_windows_in_steps_give_the_same(chosen: tuple[bool, ...]) -> None:
    func = kernel("padded")
    sch = Schedule(func)
    for name, wanted in zip(("nearest", "rows", "columns"), chosen, strict=True):
        if wanted:
            STEPS[name](sch)
    same(sch, func)


@pytest.mark.parametrize("name", STEPS)
def test_each_step_gives_the_same(name: str) -> None:
    func = kernel("padded")
    sch = Schedule(func)
    STEPS[name](sch)
    same(sch, func)


def test_a_window_becomes_a_map_of_the_operand() -> None:
    func = kernel("padded")
    sch = Schedule(func)
    sch.guard("max", "p")
    assert [ref.name for ref in sch.blocks()][:1] == ["max"]
    sch.expand("max", "kw", "kh")
    sch.compute_inline("max")
    same(sch, func)
    found = structure(sch.get_block("out"), nearest=True)
    assert found is not None and found.form is Form.MAP and len(found.held) == 2
    assert {use.buffer.name for use in found.reads} == {"x"}
    assert structure(sch.get_block("out")) is None


@pytest.mark.parametrize("border", [0, 3])
def test_windows_that_the_border_changes_choose_it(border: int) -> None:
    """The first one holds no element of the copy, and a border of 3 may be the greatest."""
    func = parse(BEYOND.format(border))
    sch = Schedule(func)
    sch.guard("max", "p")
    assert [ref.name for ref in sch.blocks()] == ["max"]
    store = sch.get_block("max").body
    assert isinstance(store, Store) and any(e.op == "select" for e in walk(store.value))
    same(sch, func)


def test_a_map_reads_around_a_padded_copy() -> None:
    """In steps of a loop of its own where it reads nothing but pads."""
    func = kernel("padded")
    sch = Schedule(func)
    copy = sch.cache_read("max", "p", "tcm").name
    sch.guard(copy, "p")
    assert [ref.name for ref in sch.blocks()][:2] == [copy, "max"]
    h, w = sch.loops(copy)
    sch.split(w, (11,), tail="peel")
    sch.split(h, (1,), tail="peel")
    same(sch, func)
    body = show_stmt(simplify_func(lower_blocks(sch.func)).body)
    stores = [line.partition(" = ")[2] for line in body.splitlines() if " p_tcm[" in line]
    assert [value.partition("(")[0] for value in stores if "m[" not in value] == [
        "0", "0", "select", "0",
    ]  # fmt: skip


def test_bytes_are_summed_in_pairs_before_they_are_wide() -> None:
    func = kernel("padded")
    sch = Schedule(func)
    sch.expand("sum", "h_5")
    same(sch, func)
    store = sch.get_block("sum").body
    assert isinstance(store, Store)
    assert sum(node.op == "widening_add" for node in walk(store.value)) == 3
    assert sum(node.op == "cast" and node.type.bits == 32 for node in walk(store.value)) == 1


LONG = """
@prim_func
def long(x: Buffer[u8, (4, 300), "tcm"], y: Buffer[i32, (4,), "tcm"]):
    for i in range(4):
        for k in range(300):
            with block("sum"):
                vi = spatial(4, i)
                vk = reduce(300, k)
                with init():
                    y[vi] = 0
                y[vi] = y[vi] + {term}
"""


def test_an_expression_has_not_too_many_terms() -> None:
    func = parse(LONG.format(term="cast(i32, x[vi, vk])"))
    sch = Schedule(func)
    with pytest.raises(ScheduleError, match="at most 256 terms, but got 300"):
        sch.expand("sum", "k")
    _, inner = sch.split("k", (None, 150))
    sch.expand("sum", inner)
    same(sch, func)


def test_terms_without_an_element_have_no_rows() -> None:
    sch = Schedule(parse(LONG.format(term="1")))
    _, inner = sch.split("k", (None, 150))
    with pytest.raises(ScheduleError, match="separate: "):
        sch.separate("sum", inner)


def test_a_condition_on_an_axis_that_is_left_is_not_separated() -> None:
    """Partial results have no such axis, only a place."""
    sch = Schedule(kernel("padded"))
    sch.resize(sch.loops("max")[2], 5, beyond="last")
    *_, columns = sch.loops("max")
    with pytest.raises(ScheduleError, match="separate: a term must follow from one element"):
        sch.separate("max", columns)
