"""What an estimate says that a schedule does is what its nest does, at any point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

import pytest

from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule.placing.operands import place_operands
from dovetail.schedule.templates.template import Template
from dovetail.schedule.templates.tight import Tight
from dovetail.target.dsp.target import dsp
from dovetail.tir.expr import Expr, walk
from dovetail.tir.stmt import Buffer, Copy, For, LoopKind, Stmt, Store, children
from tests.schedule.operators import on_all
from tests.schedule.test_templates_tight import K, convolved
from tests.schedule.test_zeros import convolved as zeros

CASES = {
    "conv": (("outputs", "parts"), convolved("outputs", (1, 64, 14, 14), 64, 3, 1, 1)),
    "strides": (("outputs", "parts"), convolved("outputs", (1, 32, 23, 21), 128, 3, 2, 1)),
    "points": (("outputs", "parts"), convolved("outputs", (2, 96, 12, 12), 160, 1)),
    "groups": (("outputs", "parts"), convolved("outputs", (1, 128, 9, 9), 128, 3, 1, 1, 1, 4)),
    "lanes": (("groups",), convolved("groups", (1, 64, 10, 12), 64, 3, 1, 1, 1, 8)),
    "pixels": (("pixels",), convolved("pixels", (1, 16, 20, 44), 12, 3, 1, 1)),
    "padded": (("pixels",), convolved("pixels", (1, 8, 14, 14), 16, 3, 1, 1)),
    "columns": (("columns", "pixels"), convolved("columns", (1, 1, 21, 40), 16, 7, 2, 3)),
    "depthwise": (("channels",), convolved("channels", (1, 128, 12, 12), 128, 3, 1, 1, 1, 128)),
    "shared": (("channels",), convolved("channels", (1, 16, 20, 20), 16, 3, 2, 1, 1, 16)),
    "zeros": (("parts",), zeros((1, 64, 9, 7), 128, 3, 1, 1)),
    "turns": (("outputs", "parts"), convolved("parts", (1, 256, 9, 7), 128, 3, 1, 1)),
}
TCM = {"turns": 192 * K}
POINTS = 200


def ways_of(task: KernelTask) -> Mapping[str, Template]:
    """The templates that take the whole kernel."""
    found = on_all(task)
    if not isinstance(found, Tight):
        return {found.name: found}
    return {name: way for (rows, name), way in found.ways.items() if not rows}


def loaded(value: Expr) -> set[Buffer]:
    return {e.attr for e in walk(value) if e.op == "load"}


def products(stmt: Stmt, times: int = 1) -> int:
    """How often a nest adds a product to what it has."""
    if isinstance(stmt, For):
        return products(stmt.body, times * stmt.extent)
    if isinstance(stmt, Store):
        added = stmt.buffer in loaded(stmt.value)
        factors = (loaded(e) for e in walk(stmt.value) if e.op in ("mul", "widening_mul"))
        return times * (added and any(len(found) == 2 for found in factors))
    return sum(products(child, times) for child in children(stmt))


def moved(stmt: Stmt, operand: str, loops: tuple[For, ...] = ()) -> int:
    """Bytes of an operand in DDR that copies bring, or instructions load. What steps that are
    written out load again they have in a register."""
    if isinstance(stmt, For):
        return moved(stmt.body, operand, (*loops, stmt))
    if isinstance(stmt, Copy):
        source = stmt.source
        size = math.prod(source.extent) * source.buffer.type.bytes
        return size * (source.buffer.name == operand)
    if isinstance(stmt, Store):
        found = {e for e in walk(stmt.value) if e.op == "load" and e.attr.name == operand}
        times = [math.prod(loop.extent for loop in loops if counts(loop, e)) for e in found]
        return sum(n * e.type.bytes for n, e in zip(times, found, strict=True))
    return sum(moved(child, operand, loops) for child in children(stmt))


def counts(loop: For, load: Expr) -> bool:
    """Whether steps of a loop load again."""
    written = loop.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED)
    return not written or any(e == loop.axis for index in load.args for e in walk(index))


@pytest.mark.parametrize("name", CASES)
def test_a_plan_says_what_its_nest_does(name: str) -> None:
    """Its products, and the bytes of constants that cross the channel."""
    taken, case = CASES[name]
    ways = ways_of(case.task(dsp(tcm=TCM.get(name, 8 << 20)), "ddr"))
    assert {*taken} <= {*ways}
    for way in taken:
        template = ways[way]
        for point in template.space.survey(Random(len(name)), POINTS // len(taken), 10 * POINTS):
            func, facts = template.function(point), template.estimate(point).facts
            assert facts["products"] == products(func.body), f"{way}: {point}"
            placed = place_operands(func, template.machine).body
            crossed = sum(moved(placed, constant) for constant in func.constants)
            assert facts.get("bytes", crossed) == crossed, f"{way}: {point}"
