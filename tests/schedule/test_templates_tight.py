"""Kernels that need more than TCM: strips of rows, transfers, weights slab by slab."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule.knobs import Point
from dovetail.schedule.placing.strips import form_of
from dovetail.schedule.templates.direct import direct
from dovetail.schedule.templates.in_strips import strips_of
from dovetail.target.dsp.target import dsp
from dovetail.tir.passes.lift import lift
from tests.schedule.operators import Case, conv2d
from tests.schedule.test_templates_vector import added, pooled

Note = Callable[[str, object], None]
K = 1 << 10


def convolved(template: str, shape: tuple[int, ...], outputs: int, *window: int) -> Case:
    """A convolution by kernel, stride, padding, dilation and groups."""
    torch.manual_seed(1)
    return Case(template, conv2d(shape[1], outputs, *window), (shape,), "q_conv2d")


CASES = {
    "conv": (convolved("outputs", (1, 64, 17, 19), 64, 3, 1, 1), 96 * K),
    "conv_images": (convolved("outputs", (2, 32, 13, 12), 32, 3, 1, 1), 48 * K),
    "conv_strides": (convolved("outputs", (1, 32, 23, 21), 64, 3, 2, 1), 64 * K),
    "conv_dilated": (convolved("outputs", (1, 32, 19, 17), 32, 3, 1, 2, 2), 48 * K),
    "conv_few": (convolved("outputs", (1, 3, 37, 33), 32, 7, 2, 3), 32 * K),
    "conv_wide": (convolved("parts", (1, 256, 9, 7), 128, 3, 1, 1), 96 * K),
    "conv_points": (convolved("outputs", (1, 64, 16, 16), 128, 1), 40 * K),
    "conv_row": (
        Case(
            "outputs",
            torch.nn.Conv2d(40, 100, (1, 9), (1, 2), (0, 4)),
            ((1, 40, 1, 230),),
            "q_conv2d",
        ),
        160 * K,
    ),
    "conv_pixels": (convolved("pixels", (1, 16, 32, 32), 16, 3, 1, 1), 32 * K),
    "depthwise": (convolved("channels", (1, 128, 15, 14), 128, 3, 1, 1, 1, 128), 48 * K),
    "depthwise_strides": (convolved("channels", (1, 64, 19, 23), 64, 5, 2, 2, 1, 64), 32 * K),
    "max_pool": (pooled("max", (1, 64, 24, 24), 3, 2, 1), 32 * K),
    "avg_pool": (pooled("avg", (1, 64, 24, 24), 2, 2), 32 * K),
    "add": (added((1, 64, 23, 24), (1, 64, 23, 24)), 32 * K),
    "sigmoid": (Case("table", torch.sigmoid, ((2, 64, 16, 24),)), 24 * K),
}


def points_of(task: KernelTask, count: int, seed: int) -> list[Point]:
    rng = Random(seed)
    return [task.space.sample(rng) for _ in range(count)]


@pytest.mark.exact
@pytest.mark.parametrize("scope", ["ddr", "tcm"])
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(
    name: str, scope: str, exact: bool, record_property: Note
) -> None:
    case, tcm = CASES[name]
    inside = sum(_room(shape) for shape in case.shapes) if scope == "tcm" else 0
    task = case.task(dsp(tcm=tcm + 2 * inside), scope)
    tried = refused = 0
    for point in points_of(task, 50 if exact else 3, len(name)):
        measured = task.measure(point)
        refused += measured.status == "invalid"
        if measured.status != "invalid":
            assert measured.status == "ok", f"{point}: {measured.message}"
            right, message = task.check(point)
            assert right, f"{point}: {message}"
            tried += 1
    assert tried >= refused
    record_property("slice", f"{name}: {tried} points, seed {len(name)}")


def _room(shape: tuple[int, ...]) -> int:
    images, channels, height, width = shape
    return images * max(channels, 4) * height * -(-width // 8) * 8


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_the_default_computes_strips_and_reads_no_image_from_ddr(name: str) -> None:
    case, tcm = CASES[name]
    task = case.task(dsp(tcm=tcm), "ddr")
    cost = task.compiled(task.default).cost
    assert task.default["strip"] != 0
    assert "ddr" not in cost.stalls


def test_strips_are_taken_by_templates_that_have_no_room_at_once() -> None:
    case, tcm = CASES["conv_pixels"]
    task = case.task(dsp(tcm=tcm), "ddr")
    points = points_of(task, 40, 0)
    assert {point["way"] for point in points} == {"pixels"}
    assert all(point["strip"] for point in points)


def test_strips_read_the_rows_of_their_windows_that_exist() -> None:
    strips = strips_of(lift(CASES["conv_strides"][0].task().kernel.func), 5, 1)
    found = [(strip.boxes["y"][1], strip.boxes["x"][1]) for strip in strips]
    assert found == [
        (range(5), range(10)), (range(5, 10), range(9, 20)), (range(7, 12), range(13, 23)),
    ]  # fmt: skip
    assert len({form_of(strip.func) for strip in strips}) == 3


def test_a_default_does_not_access_in_ddr_what_strips_bring() -> None:
    """At once, sums of the padded image would stay in DDR: each access would take its latency."""
    task = convolved("outputs", (1, 3, 32, 32), 32, 3, 1, 1).task(dsp(tcm=32 * K), "ddr")
    found = task.compiled(task.default)
    assert task.default["strip"] and found.cost.direct_bytes == 0


def test_an_operand_that_stays_in_ddr_is_guessed_to_be_slow() -> None:
    """A wait for each vector, and a share of the rate."""
    assert direct(dsp(), 8, 128, 2) == 8 * 128 * 4 / 32 + 2 * 200
    assert direct(dsp(threads=1, burst=128), 3, 4, 0) == 3 * 128 / 32


def test_a_chain_whose_rows_do_not_fit_comes_in_strips() -> None:
    """As strips its values between phases stay in TCM."""
    case = Case("folds", lambda x: x.softmax(-1), ((224, 256),))
    task = case.task(dsp(tcm=48 * K), scope="ddr")
    point = task.default
    assert point["strip"] and task.check(point) == (True, "")


def test_strips_cut_the_next_dimension_where_a_step_of_the_first_has_no_room() -> None:
    """A head of 256 x 256, its planes and what moves beside it take more than there is."""
    case = Case("folds", lambda x: x.softmax(-1), ((4, 256, 256),))
    task = case.task(dsp(tcm=256 * K), scope="ddr")
    point = task.default
    assert task.check(point) == (True, "")
    cycles = task.measure(point).cycles
    assert cycles is not None and cycles < 22_000
