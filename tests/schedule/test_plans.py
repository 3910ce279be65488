"""What an estimate says that a schedule does is what its nest does, at any point."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from dovetail.driver.task import KernelTask
from dovetail.schedule.structure import Form, structure
from dovetail.schedule.templates.template import Template
from dovetail.schedule.templates.tight import Tight
from dovetail.schedule.tree import blocks_below
from dovetail.target.dsp.machine import dsp
from dovetail.tir.expr import walk
from dovetail.tir.stmt import For, Stmt, Store, children
from tests.schedule.test_templates_tight import K, convolved

CASES = {
    "conv": (("outputs", "parts"), convolved("outputs", (1, 64, 14, 14), 64, 3, 1, 1)),
    "strides": (("outputs", "parts"), convolved("outputs", (1, 32, 23, 21), 128, 3, 2, 1)),
    "points": (("outputs", "parts"), convolved("outputs", (2, 96, 12, 12), 160, 1)),
    "groups": (("outputs", "parts"), convolved("outputs", (1, 128, 9, 9), 128, 3, 1, 1, 1, 4)),
    "slabs": (("slabs",), convolved("slabs", (1, 256, 9, 7), 128, 3, 1, 1)),
}
TCM = {"slabs": 96 * K}
POINTS = 200


def ways_of(task: KernelTask) -> Mapping[str, Template]:
    """The templates that take the whole kernel."""
    found = task.template
    if not isinstance(found, Tight):
        return {found.name: found}
    return {name: way for (rows, name), way in found.ways.items() if not rows}


def products(stmt: Stmt, weights: str, times: int = 1) -> int:
    """How often a nest multiplies elements of ``weights``."""
    if isinstance(stmt, For):
        return products(stmt.body, weights, times * stmt.extent)
    if isinstance(stmt, Store):
        return times * any(e.op == "load" and e.attr.name == weights for e in walk(stmt.value))
    return sum(products(child, weights, times) for child in children(stmt))


@pytest.mark.parametrize("name", CASES)
def test_products_of_a_plan_are_those_of_the_nest(name: str) -> None:
    taken, case = CASES[name]
    ways = ways_of(case.task(dsp(tcm=TCM.get(name, 8 << 20)), "ddr"))
    assert {*taken} <= {*ways}
    for way in taken:
        template = ways[way]
        parts = map(structure, blocks_below(template.func.body))
        (dot,) = (part for part in parts if part and part.form is Form.CONTRACTION)
        weights = dot.reads[1].buffer.name
        for point in template.space.survey(Random(len(name)), POINTS // len(taken), 10 * POINTS):
            nest = products(template.function(point).body, weights)
            assert template.estimate(point).facts["products"] == nest, f"{way}: {point}"
