"""Contractions by what lies in lanes: bytes of random points of random kernels."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule.knobs import number
from dovetail.schedule.templates.contraction_outputs import outputs
from dovetail.schedule.templates.contraction_pixels import columns, pixels
from dovetail.schedule.templates.contraction_plan import plan_for
from dovetail.schedule.templates.folds import sums
from dovetail.schedule.templates.template import Template
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.machine_facts import Machine
from dovetail.tir.passes.lift import lift
from dovetail.tir.stmt import PrimFunc
from tests.schedule.operators import Case, hold

Note = Callable[[str, object], None]


def layer(rng: Random) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """A random convolution of few outputs, or a matrix product of many rows."""
    torch.manual_seed(rng.randrange(1 << 30))
    inputs, outputs = rng.choice((3, 4, 16, 32, 40, 64, 96)), rng.choice((1, 2, 3, 4, 5, 8, 12, 21))
    if rng.random() < 0.15:
        return torch.nn.Linear(inputs, outputs), (rng.choice((28, 49, 64)), inputs)
    kernel = rng.choice(((1, 1), (3, 3), (3, 1), (1, 5), (5, 5), (2, 2)))
    stride = rng.choice(((1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 3)))
    dilation = rng.choice((1, 1, 1, 2))
    padding = rng.randrange(kernel[0] * dilation), rng.randrange(kernel[1] * dilation)
    made = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)
    size = rng.choice((9, 12, 20, 32, 36)), rng.choice((9, 13, 28, 32, 48, 60, 64, 70))
    return made, (rng.choice((1, 1, 2)), inputs, *size)


def task_of(seed: int, machine: Dsp, scope: str) -> KernelTask:
    module, shape = layer(Random(seed))
    return Case("pixels", module, (shape,)).task(machine, scope)


@pytest.mark.exact
@pytest.mark.parametrize("part", range(4))
def test_pixels_in_lanes(part: int, exact: bool, record_property: Note) -> None:
    taken = 0
    for seed in range(part, 400 if exact else 40, 4):
        rng = Random(seed)
        machine = rng.choice((dsp(), dsp(threads=1), dsp(tcm=160 << 10)))
        task = task_of(seed, machine, rng.choice(("tcm", "ddr")))
        made = pixels(lift(task.kernel.func), task.machine)
        if made is None:
            continue
        task.__dict__["template"] = made
        hold(task, [made.space.sample(rng) for _ in range(2)])
        taken += 1
    record_property("slice", f"pixels in lanes: {taken} kernels from {part} on")
    assert taken > (60 if exact else 2)


FEW: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Linear(1280, 2), (1, 1280)),
    (torch.nn.Linear(256, 10), (3, 256)),
    (torch.nn.Linear(128, 40), (1, 128)),
    (torch.nn.Linear(384, 70), (2, 384)),
    (torch.nn.Linear(128, 150), (1, 128)),
    (torch.nn.Conv2d(128, 3, 3, padding=1), (1, 128, 3, 3)),
    (torch.nn.Conv2d(256, 5, 2, stride=2), (2, 256, 4, 5)),
)


def held_by(
    template: Callable[[PrimFunc, Machine], Template | None],
    module: torch.nn.Module,
    shape: tuple[int, ...],
    rng: Random,
    count: int,
) -> None:
    """A kernel that the template takes, at points of its space."""
    task = Case("made", module, (shape,)).task(dsp(), rng.choice(("tcm", "ddr")))
    made = template(lift(task.kernel.func), task.machine)
    assert made is not None
    task.__dict__["template"] = made
    hold(task, [made.space.sample(rng) for _ in range(count)])


@pytest.mark.parametrize("at", range(len(FEW)))
def test_summed_channels_in_lanes(at: int, exact: bool) -> None:
    held_by(sums, *FEW[at], Random(at), 20 if exact else 2)


TILED: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Conv2d(16, 8, 1), (1, 16, 12, 16)),  # tiles of the image
    (torch.nn.Conv2d(40, 12, 1), (2, 40, 8, 24)),
    (torch.nn.Conv2d(16, 16, 3, padding=1), (1, 16, 8, 8)),  # of padded rows
    (torch.nn.Conv2d(200, 6, 3, padding=1), (2, 200, 7, 7)),
    (torch.nn.Conv2d(20, 7, 3), (1, 20, 9, 11)),
    (torch.nn.Conv2d(12, 9, 3, padding=2, dilation=2), (1, 12, 6, 45)),  # of 24 columns
    (torch.nn.Conv2d(16, 16, (1, 5), padding=(0, 2)), (1, 16, 1, 117)),  # that run on
    (torch.nn.Conv2d(3, 20, 3, stride=2), (1, 3, 21, 114)),
    (torch.nn.Conv2d(96, 10, 5, stride=2, padding=2), (1, 96, 7, 41)),  # whole registers a pixel
    (torch.nn.Conv2d(3, 24, 3, stride=2, padding=1), (1, 3, 64, 64)),  # pads of an odd number
)


@pytest.mark.parametrize("at", range(len(TILED)))
def test_tiles_of_pixels(at: int, exact: bool) -> None:
    held_by(pixels, *TILED[at], Random(at), 20 if exact else 3)


LONG: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Conv2d(1, 16, (5, 11), 2, (2, 5)), (1, 1, 13, 60)),
    (torch.nn.Conv2d(1, 8, (3, 9), 4, (1, 4)), (2, 1, 9, 100)),
    (torch.nn.Conv2d(1, 6, 3, padding=1), (1, 1, 7, 50)),
    (torch.nn.Conv2d(1, 16, (2, 5), padding=4, dilation=2), (1, 1, 6, 45)),
    (torch.nn.Conv2d(2, 4, (1, 16)), (1, 2, 2, 79)),
    (torch.nn.Conv2d(3, 32, 7, 2, 3), (1, 3, 15, 32)),
)


@pytest.mark.parametrize("at", range(len(LONG)))
def test_kernel_columns_in_words(at: int, exact: bool) -> None:
    held_by(columns, *LONG[at], Random(at), 20 if exact else 3)


def test_channels_fill_words_where_columns_fill_no_more() -> None:
    task = Case("made", torch.nn.Conv2d(3, 8, 3), ((1, 3, 9, 20),)).task(dsp())
    assert columns(lift(task.kernel.func), dsp()) is None


WIDE: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Conv2d(40, 33, 1), (1, 40, 5, 9)),
    (torch.nn.Conv2d(144, 64, 1), (2, 144, 3, 7)),
    (torch.nn.Conv2d(64, 32, 1, stride=2), (1, 64, 9, 13)),
    (torch.nn.Conv2d(200, 128, (3, 1), padding=(1, 0)), (1, 200, 6, 7)),
    (torch.nn.Conv2d(8, 128, 3, dilation=2), (1, 8, 9, 10)),
    (torch.nn.Conv2d(3, 64, 5, stride=2, padding=2), (2, 3, 11, 14)),
    (torch.nn.Linear(100, 256), (37, 100)),
    (torch.nn.Linear(640, 128), (1, 640)),
)


@pytest.mark.parametrize("at", range(len(WIDE)))
def test_outputs_in_lanes(at: int, exact: bool) -> None:
    held_by(outputs, *WIDE[at], Random(at), 20 if exact else 1)


PADDED: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Conv2d(24, 97, 1), (1, 24, 5, 9)),  # no vector without meaning
    (torch.nn.Conv2d(8, 129, 3, padding=1), (2, 8, 6, 6)),
    (torch.nn.Conv2d(40, 65, 1), (1, 40, 7, 4)),
    (torch.nn.Conv2d(20, 96, (1, 5)), (1, 20, 3, 13)),
    (torch.nn.Conv2d(16, 160, 1, stride=2), (1, 16, 9, 11)),
    (torch.nn.Conv2d(12, 320, 1), (1, 12, 4, 7)),
    (torch.nn.Linear(100, 200), (37, 100)),
)


@pytest.mark.parametrize("at", range(len(PADDED)))
def test_vectors_of_pads_are_left_out(at: int, exact: bool) -> None:
    (module, shape), rng = PADDED[at], Random(at)
    task = Case("padded", module, (shape,)).task(dsp(), rng.choice(("tcm", "ddr")))
    func = lift(task.kernel.func)
    plan, made = plan_for(func, 128), outputs(func, task.machine)
    assert plan is not None and made is not None
    task.__dict__["template"] = made
    drawn = made.space.survey(rng, 40, 4000)
    points = [point for point in drawn if point["blocks"] == plan.blocks]
    real = plan.kernel.real(func)[3]
    for point in points:
        weights = made.schedule(point).get_buffer(plan.kernel.weights.name)
        assert weights.size == plan.weights * -(-real // 32) * 32 // plan.outputs
        assert weights.size == plan.shortened().weights
    hold(task, points[: 20 if exact else 2])


def test_pads_take_no_products() -> None:
    """Three vectors of four; a layer of so many outputs takes what its kind took before."""
    cycles = []
    for channels in (96, 97, 128, 144, 256):
        task = Case("padded", torch.nn.Conv2d(32, channels, 1), ((1, 32, 28, 28),)).task(dsp())
        cycles.append(task.measure(task.default).cycles)
    few, most, all_, five, eight = (count for count in cycles if count is not None)
    assert most == all_ and few < 0.85 * all_ and five < 0.75 * eight


NARROW: tuple[tuple[torch.nn.Module, tuple[int, ...]], ...] = (
    (torch.nn.Conv2d(64, 64, 1), (1, 64, 25, 5)),  # two pixels a register
    (torch.nn.Conv2d(8, 30, 3, padding=1), (2, 8, 6, 7)),  # four
    (torch.nn.Conv2d(40, 48, (3, 2), stride=2), (1, 40, 15, 11)),
    (torch.nn.Conv2d(16, 31, 1), (1, 16, 30, 1)),
)


@pytest.mark.parametrize("at", range(len(NARROW)))
def test_pixels_of_pads_are_left_out(at: int, exact: bool) -> None:
    (module, shape), rng = NARROW[at], Random(at)
    task = Case("narrow", module, (shape,)).task(dsp(), rng.choice(("tcm", "ddr")))
    func = lift(task.kernel.func)
    plan, made = plan_for(func, 128), outputs(func, task.machine)
    assert plan is not None and made is not None
    task.__dict__["template"] = made
    drawn = made.space.survey(rng, 60, 4000)
    points = [p for p in drawn if plan.meant(number(p, "columns")) < number(p, "columns")]
    assert points
    hold(task, points[: 20 if exact else 3])


def test_rows_of_pads_take_fewer_products() -> None:
    cycles = []
    for wide in (5, 6):
        task = Case("narrow", torch.nn.Conv2d(64, 64, 1), ((1, 64, 26, wide),)).task(dsp())
        cycles.append(task.measure(task.default).cycles)
    few, all_ = cycles
    assert few is not None and all_ is not None and few < 0.9 * all_


def test_windows_without_pads_read_the_input_where_it_lies() -> None:
    in_place = 0
    for module, shape in WIDE:
        task = Case("outputs", module, (shape,)).task()
        func = lift(task.kernel.func)
        plan, made = plan_for(func, 128), outputs(func, task.machine)
        assert plan is not None and made is not None and plan.kernel.copy is not None
        lies = []
        for point in made.space.survey(Random(0), 4, 400):
            copied = plan.source(plan.width(number(point, "columns"))).copied
            names = [block.name for block in made.schedule(point).blocks()]
            assert (plan.kernel.copy.block in names) == copied
            assert copied or getattr(module, "padding", (0, 0)) == (0, 0)
            lies.append(not copied)
        in_place += any(lies)
    assert in_place >= 3
