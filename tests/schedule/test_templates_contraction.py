"""Contractions by what lies in lanes: bytes of random points of random kernels."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch

from dovetail.driver.task import KernelTask
from dovetail.schedule.templates.contraction_folded import folded
from dovetail.schedule.templates.contraction_pixels import pixels
from dovetail.target.dsp.machine import Machine, dsp
from dovetail.tir.passes.lift import lift
from tests.schedule.operators import Case, hold

Note = Callable[[str, object], None]


def layer(rng: Random) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """A random convolution of few outputs, or a matrix product of many rows."""
    torch.manual_seed(rng.randrange(1 << 30))
    inputs, outputs = rng.choice((3, 4, 16, 32, 40, 64)), rng.choice((1, 2, 3, 4, 5, 8, 12, 21))
    if rng.random() < 0.15:
        return torch.nn.Linear(inputs, outputs), (rng.choice((28, 49, 64)), inputs)
    kernel = rng.choice(((1, 1), (3, 3), (3, 1), (1, 5), (5, 5), (2, 2)))
    stride = rng.choice(((1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 3)))
    dilation = rng.choice((1, 1, 1, 2))
    padding = rng.randrange(kernel[0] * dilation), rng.randrange(kernel[1] * dilation)
    made = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)
    size = rng.choice((9, 12, 20, 32, 36)), rng.choice((9, 13, 28, 32, 48, 60, 64, 70))
    return made, (rng.choice((1, 1, 2)), inputs, *size)


def task_of(seed: int, machine: Machine, scope: str) -> KernelTask:
    module, shape = layer(Random(seed))
    return Case("pixels", module, (shape,)).task(machine, scope)


@pytest.mark.exact
@pytest.mark.parametrize("part", range(4))
def test_pixels_in_lanes(part: int, exact: bool, record_property: Note) -> None:
    taken = 0
    for seed in range(part, 400 if exact else 24, 4):
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


@pytest.mark.parametrize("number", range(len(FEW)))
def test_summed_channels_in_lanes(number: int, exact: bool) -> None:
    rng = Random(number)
    module, shape = FEW[number]
    task = Case("folded", module, (shape,)).task(dsp(), rng.choice(("tcm", "ddr")))
    made = folded(lift(task.kernel.func), task.machine)
    assert made is not None
    task.__dict__["template"] = made
    hold(task, [made.space.sample(rng) for _ in range(20 if exact else 2)])
