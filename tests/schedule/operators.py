"""Kernels of single operators as tuning tasks, for the tests of templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.graph.graph import Graph
from dovetail.graph.kernels import place
from dovetail.graph.lower import lower
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from dovetail.schedule.knobs import Point
from dovetail.schedule.templates.backed import Backed
from dovetail.schedule.templates.template import Template
from dovetail.schedule.templates.threads import Shared
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.protocol import Target


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


@dataclass(frozen=True)
class Case:
    """A function of tensors, the template that takes its kernel, and the kernel's operator."""

    template: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    op: str = ""

    def task(self, machine: Target | None = None, scope: str = "tcm") -> KernelTask:
        """The kernel of the last node, or of the one of ``op``; activations lie in ``scope``."""
        made = torch.Generator().manual_seed(0)
        inputs = tuple(torch.randn(*shape, generator=made) for shape in self.shapes)
        module = Function(self.function).eval()
        graph = quantize(import_model(module, inputs), [[x.numpy() for x in inputs]])
        node = [n for n in graph.nodes if self.op in ("", n.op)][-1]
        kernel = lower(graph, node)
        moved = [p.name for p in kernel.func.params if p.name not in kernel.func.constants]
        kernel = replace(kernel, func=place(kernel.func, dict.fromkeys(moved, scope)))
        data = [name for name in node.inputs if name not in graph.constants]
        types = {name: graph.types[name] for name in [*node.inputs, node.output]}
        constants = {n: graph.constants[n] for n in node.inputs if n in graph.constants}
        single = Graph(node.op, data, [node.output], [node], types, constants)
        return KernelTask(kernel, single, machine or dsp())

    def checked(self, count: int, seed: int, machine: Dsp | None = None,
                scope: str = "tcm") -> list[str]:  # fmt: skip
        """Checks points of the space, all where there are few; none may be refused."""
        task = self.task(machine, scope)
        assert task.template.name == self.template
        rng = Random(seed)
        total, exact = task.space.count()
        if exact and total <= count:
            points = list(task.space)
        else:
            points = [task.space.sample(rng) for _ in range(count)]
        hold(task, points)
        return [str(point) for point in points]


def conv2d(inputs: int, outputs: int, *window: int) -> torch.nn.Module:
    """A layer by kernel, stride, padding, dilation and groups, as far as they are given."""
    kernel, stride, pad, dilation, groups = (*window, *(1, 1, 0, 1, 1)[len(window) :])
    return torch.nn.Conv2d(inputs, outputs, kernel, stride, pad, dilation, groups)


def checked(template: str, task: KernelTask, count: int, seed: int) -> None:
    """Checks points of the space that ``template`` must have; none may be refused."""
    assert task.template.name == template
    rng = Random(seed)
    hold(task, [task.space.sample(rng) for _ in range(count)])


def on_all(task: KernelTask) -> Template:
    """The task's special template on all threads."""
    found: Template | None = task.template
    if isinstance(found, Backed):
        found = found.special
    if isinstance(found, Shared):
        found = found.on(found.machine.threads)
    assert found is not None
    return found


def hold(task: KernelTask, points: Sequence[Point]) -> None:
    """Asserts that each point has code and that it gives the operator's bytes."""
    for point in points:
        measured = task.measure(point)
        assert measured.status == "ok", f"{point}: {measured.message}"
        right, message = task.check(point)
        assert right, f"{point}: {message}"
