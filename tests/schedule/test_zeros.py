"""Steps of sums by zeros are left out, and only these; contractions around zeros give the
operator's bytes at any point."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.templates.contraction import kernel_of
from dovetail.schedule.templates.contraction_border import LEFT_OUT, Inside, inside_of
from dovetail.target.dsp.target import dsp
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from tests.schedule.operators import Case, conv2d
from tests.schedule.test_templates_parts import parts_of, point_of

Note = Callable[[str, object], None]

SUM = """
@prim_func
def around(x: Buffer[u8, (6, 4)], w: Buffer[i8, (3,)], y: Buffer[i32, (6,)]):
    p = alloc(u8, (8, 4), "tcm")
    for i in range(8):
        for j in range(4):
            with block("fill"):
                vi = spatial(8, i)
                vj = spatial(4, j)
                p[vi, vj] = {fill}
    for i_1 in range(6):
        for j_1 in range(4):
            with block("copy"):
                vi = spatial(6, i_1)
                vj = spatial(4, j_1)
                p[vi + 1, vj] = x[vi, vj]
    for h in range(6):
        for k in range(3):
            for c in range(4):
                with block("sum"):
                    vh = spatial(6, h)
                    vk = reduce(3, k)
                    vc = reduce(4, c)
                    with init():
                        y[vh] = 0
                    y[vh] = y[vh] + cast(i32, p[vh + vk, vc]) * cast(i32, w[vk])
"""


def around(fill: int = 0) -> PrimFunc:
    return parse(SUM.format(fill=fill))


def zoned(sch: Schedule) -> None:
    """Rows of the result as the first one, those between, and the last one."""
    sch.decompose_reduction("sum", "k")
    for steps in (1, 4):
        outer = [ref.name for ref in sch.blocks() if ref.name.startswith("sum")][-1]
        sch.split(sch.loops(outer)[0], (steps,), tail="peel")


def extents(sch: Schedule) -> list[int]:
    """Of the loop over the taps, in each part."""
    names = [b.name for b in sch.blocks() if b.name.startswith("sum") and "init" not in b.name]
    return [sch.get_loop(sch.leave_out(sch.loops(name)[1])).extent for name in names]


def hold(func: PrimFunc, fill: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 4), np.uint8)
    w = rng.integers(-128, 128, 3).astype(np.int8)
    y = np.zeros(6, np.int32)
    interpret(func, x, w, y)
    whole = np.pad(x.astype(np.int32), ((1, 1), (0, 0)), constant_values=fill).sum(axis=1)
    assert np.array_equal(y, np.convolve(whole, w[::-1].astype(np.int32), "valid"))


def test_taps_that_read_zeros_are_left_out() -> None:
    sch = Schedule(around())
    zoned(sch)
    assert extents(sch) == [2, 3, 2]
    hold(sch.func, 0)


def test_taps_that_read_another_number_stay() -> None:
    sch = Schedule(around(7))
    zoned(sch)
    assert extents(sch) == [3, 3, 3]
    hold(sch.func, 7)


def test_zeros_that_are_written_over_are_none() -> None:
    text = SUM.format(fill=0).replace("p[vi + 1, vj] = x", "p[vi + vj % 3, vj] = x")
    sch = Schedule(parse(text))
    zoned(sch)
    assert extents(sch) == [3, 3, 3]


def test_rows_that_add_nothing_are_left_out_at_a_tap() -> None:
    sch = Schedule(around())
    sch.decompose_reduction("sum", "h")
    sch.reorder("k", "h")
    sch.split("k", (1,), tail="peel")
    assert sch.get_loop(sch.leave_out("h")).extent == 5
    hold(sch.func, 0)


def test_a_sum_that_has_not_begun_is_refused() -> None:
    sch = Schedule(around())
    with pytest.raises(ScheduleError, match=r"begun before it.*\n.*\n.*decompose_reduction"):
        sch.leave_out("k")


def test_a_loop_around_several_blocks_is_refused() -> None:
    sch = Schedule(around())
    sch.decompose_reduction("sum", "k")
    with pytest.raises(ScheduleError, match="of a sum alone"):
        sch.leave_out("h")


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3])
def test_what_lies_inside_is_what_reads_data(kernel: int, stride: int, dilation: int) -> None:
    pad = 2
    case = Case(
        "", relu_then(torch.nn.Conv2d(32, 32, kernel, stride, pad, dilation)), ((1, 32, 11, 14),)
    )
    func = case.task(dsp(), "tcm").kernel.func
    found = kernel_of(func, 128)
    assert found is not None
    for at, size in enumerate((11, 14)):
        inside = inside_of(found, at)
        assert inside is not None
        count = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for tap, span in enumerate(inside.taps):
            reads = [o for o in range(count) if 0 <= o * stride + tap * dilation - pad < size]
            assert [o for o in range(*span) if o < count] == reads


def test_spans_of_tiles_are_those_of_the_axis() -> None:
    inside = Inside(((1, 7), (0, 7), (0, 6)))
    assert [inside.span(0, 7, tap) for tap in range(3)] == [(1, 7), (0, 7), (0, 6)]
    assert [inside.span(tile, 1, 0) for tile in range(7)] == [(0, 0)] + [(0, 1)] * 6
    assert inside.kept(7, 1) == inside.kept(1, 7) == 19 / 21
    assert inside.parts(7, 1, True) == 3 and inside.parts(7, 1, False) == 3
    assert inside.parts(1, 7, True) == 3


def relu_then(layer: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """A layer of which 0 is the zero point of the input."""
    return lambda x: layer(torch.relu(x))


def convolved(shape: tuple[int, ...], outputs: int, *window: int) -> Case:
    """A convolution of what a relu gives, by kernel, stride, padding, dilation and groups."""
    torch.manual_seed(1)
    return Case("", relu_then(conv2d(shape[1], outputs, *window)), (shape,))


CASES = {
    "odd": convolved((1, 64, 7, 7), 256, 3, 1, 1),
    "batch": convolved((2, 32, 5, 6), 128, 3, 1, 1),
    "strides": convolved((1, 32, 14, 14), 256, 3, 2, 1),
    "dilated": convolved((1, 32, 9, 9), 128, 3, 1, 2, 2),
    "far": convolved((1, 32, 4, 4), 64, 3, 1, 6, 6),
    "wide": convolved((1, 32, 6, 6), 64, 5, 1, 2),
    "grouped": convolved((1, 64, 6, 6), 64, 3, 1, 1, 1, 2),
}


@pytest.mark.exact
@pytest.mark.parametrize("name", CASES)
def test_points_without_products_by_zeros_give_the_operators_bytes(
    name: str, exact: bool, record_property: Note
) -> None:
    task = CASES[name].task(dsp(), "tcm")
    rng, template = Random(len(name)), parts_of(task)
    assert template is not None
    fewer = 0
    for _ in range(50 if exact else 3):
        point = template.space.sample(rng)
        while point["zeros"] != LEFT_OUT:
            point = template.space.sample(rng)
        facts = [
            template.estimate({**point, "zeros": how}).facts for how in (LEFT_OUT, "multiplied")
        ]
        fewer += facts[0]["products"] < facts[1]["products"]
        measured = task.measure(point_of(task, **point))
        assert measured.status == "ok", f"{point}: {measured.message}"
        right, message = task.check(point_of(task, **point))
        assert right, f"{point}: {message}"
    assert fewer
    record_property("slice", f"zeros {name}: seed {len(name)}")
