"""Dense convolutions with sums in TCM: bytes of random points, phases, waits, even shares; sums of
a group of outputs at a time where there is no room for all."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule.knobs import Point, Value
from dovetail.schedule.templates.template import Template
from dovetail.schedule.templates.tight import Tight
from dovetail.target.dsp.target import dsp
from tests.schedule.operators import Case, on_all
from tests.schedule.test_templates_tight import convolved

Note = Callable[[str, object], None]

CASES = {
    "odd_rows": convolved("outputs", (1, 64, 7, 7), 256, 3, 1, 1),
    "odd_columns": convolved("outputs", (1, 32, 6, 9), 64, 3, 1, 1),
    "batch": convolved("outputs", (2, 32, 5, 6), 128, 3, 1, 1),
    "points": convolved("outputs", (1, 256, 7, 7), 256, 1),
    "strides": convolved("outputs", (1, 32, 14, 14), 256, 3, 2, 1),
    "dilated": convolved("outputs", (1, 32, 9, 9), 128, 3, 1, 2, 2),
    "few": convolved("outputs", (1, 3, 14, 14), 32, 5, 1, 2),
    "linear": Case("outputs", torch.nn.Linear(128, 200), ((5, 128),)),
}


K = 1 << 10
TIGHT = {
    "odd_rows": (convolved("parts", (1, 64, 7, 7), 512, 3, 1, 1), 112 * K),
    "batch": (convolved("parts", (2, 32, 5, 6), 384, 3, 1, 1), 120 * K),
    "points": (convolved("parts", (1, 256, 7, 7), 512, 1), 104 * K),
    "strides": (convolved("parts", (1, 32, 15, 13), 256, 3, 2, 1), 72 * K),
}


def parts_of(task: KernelTask) -> Template | None:
    """The template, where the kernel has it."""
    template = on_all(task)
    return template.ways.get((0, "parts")) if isinstance(template, Tight) else None


def point_of(task: KernelTask, **values: Value) -> Point:
    """A point of the kernel: these knobs, the others at their first."""
    least = {knob.name: knob.values[0] for knob in task.space.knobs}
    return task.space.point({**least, "way": "parts", **values})


@pytest.mark.exact
@pytest.mark.parametrize("threads", [3, 4])
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(
    name: str, threads: int, exact: bool, record_property: Note
) -> None:
    task = CASES[name].task(dsp(threads=threads), "ddr" if threads == 3 else "tcm")
    rng, template = Random(len(name)), parts_of(task)
    assert template is not None
    for _ in range(50 if exact else 3):
        point = point_of(task, **template.space.sample(rng))
        measured = task.measure(point)
        assert measured.status == "ok", f"{point}: {measured.message}"
        right, message = task.check(point)
        assert right, f"{point}: {message}"
    record_property("slice", f"parts {name}, {threads} threads: seed {len(name)}")


@pytest.mark.exact
@pytest.mark.parametrize("name", TIGHT)
def test_sums_of_a_group_at_a_time_give_the_operators_bytes(
    name: str, exact: bool, record_property: Note
) -> None:
    case, tcm = TIGHT[name]
    task = case.task(dsp(tcm=tcm), "tcm")
    rng, template = Random(len(name)), parts_of(task)
    assert template is not None
    every = (template.space.sample(rng) for _ in range(400))
    points = [point for point in every if point["sums"] == "group"][: 50 if exact else 3]
    assert len(points) >= 3
    for point in points:
        cost = task.compiled(point_of(task, **point)).cost
        assert "ddr" not in cost.stalls, point
        assert cost.tcm <= tcm
        right, message = task.check(point_of(task, **point))
        assert right, f"{point}: {message}"
    record_property("slice", f"sums of a group, {name}: seed {len(name)}")


def test_weights_are_read_once_where_sums_do_not_fit() -> None:
    """All of them are 2 MB, TCM 224 KB, and the sums of 7 x 7 pixels 100 KB."""
    task = convolved("parts", (1, 512, 7, 7), 512, 3, 1, 1).task(dsp(tcm=224 * K), "tcm")
    cost = task.compiled(task.default).cost
    assert task.default["sums"] == "group"
    assert cost.dma_bytes < 1.01 * 9 * 512 * 512
    assert cost.cycles < 1.15 * 49 * 9 * 512 * 512 / (256 * task.machine.threads)


def costs(cuts: int) -> tuple[int, int]:
    """Cycles, and those that wait for transfers, of 7 x 7 pixels at 256 channels."""
    task = convolved("outputs", (1, 256, 7, 7), 256, 3, 1, 1).task()
    cost = task.compiled(point_of(
        task, columns=7, share="vectors", cuts=cuts, steps=2
    )).cost  # fmt: skip
    return cost.cycles, cost.dma_wait


def test_parts_of_the_first_weights_shorten_the_wait() -> None:
    whole, rows, taps = (costs(cuts) for cuts in (0, 1, 2))
    assert whole[1] > rows[1] > taps[1]
    assert whole[0] > rows[0] > taps[0]


def test_seven_rows_are_shared_evenly() -> None:
    task = convolved("outputs", (1, 128, 7, 7), 256, 3, 1, 1).task()
    cost = task.compiled(point_of(task, columns=7, share="vectors", steps=2)).cost
    longest = max(cost.executed, key=sum)
    assert len(longest) == 4
    assert len(set(longest)) == 1


def test_the_default_of_an_odd_image_is_near_its_products() -> None:
    """With those of padding, which the bound leaves out: 49 pixels of 9 taps, not 19 * 19 taps."""
    task = convolved("outputs", (1, 256, 7, 7), 512, 3, 1, 1).task()
    every = 49 * 9 * 256 * 512 / (256 * task.machine.threads)
    assert task.default["way"] == "parts" and task.bound == every * 19 * 19 / (49 * 9)
    assert task.compiled(task.default).cost.cycles < 1.12 * every


def test_sums_that_do_not_fit_are_left_to_others() -> None:
    case = convolved("outputs", (1, 32, 56, 56), 64, 3, 1, 1)
    assert parts_of(case.task(dsp(tcm=8 << 20))) is not None
    assert parts_of(case.task(dsp(tcm=700 << 10))) is None
