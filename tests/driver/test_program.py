"""A model's program: what runs when, in which bytes, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail import compile, dsp, load
from dovetail.driver.choose import Choice
from dovetail.driver.defaults import ranked
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.model_program import ModelProgram, by_themselves
from dovetail.driver.model_search import program
from dovetail.driver.prepare import Ready, quantized, ready
from dovetail.driver.tuned import Tuned
from dovetail.driver.zoo import build, calibration
from dovetail.graph.kernels import kernel_key
from dovetail.schedule.knobs import Point
from dovetail.target.dsp.target import Dsp
from dovetail.target.program import Place
from dovetail.tir.places import taken


class Branches(nn.Module):
    """Convolutions, a residual, a linear layer and operators without constants between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 2, 1)
        self.deep = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        self.wide = nn.Conv2d(channels, channels, 1)
        self.last = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.stem(x))
        b = nn.functional.max_pool2d(self.wide(torch.relu(self.deep(a))) + a, 2)
        result: Tensor = self.last(b.mean((2, 3)))
        return result


def made(model: nn.Module, x: Tensor, machine: Dsp) -> tuple[Ready, dict[str, Choice]]:
    torch.manual_seed(0)
    found = ready(quantized(model.eval(), (x,), [(x,)]), machine)
    return found, {task.key: Choice.of(task, likely(task)) for task in found.tasks}


def likely(task: KernelTask) -> Point:
    """The point that the estimate likes best of those that have code."""
    for part in ranked(task):
        for point in part:
            if task.measure(point).cycles is not None:
                return point
    raise AssertionError(f"{task.name} has no code")


def image(seed: int, size: int) -> Tensor:
    return torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def autoencoder() -> Tuned:
    model, inputs = build("autoencoder")
    return compile(model, inputs, calibration("autoencoder"))


def test_constants_come_while_earlier_kernels_run(autoencoder: Tuned) -> None:
    """The channel to DDR does not rest: what comes on top is of the first and last kernel."""
    machine, moved = autoencoder.ready.machine, autoencoder.bound
    assert moved <= autoencoder.cycles <= 1.15 * moved
    first, *others = autoencoder.ready.plan.near
    assert not first and all(others)
    weights = sum(task.kernel.weight_bytes for task in autoencoder.ready.kernels[1:])
    arriving = sum(one.size for one in autoencoder.program.arrivals)
    assert weights <= arriving and arriving / machine.dma_rate < autoencoder.cycles


def test_constants_that_stay_are_not_waited_for(autoencoder: Tuned) -> None:
    steady = autoencoder.steady_cycles
    first = autoencoder.kernels[0].cycles  # which brings its own
    assert steady is not None and first < steady < 0.6 * autoencoder.cycles
    small = compile(
        nn.Linear(640, 32), (torch.randn(1, 640),), [(torch.randn(1, 640),)],
        dsp(tcm=1 << 14), executor=0,
    )  # fmt: skip
    assert small.steady_cycles == small.cycles  # there is nothing that could stay


def test_rows_add_up_to_the_program(autoencoder: Tuned) -> None:
    rows = autoencoder.kernels
    assert sum(row.cycles for row in rows) == autoencoder.cycles == autoencoder.default_cycles
    for row in rows:
        assert row.cycles == row.packets + sum(row.stalls.values())
        assert row.dma_wait == row.stalls.get("dma", 0)


def test_a_model_of_one_kernel_costs_what_the_kernel_does() -> None:
    found, choices = made(nn.Conv2d(3, 32, 3), image(0, 12), dsp())
    (kernel,), (share,) = choices.values(), program(found, choices).shares
    assert (share.cycles, share.packets) == (kernel.cost.cycles, kernel.cost.packets)
    assert share.stalls == kernel.cost.stalls


@pytest.mark.parametrize("tcm", [1 << 15, 1 << 17, 1 << 20])
@pytest.mark.parametrize("channels", [8, 40])
def test_what_is_alive_lies_apart_and_gives_the_bytes(channels: int, tcm: int) -> None:
    x = image(channels, 24)
    found, choices = made(Branches(channels), x, dsp(tcm=tcm))
    runs = program(found, choices)
    tuned = Tuned(found, choices, runs, runs)
    assert torch.equal(tuned(x), tuned.reference(x))
    for number in range(len(tuned.ready.kernels)):
        for one, other in combinations(_alive(tuned, number), 2):
            assert one[1] <= other[0] or other[1] <= one[0], (number, one, other)
            assert max(one[1], other[1]) <= tcm


def _alive(tuned: Tuned, number: int) -> list[tuple[int, int, str]]:
    """First byte, end and name of all that lies in TCM while a kernel runs."""
    found, runs = tuned.program, tuned.ready.kernels
    places = {place.name: place for place in _places(tuned, number)}
    own = [(at, at + taken(places[name].size), name)
           for name, (memory, at) in found.places[number].items()
           if memory == "tcm" and places[name].local]  # fmt: skip
    coming = [(one.address, one.address + one.size, f"constants of {one.kernel}")
              for one in found.arrivals if one.start <= number <= one.kernel]  # fmt: skip
    born = {task.kernel.output: at for at, task in enumerate(runs)}
    last = {name: at for at, task in enumerate(runs) for name in task.kernel.inputs}
    tensors = [(at, at + tuned.ready.plan.spots[name].size, name)
               for name, at in _tensors(tuned).items()
               if name in born and born[name] <= number <= last.get(name, born[name])]  # fmt: skip
    return [*own, *coming, *tensors]


def _tensors(tuned: Tuned) -> dict[str, int]:
    """Where those in TCM lie: for all kernels at one place."""
    found: dict[str, int] = {}
    for number, task in enumerate(tuned.ready.kernels):
        given = [p.name for p in _places(tuned, number) if not p.local and p.data is None]
        tensors = (*task.kernel.inputs, task.kernel.output)
        for name, tensor in zip(given, tensors, strict=True):
            memory, at = tuned.program.places[number][name]
            if memory == "tcm":
                assert found.setdefault(tensor, at) == at
    return found


def _places(tuned: Tuned, number: int) -> list[Place]:
    task = tuned.ready.kernels[number]
    return task.program(tuned.choices[task.key].point).places


def test_constants_that_take_much_of_what_is_left_stay_in_ddr() -> None:
    model, x = nn.Sequential(nn.Linear(64, 256), nn.Linear(256, 512)), torch.randn(4, 64)
    graph = quantized(model.eval(), (x,), [(x,)])
    large, small = (ready(graph, dsp(tcm=size)).plan.near for size in (1 << 23, 1 << 17))
    assert large[1] and not small[1]


def test_programs_repeat_and_are_saved(autoencoder: Tuned, tmp_path: object) -> None:
    again = program(autoencoder.ready, autoencoder.choices)
    assert again == autoencoder.program
    path = f"{tmp_path}/model.dovetail"
    autoencoder.save(path)
    loaded = load(path)
    assert (loaded.program, loaded.default) == (again, again)
    x = torch.randn(1, 640, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded(x), autoencoder.reference(x))


class Positions(nn.Module):
    """A constant is added to one image, and another image of its shape to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.places = nn.Parameter(torch.randn(1, 8, 12, 12))

    def forward(self, x: Tensor) -> Tensor:
        a: Tensor = self.first(x) + self.places
        b: Tensor = self.second(a) + a
        return b


def test_a_constant_operand_is_no_activation() -> None:
    x = image(3, 12)
    found, choices = made(Positions(), x, dsp())
    adds = [task for task in found.kernels if task.kind == "elementwise"]
    assert [len(task.kernel.inputs) for task in adds] == [1, 2]
    func = adds[1].func
    fixed = replace(func, constants={"b": np.zeros(func.params[1].shape, np.uint8)})
    assert kernel_key(fixed) != kernel_key(func)
    runs = program(found, choices)
    tuned = Tuned(found, choices, runs, runs)
    got, wanted = tuned(x), tuned.reference(x)
    assert isinstance(got, Tensor) and isinstance(wanted, Tensor) and torch.equal(got, wanted)


def test_kernels_apart_are_costed_by_themselves() -> None:
    found, choices = made(Branches(8), image(1, 16), dsp())
    alone = by_themselves(found, choices)
    assert alone.cycles == sum(choices[task.key].cost.cycles for task in found.kernels)
    assert isinstance(alone, ModelProgram) and not alone.arrivals
