"""The bound: what it is made of, and that no cost may be below it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovetail.driver.compiler import KernelError
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import quantized, ready
from dovetail.driver.tuned import Tuned
from dovetail.driver.zoo import build, calibration
from dovetail.target.dsp.target import dsp

RESNET18 = 1_642_980  # cycles at 4 threads: products that touch data, and bytes that exceed them


def test_resnet18() -> None:
    module, inputs = build("resnet18")
    graph = quantized(module, inputs, calibration("resnet18", 1))
    found = ready(graph, dsp())
    assert sum(int(task.bound) for task in found.kernels) == RESNET18


def test_tensors_in_tcm_cost_no_transfer(compiled: Tuned) -> None:
    for task, row in zip(compiled.ready.kernels, compiled.kernels, strict=True):
        types = compiled.ready.graph.types
        outside = [name for name, scope in row.placement.items() if scope == "ddr"]
        near = {p.scope for p in task.func.params if p.name in task.func.constants} == {"tcm"}
        weights = 0 if near else task.kernel.weight_bytes
        if task.kind == "table":  # whose entries are no more than the elements that look them up
            weights = min(weights, types[task.kernel.output].size)
        total = weights + sum(types[name].size for name in outside)
        assert task.work.ddr == total
        assert row.bound == compiled.ready.machine.bound(task.work)


def test_a_cost_below_the_bound_is_an_error(
    compiled: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = compiled.ready.kernels[0]
    cycles = compiled.kernels[0].alone
    monkeypatch.setattr(KernelTask, "bound", float(cycles + 1))
    fresh = KernelTask(task.kernel, task.graph, task.machine)
    with pytest.raises(KernelError) as caught:
        fresh.compiled(compiled.kernels[0].point)
    assert str(caught.value) == (
        f"{task.name}: a cost must not be below its bound ({cycles + 1}), but got {cycles}"
    )


@pytest.mark.parametrize("rate", [1, 3])
def test_threads_share_a_slow_ddr(rate: int) -> None:
    """Threads that access DDR directly move no more bytes a cycle than it has."""
    x = torch.randn((16, 37, 33), generator=torch.Generator().manual_seed(0))
    machine = dsp(dma_rate=rate, tcm=1 << 16)
    (task,) = ready(quantized(nn.Tanh(), (x,), [(x,)]), machine).kernels
    costs = [task.compiled(point).cost.cycles for point in task.space]
    assert min(costs) >= task.bound == -(-(2 * x.numel() + 256) // rate)
