"""What kernels and models must do, and that no cost is below: random kernels, points, machines."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.least_work import work
from dovetail.driver.model_bound import model_bound
from dovetail.driver.prepare import Ready, quantized, ready
from dovetail.graph.kernels import place
from dovetail.schedule.errors import ScheduleError
from dovetail.target.cost import Work
from dovetail.target.dsp.bound import bound
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.errors import SelectError
from tests.exact.chance import STEPS, start
from tests.exact.odd import Apply

Record = Callable[[str, object], None]


def prepared(model: nn.Module, *inputs: Tensor, machine: Dsp | None = None) -> Ready:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = quantized(model.eval(), inputs, [inputs])
    return ready(graph, machine or dsp())


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def of(model: nn.Module, *inputs: Tensor) -> Work:
    """The work of a model of one kernel."""
    (task,) = prepared(model, *inputs).kernels
    return task.work


def test_convolutions_multiply_what_touches_data_by_the_weights_that_do() -> None:
    conv = nn.Conv2d(8, 16, 3, padding=1)
    found = of(conv, image(2, 8, 1, 1))
    assert found == Work(2 * 8 * 16, ddr=16 + 32 + 128 + 64, loaded=16 + 128 + 64, stored=32)
    found = of(conv, image(1, 8, 7, 7))
    products, weights = 19 * 19 * 8 * 16, 16 * 8 * 9 + 64
    assert found == Work(products, 49 * (8 + 16) + weights, 49 * 8 + weights, 49 * 16)


def test_elementwise_tables_and_pooling_go_over_the_ports() -> None:
    x = image(1, 32, 16, 16)
    assert of(Apply(torch.add), x, x.flip(0) * 2) == Work(0, 3 * 8192, 2 * 8192, 8192)
    assert of(nn.Sigmoid(), x) == Work(0, 2 * 8192 + 256, 8192 + 256, 8192)
    assert of(nn.MaxPool2d(1, 2), x) == Work(0, 4096, 2048, 2048, moves=True)
    assert of(nn.MaxPool2d(2), x) == Work(0, 8192 + 2048, 8192, 2048)
    assert of(nn.Softmax(1), x) == Work(0, 2 * 8192 + 1024, 8192 + 1024, 8192)


def test_moves_may_be_left_to_transfers() -> None:
    x = image(1, 32, 16, 16)
    assert of(Apply(lambda x: x[:, :, ::2]), x).moves
    found = of(Apply(lambda x: torch.cat([x, x], 1)), x)
    assert found == Work(0, 3 * 8192, 8192, 2 * 8192, moves=True)
    near = replace(found, ddr=0)
    assert bound(near, dsp(dma_rate=1 << 10)) == -(-2 * 8192 // (4 * 128 + 1024))


def test_constants_in_tcm_are_no_bytes_of_ddr() -> None:
    (task,) = prepared(nn.Linear(64, 32), image(1, 64)).kernels
    kernel = task.kernel
    assert work(kernel, task.graph).ddr == 64 + 32 + 64 * 32 + 4 * 32
    near = replace(kernel, func=place(kernel.func, {"w": "tcm", "x": "tcm"}))
    assert work(near, task.graph).ddr == 32 + 4 * 32
    assert work(near, task.graph).loaded == task.work.loaded


def test_constant_activations_count() -> None:
    other = image(1, 32, 16, 16)
    found = of(Apply(lambda x: x * other), image(1, 32, 16, 16))
    assert found == Work(0, 3 * 8192, 2 * 8192, 8192)


class Reused(nn.Module):
    """One weight in two kernels, one input of two, and an activation between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x))
        result: Tensor = self.first(torch.relu(self.first(y)) + x)
        return result


def test_a_model_moves_its_inputs_outputs_and_constants_once() -> None:
    found = prepared(Reused(), image(8, 64))
    assert sum(task.work.products for task in found.kernels) == 3 * 8 * 64 * 64
    assert model_bound(found) == -(-(2 * 8 * 64 + _constants(found)) // 32)
    slow = ready(found.graph, dsp(dma_rate=1))
    assert model_bound(slow) == 2 * 8 * 64 + _constants(found)
    small = ready(found.graph, dsp(dma_rate=1, tcm=8 << 10))
    assert model_bound(small) == model_bound(slow) <= sum(t.bound for t in small.kernels)


def _constants(found: Ready) -> int:
    used = {name for node in found.graph.nodes for name in node.inputs}
    return sum(a.nbytes for name, a in found.graph.constants.items() if name in used)


def test_what_nothing_moves_is_the_inputs_own() -> None:
    """A reshape has no code: the model reads its input, once."""
    found = prepared(Apply(lambda x: torch.sigmoid(x.reshape(16, 32))), image(1, 16, 32))
    slow = ready(found.graph, dsp(dma_rate=1))
    assert model_bound(slow) == 2 * 512 + 256
    assert found.plan.code.count(False) == 1


MACHINES: tuple[dict[str, int], ...] = (
    {}, {"threads": 1}, {"tcm": 64 << 10}, {"threads": 8, "dma_rate": 500},
    {"threads": 2, "tcm": 16 << 10}, {"version": 69, "dma_rate": 4}, {"threads": 16, "barrier": 0},
    {"threads": 3, "dma_rate": 1000, "dma_start": 0, "ddr_latency": 0, "barrier": 0},
    {"threads": 8, "tcm": 32 << 10, "dma_rate": 256, "ddr_latency": 0, "burst": 1},
)  # fmt: skip


def one_operator(seed: int) -> tuple[nn.Module, Tensor]:
    """An operator of a random kind, with strides and padding of its own."""
    rng = Random(seed)
    while True:
        shape = start(rng, rng.choice((4, 4, 3, 2)))
        layer = rng.choice(STEPS[len(shape)])(rng, shape).eval()
        torch.manual_seed(seed)
        x = torch.randn(shape)
        if 1 <= layer(x).numel() <= 20_000:
            return layer, x


@pytest.mark.exact
def test_no_cost_is_below_its_bound(exact: bool, record_property: Record) -> None:
    """``compiled`` refuses a cost below its kernel's bound; the model's is no greater."""
    seeds, ran = range(0, 600, 1 if exact else 35), 0
    for seed in seeds:
        machine = dsp(**MACHINES[seed % len(MACHINES)])
        found = prepared(*one_operator(seed), machine=machine)
        total = 0
        for task in found.kernels:
            costs = _costs(task, Random(seed))
            assert min(costs) >= task.bound
            total, ran = total + min(costs), ran + len(costs)
        assert total >= model_bound(found)
    record_property("slice", f"bounds: operators {seeds}, {ran} points")


def _costs(task: KernelTask, rng: Random) -> list[int]:
    """Of a few points that have code, the one that is guessed to be fastest among them."""
    drawn = [task.space.sample(rng) for _ in range(12)]
    found = []
    for point in [min(drawn, key=task.prior), drawn[0]]:
        try:
            found.append(task.compiled(point).cost.cycles)
        except (ScheduleError, SelectError):
            continue
    return found or [task.compiled(task.default).cost.cycles]
