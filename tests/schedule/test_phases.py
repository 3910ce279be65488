"""Long unrolled loops around parallel ones: fewer phases, the same bytes."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dovetail.schedule.placing.phases import lengths, phases_of
from dovetail.target.dsp.target import dsp
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import For, LoopKind, PrimFunc, seq
from tests.schedule.operators import Case, hold

KERNEL = """\
@prim_func
def rows(x: Buffer[u8, (80, 8)], y: Buffer[u8, (80, 8)]):
    for n in unrolled(1):
        for o in unrolled({steps}):
            for w in parallel({shared}):
                for c in serial(8):
                    {store}
"""
APART = "y[o, c] = x[o, c]"
ROWS = "y[o * 2 + w, c] = x[o * 2 + w, c]"
SAME = "y[w, c] = x[o, c]"


def phases(func: PrimFunc) -> list[For]:
    """Parallel loops, all of them."""
    found = [s for s in phases_of(func, dsp(threads=2))[1] if isinstance(s, For)]
    assert all(loop.kind is LoopKind.PARALLEL for loop in found)
    return found


@pytest.mark.parametrize(("store", "shared", "by"), [(APART, 1, "o"), (ROWS, 2, "w")])
def test_steps_that_are_apart_share_phases(store: str, shared: int, by: str) -> None:
    func = parse(KERNEL.format(steps=40, shared=shared, store=store))
    made = phases(func)
    assert len(made) == 16
    assert {loop.axis.attr for loop in made} == {by}
    x = np.arange(640, dtype=np.uint8).reshape(80, 8)
    found, wanted = np.zeros_like(x), np.zeros_like(x)
    interpret(func.with_body(seq(*made)), x, found)
    interpret(func, x, wanted)
    assert found.tobytes() == wanted.tobytes() and wanted.any()


@pytest.mark.parametrize(("store", "steps"), [(APART, 32), (SAME, 40)])
def test_short_loops_and_steps_that_depend_on_each_other_are_phases(store: str, steps: int) -> None:
    assert len(phases(parse(KERNEL.format(steps=steps, shared=1, store=store)))) == steps


@pytest.mark.parametrize(("extent", "most"), [(33, 3), (250, 16), (393, 10), (397, 1)])
def test_phases_double_and_halve(extent: int, most: int) -> None:
    found = list(lengths(extent, most))
    assert sum(found) == extent and max(found) == most
    assert found[0] == found[-1] == 1
    assert all(b <= 2 * a for a, b in pairwise(found))


def test_weights_of_many_channels_come_several_blocks_at_a_time() -> None:
    """Linear layers of many outputs: a phase a block was minutes of compilation."""
    weight = torch.randn(5300, 8, generator=torch.Generator().manual_seed(0))
    case = Case("outputs", lambda x: F.linear(x, weight), ((1, 8),))
    task = case.task(dsp(tcm=32 << 10, threads=2), "ddr")
    points = task.space.survey(Random(0), 200, 4000)
    streamed = [p for p in points if p["stream"] and p["blocks"] == 3][:2]
    assert streamed
    hold(task, streamed)
    assert all(len(task.program(point).phases) < 40 for point in streamed)
